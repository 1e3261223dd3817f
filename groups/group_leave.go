package groups

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// leaveEvent is a LeaveGroup.
type leaveEvent struct {
	LeaveRequest
	reply func(LeaveReply)
}

func (e *leaveEvent) refuse(code Code, fx *effects) {
	fx.replies = append(fx.replies, func() { e.reply(LeaveReply{Err: code}) })
}

func (e *leaveEvent) apply(g *group, now time.Time, fx *effects) {
	r := leaveReply(e.LeaveRequest, func(m LeaveMember) Code { return g.leave(now, m, fx) })
	fx.replies = append(fx.replies, func() { e.reply(r) })
}

// leaveReply asks leave about each member. Before version 3 the answer of the one member is that of
// the request.
func leaveReply(req LeaveRequest, leave func(LeaveMember) Code) LeaveReply {
	var r LeaveReply
	for _, m := range req.Members {
		code := leave(m)
		r.Members = append(r.Members, LeaveMemberReply{LeaveMember: m, Err: code})
		if req.Version < 3 {
			r.Err = code
		}
	}
	return r
}

// leave removes one member. Without a member id the instance id alone counts: so an administrator
// removes a static member, which does not leave by itself.
func (g *group) leave(now time.Time, who LeaveMember, fx *effects) Code {
	if _, ok := g.pending[who.MemberID]; ok {
		delete(g.pending, who.MemberID)
		g.advanceRound(now, fx)
		return 0
	}
	if who.MemberID == "" && who.InstanceID != "" {
		if owner := g.statics[who.InstanceID]; owner != nil {
			who.MemberID = owner.id
		}
	}
	if code := g.check(who.MemberID, who.InstanceID); code != 0 {
		return code
	}
	g.remove(now, g.members[who.MemberID], fx)
	return 0
}

// deleteEvent removes an Empty group for good, by DeleteGroups or because it fell out of use.
type deleteEvent struct {
	ifNoOffsets bool // it fell out of use: spare it if it has offsets after all
	reply       func(Code)
}

func (e *deleteEvent) refuse(code Code, fx *effects) { fx.code(e.reply, code) }

func (e *deleteEvent) apply(g *group, now time.Time, fx *effects) {
	// A commit in flight would outlive the group that it belongs to, so it counts as a member.
	if g.state != Empty || g.commits > 0 {
		e.refuse(kerr.NonEmptyGroup.Code, fx)
		return
	}
	if g.saved < 0 && g.floor == 0 { // only member ids were given out, and the Store has never heard of it
		g.state = Dead
		fx.code(e.reply, 0)
		return
	}
	g.start(&operation{kind: opDeleteGroup, ifNoOffsets: e.ifNoOffsets, settle: func(_ time.Time, err error, fx *effects) {
		if err == nil {
			g.state = Dead
		}
		fx.code(e.reply, codeOf(err))
	}}, fx)
}
