package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/uuid"
)

type topicCmd struct {
	Create   topicCreateCmd   `cmd:"" help:"Create a topic."`
	List     topicListCmd     `cmd:"" help:"List topics."`
	Describe topicDescribeCmd `cmd:"" help:"Show partitions, offsets and configs of a topic."`
	Alter    topicAlterCmd    `cmd:"" help:"Change configs or add partitions."`
	Delete   topicDeleteCmd   `cmd:"" help:"Delete topics and all their records."`
}

type topicCreateCmd struct {
	clientFlags
	Name              string            `arg:"" help:"Name of the topic."`
	Partitions        int32             `default:"-1" help:"Number of partitions; -1: num.partitions of the broker." env:"-"`
	ReplicationFactor int16             `default:"-1" help:"Copies of each partition; -1: the broker's default." env:"-"`
	Config            map[string]string `short:"c" help:"Topic config, repeatable." placeholder:"KEY=VALUE" env:"-"`
}

func (c *topicCreateCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		configs := map[string]*string{}
		for k, v := range c.Config {
			configs[k] = &v
		}
		created, err := adm.CreateTopic(ctx, c.Partitions, c.ReplicationFactor, configs, c.Name)
		if err := detailed(err, created.ErrMessage); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]any{"name": c.Name, "id": uuid.ID(created.ID), "partitions": created.NumPartitions, "replication_factor": created.ReplicationFactor})
		}
		_, err = fmt.Fprintf(a.stdout, "Created topic %s with %d partitions.\n", c.Name, created.NumPartitions)
		return err
	})
}

type topicListCmd struct{ clientFlags }

func (c *topicListCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			return err
		}
		type line struct {
			Name              string `json:"name"`
			Partitions        int    `json:"partitions"`
			ReplicationFactor int    `json:"replication_factor"`
		}
		lines := []line{}
		for _, t := range topics.Sorted() {
			lines = append(lines, line{t.Topic, len(t.Partitions), t.Partitions.NumReplicas()})
		}
		if a.json {
			return a.printJSON(lines)
		}
		t := newTable("TOPIC", "PARTITIONS", "REPLICAS")
		for _, l := range lines {
			t.add(l.Name, l.Partitions, l.ReplicationFactor)
		}
		return a.printTable(t)
	})
}

type topicDescribeCmd struct {
	clientFlags
	Name string `arg:"" help:"Name of the topic."`
}

