package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestConsumersReadInTheirRack: a leader sends a consumer to a replica in its rack that has what is asked for
// (KIP-392), and that replica serves what it knows to be committed.
func TestConsumersReadInTheirRack(t *testing.T) {
	nodes := startCluster(t, 3, map[string]string{"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"})
	nodes[0].createReplicated("t", 1, 3)
	until(t, "not every node knows the topic", func() bool { return nodes[1].b.meta.Image().TopicCount()+nodes[2].b.meta.Image().TopicCount() == 2 })
	leader := nodeOf(t, nodes, nodes[0].partitionOn("t", 0).Leader)
	until(t, "the leader does not serve", func() bool {
		return leader.raw().produce(9, -1, "t", 0, testBatch(t, nil, "a", "b")).ErrorCode == 0
	})
	follower := nodeOf(t, nodes, leader.partitionOn("t", 0).Replicas[1])
	fetch := func(n *testNode, offset int64, rack string) kmsg.FetchResponseTopicPartition {
		req := fetchRequest("t", n.topicID("t"), 0, offset)
		req.Rack = rack
		return n.raw().ask(req, 12).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	}
	if got := fetch(leader, 0, leader.options.Rack); got.PreferredReadReplica != -1 || len(got.RecordBatches) == 0 {
		t.Errorf("in the leader's rack: sent to %d with %d bytes", got.PreferredReadReplica, len(got.RecordBatches))
	}
	if got := fetch(leader, 0, "rack-of-nobody"); got.PreferredReadReplica != -1 || len(got.RecordBatches) == 0 {
		t.Errorf("in a rack without a replica: sent to %d with %d bytes", got.PreferredReadReplica, len(got.RecordBatches))
	}
	until(t, "the leader keeps a consumer that has a closer replica", func() bool {
		got := fetch(leader, 0, follower.options.Rack)
		return got.PreferredReadReplica == follower.b.nodeID && len(got.RecordBatches) == 0
	})
	until(t, "the follower serves nothing", func() bool { // it hears of the high watermark with its next fetch
		got := fetch(follower, 0, follower.options.Rack)
		return got.ErrorCode == 0 && len(got.RecordBatches) > 0 && fmt.Sprint(valuesFrom(t, 12, got.RecordBatches, 0)) == "[a b]"
	})
}

// TestAReassignedReplicaMoves: a partition moves to another broker while it serves, and leaves nothing behind.
func TestAReassignedReplicaMoves(t *testing.T) {
	nodes := startCluster(t, 3, nil)
	nodes[0].createReplicated("t", 1, 2)
	until(t, "not every node knows the topic", func() bool { return nodes[1].b.meta.Image().TopicCount()+nodes[2].b.meta.Image().TopicCount() == 2 })
	before := nodes[0].partitionOn("t", 0)
	leader := nodeOf(t, nodes, before.Leader)
	until(t, "the leader does not serve", func() bool {
		return leader.raw().produce(9, -1, "t", 0, testBatch(t, nil, "a", "b")).ErrorCode == 0
	})
	newcomer := nodes[slices.IndexFunc(nodes, func(n *testNode) bool { return !slices.Contains(before.Replicas, n.b.nodeID) })]
	target := []int32{newcomer.b.nodeID, before.Replicas[1]}
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	topic := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	topic.Topic = "t"
	topic.Partitions = []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 0, Replicas: target}}
	req.Topics = append(req.Topics, topic)
	if resp := newcomer.raw().ask(req, 0).(*kmsg.AlterPartitionAssignmentsResponse); resp.ErrorCode != 0 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("reassign: %+v", resp)
	}
	until(t, "the partition has not moved", func() bool {
		p := newcomer.partitionOn("t", 0)
		return slices.Equal(p.Replicas, target) && len(p.Adding)+len(p.Removing) == 0 && p.Leader == newcomer.b.nodeID
	})
	until(t, "the new leader does not serve", func() bool {
		return newcomer.raw().produce(9, -1, "t", 0, testBatch(t, nil, "c")).ErrorCode == 0
	})
	got := newcomer.raw().ask(fetchRequest("t", newcomer.topicID("t"), 0, 0), 12).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if values := valuesFrom(t, 12, got.RecordBatches, 0); fmt.Sprint(values) != "[a b c]" {
		t.Errorf("the new leader has %v", values)
	}
	left := nodeOf(t, nodes, before.Replicas[0])
	until(t, "the old replica's files are still there", func() bool {
		_, err := os.Stat(filepath.Join(left.dir, "log", "t-0"))
		return os.IsNotExist(err)
	})
}
