package broker

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// silentBroker is one that the metadata take for active, and whose peer port accepts and never answers, as that of
// a paused process does.
func (n *testNode) silentBroker(id int32) *raftmeta.Broker {
	n.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
	n.propose(&raftmeta.RegisterBroker{
		ID: id, Incarnation: uuid.ID{byte(id)}, StorageIDs: []uuid.ID{{byte(id)}}, PeerAddress: l.Addr().String(),
	})
	b, _ := n.b.meta.Image().Broker(id)
	n.propose(&raftmeta.ActivateBroker{ID: id, Epoch: b.Epoch})
	return b
}

func (c *rawConn) knownBrokers() (ids []int32) {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	for _, b := range c.ask(req, 12).(*kmsg.MetadataResponse).Brokers {
		ids = append(ids, b.NodeID)
	}
	return ids
}

// TestMetadataWaitForASilentBroker: a client that asks who leads is not told of a broker that is about to be fenced.
func TestMetadataWaitForASilentBroker(t *testing.T) {
	n := startNode(t, nil)
	c := n.raw()
	n.silentBroker(9)
	if ids := c.knownBrokers(); slices.Contains(ids, 9) {
		t.Errorf("the answer names the silent broker as one of %v", ids)
	}
}

// TestDoubtDoesNotLastForEver: what the controller takes for alive for longer is answered for without a wait.
func TestDoubtDoesNotLastForEver(t *testing.T) {
	n := startNode(t, nil)
	c := n.raw()
	b := n.silentBroker(9)
	n.b.vitals.mu.Lock()
	n.b.vitals.of[9] = &vital{doubt: doubt{b.Epoch, n.b.now().Add(-doubtFor)}}
	n.b.vitals.mu.Unlock()
	if ids := c.knownBrokers(); !slices.Contains(ids, 9) {
		t.Errorf("the answer names only %v: it waited until the broker was fenced", ids)
	}
}

// TestALeaderOutOfTouchSendsClientsAway: alone it cannot know who leads by now.
func TestALeaderOutOfTouchSendsClientsAway(t *testing.T) {
	nodes := startCluster(t, 3, nil)
	nodes[0].createReplicated("t", 1, 3)
	i := slices.IndexFunc(nodes, func(n *testNode) bool { return n.b.nodeID == nodes[0].partitionOn("t", 0).Leader })
	nodes[0], nodes[i] = nodes[i], nodes[0]
	last := nodes[0]
	c := last.raw()
	nodes[1].stop()
	nodes[2].stop()
	until(t, "the last node is in touch with nobody, and does not notice", last.b.cluster.OutOfTouch)
	if code := c.produce(9, -1, "t", 0, testBatch(t, nil, "a")).ErrorCode; code != kerr.NotLeaderForPartition.Code {
		t.Errorf("produce with acks=all: code %d", code)
	}
	fetch := fetchRequest("t", last.topicID("t"), 0, 7)
	fetch.Topics[0].Partitions[0].LastFetchedEpoch = last.partitionOn("t", 0).LeaderEpoch
	if code := c.ask(fetch, 13).(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.NotLeaderForPartition.Code {
		t.Errorf("fetch by a consumer whose history parts from the log: code %d", code)
	}
	ends := kmsg.NewPtrOffsetForLeaderEpochRequest()
	ends.ReplicaID = -1
	ends.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}
	if code := c.ask(ends, 4).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.NotLeaderForPartition.Code {
		t.Errorf("the end of a leader epoch: code %d", code)
	}
	c.send(kmsg.NewPtrMetadataRequest(), 12)
	if _, err := c.frame(); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("metadata: %v, want the end of the connection", err)
	}
}

// TestARefusalNamesTheLeader: clients go there without asking for metadata first (KIP-951).
func TestARefusalNamesTheLeader(t *testing.T) {
	nodes := startCluster(t, 3, nil)
	nodes[0].createReplicated("t", 1, 3)
	until(t, "not every node has the replica", func() bool {
		return !slices.ContainsFunc(nodes, func(n *testNode) bool {
			return n.b.meta.Image().TopicCount() == 0 || n.b.replicas.get(n.topicID("t"), 0) == nil
		})
	})
	leader := nodes[0].partitionOn("t", 0).Leader
	i := slices.IndexFunc(nodes, func(n *testNode) bool { return n.b.nodeID != leader })
	at := nodes[i].b.meta.Image()
	want, _ := at.Broker(leader)
	c := nodes[i].raw()

	produced := c.ask(produceRequest(-1, "t", 0, testBatch(t, nil, "a")), 11).(*kmsg.ProduceResponse)
	p := produced.Topics[0].Partitions[0]
	if p.ErrorCode != kerr.NotLeaderForPartition.Code || p.CurrentLeader.LeaderID != leader || p.CurrentLeader.LeaderEpoch < 0 {
		t.Errorf("produce: code %d, leader %+v, want %d", p.ErrorCode, p.CurrentLeader, leader)
	}
	if len(produced.Brokers) != 1 || produced.Brokers[0].NodeID != leader || produced.Brokers[0].Port != want.KafkaPort || produced.Brokers[0].Host != want.KafkaHost {
		t.Errorf("produce: leaders are at %+v", produced.Brokers)
	}

	req := fetchRequest("t", nodes[i].topicID("t"), 0, 0)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = nodes[i].partitionOn("t", 0).LeaderEpoch + 7
	fetched := c.ask(req, 17).(*kmsg.FetchResponse)
	if code := fetched.Topics[0].Partitions[0].ErrorCode; code != kerr.UnknownLeaderEpoch.Code || len(fetched.Brokers) != 0 {
		t.Errorf("fetch in an unknown epoch: code %d, leaders %+v", code, fetched.Brokers)
	}
}
