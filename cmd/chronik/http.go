package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// httpFlags are those of commands that ask a node's HTTP port.
type httpFlags struct {
	HTTP string `name:"http" default:"http://127.0.0.1:6092" help:"HTTP address of any node." placeholder:"URL"`
}

// maxHTTP bounds what is read of an HTTP answer.
const maxHTTP = 64 << 20

// get decodes what a node answers to a path.
func (f *httpFlags) get(ctx context.Context, wait time.Duration, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(f.HTTP, "/")+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w\nIs a node running? Start it with `chronik serve`, or name another with --http", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHTTP))
	if err != nil {
		return fmt.Errorf("%s: %w", f.HTTP, err)
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error string }
		_ = json.Unmarshal(body, &said) // if it is a node's answer
		return fmt.Errorf("%s%s: %s: %s", f.HTTP, path, resp.Status, said.Error)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s does not answer like a node: %w", f.HTTP, err)
	}
	return nil
}

// clusterState is what the command line needs of GET /v1/cluster.
type clusterState struct {
	ClusterID  string        `json:"cluster_id"`
	Controller int32         `json:"controller"`
	Brokers    []brokerState `json:"brokers"`
	Topics     int           `json:"topics"`
	Partitions int           `json:"partitions"`
	Counts     struct {
		UnderReplicated int `json:"under_replicated"`
		Offline         int `json:"offline"`
		UnderMinISR     int `json:"under_min_isr"`
		Reassignments   int `json:"reassignments"`
	} `json:"counts"`
}

type brokerState struct {
	ID           int32  `json:"id"`
	State        string `json:"state"`
	Host         string `json:"host"`
	Port         int32  `json:"port"`
	Rack         string `json:"rack"`
	Draining     bool   `json:"draining"`
	Leaders      int    `json:"leaders"`
	Replicas     int    `json:"replicas"`
	Coordinators int    `json:"coordinators"`
}

func (f *httpFlags) cluster(ctx context.Context, wait time.Duration) (state clusterState, err error) {
	return state, f.get(ctx, wait, "/v1/cluster", &state)
}

func (s *clusterState) broker(id int32) (b brokerState, ok bool) {
	for _, b := range s.Brokers {
		if b.ID == id {
			return b, true
		}
	}
	return b, false
}

// troubles says what keeps a cluster from being healthy, nothing if it is.
func (s *clusterState) troubles() []string {
	var list []string
	add := func(n int, text string) {
		if n > 0 {
			list = append(list, fmt.Sprintf(text, n))
		}
	}
	if s.Controller < 0 {
		list = append(list, "there is no controller: too few nodes are up")
	}
	inactive := 0
	for _, b := range s.Brokers {
		if b.State != "active" {
			inactive++
		}
	}
	add(inactive, "brokers not active: %d")
	add(s.Counts.Offline, "partitions without a leader: %d")
	add(s.Counts.UnderMinISR, "partitions with too few replicas in sync for acks=all: %d")
	add(s.Counts.UnderReplicated, "partitions with replicas out of sync: %d")
	return list
}

func (s *clusterState) table() *table {
	t := newTable("BROKER", "STATE", "ADDRESS", "RACK", "LEADERS", "REPLICAS", "DRAINING")
	for _, b := range s.Brokers {
		name := fmt.Sprint(b.ID)
		if b.ID == s.Controller {
			name += "*"
		}
		draining := "no"
		if b.Draining {
			draining = "yes"
		}
		t.add(name, b.State, fmt.Sprintf("%s:%d", b.Host, b.Port), b.Rack, b.Leaders, b.Replicas, draining)
	}
	return t
}
