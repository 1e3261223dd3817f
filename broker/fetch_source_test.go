package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/partition"
)

// TestAFailedPartitionIsForgottenAtTheLeader: one that is not wanted after an error leaves the session too. Kept there, it
// would have every fetch answered at once, and the follower ask as fast as it can.
func TestAFailedPartitionIsForgottenAtTheLeader(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 2)
	s := newLeaderSource(n.b, streamKey{leader: 1})
	var wants []partition.Want
	for i := range int32(2) {
		wants = append(wants, partition.Want{Replica: n.b.replicas.get(n.topicID("t"), i).replica})
	}
	s.request(wants, 0)
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.ErrorCode = 1, kerr.NotLeaderForPartition.Code
	answer := kmsg.NewFetchResponse()
	answer.Topics = []kmsg.FetchResponseTopic{{TopicID: n.topicID("t"), Partitions: []kmsg.FetchResponseTopicPartition{p}}}
	s.unpack(&answer, wants)

	again := s.request(wants[:1], 0)
	if len(again.ForgottenTopics) != 1 || len(again.ForgottenTopics[0].Partitions) != 1 || again.ForgottenTopics[0].Partitions[0] != 1 {
		t.Errorf("the next fetch forgets %+v, want partition 1", again.ForgottenTopics)
	}
	if back := s.request(wants, 0); len(back.Topics) != 1 || len(back.Topics[0].Partitions) != 1 || back.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("when it is wanted again the fetch names %+v, want partition 1", back.Topics)
	}
}
