package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
)

type clusterReassignCmd struct {
	clientFlags
	waitFlags
	Partition string  `arg:"" optional:"" name:"topic" help:"TOPIC or TOPIC:PARTITION."`
	Replicas  []int32 `help:"Ids of the brokers to hold it, the preferred leader first. Of a whole topic each partition starts the list one further on, so that all of them lead." placeholder:"ID,…" env:"-"`
	File      string  `help:"Reassignment in the JSON of Kafka's kafka-reassign-partitions.sh." placeholder:"FILE" env:"-"`
	Cancel    bool    `help:"Cancel what is under way: of the topic or partition, of the file, or everything." env:"-"`
	List      bool    `help:"List what is under way." env:"-"`
}

func (c *clusterReassignCmd) check() error {
	given := 0
	for _, set := range []bool{len(c.Replicas) > 0, c.Cancel, c.List, c.File != "" && !c.Cancel} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("give one of --replicas, --file, --cancel and --list")
	case len(c.Replicas) > 0 && c.Partition == "":
		return errors.New("--replicas needs a TOPIC or TOPIC:PARTITION")
	case c.File != "" && c.Partition != "":
		return errors.New("--file names the partitions itself")
	}
	return nil
}

func (c *clusterReassignCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		if c.List {
			return c.list(ctx, a, adm)
		}
		req, err := c.request(ctx, adm)
		if err != nil {
			return err
		}
		if err := c.send(ctx, a, adm, req); err != nil || !c.Wait {
			return err
		}
		set, asked := kadm.TopicsSet{}, 0
		for topic, partitions := range req {
			for number := range partitions {
				set.Add(topic, number)
				asked++
			}
		}
		return c.until(a, func(ctx context.Context) (string, bool, error) {
			moving, err := adm.ListPartitionReassignments(ctx, set)
			n := len(moving.Sorted())
			return fmt.Sprintf("%d of %d partitions are still on their way", n, asked), n == 0, err
		})
	})
}

// request is what was asked for, by partition; no replicas cancel.
func (c *clusterReassignCmd) request(ctx context.Context, adm *kadm.Client) (kadm.AlterPartitionAssignmentsReq, error) {
	req := kadm.AlterPartitionAssignmentsReq{}
	switch {
	case c.File != "":
		planned, err := readReassignment(c.File)
		if err != nil {
			return nil, err
		}
		for _, p := range planned {
			if c.Cancel {
				p.Replicas = nil
			}
			req.Assign(p.Topic, p.Partition, p.Replicas)
		}
	case c.Cancel && c.Partition == "":
		moving, err := adm.ListPartitionReassignments(ctx, nil)
		if err != nil {
			return nil, err
		}
		for _, p := range moving.Sorted() {
			req.Assign(p.Topic, p.Partition, nil)
		}
	default:
		set, err := namedPartitions(ctx, adm, []string{c.Partition})
		if err != nil {
			return nil, err
		}
		_, number, _ := parsePartition(c.Partition) // namedPartitions has read it
		set.Each(func(topic string, partition int32) {
			replicas := c.Replicas
			if number < 0 && len(replicas) > 0 {
				at := int(partition) % len(replicas)
				replicas = slices.Concat(replicas[at:], replicas[:at])
			}
			if c.Cancel {
				replicas = nil
			}
			req.Assign(topic, partition, replicas)
		})
	}
	return req, nil
}

type plannedPartition struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Replicas  []int32 `json:"replicas"`
}

// readReassignment reads what Kafka's tool writes and takes. Log directories, of which a broker has one
// here, are ignored.
func readReassignment(path string) ([]plannedPartition, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Version    int                `json:"version"`
		Partitions []plannedPartition `json:"partitions"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if file.Version != 1 || len(file.Partitions) == 0 {
		return nil, fmt.Errorf(`%s: want {"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2,3]}]}`, path)
	}
	for _, p := range file.Partitions {
		if p.Topic == "" || len(p.Replicas) == 0 {
			return nil, fmt.Errorf("%s: %s:%d has no topic or no replicas", path, p.Topic, p.Partition)
		}
	}
	return file.Partitions, nil
}

func (c *clusterReassignCmd) send(ctx context.Context, a *app, adm *kadm.Client, req kadm.AlterPartitionAssignmentsReq) error {
	answers, err := adm.AlterPartitionAssignments(ctx, req)
	if err != nil {
		return err
	}
	var failed []error
	done := []plannedPartition{}
	for _, r := range answers.Sorted() {
		if r.Err != nil {
			failed = append(failed, fmt.Errorf("%s:%d: %w", r.Topic, r.Partition, detailed(r.Err, r.ErrMessage)))
			continue
		}
		done = append(done, plannedPartition{r.Topic, r.Partition, req[r.Topic][r.Partition]})
	}
	what, hint := "started", "\nSee how far they are with `chronik cluster reassign --list`, or wait with --wait."
	if c.Cancel {
		what, hint = "cancelled", ""
	}
	if c.Wait || len(done) == 0 {
		hint = ""
	}
	if a.json {
		err = a.printJSON(map[string]any{what: done})
	} else {
		_, err = fmt.Fprintf(a.stdout, "Moves %s: %d.%s\n", what, len(done), hint)
	}
	return errors.Join(append(failed, err)...)
}

func (c *clusterReassignCmd) list(ctx context.Context, a *app, adm *kadm.Client) error {
	type line struct {
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Replicas  []int32 `json:"replicas"`
		Adding    []int32 `json:"adding"`
		Removing  []int32 `json:"removing"`
	}
	var set kadm.TopicsSet
	if c.Partition != "" {
		named, err := namedPartitions(ctx, adm, []string{c.Partition})
		if err != nil {
			return err
		}
		set = named
	}
	moving, err := adm.ListPartitionReassignments(ctx, set)
	if err != nil {
		return err
	}
	lines := []line{}
	for _, p := range moving.Sorted() {
		lines = append(lines, line{p.Topic, p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas})
	}
	if a.json {
		return a.printJSON(lines)
	}
	t := newTable("TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING")
	for _, l := range lines {
		t.add(l.Topic, l.Partition, ids(l.Replicas), ids(l.Adding), ids(l.Removing))
	}
	return a.printTable(t)
}

// sortPartitions orders a list by topic and partition.
func sortPartitions[T any](list []T, key func(T) (topic string, partition int32)) {
	slices.SortFunc(list, func(a, b T) int {
		topicA, a0 := key(a)
		topicB, b0 := key(b)
		return cmp.Or(cmp.Compare(topicA, topicB), cmp.Compare(a0, b0))
	})
}
