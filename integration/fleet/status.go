package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	askTimeout = time.Second // a paused node accepts connections and answers nothing
	maxAnswer  = 16 << 20
	pollEvery  = 20 * time.Millisecond
)

// client keeps no connections: a node that was killed leaves none behind.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Get asks the node's HTTP port and decodes the answer. It gives up after a second.
func (n *Node) Get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s of node %d: %s: %s", path, n.ID, resp.Status, strings.TrimSpace(string(text)))
	}
	return json.Unmarshal(text, into)
}

// The states of a node in the metadata log.
const (
	RaftLeader   = "leader"
	RaftFollower = "follower"
)

const voter = "voter" // a server's suffrage

// Raft is what a node says about the metadata log.
type Raft struct {
	State        string `json:"state"`
	Term         uint64 `json:"term"`
	Leader       string `json:"leader"` // server id
	AppliedIndex uint64 `json:"applied_index"`
	Servers      []struct {
		ID       string `json:"id"`
		Suffrage string `json:"suffrage"`
	} `json:"servers"`
}

// Raft asks one node.
func (n *Node) Raft(ctx context.Context) (r Raft, err error) { return r, n.Get(ctx, "/v1/raft", &r) }

// nodeOf is the node part of a server id, "NODE-DIRECTORY".
func nodeOf(server string) (int32, bool) {
	text, _, _ := strings.Cut(server, "-")
	id, err := strconv.ParseInt(text, 10, 32)
	return int32(id), err == nil
}

// Controller is the node that leads the metadata log: of those that say so of themselves the one with the highest term,
// as one that is cut off may not know better.
func (f *Fleet) Controller(ctx context.Context) (id int32, term uint64, err error) {
	for _, n := range f.nodes {
		if !n.Running() {
			continue
		}
		if r, err := n.Raft(ctx); err == nil && r.State == RaftLeader && r.Term > term {
			id, term = n.ID, r.Term
		}
	}
	if id == 0 {
		return 0, 0, errors.New("no node says that it is the controller")
	}
	return id, term, nil
}

// Voters are the nodes that vote in the metadata log, as the controller sees it.
func (f *Fleet) Voters(ctx context.Context) ([]int32, error) {
	id, _, err := f.Controller(ctx)
	if err != nil {
		return nil, err
	}
	r, err := f.Node(id).Raft(ctx)
	if err != nil {
		return nil, err
	}
	var voters []int32
	for _, s := range r.Servers {
		if node, ok := nodeOf(s.ID); ok && s.Suffrage == voter {
			voters = append(voters, node)
		}
	}
	slices.Sort(voters)
	return voters, nil
}

// Partition is what a node says about one partition; offsets are -1 if it has no replica.
type Partition struct {
	Partition     int32   `json:"partition"`
	Leader        int32   `json:"leader"`
	LeaderEpoch   int32   `json:"leader_epoch"`
	Replicas      []int32 `json:"replicas"`
	ISR           []int32 `json:"isr"`
	HighWatermark int64   `json:"high_watermark"`
	LogEnd        int64   `json:"log_end_offset"`
}

// Topic asks one node about a topic.
func (n *Node) Topic(ctx context.Context, topic string) ([]Partition, error) {
	var detail struct {
		Partition []Partition `json:"partition"`
	}
	if err := n.Get(ctx, "/v1/topics/"+topic, &detail); err != nil {
		return nil, err
	}
	return detail.Partition, nil
}

// Topic asks every node that runs, and for each partition believes the one with the highest leader epoch; of those, the
// leader itself.
func (f *Fleet) Topic(ctx context.Context, topic string) ([]Partition, error) {
	best := map[int32]Partition{}
	var errs []error
	for _, n := range f.nodes {
		if !n.Running() {
			continue
		}
		partitions, err := n.Topic(ctx, topic)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, p := range partitions {
			known, ok := best[p.Partition]
			if !ok || p.LeaderEpoch > known.LeaderEpoch || (p.LeaderEpoch == known.LeaderEpoch && p.Leader == n.ID) {
				best[p.Partition] = p
			}
		}
	}
	if len(best) == 0 {
		return nil, errors.Join(append(errs, fmt.Errorf("no node knows topic %s", topic))...)
	}
	all := make([]Partition, 0, len(best))
	for _, p := range best {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Partition) int { return int(a.Partition - b.Partition) })
	return all, nil
}

// Eventually asks again and again until cond is nil. When ctx ends first it returns what cond said last.
func Eventually(ctx context.Context, cond func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-tick.C:
		}
	}
}
