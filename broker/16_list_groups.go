package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/wire"
)

// ListGroups (16), v0-v5. KIP-518, 848.
func (b *Broker) listGroups(r *wire.Request) {
	req := r.Body.(*kmsg.ListGroupsRequest)
	resp := kmsg.NewListGroupsResponse()
	resp.Groups = []kmsg.ListGroupsResponseGroup{}
	for _, l := range b.groups.List(r.Session.Tenant, groups.ListFilter{States: req.StatesFilter, Types: req.TypesFilter}) {
		resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{
			Group: l.Group, ProtocolType: l.ProtocolType, GroupState: l.State.String(), GroupType: l.Type,
		})
	}
	r.Reply(&resp)
}
