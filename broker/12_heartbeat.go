package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/wire"
)

// Heartbeat (12), v0-v4.
func (b *Broker) heartbeat(r *wire.Request) {
	req := r.Body.(*kmsg.HeartbeatRequest)
	resp := kmsg.NewHeartbeatResponse()
	resp.ErrorCode = b.groups.Heartbeat(groups.HeartbeatRequest{
		Tenant: r.Session.Tenant, Group: req.Group, MemberID: req.MemberID,
		InstanceID: deref(req.InstanceID), Generation: req.Generation,
	})
	r.Reply(&resp)
}
