package groups

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// syncEvent is a SyncGroup.
type syncEvent struct {
	SyncRequest
	reply func(SyncReply)
}

// refuse never says COORDINATOR_LOAD_IN_PROGRESS: old clients do not expect it here.
func (e *syncEvent) refuse(code Code, fx *effects) {
	if code == kerr.CoordinatorLoadInProgress.Code {
		code = kerr.RebalanceInProgress.Code
	}
	fx.sync(e.reply, SyncReply{Err: code})
}

func (e *syncEvent) apply(g *group, now time.Time, fx *effects) {
	if code := g.checkSync(e); code != 0 {
		e.refuse(code, fx)
		return
	}
	m := g.members[e.MemberID]
	m.synced = true
	m.renew(now)
	g.endSyncWait()
	if g.state == Stable {
		fx.sync(e.reply, g.synced(m))
		return
	}
	g.answerSync(now, m, SyncReply{Err: kerr.RebalanceInProgress.Code}, fx) // a sync sent twice
	m.sync = e.reply
	if m.id == g.leader {
		g.saveAssignment(e.Assignments, fx)
	}
}

func (g *group) checkSync(e *syncEvent) Code {
	if code := g.checkGeneration(e.MemberID, e.InstanceID, e.Generation); code != 0 {
		return code
	}
	// KIP-559: a member must not take an assignment made by another protocol for its own.
	if e.Version >= 5 && (e.ProtocolType != g.protocolType || e.Protocol != g.protocol) {
		return kerr.InconsistentGroupProtocol.Code
	}
	if g.state == PreparingRebalance {
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

// endSyncWait stops the clock of those who never sync once nobody is left to wait for.
func (g *group) endSyncWait() {
	for _, m := range g.order {
		if !m.synced {
			return
		}
	}
	g.syncBy = time.Time{}
}

func (g *group) synced(m *member) SyncReply {
	return SyncReply{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// saveAssignment makes the leader's assignment durable, then Stable, then known. Members that the
// leader forgot get nothing. If it cannot be saved nobody hears of it: those who wait are sent back,
// and the group begins another round, whose generation no saved one can be confused with.
func (g *group) saveAssignment(list []MemberAssignment, fx *effects) {
	assigned := make(map[string][]byte, len(list))
	for _, a := range list {
		assigned[a.MemberID] = a.Assignment
	}
	next := g.snapshot()
	for i := range next.Members {
		next.Members[i].Assignment = assigned[next.Members[i].ID]
	}
	g.start(&operation{kind: opSave, group: next, settle: func(now time.Time, err error, fx *effects) {
		if err != nil {
			for _, m := range g.order {
				g.answerSync(now, m, SyncReply{Err: codeOf(err)}, fx)
			}
			g.prepareRebalance(now, 0, fx)
			return
		}
		g.saved = g.generation
		g.state = Stable
		for _, m := range g.order {
			m.assignment = assigned[m.id]
			g.answerSync(now, m, g.synced(m), fx)
		}
	}}, fx)
}
