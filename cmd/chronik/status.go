package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

type statusCmd struct {
	clientFlags
	HTTP string `name:"http" default:"http://127.0.0.1:6092" help:"HTTP address of the node." placeholder:"URL"`
}

// maxStatus bounds what is read of an HTTP answer.
const maxStatus = 64 << 20

func (c *statusCmd) Run(a *app) error {
	raft, err := c.raft(a)
	if err != nil {
		return err
	}
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		meta, err := adm.Metadata(ctx)
		if err != nil {
			return err
		}
		partitions, offline := 0, 0
		for _, t := range meta.Topics {
			for _, p := range t.Partitions {
				partitions++
				if p.Leader < 0 {
					offline++
				}
			}
		}
		if a.json {
			return a.printJSON(map[string]any{
				"cluster": meta.Cluster, "controller": meta.Controller, "brokers": meta.Brokers.NodeIDs(),
				"topics": len(meta.Topics), "partitions": partitions, "offline_partitions": offline, "raft": raft,
			})
		}
		fmt.Fprintf(a.stdout, "Cluster:     %s\nTopics:      %d\nPartitions:  %d, %d without a leader\nMetadata:    %v in term %v, %v of %v applied\n\n",
			meta.Cluster, len(meta.Topics), partitions, offline, raft["state"], raft["term"], raft["applied_index"], raft["commit_index"])
		t := newTable("BROKER", "ADDRESS", "RACK")
		for _, b := range meta.Brokers {
			rack := ""
			if b.Rack != nil {
				rack = *b.Rack
			}
			t.add(b.NodeID, fmt.Sprintf("%s:%d", b.Host, b.Port), rack)
		}
		return a.printTable(t)
	})
}

// raft asks the node how its metadata log is doing.
func (c *statusCmd) raft(a *app) (state map[string]any, err error) {
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.HTTP, "/")+"/v1/raft", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w\nIs a node running? Start it with `chronik serve`, or name another with --http", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	dec := json.NewDecoder(io.LimitReader(resp.Body, maxStatus))
	dec.UseNumber()
	if err := dec.Decode(&state); err != nil {
		return nil, fmt.Errorf("%s does not answer like a node: %w", c.HTTP, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %v", c.HTTP, resp.Status, state["error"])
	}
	return state, nil
}
