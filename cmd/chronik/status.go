package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

type statusCmd struct {
	clientFlags
	httpFlags
	Check bool `help:"Exit with 1 unless the cluster is healthy: a controller, all brokers active, all replicas in sync." env:"-"`
}

// Run asks both ports of a node: one that tells its state and serves no clients is not well.
func (c *statusCmd) Run(a *app) error {
	var raft json.RawMessage
	if err := c.get(a.ctx, c.Timeout, "/v1/raft", &raft); err != nil {
		return err
	}
	state, err := c.cluster(a.ctx, c.Timeout)
	if err != nil {
		return err
	}
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	client.Close()
	troubles := state.troubles()
	if err := c.print(a, &state, raft, troubles); err != nil {
		return err
	}
	if c.Check && len(troubles) > 0 {
		return errors.New(strings.Join(troubles, "; "))
	}
	return nil
}

func (c *statusCmd) print(a *app, s *clusterState, raft json.RawMessage, troubles []string) error {
	if a.json {
		return a.printJSON(map[string]any{
			"cluster": s.ClusterID, "controller": s.Controller, "brokers": s.Brokers, "topics": s.Topics, "partitions": s.Partitions,
			"offline_partitions": s.Counts.Offline, "under_replicated_partitions": s.Counts.UnderReplicated,
			"under_min_isr_partitions": s.Counts.UnderMinISR, "reassignments": s.Counts.Reassignments,
			"healthy": len(troubles) == 0, "raft": raft,
		})
	}
	var log struct {
		State   string `json:"state"`
		Term    uint64 `json:"term"`
		Commit  uint64 `json:"commit_index"`
		Applied uint64 `json:"applied_index"`
	}
	if err := json.Unmarshal(raft, &log); err != nil {
		return fmt.Errorf("%s does not answer like a node: %w", c.HTTP, err)
	}
	controller := fmt.Sprint("broker ", s.Controller)
	if s.Controller < 0 {
		controller = "none"
	}
	fmt.Fprintf(a.stdout, "Cluster:     %s\nController:  %s\nTopics:      %d\nPartitions:  %d, %d without a leader, %d under-replicated, %d under min.insync.replicas, %d moving\nMetadata:    %s in term %d, %d of %d applied\n\n",
		s.ClusterID, controller, s.Topics, s.Partitions, s.Counts.Offline, s.Counts.UnderReplicated, s.Counts.UnderMinISR, s.Counts.Reassignments,
		log.State, log.Term, log.Applied, log.Commit)
	return a.printTable(s.table())
}
