package groups

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// joinEvent is a JoinGroup within the configured session timeouts.
type joinEvent struct {
	JoinRequest
	newID        string // the id for a member that has none yet
	maxSize      int
	initialDelay time.Duration
	reply        func(JoinReply)
}

func (e *joinEvent) session() time.Duration {
	return time.Duration(e.SessionTimeout) * time.Millisecond
}

func (e *joinEvent) rebalance() time.Duration {
	if e.RebalanceTimeout < 0 {
		return e.session()
	}
	return time.Duration(e.RebalanceTimeout) * time.Millisecond
}

func (e *joinEvent) refuse(code Code, fx *effects) { fx.join(e.reply, joinError(code, e.MemberID)) }

func (e *joinEvent) apply(g *group, now time.Time, fx *effects) {
	switch {
	case !g.admits(e.MemberID, e.maxSize):
		delete(g.pending, e.MemberID)
		if m := g.members[e.MemberID]; m != nil {
			g.forget(m)
		}
		e.refuse(kerr.GroupMaxSizeReached.Code, fx)
	case !g.supports(e.ProtocolType, e.Protocols):
		e.refuse(kerr.InconsistentGroupProtocol.Code, fx)
	case e.MemberID == "":
		g.joinNew(now, e, fx)
	default:
		g.joinKnown(now, e, fx)
	}
	g.advanceRound(now, fx)
}

// admits reports whether there is room for the joining member. In a round those who joined count and
// not those who are known: if the limit fell below the group's size, the last to rejoin must go.
func (g *group) admits(memberID string, maxSize int) bool {
	m := g.members[memberID]
	switch g.state {
	case Empty:
		return true
	case PreparingRebalance:
		return m != nil && m.join != nil || g.awaiting < maxSize
	default:
		return m != nil || len(g.members) < maxSize
	}
}

// joinNew handles a member that has no id. From version 4 on a dynamic one gets an id and must come
// again with it, so that a join whose answer was lost leaves no member behind (KIP-394).
func (g *group) joinNew(now time.Time, e *joinEvent, fx *effects) {
	switch old := g.statics[e.InstanceID]; {
	case old != nil:
		g.replaceStatic(now, e, old, fx)
	case e.InstanceID != "" || e.Version < 4:
		g.addMember(now, e, e.newID, fx)
	case len(g.pending) >= maxPending:
		e.refuse(kerr.CoordinatorLoadInProgress.Code, fx)
	default:
		if g.pending == nil {
			g.pending = map[string]time.Time{}
		}
		g.pending[e.newID] = now.Add(e.session())
		fx.join(e.reply, joinError(kerr.MemberIDRequired.Code, e.newID))
	}
}

// joinKnown handles a member that says which one it is.
func (g *group) joinKnown(now time.Time, e *joinEvent, fx *effects) {
	if _, ok := g.pending[e.MemberID]; ok && e.InstanceID == "" {
		g.addMember(now, e, e.MemberID, fx)
		return
	}
	if code := g.check(e.MemberID, e.InstanceID); code != 0 {
		e.refuse(code, fx)
		return
	}
	m := g.members[e.MemberID]
	// An unchanged member that repeats its join, perhaps because the answer was lost, gets the same
	// answer again instead of a round for everybody. The leader of a Stable group is the exception:
	// its join is how it asks for a new assignment, after it saw new partitions for example.
	if m.offers(e.Protocols) && (g.state == CompletingRebalance || g.state == Stable && m.id != g.leader) {
		m.renew(now)
		fx.join(e.reply, g.joined(m))
		return
	}
	g.update(m, e)
	g.setJoin(now, m, e.reply, fx)
	g.prepareRebalance(now, e.initialDelay, fx)
}

func (g *group) addMember(now time.Time, e *joinEvent, id string, fx *effects) {
	m := &member{
		id: id, instanceID: e.InstanceID,
		fresh: true, expires: now.Add(newMemberJoinTimeout),
		join: e.reply,
	}
	if len(g.members) == 0 {
		g.protocolType = e.ProtocolType
	}
	if g.leader == "" {
		g.leader = id
	}
	delete(g.pending, id)
	g.insert(m)
	g.update(m, e)
	g.round.grew = true
	g.prepareRebalance(now, e.initialDelay, fx)
}

// update takes over what the member says about itself in a join.
func (g *group) update(m *member, e *joinEvent) {
	m.clientID, m.clientHost = e.ClientID, e.ClientHost
	m.session, m.rebalance = e.session(), e.rebalance()
	g.setProtocols(m, e.Protocols)
}

