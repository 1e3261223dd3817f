package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/wire"
)

// DescribeGroups (15), v0-v6. KIP-345, 430, 1043.
func (b *Broker) describeGroups(r *wire.Request) {
	req := r.Body.(*kmsg.DescribeGroupsRequest)
	resp := kmsg.NewDescribeGroupsResponse()
	for _, name := range req.Groups {
		d := b.groups.Describe(groups.DescribeRequest{Tenant: r.Session.Tenant, Group: name, Version: req.Version})
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.ErrorCode, g.ErrorMessage = name, d.Err, nullable(d.Message)
		g.State, g.ProtocolType, g.Protocol = d.State.String(), d.ProtocolType, d.Protocol
		g.AuthorizedOperations = notAsked
		if req.IncludeAuthorizedOperations && d.Err == 0 {
			g.AuthorizedOperations = groupOperations
		}
		g.Members = []kmsg.DescribeGroupsResponseGroupMember{}
		for _, m := range d.Members {
			g.Members = append(g.Members, kmsg.DescribeGroupsResponseGroupMember{
				MemberID: m.MemberID, InstanceID: nullable(m.InstanceID), ClientID: m.ClientID, ClientHost: m.ClientHost,
				ProtocolMetadata: orEmpty(m.Metadata), MemberAssignment: orEmpty(m.Assignment),
			})
		}
		resp.Groups = append(resp.Groups, g)
	}
	r.Reply(&resp)
}

// orEmpty keeps null off the wire where old clients expect bytes.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
