package broker

import (
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// JoinGroup (11), v0-v9. KIP-62, 345, 394, 559, 800, 814.
func (b *Broker) joinGroup(r *wire.Request) {
	req := r.Body.(*kmsg.JoinGroupRequest)
	protocols := make([]raftmeta.GroupProtocol, len(req.Protocols))
	for i, p := range req.Protocols {
		protocols[i] = raftmeta.GroupProtocol{Name: p.Name, Metadata: p.Metadata}
	}
	rebalance := req.RebalanceTimeoutMillis
	if req.Version == 0 {
		rebalance = req.SessionTimeoutMillis
	}
	b.groups.Join(groups.JoinRequest{
		Tenant: r.Session.Tenant, Group: req.Group, Version: req.Version,
		MemberID: req.MemberID, InstanceID: deref(req.InstanceID),
		ClientID: r.ClientID, ClientHost: clientHost(r.Session.RemoteAddr),
		SessionTimeout: req.SessionTimeoutMillis, RebalanceTimeout: rebalance,
		ProtocolType: req.ProtocolType, Protocols: protocols,
	}, func(reply groups.JoinReply) { r.Reply(joinResponse(req.Version, reply)) })
}

func joinResponse(version int16, reply groups.JoinReply) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode, resp.Generation = reply.Err, reply.Generation
	resp.LeaderID, resp.MemberID, resp.SkipAssignment = reply.Leader, reply.MemberID, reply.SkipAssignment
	resp.ProtocolType = nullable(reply.ProtocolType)
	resp.Protocol = &reply.Protocol
	if version >= 7 { // nullable from here on
		resp.Protocol = nullable(reply.Protocol)
	}
	resp.Members = []kmsg.JoinGroupResponseMember{}
	for _, m := range reply.Members {
		resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{
			MemberID: m.MemberID, InstanceID: nullable(m.InstanceID), ProtocolMetadata: m.Metadata,
		})
	}
	return resp
}

// clientHost is how Kafka shows where a member lives: a slash and the address.
func clientHost(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "/" + addr.String()
	}
	return "/" + host
}
