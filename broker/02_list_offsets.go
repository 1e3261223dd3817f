package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// The timestamps that ask for a place instead of a time, and the version that brought each.
const (
	latestTimestamp        = -1
	earliestTimestamp      = -2
	maxTimestamp           = -3 // v7, KIP-734
	earliestLocalTimestamp = -4 // v8, KIP-405: equal to -2, nothing is tiered
	latestTieredTimestamp  = -5 // v9, KIP-1005: there is none
	earliestPendingUpload  = -6 // v11, KIP-1023: there is none
)

// ListOffsets (2), v0-v11. KIP-79, 207, 405, 734, 1005, 1023.
func (b *Broker) listOffsets(r *wire.Request) {
	req := r.Body.(*kmsg.ListOffsetsRequest)
	resp := kmsg.NewListOffsetsResponse()
	img := b.meta.Image()
	asked := map[string]map[int32]int{}
	for _, rt := range req.Topics {
		for _, rp := range rt.Partitions {
			if asked[rt.Topic] == nil {
				asked[rt.Topic] = map[int32]int{}
			}
			asked[rt.Topic][rp.Partition]++
		}
	}
	for _, rt := range req.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = rt.Topic
		topic, topicErr := b.resolve(img, r.Session.Tenant, topicRef{name: rt.Topic})
		for _, rp := range rt.Partitions {
			var p kmsg.ListOffsetsResponseTopicPartition
			err := topicErr
			if asked[rt.Topic][rp.Partition] > 1 {
				err = refuse(kerr.InvalidRequest, "the request names a partition twice")
			}
			if err == nil {
				p, err = b.listOffset(topic, req, &rp)
			}
			if err != nil {
				p = kmsg.NewListOffsetsResponseTopicPartition()
				p.ErrorCode = b.codeOf(err)
			}
			p.Partition = rp.Partition
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	r.Reply(&resp)
}

func (b *Broker) listOffset(topic *raftmeta.Topic, req *kmsg.ListOffsetsRequest, rp *kmsg.ListOffsetsRequestTopicPartition) (kmsg.ListOffsetsResponseTopicPartition, error) {
	p := kmsg.NewListOffsetsResponseTopicPartition() // offset, timestamp and epoch are -1: nothing found
	h, err := b.lookup(topic, rp.Partition)
	if err != nil {
		return p, err
	}
	current := partition.AnyEpoch
	if req.Version >= 4 {
		current = rp.CurrentLeaderEpoch
	}
	offsets, err := h.replica.LeaderOffsets(current)
	if err != nil {
		return p, err
	}
	visible := offsets.Visible(partition.Isolation(req.IsolationLevel))
	if req.Version == 0 && !offsets.Settled {
		return p, notSettled(req.Version)
	}
	if req.Version == 0 {
		p.OldStyleOffsets, err = oldStyleOffsets(h, rp, visible)
		return p, err
	}
	switch rp.Timestamp {
	case latestTimestamp:
		if !offsets.Settled {
			return p, notSettled(req.Version)
		}
		p.Offset, p.LeaderEpoch = visible, offsets.LeaderEpoch
	case earliestTimestamp:
		p.Offset, p.LeaderEpoch = offsets.Start, epochAt(h, offsets)
	case maxTimestamp:
		return listMaxTimestamp(p, h, req.Version, visible)
	case earliestLocalTimestamp:
		p.Offset, p.LeaderEpoch = offsets.Start, epochAt(h, offsets)
		return p, needVersion(req.Version, 8, rp.Timestamp)
	case latestTieredTimestamp:
		return p, needVersion(req.Version, 9, rp.Timestamp)
	case earliestPendingUpload:
		return p, needVersion(req.Version, 11, rp.Timestamp)
	default:
		if rp.Timestamp < 0 {
			return p, needVersion(req.Version, 1<<15-1, rp.Timestamp)
		}
		at, found, err := h.replica.Log().OffsetForTime(rp.Timestamp, visible)
		if err != nil || !found {
			return p, err
		}
		p.Offset, p.Timestamp, p.LeaderEpoch = at.Offset, at.Timestamp, at.LeaderEpoch
	}
	return p, nil
}

// notSettled sends a client away that asks a new leader for the end: an earlier leader may have shown more
// (KIP-207, replication.md 8.3).
func notSettled(version int16) error {
	code := kerr.OffsetNotAvailable
	if version < 5 {
		code = kerr.LeaderNotAvailable // these clients do not know the other
	}
	return refuse(code, "the new leader does not know yet how far the records are committed")
}

func listMaxTimestamp(p kmsg.ListOffsetsResponseTopicPartition, h *hosted, version int16, visible int64) (kmsg.ListOffsetsResponseTopicPartition, error) {
	if err := needVersion(version, 7, maxTimestamp); err != nil {
		return p, err
	}
	at, found, err := h.replica.Log().MaxTimestamp(visible)
	if err == nil && found {
		p.Offset, p.Timestamp, p.LeaderEpoch = at.Offset, at.Timestamp, at.LeaderEpoch
	}
	return p, err
}

func needVersion(have int16, need int, timestamp int64) error {
	if int(have) >= need {
		return nil
	}
	return refuse(kerr.UnsupportedVersion, fmt.Sprintf("timestamp %d has no meaning in this version", timestamp))
}

// epochAt is the leader epoch of the record at the log's start, or -1 in an empty log.
func epochAt(h *hosted, o partition.Offsets) int32 {
	if o.Start == o.End {
		return -1
	}
	return h.replica.Log().EpochAt(o.Start)
}

// oldStyleOffsets answers v0: offsets at which segments start, and the visible end, newest first, at
// most as many as asked. A time, as opposed to -1 and -2, selects by the segments' last change.
func oldStyleOffsets(h *hosted, rp *kmsg.ListOffsetsRequestTopicPartition, visible int64) ([]int64, error) {
	var list []int64
	switch rp.Timestamp {
	case latestTimestamp:
		list = append(list, visible)
		fallthrough
	case earliestTimestamp:
		starts := h.replica.Log().SegmentOffsets()
		if rp.Timestamp == earliestTimestamp {
			starts = starts[:1]
		}
		for i := len(starts) - 1; i >= 0; i-- {
			if starts[i] < visible || rp.Timestamp == earliestTimestamp {
				list = append(list, starts[i])
			}
		}
	default:
		at, found, err := h.replica.Log().OffsetForTime(rp.Timestamp, visible)
		if err != nil {
			return nil, err
		}
		if found {
			list = append(list, at.Offset)
		}
	}
	if n := int(rp.MaxNumOffsets); n >= 0 && n < len(list) {
		list = list[:n]
	}
	return list, nil
}
