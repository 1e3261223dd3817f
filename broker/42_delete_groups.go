package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire"
)

// DeleteGroups (42), v0-v3. KIP-229.
func (b *Broker) deleteGroups(r *wire.Request) {
	req := r.Body.(*kmsg.DeleteGroupsRequest)
	resp := kmsg.NewDeleteGroupsResponse()
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	for _, name := range req.Groups {
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group = name
		if g.ErrorCode = b.groups.Delete(ctx, r.Session.Tenant, name); g.ErrorCode != 0 {
			g.ErrorMessage = nullable(kerr.TypedErrorForCode(g.ErrorCode).Description)
		}
		resp.Groups = append(resp.Groups, g)
	}
	r.Reply(&resp)
}
