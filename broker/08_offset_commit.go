package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// OffsetCommit (8), v0-v10. KIP-98, 211, 320, 345, 848.
//
// v0 stored offsets in ZooKeeper; here, as in every version, they go to the coordinator.
func (b *Broker) offsetCommit(r *wire.Request) {
	req := r.Body.(*kmsg.OffsetCommitRequest)
	resp := kmsg.NewOffsetCommitResponse()
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	commit := groups.CommitRequest{
		Tenant: r.Session.Tenant, Group: req.Group, Version: req.Version,
		MemberID: req.MemberID, InstanceID: deref(req.InstanceID), Generation: req.Generation, Retention: -1,
	}
	if req.Version == 0 {
		commit.Generation = -1 // these clients know no membership
	}
	if req.Version >= 2 && req.Version <= 4 {
		commit.Retention = req.RetentionTimeMillis
	}
	var slots []*kmsg.OffsetCommitResponseTopicPartition
	img := b.meta.Image()
	for i := range req.Topics {
		rt, t := &req.Topics[i], &resp.Topics[i]
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		t.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(rt.Partitions))
		topic, err := b.resolve(img, r.Session.Tenant, refOf(rt.Topic, rt.TopicID))
		for j := range rt.Partitions {
			rp, p := &rt.Partitions[j], &t.Partitions[j]
			p.Partition = rp.Partition
			switch {
			case err != nil:
				p.ErrorCode = b.codeOf(err)
			case rp.Partition < 0 || int(rp.Partition) >= len(topic.Partitions):
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			default:
				commit.Offsets = append(commit.Offsets, committed(topic, rp, req.Version))
				slots = append(slots, p)
			}
		}
	}
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	for i, code := range b.groups.Commit(ctx, commit).Codes {
		slots[i].ErrorCode = code
	}
	r.Reply(&resp)
}

func committed(topic *raftmeta.Topic, rp *kmsg.OffsetCommitRequestTopicPartition, version int16) raftmeta.CommittedOffset {
	o := raftmeta.CommittedOffset{
		TopicID: topic.ID, Partition: rp.Partition, Offset: rp.Offset, LeaderEpoch: -1, Metadata: deref(rp.Metadata),
	}
	if version >= 6 {
		o.LeaderEpoch = rp.LeaderEpoch
	}
	return o
}

// deref is the string, or "" for null.
func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// nullable is null for "".
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
