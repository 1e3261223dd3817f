package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/wire"
)

// OffsetDelete (47), v0. KIP-496.
func (b *Broker) offsetDelete(r *wire.Request) {
	req := r.Body.(*kmsg.OffsetDeleteRequest)
	resp := kmsg.NewOffsetDeleteResponse()
	resp.Topics = make([]kmsg.OffsetDeleteResponseTopic, len(req.Topics))
	var offsets []groups.DeleteOffset
	var slots []*kmsg.OffsetDeleteResponseTopicPartition
	img := b.meta.Image()
	for i := range req.Topics {
		rt, t := &req.Topics[i], &resp.Topics[i]
		t.Topic = rt.Topic
		t.Partitions = make([]kmsg.OffsetDeleteResponseTopicPartition, len(rt.Partitions))
		topic, err := b.resolve(img, r.Session.Tenant, topicRef{name: rt.Topic})
		for j := range rt.Partitions {
			p := &t.Partitions[j]
			p.Partition = rt.Partitions[j].Partition
			if err != nil || p.Partition < 0 || int(p.Partition) >= len(topic.Partitions) {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
				continue
			}
			offsets = append(offsets, groups.DeleteOffset{Topic: rt.Topic, TopicID: topic.ID, Partition: p.Partition})
			slots = append(slots, p)
		}
	}
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	code, codes := b.groups.DeleteOffsets(ctx, r.Session.Tenant, req.Group, offsets)
	if code != 0 {
		resp.ErrorCode, resp.Topics = code, []kmsg.OffsetDeleteResponseTopic{}
	}
	for i, code := range codes {
		slots[i].ErrorCode = code
	}
	r.Reply(&resp)
}
