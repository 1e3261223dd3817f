package broker

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// AlterConfigs (33), v0-v2. KIP-133. It replaces all overrides of a resource: what is left out goes.
func (b *Broker) alterConfigs(r *wire.Request) {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	edits := make([]configEdit, len(req.Resources))
	for i, asked := range req.Resources {
		edits[i].target = configTarget{asked.ResourceType, asked.ResourceName}
		edits[i].change, edits[i].err = replacingChange(asked.Configs)
	}
	b.alterConfigsOf(r, edits, req.ValidateOnly)
	resp := kmsg.NewAlterConfigsResponse()
	for _, e := range edits {
		resp.Resources = append(resp.Resources, kmsg.AlterConfigsResponseResource{
			ErrorCode: b.codeOf(e.err), ErrorMessage: messageOf(e.err), ResourceType: e.target.kind, ResourceName: e.target.name,
		})
	}
	r.Reply(&resp)
}

func replacingChange(configs []kmsg.AlterConfigsRequestResourceConfig) (raftmeta.ConfigChange, error) {
	change := raftmeta.ConfigChange{Replace: true}
	for _, c := range configs {
		if c.Value == nil {
			return change, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s is null", c.Name))
		}
		change.Ops = append(change.Ops, raftmeta.ConfigOp{Kind: raftmeta.ConfigSet, Key: c.Name, Value: *c.Value})
	}
	return change, nil
}

// configEdit is what a request asks of one resource, and why it was refused if it was.
type configEdit struct {
	target configTarget
	change raftmeta.ConfigChange
	err    error
}

// configTarget names a resource of a request.
type configTarget struct {
	kind kmsg.ConfigResourceType
	name string
}

// alterConfigsOf carries out the edits of a request one by one and notes the error of each. A resource
// named twice is left alone: which of the two was meant is anybody's guess.
func (b *Broker) alterConfigsOf(r *wire.Request, edits []configEdit, validateOnly bool) {
	named := map[configTarget]int{}
	for i := range edits {
		named[edits[i].target]++
	}
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	for i := range edits {
		switch e := &edits[i]; {
		case e.err != nil:
		case named[e.target] > 1:
			e.err = refuse(kerr.InvalidRequest, "the request names the resource more than once")
		default:
			e.err = b.alterConfig(ctx, r.Session.Tenant, e.target, e.change, validateOnly)
		}
	}
}

// alterConfig judges a change against the config it leads to, and commits it: all of it or nothing.
func (b *Broker) alterConfig(ctx context.Context, tenant string, target configTarget, change raftmeta.ConfigChange, validateOnly bool) error {
	var cmd raftmeta.Command
	err := b.planned(ctx, func() (err error) {
		cmd, err = b.planConfig(tenant, target, change)
		return err
	})
	if err != nil || validateOnly {
		return err
	}
	if _, err := b.meta.Propose(ctx, cmd); err != nil {
		return err
	}
	b.logger.Info("config changed", "type", target.kind, "name", target.name, "changes", len(change.Ops), "replace", change.Replace)
	b.reconciler.catchUp()
	return nil
}

func (b *Broker) planConfig(tenant string, target configTarget, change raftmeta.ConfigChange) (raftmeta.Command, error) {
	img := b.meta.Image()
	switch target.kind {
	case kmsg.ConfigResourceTypeTopic:
		if err := checkTopicName(target.name); err != nil {
			return nil, err
		}
		topic, err := b.resolve(img, tenant, topicRef{name: target.name})
		if err != nil {
			return nil, err
		}
		if err := judgeChange(config.Topic, topic.Config, change); err != nil {
			return nil, err
		}
		return &raftmeta.SetTopicConfig{ID: topic.ID, Change: change}, nil
	case kmsg.ConfigResourceTypeBroker:
		if altersDraining(change) {
			return planDraining(img, target.name, change)
		}
		if target.name != "" {
			if err := b.ownID(target.name); err != nil {
				return nil, err
			}
			target.name = strconv.Itoa(int(b.nodeID)) // "01" and "1" are one broker
		}
		if err := judgeBrokerChange(img.Config(raftmeta.BrokerResource, target.name), change); err != nil {
			return nil, err
		}
		return &raftmeta.SetConfig{Type: raftmeta.BrokerResource, Name: target.name, Change: change}, nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if target.name == "" {
			return nil, refuse(kerr.InvalidRequest, "a group has a name")
		}
		if err := judgeChange(config.Group, img.Config(raftmeta.GroupResource, target.name), change); err != nil {
			return nil, err
		}
		return &raftmeta.SetConfig{Type: raftmeta.GroupResource, Name: target.name, Change: change}, nil
	}
	return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("configs of resource type %d cannot be altered", target.kind))
}

func altersDraining(change raftmeta.ConfigChange) bool {
	return slices.ContainsFunc(change.Ops, func(op raftmeta.ConfigOp) bool { return op.Key == config.Draining })
}

// planDraining turns the config that empties a broker into what it stands for. It may name any broker: the
// one that is to be emptied may be dead.
func planDraining(img *raftmeta.Image, name string, change raftmeta.ConfigChange) (raftmeta.Command, error) {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s belongs to one broker, and %q is none", config.Draining, name))
	}
	if len(change.Ops) > 1 {
		return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s cannot be altered together with others", config.Draining))
	}
	if _, ok := img.Broker(int32(id)); !ok {
		return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("broker %d is not registered", id))
	}
	if err := judgeChange(config.Broker, nil, change); err != nil {
		return nil, err
	}
	draining := change.Applied(nil)[config.Draining] == "true"
	return &raftmeta.SetDraining{ID: int32(id), Draining: draining}, nil
}

// judgeChange checks each key and the config that the change leads to.
func judgeChange(schema *config.Schema, old map[string]string, change raftmeta.ConfigChange) error {
	for _, op := range change.Ops {
		key, known := schema.Lookup(op.Key)
		switch {
		case !known:
			return refuse(kerr.InvalidConfig, fmt.Sprintf("unknown config name: %s", op.Key))
		case (op.Kind == raftmeta.ConfigAppend || op.Kind == raftmeta.ConfigSubtract) && key.Type != config.TypeList:
			return refuse(kerr.InvalidConfig, fmt.Sprintf("config %s is no list: it cannot be appended to or subtracted from", op.Key))
		}
	}
	if err := schema.ValidateAll(change.Applied(old)); err != nil {
		return refuse(kerr.InvalidConfig, err.Error())
	}
	return nil
}

func judgeBrokerChange(old map[string]string, change raftmeta.ConfigChange) error {
	for _, op := range change.Ops {
		if key, known := config.Broker.Lookup(op.Key); known && key.ReadOnly {
			return refuse(kerr.InvalidRequest, fmt.Sprintf("config %s cannot be changed while the broker runs: set it with --set and restart", op.Key))
		}
	}
	return judgeChange(config.Broker, old, change)
}
