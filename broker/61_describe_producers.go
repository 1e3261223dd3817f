package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// DescribeProducers (61), v0. KIP-664.
func (b *Broker) describeProducers(r *wire.Request) {
	req := r.Body.(*kmsg.DescribeProducersRequest)
	resp := kmsg.NewDescribeProducersResponse()
	img := b.meta.Image()
	for _, rt := range req.Topics {
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = rt.Topic
		topic, topicErr := b.resolve(img, r.Session.Tenant, topicRef{name: rt.Topic})
		for _, number := range rt.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = number
			err := topicErr
			if err == nil {
				p.ActiveProducers, err = b.producersOf(topic, number)
			}
			p.ErrorCode, p.ErrorMessage = b.codeOf(err), messageOf(err)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	r.Reply(&resp)
}

func (b *Broker) producersOf(topic *raftmeta.Topic, number int32) ([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, error) {
	h, err := b.lookup(topic, number)
	if err != nil {
		return nil, err
	}
	if _, err := h.replica.LeaderOffsets(partition.AnyEpoch); err != nil {
		return nil, err
	}
	active := []kmsg.DescribeProducersResponseTopicPartitionActiveProducer{}
	for _, p := range h.replica.Log().Producers() {
		active = append(active, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: p.ID, ProducerEpoch: int32(p.Epoch), LastSequence: p.LastSequence, LastTimestamp: p.LastTimestamp,
			CoordinatorEpoch: p.CoordinatorEpoch, CurrentTxnStartOffset: p.TxnStartOffset,
		})
	}
	return active, nil
}
