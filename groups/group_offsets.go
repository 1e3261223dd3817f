package groups

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// commitEvent asks whether offsets may be committed. Whoever gets 0 must call endCommit when the
// Store has answered.
type commitEvent struct {
	memberID   string
	instanceID string
	generation int32
	abandoned  bool // nobody waits for the answer any more
	granted    bool // the answer was 0
	reply      func(Code)
}

func (e *commitEvent) refuse(code Code, fx *effects) { fx.code(e.reply, code) }

func (e *commitEvent) apply(g *group, now time.Time, fx *effects) {
	if e.abandoned {
		return
	}
	fx.code(e.reply, g.beginCommit(now, e))
}

// commitWaits reports whether a commit must go through handle: what removes offsets or the group must
// neither overtake it nor be overtaken. All other commits need only beginCommit.
func (g *group) commitWaits() bool { return g.op != nil && g.op.kind != opSave }

// beginCommit is checkCommit that counts the commit if it may go ahead.
func (g *group) beginCommit(now time.Time, e *commitEvent) Code {
	code := g.checkCommit(now, e.memberID, e.instanceID, e.generation)
	if code == 0 {
		e.granted = true
		g.commits++
	}
	return code
}

// checkCommit tells whether the member may commit, and renews its session. From outside the group
// (negative generation) only while nobody is in it.
//
// During PreparingRebalance members may still commit what they processed, but only if their
// generation is one that became Stable. In any other nobody was assigned anything, and the Store,
// which never saw that generation, would rightly refuse.
func (g *group) checkCommit(now time.Time, memberID, instanceID string, generation int32) Code {
	if g.state == Dead {
		return kerr.CoordinatorNotAvailable.Code
	}
	if generation < 0 && g.state == Empty {
		return 0
	}
	if generation < 0 && memberID == "" && instanceID == "" {
		return kerr.UnknownMemberID.Code
	}
	if code := g.checkGeneration(memberID, instanceID, generation); code != 0 {
		return code
	}
	g.members[memberID].renew(now)
	if g.state == CompletingRebalance || g.saved != g.generation {
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

// endCommit ends a commit that was granted. If it stored something the Store knows the group by now,
// even one that exists only as offsets.
func (g *group) endCommit(stored bool) {
	g.commits--
	if stored {
		g.saved = max(g.saved, 0)
	}
}

// deleteOffsetsEvent is an OffsetDelete (KIP-496).
type deleteOffsetsEvent struct {
	offsets []DeleteOffset
	reply   func(Code, []Code)
}

func (e *deleteOffsetsEvent) refuse(code Code, fx *effects) {
	fx.replies = append(fx.replies, func() { e.reply(code, nil) })
}

// apply spares the topics that the members of a consumer group subscribe to. What other groups read
// is not known, so all of theirs is spared while they have members.
func (e *deleteOffsetsEvent) apply(g *group, _ time.Time, fx *effects) {
	if g.state != Empty && g.protocolType != consumerProtocolType {
		e.refuse(kerr.NonEmptyGroup.Code, fx)
		return
	}
	topics, known := g.subscription()
	codes := make([]Code, len(e.offsets))
	var keys []raftmeta.OffsetKey
	var at []int // keys[i] belongs to offsets[at[i]]
	for i, o := range e.offsets {
		if _, subscribed := topics[o.Topic]; subscribed || !known {
			codes[i] = kerr.GroupSubscribedToTopic.Code
			continue
		}
		keys = append(keys, raftmeta.OffsetKey{TopicID: o.TopicID, Partition: o.Partition, CommittedAt: math.MaxInt64})
		at = append(at, i)
	}
	if len(keys) == 0 {
		fx.replies = append(fx.replies, func() { e.reply(0, codes) })
		return
	}
	g.start(&operation{kind: opDeleteOffsets, keys: keys, settle: func(_ time.Time, err error, fx *effects) {
		for _, i := range at {
			codes[i] = codeOf(err)
		}
		fx.replies = append(fx.replies, func() { e.reply(0, codes) })
	}}, fx)
}

// expireEvent removes offsets that nobody used for long, and not what was committed after that was seen.
type expireEvent struct {
	keys  []raftmeta.OffsetKey
	reply func(Code)
}

func (e *expireEvent) refuse(code Code, fx *effects) { fx.code(e.reply, code) }

func (e *expireEvent) apply(g *group, _ time.Time, fx *effects) {
	g.start(&operation{kind: opDeleteOffsets, keys: e.keys, settle: func(_ time.Time, err error, fx *effects) {
		fx.code(e.reply, codeOf(err))
	}}, fx)
}
