package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// DeleteRecords (21), v0-v2. KIP-107. Offset -1 stands for the high watermark.
func (b *Broker) deleteRecords(r *wire.Request) {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	resp := kmsg.NewDeleteRecordsResponse()
	img := b.meta.Image()
	for _, rt := range req.Topics {
		t := kmsg.NewDeleteRecordsResponseTopic()
		t.Topic = rt.Topic
		topic, topicErr := b.resolve(img, r.Session.Tenant, topicRef{name: rt.Topic})
		for _, rp := range rt.Partitions {
			low, err := int64(-1), topicErr
			if err == nil {
				low, err = b.deleteBefore(topic, rp.Partition, rp.Offset)
			}
			t.Partitions = append(t.Partitions, kmsg.DeleteRecordsResponseTopicPartition{
				Partition: rp.Partition, LowWatermark: low, ErrorCode: b.codeOf(err),
			})
		}
		resp.Topics = append(resp.Topics, t)
	}
	r.Reply(&resp)
}

// deleteBefore raises the log start and returns it, or -1 with an error.
func (b *Broker) deleteBefore(topic *raftmeta.Topic, number int32, offset int64) (int64, error) {
	h, err := b.lookup(topic, number)
	if err != nil {
		return -1, err
	}
	if !h.config.Load().CleanupDelete {
		return -1, refuse(kerr.PolicyViolation, "cleanup.policy does not contain delete")
	}
	offsets, err := h.replica.LeaderOffsets(partition.AnyEpoch)
	if err != nil {
		return -1, err
	}
	if offset == -1 {
		offset = offsets.HighWatermark
	}
	if offset < 0 || offset > offsets.HighWatermark {
		return -1, fmt.Errorf("%w: delete before %d, high watermark is %d", log.ErrOffsetOutOfRange, offset, offsets.HighWatermark)
	}
	if err := h.replica.Log().DeleteBefore(offset); err != nil {
		return -1, err
	}
	return h.replica.Log().StartOffset(), nil
}
