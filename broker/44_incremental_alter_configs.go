package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// IncrementalAlterConfigs (44), v0-v1. KIP-339. All changes of one resource apply or none do.
func (b *Broker) incrementalAlterConfigs(r *wire.Request) {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	edits := make([]configEdit, len(req.Resources))
	for i := range req.Resources {
		asked := &req.Resources[i]
		edits[i].target = configTarget{asked.ResourceType, asked.ResourceName}
		edits[i].change, edits[i].err = b.incrementalChange(asked)
	}
	b.alterConfigsOf(r, edits, req.ValidateOnly)
	resp := kmsg.NewIncrementalAlterConfigsResponse()
	for _, e := range edits {
		resp.Resources = append(resp.Resources, kmsg.IncrementalAlterConfigsResponseResource{
			ErrorCode: b.codeOf(e.err), ErrorMessage: messageOf(e.err), ResourceType: e.target.kind, ResourceName: e.target.name,
		})
	}
	r.Reply(&resp)
}

func (b *Broker) incrementalChange(asked *kmsg.IncrementalAlterConfigsRequestResource) (raftmeta.ConfigChange, error) {
	var change raftmeta.ConfigChange
	seen := map[string]bool{}
	for _, c := range asked.Configs {
		op := raftmeta.ConfigOp{Kind: raftmeta.ConfigOpKind(c.Op), Key: c.Name, Value: deref(c.Value)}
		switch {
		case seen[c.Name]:
			return change, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s is changed twice", c.Name))
		case c.Op < kmsg.IncrementalAlterConfigOpSet || c.Op > kmsg.IncrementalAlterConfigOpSubtract:
			return change, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s: operation %d is not known", c.Name, c.Op))
		case c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete:
			return change, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s is null", c.Name))
		}
		seen[c.Name] = true
		if c.Op == kmsg.IncrementalAlterConfigOpAppend || c.Op == kmsg.IncrementalAlterConfigOpSubtract {
			op.Base = b.listBase(asked.ResourceType, c.Name)
		}
		change.Ops = append(change.Ops, op)
	}
	return change, nil
}

// listBase is the value that an operation on a list starts from where there is no override.
func (b *Broker) listBase(kind kmsg.ConfigResourceType, key string) string {
	values := config.ResolveBroker(b.layers()).Values()
	if kind == kmsg.ConfigResourceTypeTopic {
		values = config.ResolveTopic(nil, b.layers()).Values()
	}
	for _, v := range values {
		if v.Name == key {
			return v.Value
		}
	}
	return ""
}
