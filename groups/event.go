package groups

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// maxQueued bounds what waits in one group for an operation on the Store. Past it requests are
// refused with a code upon which clients back off and repeat.
const maxQueued = 16 << 10

// event is something that may change a group.
type event interface {
	// apply takes effect on g, which has no operation in flight and is not Dead.
	apply(g *group, now time.Time, fx *effects)
	// refuse answers instead of apply.
	refuse(code Code, fx *effects)
}

// effects is what a step of a group asks for. The caller starts op, and makes the replies once it
// holds no lock.
type effects struct {
	replies []func()
	op      *operation // to carry out; then settled must be called

	expired    int // members removed because their session ended or they never synced
	rebalances int // rounds completed
}

func (fx *effects) join(to func(JoinReply), r JoinReply) {
	fx.replies = append(fx.replies, func() { to(r) })
}

func (fx *effects) sync(to func(SyncReply), r SyncReply) {
	fx.replies = append(fx.replies, func() { to(r) })
}

func (fx *effects) code(to func(Code), code Code) {
	fx.replies = append(fx.replies, func() { to(code) })
}

func (fx *effects) deliver() {
	for _, reply := range fx.replies {
		reply()
	}
}

// opKind is what an operation does to the Store.
type opKind uint8

const (
	opSave opKind = iota
	opDeleteGroup
	opDeleteOffsets
)

// operation is one write to the Store on behalf of a group, and what follows from its outcome.
type operation struct {
	kind        opKind
	group       *raftmeta.Group      // for opSave
	repeats     bool                 // for opSave: after a failure settle has the same saved again
	keys        []raftmeta.OffsetKey // for opDeleteOffsets
	ifNoOffsets bool                 // for opDeleteGroup: refuse if it has offsets after all
	// settle turns the outcome into state and replies. It starts no other operation.
	settle func(now time.Time, err error, fx *effects)
}

// unsettled reports whether after this outcome nobody knows what the Store has of the group, so that the
// one in memory is worth nothing. A save that is repeated until it is certain leaves no such doubt, and
// offsets are no part of the group.
func (op *operation) unsettled(err error) bool {
	switch op.kind {
	case opSave:
		return errors.Is(err, raftmeta.ErrIllegalGeneration) || !op.repeats && errors.Is(err, raftmeta.ErrOutcomeUnknown)
	case opDeleteGroup:
		return errors.Is(err, raftmeta.ErrOutcomeUnknown)
	}
	return false
}

// handle takes one event: at once, or after the operation in flight.
func (g *group) handle(now time.Time, ev event, fx *effects) {
	switch {
	case g.state == Dead:
		ev.refuse(kerr.CoordinatorNotAvailable.Code, fx)
	case g.op == nil:
		ev.apply(g, now, fx)
	case len(g.queued) >= maxQueued:
		ev.refuse(kerr.CoordinatorLoadInProgress.Code, fx)
	default:
		g.queued = append(g.queued, ev)
	}
}

// start puts op in flight. None may be.
func (g *group) start(op *operation, fx *effects) {
	g.op = op
	fx.op = op
}

// settled ends the operation in flight with its outcome and takes up what waited for it. The time
// that it took counts for nobody's session: queued events come before expiry.
func (g *group) settled(now time.Time, err error, fx *effects) {
	op := g.op
	g.op = nil
	op.settle(now, err, fx)
	for g.op == nil && len(g.queued) > 0 {
		ev := g.queued[0]
		g.queued[0] = nil
		g.queued = g.queued[1:]
		g.handle(now, ev, fx)
	}
	if len(g.queued) == 0 {
		g.queued = nil
	}
	g.tick(now, fx)
}

// close answers everybody who waits with the code of err: the group goes out of memory. An operation in
// flight counts as failed; what it comes to does not matter here any more.
func (g *group) close(now time.Time, err error, fx *effects) {
	code := codeOf(err)
	if op := g.op; op != nil {
		g.op = nil
		op.settle(now, err, fx)
	}
	for _, m := range g.order {
		g.answerJoin(now, m, joinError(code, m.id), fx)
		g.answerSync(now, m, SyncReply{Err: code}, fx)
	}
	for _, ev := range g.queued {
		ev.refuse(code, fx)
	}
	g.queued = nil
	g.state = Dead
}

// tick does what is due at now. It may be called at any time, and does nothing while an operation is
// in flight: settled calls it then.
func (g *group) tick(now time.Time, fx *effects) {
	if g.op != nil || g.state == Dead {
		return
	}
	for id, lapses := range g.pending {
		if !now.Before(lapses) {
			delete(g.pending, id)
		}
	}
	g.expire(now, func(m *member) bool { return m.expirable() && !now.Before(m.expires) }, fx)
	if !g.syncBy.IsZero() && !now.Before(g.syncBy) {
		g.syncBy = time.Time{}
		g.expire(now, func(m *member) bool { return !m.synced }, fx)
	}
	g.advanceRound(now, fx)
	if g.op == nil && !g.retryAt.IsZero() && !now.Before(g.retryAt) {
		g.saveEmpty(fx)
	}
}

// expire removes the members for which lost holds.
func (g *group) expire(now time.Time, lost func(*member) bool, fx *effects) {
	var gone []*member
	for _, m := range g.order {
		if lost(m) {
			gone = append(gone, m)
		}
	}
	for _, m := range gone {
		if g.members[m.id] != m { // its round ended with the removal of another one
			continue
		}
		fx.expired++
		g.remove(now, m, fx)
	}
}

// deadline is when tick has something to do next; zero means never, unless something happens first.
// Heartbeats only move it back, so a caller may keep an earlier one and ask again at that time.
func (g *group) deadline() time.Time {
	var next time.Time
	earliest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if g.op != nil || g.state == Dead {
		return next
	}
	for _, lapses := range g.pending {
		earliest(lapses)
	}
	for _, m := range g.order {
		if m.expirable() {
			earliest(m.expires)
		}
	}
	if g.state == PreparingRebalance {
		earliest(g.round.deadline)
	}
	earliest(g.syncBy)
	earliest(g.retryAt)
	return next
}
