package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/wire"
)

// SyncGroup (14), v0-v5. KIP-345, 559.
func (b *Broker) syncGroup(r *wire.Request) {
	req := r.Body.(*kmsg.SyncGroupRequest)
	sync := groups.SyncRequest{
		Tenant: r.Session.Tenant, Group: req.Group, Version: req.Version,
		MemberID: req.MemberID, InstanceID: deref(req.InstanceID), Generation: req.Generation,
		ProtocolType: deref(req.ProtocolType), Protocol: deref(req.Protocol),
	}
	for _, a := range req.GroupAssignment {
		sync.Assignments = append(sync.Assignments, groups.MemberAssignment{MemberID: a.MemberID, Assignment: a.MemberAssignment})
	}
	b.groups.Sync(sync, func(reply groups.SyncReply) {
		resp := kmsg.NewSyncGroupResponse()
		resp.ErrorCode = reply.Err
		resp.ProtocolType, resp.Protocol = nullable(reply.ProtocolType), nullable(reply.Protocol)
		resp.MemberAssignment = reply.Assignment
		if resp.MemberAssignment == nil {
			resp.MemberAssignment = []byte{}
		}
		r.Reply(&resp)
	})
}
