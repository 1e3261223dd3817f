package broker

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// DescribeConfigs (32), v0-v4. KIP-133, 226, 569. A null or empty list of keys asks for all of them;
// keys that are not known are left out.
func (b *Broker) describeConfigs(r *wire.Request) {
	req := r.Body.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewDescribeConfigsResponse()
	for _, asked := range req.Resources {
		res := kmsg.NewDescribeConfigsResponseResource()
		res.ResourceType, res.ResourceName = asked.ResourceType, asked.ResourceName
		res.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		values, err := b.resolveConfig(r.Session.Tenant, asked.ResourceType, asked.ResourceName)
		res.ErrorCode, res.ErrorMessage = b.codeOf(err), messageOf(err)
		for _, v := range values {
			if len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, v.Name) {
				res.Configs = append(res.Configs, describeConfig(v, req))
			}
		}
		resp.Resources = append(resp.Resources, res)
	}
	r.Reply(&resp)
}

func describeConfig(v config.Value, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value = v.Name, v.Shown()
	c.ReadOnly, c.IsSensitive = v.ReadOnly, v.Sensitive
	c.IsDefault = v.Source == config.SourceDefault
	c.Source, c.ConfigType = kmsg.ConfigSource(v.Source), kmsg.ConfigType(v.Type)
	if req.IncludeSynonyms {
		for _, s := range v.Synonyms {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: s.Name, Value: s.Shown(), Source: kmsg.ConfigSource(s.Source),
			})
		}
	}
	if req.IncludeDocumentation {
		c.Documentation = nullable(v.Doc)
	}
	return c
}

// resolveConfig returns every key of a resource with its effective value.
func (b *Broker) resolveConfig(tenant string, kind kmsg.ConfigResourceType, name string) ([]config.Value, error) {
	img := b.meta.Image()
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		if err := checkTopicName(name); err != nil {
			return nil, err
		}
		topic, err := b.resolve(img, tenant, topicRef{name: name})
		if err != nil {
			return nil, err
		}
		return config.ResolveTopic(topic.Config, b.layers()).Values(), nil
	case kmsg.ConfigResourceTypeBroker:
		if name == "" { // the cluster-wide dynamic defaults, and nothing else
			return config.DynamicDefaults(img.Config(raftmeta.BrokerResource, "")), nil
		}
		if err := b.ownID(name); err != nil {
			return nil, err
		}
		return config.ResolveBroker(b.layers()).Values(), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		return config.ResolveGroup(img.Config(raftmeta.GroupResource, name), b.layers()).Values(), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		return nil, b.ownID(name) // the one logger has no levels by name
	}
	return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("resource type %d has no configs here", kind))
}

// ownID checks that a broker resource is this broker.
func (b *Broker) ownID(name string) error {
	if id, err := strconv.ParseInt(name, 10, 32); err != nil || int32(id) != b.nodeID {
		return refuse(kerr.InvalidRequest, fmt.Sprintf("unexpected broker id %q, expected %d", name, b.nodeID))
	}
	return nil
}
