package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// maxDescribedPartitions is the most that one page holds (max.request.partition.size.limit).
const maxDescribedPartitions = 2000

// DescribeTopicPartitions (75), v0. KIP-966. It pages: topics in the order of their names, partitions in
// theirs, and a cursor where the page was full.
func (b *Broker) describeTopicPartitions(r *wire.Request) {
	req := r.Body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := kmsg.NewDescribeTopicPartitionsResponse()
	resp.Topics = []kmsg.DescribeTopicPartitionsResponseTopic{}
	room := min(max(int(req.ResponsePartitionLimit), 1), maxDescribedPartitions)
	from := kmsg.DescribeTopicPartitionsRequestCursor{}
	if req.Cursor != nil {
		from = *req.Cursor
	}
	for _, name := range b.describedNames(r.Session.Tenant, req) {
		if name < from.Topic {
			continue
		}
		first := int32(0)
		if name == from.Topic {
			first = max(from.Partition, 0)
		}
		if room == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: first}
			break
		}
		topic, err := b.resolve(b.meta.Image(), r.Session.Tenant, topicRef{name: name})
		if err != nil {
			resp.Topics = append(resp.Topics, b.undescribed(name, err))
			continue
		}
		last := min(int(first)+room, len(topic.Partitions))
		resp.Topics = append(resp.Topics, b.describePartitions(topic, int(first), last))
		room -= max(last-int(first), 0)
		if last < len(topic.Partitions) {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: int32(last)}
			break
		}
	}
	r.Reply(&resp)
}

// describedNames are the asked topics, or all of them, each once and in order.
func (b *Broker) describedNames(tenant string, req *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if len(req.Topics) == 0 {
		for t := range b.meta.Image().Topics(tenant) {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (b *Broker) undescribed(name string, err error) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.ErrorCode, t.AuthorizedOperations = &name, b.codeOf(err), notAsked
	t.Partitions = []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
	return t
}

// describePartitions describes the partitions [first, last) of a topic.
func (b *Broker) describePartitions(topic *raftmeta.Topic, first, last int) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &topic.Name, topic.ID, isInternal(topic.Name)
	t.AuthorizedOperations = topicOperations
	t.Partitions = []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
	for i := first; i < last; i++ {
		p := &topic.Partitions[i]
		tp := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		tp.Partition, tp.LeaderID, tp.LeaderEpoch = int32(i), p.Leader, p.LeaderEpoch
		tp.Replicas, tp.ISR, tp.OfflineReplicas = p.Replicas, p.ISR, b.offlineReplicas(p)
		// Null is allowed by the schema and kills Java's admin client: empty lists it is.
		tp.EligibleLeaderReplicas, tp.LastKnownELR = append([]int32{}, p.ELR...), append([]int32{}, p.LastKnownELR...)
		if p.Leader == raftmeta.NoLeader {
			tp.ErrorCode = kerr.LeaderNotAvailable.Code
		}
		t.Partitions = append(t.Partitions, tp)
	}
	return t
}
