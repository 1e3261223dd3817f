package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

const (
	// maxTopicName is Kafka's: a directory name has to hold the topic, a partition number and a suffix.
	maxTopicName = 249
	// maxPartitions bounds what one topic may have, as Kafka bounds what one request may create.
	maxPartitions = 10_000
	// concurrentProposals is how many commands of one request are in flight, so that they share log entries.
	concurrentProposals = 64
)

// CreateTopics (19), v0-v7. KIP-4, 108, 464, 525, 599.
//
// A success is answered when the partitions have leaders, because clients produce right after it.
func (b *Broker) createTopics(r *wire.Request) {
	req := r.Body.(*kmsg.CreateTopicsRequest)
	resp := kmsg.NewCreateTopicsResponse()
	resp.Topics = make([]kmsg.CreateTopicsResponseTopic, len(req.Topics))
	named := map[string]int{}
	for i := range req.Topics {
		named[req.Topics[i].Topic]++
	}
	ctx, cancel := b.bounded(r, req.TimeoutMillis)
	defer cancel()
	placer := newPlacer(b.meta.Image())
	var work errgroup.Group
	work.SetLimit(concurrentProposals)
	for i := range req.Topics {
		rt, t := &req.Topics[i], &resp.Topics[i]
		*t = kmsg.NewCreateTopicsResponseTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = rt.Topic, -1, -1
		if named[rt.Topic] > 1 {
			t.ErrorCode, t.ErrorMessage = kerr.InvalidRequest.Code, nullable("the request names the topic more than once")
			continue
		}
		var cmd *raftmeta.CreateTopic
		err := b.placed(ctx, &placer, func() (err error) {
			cmd, err = b.planTopic(r.Session.Tenant, rt, placer)
			return err
		})
		if err != nil {
			t.ErrorCode, t.ErrorMessage = b.codeOf(err), messageOf(err)
			continue
		}
		work.Go(func() error {
			topic, err := b.createTopic(ctx, cmd, req.ValidateOnly)
			if err != nil {
				t.ErrorCode, t.ErrorMessage = b.codeOf(err), messageOf(err)
				return nil
			}
			b.describeCreated(t, topic)
			return nil
		})
	}
	_ = work.Wait() // every topic answers for itself
	r.Reply(&resp)
}

func (b *Broker) createTopic(ctx context.Context, cmd *raftmeta.CreateTopic, validateOnly bool) (*raftmeta.Topic, error) {
	if validateOnly {
		planned := &raftmeta.Topic{Name: cmd.Name, Config: cmd.Config}
		for _, replicas := range cmd.Assignments {
			planned.Partitions = append(planned.Partitions, raftmeta.Partition{Replicas: replicas})
		}
		return planned, nil
	}
	result, err := b.meta.Propose(ctx, cmd)
	if err != nil {
		return nil, err
	}
	b.logger.Info("topic created", "topic", cmd.Name, "partitions", len(cmd.Assignments), "id", result.Topic.ID)
	b.reconciler.catchUp()
	return result.Topic, nil
}

// planTopic judges everything about a new topic and chooses what the request leaves open.
func (b *Broker) planTopic(tenant string, rt *kmsg.CreateTopicsRequestTopic, placer *placer) (*raftmeta.CreateTopic, error) {
	if err := checkTopicName(rt.Topic); err != nil {
		return nil, err
	}
	img := b.meta.Image()
	if _, exists := img.Topic(tenant, rt.Topic); exists {
		return nil, refuse(kerr.TopicAlreadyExists, fmt.Sprintf("Topic '%s' already exists.", rt.Topic))
	}
	if other, collides := img.CollidingTopic(tenant, rt.Topic); collides {
		return nil, refuse(kerr.InvalidTopicException, fmt.Sprintf("Topic '%s' collides with existing topic: %s", rt.Topic, other.Name))
	}
	overrides := map[string]string{}
	for _, c := range rt.Configs {
		if c.Value == nil {
			return nil, refuse(kerr.InvalidConfig, fmt.Sprintf("config %s is null", c.Name))
		}
		overrides[c.Name] = *c.Value
	}
	if err := config.Topic.ValidateAll(overrides); err != nil {
		return nil, refuse(kerr.InvalidConfig, err.Error())
	}
	assignments, err := b.place(rt, placer)
	if err != nil {
		return nil, err
	}
	id, err := uuid.New(nil)
	if err != nil {
		return nil, err
	}
	return &raftmeta.CreateTopic{ID: id, Tenant: tenant, Name: rt.Topic, Config: overrides, Assignments: assignments}, nil
}

