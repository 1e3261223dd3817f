package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/wire"
)

// LeaveGroup (13), v0-v5. KIP-345, 800.
func (b *Broker) leaveGroup(r *wire.Request) {
	req := r.Body.(*kmsg.LeaveGroupRequest)
	leave := groups.LeaveRequest{Tenant: r.Session.Tenant, Group: req.Group, Version: req.Version}
	if req.Version < 3 {
		leave.Members = []groups.LeaveMember{{MemberID: req.MemberID}}
	}
	for _, m := range req.Members {
		leave.Members = append(leave.Members, groups.LeaveMember{MemberID: m.MemberID, InstanceID: deref(m.InstanceID)})
	}
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	reply := b.groups.Leave(ctx, leave)
	resp := kmsg.NewLeaveGroupResponse()
	resp.ErrorCode = reply.Err
	for _, m := range reply.Members {
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{
			MemberID: m.MemberID, InstanceID: nullable(m.InstanceID), ErrorCode: m.Err,
		})
	}
	r.Reply(&resp)
}
