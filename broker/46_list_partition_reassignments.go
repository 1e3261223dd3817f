package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// ListPartitionReassignments (46), v0. KIP-455. It lists what is under way and nothing else: partitions that
// do not move or do not exist are left out. No list of topics asks for all.
func (b *Broker) listPartitionReassignments(r *wire.Request) {
	req := r.Body.(*kmsg.ListPartitionReassignmentsRequest)
	resp := kmsg.NewListPartitionReassignmentsResponse()
	resp.Topics = []kmsg.ListPartitionReassignmentsResponseTopic{}
	img := b.meta.Image()
	list := func(t *raftmeta.Topic, wanted func(number int32) bool) {
		if moving := reassignments(t, wanted); len(moving) > 0 {
			resp.Topics = append(resp.Topics, kmsg.ListPartitionReassignmentsResponseTopic{Topic: t.Name, Partitions: moving})
		}
	}
	if req.Topics == nil {
		for t := range img.Topics(r.Session.Tenant) {
			list(t, func(int32) bool { return true })
		}
	}
	for _, rt := range req.Topics {
		if t, err := b.resolve(img, r.Session.Tenant, topicRef{name: rt.Topic}); err == nil {
			list(t, func(number int32) bool { return slices.Contains(rt.Partitions, number) })
		}
	}
	r.Reply(&resp)
}

func reassignments(t *raftmeta.Topic, wanted func(number int32) bool) (list []kmsg.ListPartitionReassignmentsResponseTopicPartition) {
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if p.Reassigning() && wanted(int32(i)) {
			list = append(list, kmsg.ListPartitionReassignmentsResponseTopicPartition{
				Partition: int32(i), Replicas: p.Replicas, AddingReplicas: p.Adding, RemovingReplicas: p.Removing,
			})
		}
	}
	return list
}