type describedPartition struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Epoch     int32   `json:"leader_epoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	ELR       []int32 `json:"elr"`      // could lead without a loss, though not in sync
	Adding    []int32 `json:"adding"`   // by a reassignment
	Removing  []int32 `json:"removing"` // when it completes
	Start     int64   `json:"start_offset"`
	End       int64   `json:"end_offset"`
}

func (c *topicDescribeCmd) Run(a *app) error {
	return c.onCluster(a, func(ctx context.Context, client *kgo.Client) error {
		adm := kadm.NewClient(client)
		ctx, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		topics, err := adm.ListTopics(ctx, c.Name)
		if err != nil {
			return err
		}
		topic := topics[c.Name]
		if topic.Err != nil {
			return topic.Err
		}
		parts, err := c.partitions(ctx, client, adm, topic)
		if err != nil {
			return err
		}
		overrides, err := topicOverrides(ctx, adm, c.Name)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]any{"name": c.Name, "id": uuid.ID(topic.ID), "configs": overrides, "partitions": parts})
		}
		fmt.Fprintf(a.stdout, "Topic:    %s\nID:       %s\nConfigs:  %s\n\n", c.Name, uuid.ID(topic.ID), configLine(overrides))
		t := newTable("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "ELR", "MOVING", "START", "END")
		for _, p := range parts {
			t.add(p.Partition, p.Leader, p.Epoch, ids(p.Replicas), ids(p.ISR), ids(p.ELR), moveOf(p), p.Start, p.End)
		}
		return a.printTable(t)
	})
}

// partitions gathers what several APIs tell of a topic's partitions. Offsets are -1 where there is no leader.
func (c *topicDescribeCmd) partitions(ctx context.Context, client *kgo.Client, adm *kadm.Client, topic kadm.TopicDetail) ([]describedPartition, error) {
	starts, err := adm.ListStartOffsets(ctx, c.Name)
	if err := exceptShards(err); err != nil {
		return nil, err
	}
	ends, err := adm.ListEndOffsets(ctx, c.Name)
	if err := exceptShards(err); err != nil {
		return nil, err
	}
	eligible, err := eligibleLeaders(ctx, client, c.Name)
	if err != nil {
		return nil, err
	}
	set := kadm.TopicsSet{}
	set.Add(c.Name, topic.Partitions.Numbers()...)
	moving, err := adm.ListPartitionReassignments(ctx, set)
	if err != nil {
		return nil, err
	}
	parts := []describedPartition{}
	for _, p := range topic.Partitions.Sorted() {
		move := moving[c.Name][p.Partition]
		parts = append(parts, describedPartition{
			Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR,
			ELR: append([]int32{}, eligible[p.Partition]...), Adding: append([]int32{}, move.AddingReplicas...), Removing: append([]int32{}, move.RemovingReplicas...),
			Start: offsetOf(starts, c.Name, p.Partition), End: offsetOf(ends, c.Name, p.Partition),
		})
	}
	return parts, nil
}

// exceptShards lets go what failed for some partitions only, as it does while they have no leader.
func exceptShards(err error) error {
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) {
		return nil
	}
	return err
}

func offsetOf(listed kadm.ListedOffsets, topic string, partition int32) int64 {
	o, ok := listed.Lookup(topic, partition)
	if !ok || o.Err != nil {
		return -1
	}
	return o.Offset
}

// moveOf shows a reassignment as what is added and what is removed.
func moveOf(p describedPartition) string {
	var parts []string
	for _, id := range p.Adding {
		parts = append(parts, fmt.Sprint("+", id))
	}
	for _, id := range p.Removing {
		parts = append(parts, fmt.Sprint("-", id))
	}
	return strings.Join(parts, " ")
}

// eligibleLeaders asks for those of a topic's partitions page by page (KIP-966).
func eligibleLeaders(ctx context.Context, client *kgo.Client, topic string) (map[int32][]int32, error) {
	eligible := map[int32][]int32{}
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: topic}}
	for {
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return nil, err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				eligible[p.Partition] = p.EligibleLeaderReplicas
			}
		}
		next := resp.NextCursor
		if next == nil || next.Topic != topic || req.Cursor != nil && next.Partition <= req.Cursor.Partition {
			return eligible, nil
		}
		req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: next.Topic, Partition: next.Partition}
	}
}

// topicOverrides are the configs that were set on the topic itself.
func topicOverrides(ctx context.Context, adm *kadm.Client, name string) (map[string]string, error) {
	described, err := adm.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, err
	}
	overrides := map[string]string{}
	for _, resource := range described {
		if resource.Err != nil {
			return nil, resource.Err
		}
		for _, config := range resource.Configs {
			if config.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
				overrides[config.Key] = config.MaybeValue()
			}
		}
	}
	return overrides, nil
}

func configLine(overrides map[string]string) string {
	if len(overrides) == 0 {
		return "none set"
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(overrides)) {
		parts = append(parts, key+"="+overrides[key])
	}
	return strings.Join(parts, " ")
}

type topicAlterCmd struct {
	clientFlags
	Name       string            `arg:"" help:"Name of the topic."`
	Set        map[string]string `help:"Config to set, repeatable." placeholder:"KEY=VALUE" env:"-"`
	Delete     []string          `help:"Config to reset to its default, repeatable." placeholder:"KEY" env:"-"`
	Partitions int32             `help:"New number of partitions; it can only rise." env:"-"`
}

func (c *topicAlterCmd) Run(a *app) error {
	if len(c.Set)+len(c.Delete) == 0 && c.Partitions == 0 {
		return errors.New("nothing to change: give --set, --delete or --partitions")
	}
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		var changes []kadm.AlterConfig
		for k, v := range c.Set {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v})
		}
		for _, k := range c.Delete {
			changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k})
		}
		if len(changes) > 0 {
			altered, err := adm.AlterTopicConfigs(ctx, changes, c.Name)
			if err != nil {
				return err
			}
			for _, r := range altered {
				if err := detailed(r.Err, r.ErrMessage); err != nil {
					return err
				}
			}
		}
		if c.Partitions > 0 {
			updated, err := adm.UpdatePartitions(ctx, int(c.Partitions), c.Name)
			if err != nil {
				return err
			}
			for _, r := range updated {
				if err := detailed(r.Err, r.ErrMessage); err != nil {
					return err
				}
			}
		}
		if a.json {
			return a.printJSON(map[string]string{"altered": c.Name})
		}
		_, err := fmt.Fprintf(a.stdout, "Altered topic %s.\n", c.Name)
		return err
	})
}

type topicDeleteCmd struct {
	clientFlags
	Names []string `arg:"" name:"name" help:"Names of the topics."`
}

func (c *topicDeleteCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		deleted, err := adm.DeleteTopics(ctx, c.Names...)
		if err != nil {
			return err
		}
		var failed []error
		done := []string{}
		for _, r := range deleted.Sorted() {
			if err := detailed(r.Err, r.ErrMessage); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", r.Topic, err))
				continue
			}
			done = append(done, r.Topic)
		}
		if a.json {
			if err := a.printJSON(map[string]any{"deleted": done}); err != nil {
				return err
			}
		} else {
			for _, name := range done {
				fmt.Fprintf(a.stdout, "Deleted topic %s.\n", name)
			}
		}
		return errors.Join(failed...)
	})
}