// replaceStatic lets a restarted static member take the place of its former self (KIP-345). In Stable
// nobody else notices, provided the vote comes out the same; the new id must be durable before its
// owner learns it, or it would be unknown after a restart of the coordinator. A save of this generation
// that may yet arrive would undo that, so then the next generation begins.
func (g *group) replaceStatic(now time.Time, e *joinEvent, old *member, fx *effects) {
	if g.state != Stable || g.generation <= g.floor || g.voteWith(old, e.Protocols) != g.protocol {
		m := g.takeOver(now, e, old, fx)
		g.setJoin(now, m, e.reply, fx)
		g.prepareRebalance(now, e.initialDelay, fx)
		return
	}
	next := g.snapshot()
	for i := range next.Members {
		if next.Members[i].ID == old.id {
			replaceDurable(&next.Members[i], e)
		}
	}
	if next.Leader == old.id {
		next.Leader = e.newID
	}
	g.start(&operation{kind: opSave, group: next, settle: func(now time.Time, err error, fx *effects) {
		if err != nil { // the former self stays
			e.refuse(codeOf(err), fx)
			return
		}
		formerLeader := g.leader
		m := g.takeOver(now, e, old, fx)
		fx.join(e.reply, g.returned(m, formerLeader, e.Version))
	}}, fx)
}

// returned is the reply to a static member that took its place back in a Stable group. If it leads it
// must not assign anew, as nobody would hear of that. Version 9 says so (KIP-814). Before, it is told
// the leader's former id, so that it takes itself for a follower.
func (g *group) returned(m *member, formerLeader string, version int16) JoinReply {
	r := g.joined(m)
	if version >= 9 {
		r.SkipAssignment = m.id == g.leader
		return r
	}
	r.Leader, r.Members = formerLeader, nil
	return r
}

// takeOver puts the joining static member in the place of old, with old's assignment. Whoever still
// waits under the old id is fenced.
func (g *group) takeOver(now time.Time, e *joinEvent, old *member, fx *effects) *member {
	g.answerJoin(now, old, joinError(kerr.FencedInstanceID.Code, old.id), fx)
	g.answerSync(now, old, SyncReply{Err: kerr.FencedInstanceID.Code}, fx)
	m := old // same place in order, statics and support; only the id is new
	delete(g.members, old.id)
	if g.leader == old.id {
		g.leader = e.newID
	}
	m.id = e.newID
	g.members[m.id] = m
	g.update(m, e)
	if m.fresh {
		m.expires = now.Add(newMemberJoinTimeout)
	}
	m.renew(now)
	return m
}

// voteWith is the vote if m offered these protocols.
func (g *group) voteWith(m *member, protocols []raftmeta.GroupProtocol) string {
	current := m.protocols
	g.setProtocols(m, protocols)
	defer g.setProtocols(m, current)
	return g.vote()
}

// prepareRebalance begins a round unless one is under way. Members that wait for an assignment which
// will not come are told to join.
func (g *group) prepareRebalance(now time.Time, initialDelay time.Duration, fx *effects) {
	if g.state == PreparingRebalance {
		return
	}
	for _, m := range g.order {
		g.answerSync(now, m, SyncReply{Err: kerr.RebalanceInProgress.Code}, fx)
	}
	timeout := g.rebalanceTimeout()
	g.round = round{deadline: now.Add(timeout)}
	if g.state == Empty {
		g.round = round{
			deadline: now.Add(initialDelay), initial: true, delay: initialDelay,
			remaining: max(timeout-initialDelay, 0),
		}
	}
	g.state = PreparingRebalance
	g.syncBy, g.retryAt = time.Time{}, time.Time{} // what was to be saved is outdated with the round
	g.advanceRound(now, fx)
}

// advanceRound ends the round if it is time: an initial one after its delays, any other when all
// members joined and nobody holds an unused id, or else at its deadline.
func (g *group) advanceRound(now time.Time, fx *effects) {
	if g.state != PreparingRebalance {
		return
	}
	r := &g.round
	due := !now.Before(r.deadline)
	if r.initial && due && r.grew && r.remaining > 0 {
		more := min(r.delay, r.remaining)
		r.deadline, r.remaining, r.grew = now.Add(more), r.remaining-more, false
		return
	}
	complete := !r.initial && g.awaiting == len(g.members) && len(g.pending) == 0
	if due || complete {
		g.completeJoin(now, fx)
	}
}

// completeJoin ends the round. Dynamic members that did not join are out. Static ones keep their
// place until their session ends; if only such are left, the round goes on.
func (g *group) completeJoin(now time.Time, fx *effects) {
	for i := len(g.order) - 1; i >= 0; i-- {
		if m := g.order[i]; m.join == nil && m.instanceID == "" {
			g.forget(m)
		}
	}
	if len(g.members) > 0 && !g.electJoined() {
		g.round = round{deadline: now.Add(max(g.rebalanceTimeout(), minRoundExtension))}
		return
	}
	fx.rebalances++
	g.generation = max(g.generation, g.floor) + 1
	if len(g.members) == 0 {
		g.becomeEmpty(now, fx)
		return
	}
	g.state = CompletingRebalance
	g.emptySince = 0
	g.protocol = g.vote()
	g.syncBy = now.Add(g.rebalanceTimeout())
	for _, m := range g.order {
		m.synced, m.assignment = false, nil
		if m.join != nil {
			m.fresh = false
			g.answerJoin(now, m, g.joined(m), fx)
		}
	}
}

// electJoined makes sure that the leader is somebody who joined, if anybody did.
func (g *group) electJoined() bool {
	if g.members[g.leader].join != nil {
		return true
	}
	for _, m := range g.order {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}
