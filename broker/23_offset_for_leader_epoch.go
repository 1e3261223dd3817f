package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// OffsetForLeaderEpoch (23), v0-v4. KIP-101, 279, 320. Replicas ask over the peer port. An epoch above the leader's own
// is UNKNOWN_LEADER_EPOCH, where Kafka compares: whoever names it has read from a later leader.
func (b *Broker) offsetForLeaderEpoch(r *wire.Request) {
	req := r.Body.(*kmsg.OffsetForLeaderEpochRequest)
	if req.Version >= 3 && req.ReplicaID >= 0 {
		r.Reply(wire.ErrorResponse(req, kerr.ClusterAuthorizationFailed.Code))
		return
	}
	b.answerEpochEnds(r, req, true)
}

// peerOffsetForLeaderEpoch is the same for the replicas of other brokers.
func (b *Broker) peerOffsetForLeaderEpoch(r *wire.Request) {
	req := r.Body.(*kmsg.OffsetForLeaderEpochRequest)
	if !b.open() {
		r.Reply(wire.ErrorResponse(req, kerr.InvalidRequest.Code))
		return
	}
	b.answerEpochEnds(r, req, false)
}

// answerEpochEnds answers clients only where no other leader can know more: they take what they are told for a loss (I18).
func (b *Broker) answerEpochEnds(r *wire.Request, req *kmsg.OffsetForLeaderEpochRequest, client bool) {
	resp := kmsg.NewOffsetForLeaderEpochResponse()
	img := b.meta.Image()
	for _, rt := range req.Topics {
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = rt.Topic
		topic, topicErr := b.resolve(img, r.Session.Tenant, topicRef{name: rt.Topic})
		for _, rp := range rt.Partitions {
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition, p.LeaderEpoch, p.EndOffset = rp.Partition, -1, -1
			err := topicErr
			if err == nil {
				p.LeaderEpoch, p.EndOffset, err = b.epochEnd(topic, &rp, req.Version, client)
			}
			p.ErrorCode = b.codeOf(err)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	r.Reply(&resp)
}

func (b *Broker) epochEnd(topic *raftmeta.Topic, rp *kmsg.OffsetForLeaderEpochRequestTopicPartition, version int16, client bool) (epoch int32, end int64, _ error) {
	h, err := b.lookup(topic, rp.Partition)
	if err != nil {
		return -1, -1, err
	}
	current := partition.AnyEpoch
	if version >= 2 {
		current = rp.CurrentLeaderEpoch
	}
	in := h.replica.Offsets().LeaderEpoch
	if epoch, end, err = h.replica.EpochEnd(current, rp.LeaderEpoch); err != nil {
		return -1, -1, err
	}
	if client && b.mayBeReplaced(h, in) {
		return -1, -1, partition.ErrNotLeader
	}
	return epoch, end, nil
}
