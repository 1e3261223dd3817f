package raftmeta

import (
	"maps"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/uuid"
)

// ConfigOpKind is what an op does to its key, numbered as in IncrementalAlterConfigs.
type ConfigOpKind byte

// The kinds of config ops.
const (
	ConfigSet      ConfigOpKind = 0
	ConfigDelete   ConfigOpKind = 1
	ConfigAppend   ConfigOpKind = 2 // add the elements of Value that the list lacks
	ConfigSubtract ConfigOpKind = 3 // remove the elements of Value from the list
)

// ConfigOp changes one key. Lists are comma-separated. They are appended to and subtracted from where
// the op is applied, so that two at once both take effect.
type ConfigOp struct {
	Kind  ConfigOpKind
	Key   string
	Value string
	Base  string // ConfigAppend, ConfigSubtract: the list to start from if the key has no override
}

func opFields(c *coder, op *ConfigOp) {
	b := byte(op.Kind)
	c.byte(&b)
	if c.decoding && c.err == nil && b > byte(ConfigSubtract) {
		c.corrupt("config op %d", b)
	}
	op.Kind = ConfigOpKind(b)
	c.name(&op.Key)
	c.string(&op.Value, maxBlob)
	c.string(&op.Base, maxBlob)
}

// ConfigChange is what SetTopicConfig and SetConfig do: all ops in order, or with Replace, on an
// empty config instead of the present one (AlterConfigs). The front has judged keys and values.
type ConfigChange struct {
	Replace bool
	Ops     []ConfigOp
}

func (x *ConfigChange) fields(c *coder) {
	c.bool(&x.Replace)
	list(c, &x.Ops, 4, opFields)
}

// Applied returns what the change makes of a config, as a new map; nil if nothing is left. It is what the
// front judges before it proposes.
func (x *ConfigChange) Applied(old map[string]string) map[string]string {
	next := map[string]string{}
	if !x.Replace {
		maps.Copy(next, old)
	}
	for _, op := range x.Ops {
		switch op.Kind {
		case ConfigSet:
			next[op.Key] = op.Value
		case ConfigDelete:
			delete(next, op.Key)
		default:
			current, ok := next[op.Key]
			if !ok {
				current = op.Base
			}
			edit := config.AppendList
			if op.Kind == ConfigSubtract {
				edit = config.SubtractList
			}
			next[op.Key] = edit(current, op.Value)
		}
	}
	return cloneStrings(next)
}

// SetTopicConfig changes the overrides of a topic. A change of min.insync.replicas judges the
// eligible leaders anew in the same entry (replication.md 9.5), and one of
// unclean.leader.election.enable the partitions without a leader.
type SetTopicConfig struct {
	ID     uuid.ID
	Change ConfigChange
}

func (*SetTopicConfig) kind() kind { return kindSetTopicConfig }

func (x *SetTopicConfig) fields(c *coder) {
	c.id(&x.ID)
	x.Change.fields(c)
}

func (x *SetTopicConfig) apply(e *edit) (Result, error) {
	t, ok := e.topic(x.ID)
	if !ok {
		return Result{}, ErrUnknownTopic
	}
	next := *t
	next.Config = x.Change.Applied(t.Config)
	if len(next.Config) > maxItems {
		return Result{}, ErrInvalidRequest
	}
	if maps.Equal(next.Config, t.Config) {
		return Result{Topic: t}, nil
	}
	if partitions := e.reconfigure(&next); partitions != nil {
		next.Partitions = partitions
	}
	e.putTopic(&next)
	return Result{Topic: &next}, nil
}

// SetConfig changes the dynamic config of a resource other than a topic.
type SetConfig struct {
	Type   ResourceType
	Name   string
	Change ConfigChange
}

func (*SetConfig) kind() kind { return kindSetConfig }

func (x *SetConfig) fields(c *coder) {
	resourceFields(c, &x.Type)
	c.name(&x.Name)
	x.Change.fields(c)
}

func (x *SetConfig) apply(e *edit) (Result, error) {
	if x.Type != BrokerResource && x.Type != GroupResource {
		return Result{}, ErrInvalidRequest
	}
	key := ConfigKey{x.Type, x.Name}
	old := e.config(key)
	next := x.Change.Applied(old)
	if len(next) > maxItems {
		return Result{}, ErrInvalidRequest
	}
	if maps.Equal(old, next) {
		return Result{}, nil
	}
	e.putConfig(key, next)
	if key == (ConfigKey{BrokerResource, ""}) && (old[minInSyncKey] != next[minInSyncKey] || old[uncleanKey] != next[uncleanKey]) {
		e.eachTopic(e.reconfigure)
	}
	return Result{}, nil
}
