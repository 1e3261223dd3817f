package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCreateTopicRefusals(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("a.b", 1)
	value := func(s string) *string { return &s }
	for _, c := range []struct {
		name   string
		change func(*kmsg.CreateTopicsRequestTopic)
		want   *kerr.Error
	}{
		{"exists", func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = "a.b" }, kerr.TopicAlreadyExists},
		{"collides", func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = "a_b" }, kerr.InvalidTopicException},
		{"bad name", func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = "a b" }, kerr.InvalidTopicException},
		{"dots", func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = ".." }, kerr.InvalidTopicException},
		{"no partitions", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 0 }, kerr.InvalidPartitions},
		{"too many replicas", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 3 }, kerr.InvalidReplicationFactor},
		{"unknown config", func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "no.such", Value: value("1")}}
		}, kerr.InvalidConfig},
		{"bad value", func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: value("soon")}}
		}, kerr.InvalidConfig},
		{"null value", func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
		}, kerr.InvalidConfig},
		{"assignment and counts", func(t *kmsg.CreateTopicsRequestTopic) {
			t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{1}}}
		}, kerr.InvalidRequest},
		{"assignment with a gap", func(t *kmsg.CreateTopicsRequestTopic) {
			t.NumPartitions, t.ReplicationFactor = -1, -1
			t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1}}}
		}, kerr.InvalidReplicaAssignment},
		{"assignment to a stranger", func(t *kmsg.CreateTopicsRequestTopic) {
			t.NumPartitions, t.ReplicationFactor = -1, -1
			t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{9}}}
		}, kerr.InvalidReplicaAssignment},
	} {
		for _, validateOnly := range []bool{true, false} {
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "fresh", 1, 1
			c.change(&topic)
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Topics, req.ValidateOnly = []kmsg.CreateTopicsRequestTopic{topic}, validateOnly
			got := n.raw().ask(req, 7).(*kmsg.CreateTopicsResponse).Topics[0]
			if got.ErrorCode != c.want.Code || got.ErrorMessage == nil {
				t.Errorf("%s (validate only: %v): code %d, message %q, want %s", c.name, validateOnly, got.ErrorCode, deref(got.ErrorMessage), c.want.Message)
			}
		}
	}
}

// TestRecreatedTopicIsANewTopic: nothing of a deleted topic shows in one of the same name (I26).
func TestRecreatedTopicIsANewTopic(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	old := n.topicID("t")
	c := n.raw()
	c.produce(9, -1, "t", 0, testBatch(t, &producer{id: 5, sequence: 0}, "a", "b"))
	commit := plausible(n.withTopic("t"), int16(kmsg.OffsetCommit), 9).(*kmsg.OffsetCommitRequest)
	commit.Topics[0].Topic = "t"
	c.ask(commit, 9)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{"t"}
	if code := c.ask(req, 5).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		t.Fatalf("delete: code %d", code)
	}
	n.createTopic("t", 1)
	if n.topicID("t") == old {
		t.Error("the new topic has the old one's id")
	}
	if end := n.endOffset("t", 0); end != 0 {
		t.Errorf("the new topic ends at %d", end)
	}
	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Group, offsets.Topics = "simple", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	if at := c.ask(offsets, 5).(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0].Offset; at != -1 {
		t.Errorf("the group is still at %d", at)
	}
	if got := c.produce(9, -1, "t", 0, testBatch(t, &producer{id: 5, sequence: 9}, "c")); got.ErrorCode != 0 {
		t.Errorf("the new topic remembers the producer: code %d", got.ErrorCode)
	}
}

// withTopic makes sure that plausible requests, which name the topic "there", find one.
func (n *testNode) withTopic(string) *testNode {
	if _, ok := n.b.meta.Image().Topic(defaultTenant, "there"); !ok {
		n.createTopic("there", 2)
	}
	return n
}

// TestRestartKeepsEverything stops a node cleanly and starts it again on the same directory.
func TestRestartKeepsEverything(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 3, "retention.ms", "12345678")
	for p := range int32(3) {
		n.raw().produce(9, -1, "t", p, testBatch(t, nil, "a", "b", "c"))
	}
	id, cluster := n.topicID("t"), n.b.meta.Image().ClusterID()
	epoch := n.b.replicas.get(id, 0).replica.Offsets().LeaderEpoch
	for range 2 {
		n.stop()
		n.start()
		if n.topicID("t") != id || n.b.meta.Image().ClusterID() != cluster {
			t.Fatal("the topic or the cluster changed its id")
		}
		topic, _ := n.b.meta.Image().TopicByID(id)
		if topic.Config["retention.ms"] != "12345678" {
			t.Errorf("configs: %v", topic.Config)
		}
		now := n.b.replicas.get(id, 0).replica.Offsets()
		if now.LeaderEpoch < epoch || now.HighWatermark != 3 || now.End != 3 {
			t.Errorf("after the restart: %+v, the epoch was %d", now, epoch)
		}
		epoch = now.LeaderEpoch
		got := n.raw().ask(fetchRequest("t", id, 2, 0), 13).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if values := valuesFrom(t, 13, got.RecordBatches, 0); len(values) != 3 {
			t.Errorf("records after the restart: %v", values)
		}
	}
}

// TestAutoCreate asks for metadata of a topic that does not exist, with and without leave to create it.
func TestAutoCreate(t *testing.T) {
	n := startNode(t, map[string]string{"num.partitions": "4"})
	ask := func(version int16, name string, create bool) kmsg.MetadataResponseTopic {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics, req.AllowAutoTopicCreation = []kmsg.MetadataRequestTopic{{Topic: &name}}, create
		return n.raw().ask(req, version).(*kmsg.MetadataResponse).Topics[0]
	}
	if got := ask(9, "made", false); got.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("without leave: code %d", got.ErrorCode)
	}
	for version, name := range map[int16]string{0: "old-client", 9: "new-client"} {
		got := ask(version, name, true)
		if got.ErrorCode != 0 || len(got.Partitions) != 4 || got.Partitions[3].Leader != 1 {
			t.Errorf("v%d: %+v", version, got)
		}
	}
	if got := ask(9, "bad name", true); got.ErrorCode != kerr.InvalidTopicException.Code {
		t.Errorf("a bad name: code %d", got.ErrorCode)
	}
}
