package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

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
	Start     int64   `json:"start_offset"`
	End       int64   `json:"end_offset"`
}

func (c *topicDescribeCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		topics, err := adm.ListTopics(ctx, c.Name)
		if err != nil {
			return err
		}
		topic := topics[c.Name]
		if topic.Err != nil {
			return topic.Err
		}
		starts, err := adm.ListStartOffsets(ctx, c.Name)
		if err != nil {
			return err
		}
		ends, err := adm.ListEndOffsets(ctx, c.Name)
		if err != nil {
			return err
		}
		overrides, err := topicOverrides(ctx, adm, c.Name)
		if err != nil {
			return err
		}
		var parts []describedPartition
		for _, p := range topic.Partitions.Sorted() {
			start, _ := starts.Lookup(c.Name, p.Partition)
			end, _ := ends.Lookup(c.Name, p.Partition)
			parts = append(parts, describedPartition{p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, start.Offset, end.Offset})
		}
		if a.json {
			return a.printJSON(map[string]any{"name": c.Name, "id": uuid.ID(topic.ID), "configs": overrides, "partitions": parts})
		}
		fmt.Fprintf(a.stdout, "Topic:    %s\nID:       %s\nConfigs:  %s\n\n", c.Name, uuid.ID(topic.ID), configLine(overrides))
		t := newTable("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END")
		for _, p := range parts {
			t.add(p.Partition, p.Leader, p.Epoch, ids(p.Replicas), ids(p.ISR), p.Start, p.End)
		}
		return a.printTable(t)
	})
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
