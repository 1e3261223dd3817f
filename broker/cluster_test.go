package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/cluster"
	"github.com/chronik-stream/chronik/raftmeta"
)

// startCluster runs nodes 1 to n, which form one cluster.
func startCluster(t *testing.T, n int, config map[string]string) []*testNode {
	t.Helper()
	nodes := make([]*testNode, n)
	var join []string
	for i := range nodes {
		gossip := freeAddress(t)
		join = append(join, gossip)
		nodes[i] = &testNode{t: t, dir: t.TempDir(), options: Options{
			Config: config, NodeID: int32(i + 1), Gossip: gossip, Rack: fmt.Sprint("rack-", i+1), BootstrapExpect: n,
		}}
	}
	for _, node := range nodes {
		node.options.Join = join
		node.launch()
	}
	for _, node := range nodes {
		node.await()
	}
	return nodes
}

// freeAddress is a loopback address that nobody used a moment ago, for a port that must be known before
// it is opened.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// until asks again and again whether cond holds.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s: %s", what)
		}
		<-tick.C
	}
}

// partitionOn is a partition as a node has it in its metadata.
func (n *testNode) partitionOn(topic string, number int) *raftmeta.Partition {
	n.t.Helper()
	found, ok := n.b.meta.Image().Topic(defaultTenant, topic)
	if !ok {
		n.t.Fatalf("node %d has no topic %s", n.b.nodeID, topic)
	}
	return &found.Partitions[number]
}

// nodeOf finds a node by its broker id.
func nodeOf(t *testing.T, nodes []*testNode, id int32) *testNode {
	t.Helper()
	i := slices.IndexFunc(nodes, func(n *testNode) bool { return n.b.nodeID == id })
	if i < 0 {
		t.Fatalf("no node %d", id)
	}
	return nodes[i]
}

// TestAThirdNodeTakesOver: what is acknowledged is on all in-sync replicas, any node takes admin requests,
// and when the leader stops another serves the same records.
func TestAThirdNodeTakesOver(t *testing.T) {
	nodes := startCluster(t, 3, nil)
	for i, n := range nodes { // each creates a topic through itself
		n.createReplicated(fmt.Sprint("t", i), 3, 3)
	}
	until(t, "not every node knows the topics", func() bool {
		for _, n := range nodes {
			if n.b.meta.Image().TopicCount() < 3 {
				return false
			}
		}
		return true
	})
	first := nodes[0].partitionOn("t0", 0)
	leader := nodeOf(t, nodes, first.Leader)
	until(t, "the leader does not serve", func() bool {
		return leader.raw().produce(9, -1, "t0", 0, testBatch(t, nil, "a", "b")).ErrorCode == 0
	})
	for _, n := range nodes {
		h := n.b.replicas.get(n.topicID("t0"), 0)
		if end := h.replica.Offsets().End; end < 2 {
			t.Errorf("node %d has %d records of an acknowledged batch", n.b.nodeID, end)
		}
	}
	for _, n := range nodes {
		if n != leader {
			if code := n.raw().produce(9, -1, "t0", 0, testBatch(t, nil, "c")).ErrorCode; code != kerr.NotLeaderForPartition.Code {
				t.Errorf("produce to a follower: code %d", code)
			}
		}
	}
	began := time.Now()
	leader.stop()
	rest := slices.DeleteFunc(slices.Clone(nodes), func(n *testNode) bool { return n == leader })
	until(t, "no new leader", func() bool {
		id := rest[0].partitionOn("t0", 0).Leader
		return id != raftmeta.NoLeader && id != first.Leader
	})
	t.Logf("stopped and taken over after %v", time.Since(began))
	next := nodeOf(t, rest, rest[0].partitionOn("t0", 0).Leader)
	until(t, "the new leader does not serve", func() bool {
		return next.raw().produce(9, -1, "t0", 0, testBatch(t, nil, "d")).ErrorCode == 0
	})
	got := next.raw().ask(fetchRequest("t0", next.topicID("t0"), 0, 0), 12).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if values := valuesFrom(t, 12, got.RecordBatches, 0); fmt.Sprint(values) != "[a b d]" {
		t.Errorf("the new leader has %v", values)
	}
	leader.start()
	until(t, "the old leader is not in sync again", func() bool {
		return len(next.partitionOn("t0", 0).ISR) == 3
	})
}

// TestADamagedReplicaIsCopiedAnew: what was lost below the point that was known to be on disk comes back
// from the leader, and nobody counts on the replica meanwhile (I31).
func TestADamagedReplicaIsCopiedAnew(t *testing.T) {
	nodes := startCluster(t, 3, nil)
	nodes[0].createReplicated("t", 1, 3)
	until(t, "not every node knows the topic", func() bool { return nodes[1].b.meta.Image().TopicCount()+nodes[2].b.meta.Image().TopicCount() == 2 })
	leader := nodeOf(t, nodes, nodes[0].partitionOn("t", 0).Leader)
	for range 20 {
		until(t, "the leader does not serve", func() bool {
			return leader.raw().produce(9, -1, "t", 0, testBatch(t, nil, "some", "records")).ErrorCode == 0
		})
	}
	victim := nodeOf(t, nodes, leader.partitionOn("t", 0).Replicas[1])
	until(t, "the replicas are not in sync", func() bool { return len(leader.partitionOn("t", 0).ISR) == 3 })
	victim.stop()
	segment := filepath.Join(victim.dir, "log", "t-0", "00000000000000000000.log")
	info, err := os.Stat(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(segment, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	victim.start()
	until(t, "the damaged replica is not in sync again", func() bool {
		h := victim.b.replicas.get(victim.topicID("t"), 0)
		return h != nil && len(leader.partitionOn("t", 0).ISR) == 3 && h.replica.Offsets().End == 40
	})
	kept, err := filepath.Glob(filepath.Join(victim.dir, "log", "t-0.*-stray"))
	if err != nil || len(kept) != 1 {
		t.Errorf("what was damaged is kept in %v, %v", kept, err)
	}
}

// TestALostMetadataLogIsNotFoundedAgain: the same server must not begin an empty log under its old name
// (I24).
func TestALostMetadataLogIsNotFoundedAgain(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	n.stop()
	if err := os.RemoveAll(filepath.Join(n.dir, raftDirName)); err != nil {
		t.Fatal(err)
	}
	n.launch()
	if err := <-n.done; !errors.Is(err, cluster.ErrLogLost) {
		t.Errorf("the start came to %v", err)
	}
	n.done <- nil
}
