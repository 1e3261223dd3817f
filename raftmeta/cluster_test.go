package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// cluster is three nodes in one process.
type cluster struct {
	options    map[string]Options
	transports map[string]*raft.InmemTransport
	nodes      map[string]*Node
}

func newCluster(t *testing.T) *cluster { return newClusterWith(t, func(*Options) {}) }

func newClusterWith(t *testing.T, change func(*Options)) *cluster {
	c := &cluster{options: map[string]Options{}, transports: map[string]*raft.InmemTransport{}, nodes: map[string]*Node{}}
	var servers []Server
	for i := range 3 {
		id := fmt.Sprintf("%d-test", i+1)
		servers = append(servers, Server{ID: id, Address: id})
	}
	for _, s := range servers {
		o := aloneOptions(t, t.TempDir())
		o.ServerID, o.Bootstrap = s.ID, servers
		o.TrailingLogs = 1
		o.Timeouts = Timeouts{Heartbeat: 100 * time.Millisecond, Election: 100 * time.Millisecond, Lease: 50 * time.Millisecond}
		change(&o)
		c.options[s.ID] = o
	}
	for id := range c.options {
		c.start(t, id)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

func (c *cluster) start(t *testing.T, id string) {
	t.Helper()
	_, transport := raft.NewInmemTransport(raft.ServerAddress(id))
	for other, peer := range c.transports {
		if other != id {
			transport.Connect(raft.ServerAddress(other), peer)
			peer.Connect(raft.ServerAddress(id), transport)
		}
	}
	c.transports[id] = transport
	o := c.options[id]
	o.transport = transport
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[id] = n
}

func (c *cluster) leader(t *testing.T) *Node {
	t.Helper()
	ctx := testContext(t)
	for ctx.Err() == nil {
		for _, n := range c.nodes {
			if err := n.Ready(ctx); err == nil && n.IsLeader() {
				return n
			}
		}
	}
	t.Fatal("no leader")
	return nil
}

// propose retries as a proposer with safe preconditions does, on whoever leads.
func (c *cluster) propose(t *testing.T, cmd Command) Result {
	t.Helper()
	ctx := testContext(t)
	for {
		result, err := c.leader(t).Propose(ctx, cmd)
		if err == nil {
			return result
		}
		if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrOutcomeUnknown) || ctx.Err() != nil {
			t.Fatalf("%T: %v", cmd, err)
		}
	}
}

// catchUp waits until all nodes hold the image of the leader, and compares their hashes.
func (c *cluster) catchUp(t *testing.T) {
	t.Helper()
	want := c.leader(t).Image()
	ctx := testContext(t)
	for id, n := range c.nodes {
		s := n.Subscribe()
		for n.Image().Index() < want.Index() {
			if err := waitBriefly(ctx, s); err != nil {
				t.Fatalf("node %s stays at %d, leader is at %d: %v", id, n.Image().Index(), want.Index(), err)
			}
		}
		s.Close()
		if n.Image().Hash() != want.Hash() {
			t.Fatalf("node %s differs: %s", id, cmp.Diff(describe(want), describe(n.Image())))
		}
	}
}

// waitBriefly waits for a change, or a moment: entries that change nothing are not reported.
func waitBriefly(ctx context.Context, s *Subscription) error {
	moment, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, _, err := s.Wait(moment); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

func TestCatchUpBringsWhatWasCommittedBefore(t *testing.T) {
	c := newCluster(t)
	want := c.propose(t, &InitCluster{ClusterID: testID(1)}).Index
	lost := c.leader(t)
	if err := lost.CatchUp(testContext(t)); err != nil || lost.Image().Index() <= want {
		t.Errorf("%v; the node is at %d, the command at %d", err, lost.Image().Index(), want)
	}
	for _, transport := range c.transports {
		transport.DisconnectAll()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := lost.CatchUp(ctx); err == nil {
		t.Error("a node without a majority says that it has caught up")
	}
}

func TestThreeNodesHoldTheSameTable(t *testing.T) {
	c := newCluster(t)
	c.propose(t, &InitCluster{testID(200)})
	for _, cmd := range []Command{
		&RegisterBroker{ID: 1, Incarnation: testID(100)},
		&CreateTopic{ID: testID(1), Name: "a", Assignments: [][]int32{{1}}},
	} {
		if b, ok := c.leader(t).Image().Broker(1); ok {
			c.propose(t, &ActivateBroker{1, b.Epoch})
		}
		c.propose(t, cmd)
	}
	c.catchUp(t)

	for id, n := range c.nodes { // a follower says that it is none
		if !n.IsLeader() {
			if _, err := n.Propose(testContext(t), &InitCluster{testID(200)}); !errors.Is(err, ErrNotLeader) {
				t.Errorf("propose on follower %s: %v", id, err)
			}
		}
	}

	// A node that was away while the others cut their logs gets a snapshot, and looks at everything.
	away := "1-test"
	if err := c.nodes[away].Close(); err != nil {
		t.Fatal(err)
	}
	delete(c.nodes, away)
	for i := range 20 {
		c.propose(t, commitOf(fmt.Sprint("g", i), testID(1), int64(i)))
	}
	for _, n := range c.nodes {
		if err := n.Snapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	c.propose(t, commitOf("last", testID(1), 1))
	c.start(t, away)
	c.catchUp(t)
	if s := c.nodes[away].Stats().Snapshot; s.Index == 0 {
		t.Error("no snapshot was installed")
	}
}
