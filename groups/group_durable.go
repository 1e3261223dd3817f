package groups

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// emptySaveRetry is the pause before an emptied group is saved again after a failure. Until then the
// Store still has its last members, which costs no more than their sessions after a restart.
const emptySaveRetry = time.Second

// restoreGroup makes a group of what the Store has. With members it is Stable, as nothing else is
// ever saved, and each member has a full session ahead (replication.md 18.2): it may have been
// heartbeating all along, to a coordinator that was not there. What an earlier owner knew beyond that is
// gone: whoever was let into a round that did not end in a save is told so and joins again.
func restoreGroup(s *raftmeta.Group, now time.Time) *group {
	g := newGroup(s.Tenant, s.ID)
	g.generation, g.saved = s.Generation, s.Generation
	g.protocolType, g.protocol, g.leader = s.ProtocolType, s.Protocol, s.Leader
	g.emptySince = s.EmptySince
	for i := range s.Members {
		d := &s.Members[i]
		g.insert(&member{
			id: d.ID, instanceID: d.InstanceID, clientID: d.ClientID, clientHost: d.ClientHost,
			session:    time.Duration(d.SessionTimeout) * time.Millisecond,
			rebalance:  time.Duration(d.RebalanceTimeout) * time.Millisecond,
			protocols:  d.Protocols,
			assignment: d.Assignment,
			expires:    now.Add(time.Duration(d.SessionTimeout) * time.Millisecond),
			synced:     true,
		})
	}
	g.state = restoredState(s)
	return g
}

func restoredState(s *raftmeta.Group) State {
	if len(s.Members) > 0 {
		return Stable
	}
	return Empty
}

// snapshot is the group as the Store should have it.
func (g *group) snapshot() *raftmeta.Group {
	s := &raftmeta.Group{
		Tenant: g.tenant, ID: g.id, Generation: g.generation,
		ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader,
		EmptySince: g.emptySince,
	}
	for _, m := range g.order {
		s.Members = append(s.Members, raftmeta.GroupMember{
			ID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost,
			SessionTimeout:   int32(m.session / time.Millisecond),
			RebalanceTimeout: int32(m.rebalance / time.Millisecond),
			Protocols:        m.protocols,
			Assignment:       m.assignment,
		})
	}
	return s
}

// replaceDurable is takeOver for the durable form.
func replaceDurable(d *raftmeta.GroupMember, e *joinEvent) {
	d.ID, d.ClientID, d.ClientHost = e.newID, e.ClientID, e.ClientHost
	d.SessionTimeout = e.SessionTimeout
	d.RebalanceTimeout = int32(e.rebalance() / time.Millisecond)
	d.Protocols = e.Protocols
}

// becomeEmpty ends a round in which nobody is left. The group is empty whether or not that can be
// saved now: there is nobody to refuse it to.
func (g *group) becomeEmpty(now time.Time, fx *effects) {
	g.state = Empty
	g.protocol, g.leader = "", ""
	g.emptySince = now.UnixMilli()
	g.saveEmpty(fx)
}

func (g *group) saveEmpty(fx *effects) {
	g.retryAt = time.Time{}
	g.start(&operation{kind: opSave, group: g.snapshot(), repeats: true, settle: func(now time.Time, err error, _ *effects) {
		if err != nil {
			g.retryAt = now.Add(emptySaveRetry)
			g.floor = g.generation
			return
		}
		g.saved = g.generation
	}}, fx)
}

// inDoubt is the highest generation of a save that may reach the Store although g goes out of memory; 0 if
// there is none.
func (g *group) inDoubt() int32 {
	if g.op != nil && g.op.kind == opSave {
		return max(g.floor, g.op.group.Generation)
	}
	return g.floor
}

// unused reports whether nothing would be lost with g: it was given out member ids at most, and
// those have lapsed, or it was deleted.
func (g *group) unused() bool {
	return g.state == Dead || g.saved < 0 && g.generation == 0 && g.idle()
}

// idle reports whether g is Empty and owes nothing to anybody, so that if the Store has it, the
// Store's is as good.
func (g *group) idle() bool {
	return g.state == Empty && g.op == nil && len(g.pending) == 0 && g.commits == 0 && g.retryAt.IsZero()
}

// codes are the Kafka codes of what the Store may refuse.
var codes = map[raftmeta.Rejection]*kerr.Error{
	raftmeta.ErrStaleCoordinator:  kerr.NotCoordinator,
	raftmeta.ErrSuperseded:        kerr.NotCoordinator,
	raftmeta.ErrUnknownMember:     kerr.UnknownMemberID,
	raftmeta.ErrIllegalGeneration: kerr.IllegalGeneration,
	raftmeta.ErrUnknownGroup:      kerr.GroupIDNotFound,
	raftmeta.ErrNonEmptyGroup:     kerr.NonEmptyGroup,
	raftmeta.ErrUnknownTopic:      kerr.UnknownTopicOrPartition,
	raftmeta.ErrUnknownPartition:  kerr.UnknownTopicOrPartition,
}

// codeOf is the Kafka code of an error from the Store. What has none becomes COORDINATOR_NOT_AVAILABLE,
// upon which clients look for the coordinator again and retry.
func codeOf(err error) Code {
	if err == nil {
		return 0
	}
	var no raftmeta.Rejection
	if errors.As(err, &no) && codes[no] != nil {
		return codes[no].Code
	}
	return kerr.CoordinatorNotAvailable.Code
}