// checkTopicName applies Kafka's rules, and keeps the names of its internal topics unused: clients give
// them a meaning that nothing here has.
func checkTopicName(name string) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}
	switch {
	case name == "" || name == "." || name == "..":
		return refuse(kerr.InvalidTopicException, fmt.Sprintf("topic name %q is not allowed", name))
	case len(name) > maxTopicName:
		return refuse(kerr.InvalidTopicException, fmt.Sprintf("topic name has %d characters, %d are allowed", len(name), maxTopicName))
	case strings.ContainsFunc(name, bad):
		return refuse(kerr.InvalidTopicException, fmt.Sprintf("topic name %q has characters other than ASCII alphanumerics, '.', '_' and '-'", name))
	case isInternal(name):
		return refuse(kerr.InvalidTopicException, fmt.Sprintf("topic name %s is reserved", name))
	}
	return nil
}

func isInternal(name string) bool {
	return name == "__consumer_offsets" || name == "__transaction_state" || name == "__share_group_state" || name == MetadataLog
}

// place chooses the replicas of a new topic's partitions, or checks those that the request gives.
func (b *Broker) place(rt *kmsg.CreateTopicsRequestTopic, placer *placer) ([][]int32, error) {
	brokers := placer.brokers()
	if len(rt.ReplicaAssignment) > 0 {
		if rt.NumPartitions != -1 || rt.ReplicationFactor != -1 {
			return nil, refuse(kerr.InvalidRequest, "a request with replica assignments must leave partitions and replication factor at -1")
		}
		return checkAssignment(rt.ReplicaAssignment, brokers)
	}
	defaults := b.config()
	partitions, factor := int(rt.NumPartitions), int(rt.ReplicationFactor)
	if partitions == -1 {
		partitions = int(defaults.NumPartitions)
	}
	if factor == -1 {
		factor = int(defaults.DefaultReplicationFactor)
	}
	switch {
	case partitions <= 0 || partitions > maxPartitions:
		return nil, refuse(kerr.InvalidPartitions, fmt.Sprintf("%d partitions: a topic has 1 to %d", partitions, maxPartitions))
	case factor <= 0 || factor > len(brokers):
		return nil, refuse(kerr.InvalidReplicationFactor, fmt.Sprintf("replication factor %d: there are %d brokers", factor, len(brokers)))
	}
	return placer.place(partitions, factor), nil
}

func checkAssignment(given []kmsg.CreateTopicsRequestTopicReplicaAssignment, brokers []int32) ([][]int32, error) {
	assignments := make([][]int32, len(given))
	for _, a := range given {
		if a.Partition < 0 || int(a.Partition) >= len(given) || assignments[a.Partition] != nil {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partitions of an assignment must be numbered 0 to n-1, each once")
		}
		assignments[a.Partition] = a.Replicas
	}
	return assignments, checkReplicas(assignments, brokers)
}

func checkReplicas(assignments [][]int32, brokers []int32) error {
	known := map[int32]bool{}
	for _, id := range brokers {
		known[id] = true
	}
	for i, replicas := range assignments {
		seen := map[int32]bool{}
		for _, id := range replicas {
			if !known[id] || seen[id] {
				return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d: broker %d is unknown, shutting down or named twice", i, id))
			}
			seen[id] = true
		}
		if len(replicas) == 0 || len(replicas) != len(assignments[0]) {
			return refuse(kerr.InvalidReplicaAssignment, "every partition needs the same number of replicas, at least one")
		}
	}
	return nil
}

// factorOf is the number of replicas that a topic's partitions have when none of them moves.
func factorOf(t *raftmeta.Topic) int {
	p := &t.Partitions[0]
	return len(p.Replicas) - len(p.Removing)
}

// describeCreated fills in what v5 and later tell of a created topic.
func (b *Broker) describeCreated(t *kmsg.CreateTopicsResponseTopic, topic *raftmeta.Topic) {
	t.TopicID = topic.ID
	t.NumPartitions = int32(len(topic.Partitions))
	t.ReplicationFactor = int16(factorOf(topic))
	for _, v := range config.ResolveTopic(topic.Config, b.layers()).Values() {
		t.Configs = append(t.Configs, kmsg.CreateTopicsResponseTopicConfig{
			Name: v.Name, Value: v.Shown(), Source: int8(v.Source), ReadOnly: v.ReadOnly, IsSensitive: v.Sensitive,
		})
	}
}

// autoCreate makes a topic that a Metadata request named in vain, with the broker's defaults.
func (b *Broker) autoCreate(r *wire.Request, name string) (*raftmeta.Topic, error) {
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, -1, -1
	cmd, err := b.planTopic(r.Session.Tenant, &rt, newPlacer(b.meta.Image()))
	var topic *raftmeta.Topic
	if err == nil {
		topic, err = b.createTopic(ctx, cmd, false)
	}
	if errors.Is(err, kerr.TopicAlreadyExists) || errors.Is(err, raftmeta.ErrTopicExists) {
		return b.resolve(b.meta.Image(), r.Session.Tenant, topicRef{name: name}) // another request was faster
	}
	return topic, err
}
