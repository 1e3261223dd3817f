package broker

import (
	"slices"

	"github.com/chronik-stream/chronik/raftmeta"
)

// firstFetchFromFollower is the oldest Fetch whose clients can be sent to a follower (KIP-392).
const firstFetchFromFollower = 11

// closest is the follower that a consumer in rack should read from, or -1 for this broker. Like Kafka's
// RackAwareReplicaSelector it takes a replica in the consumer's rack that has what is asked for, the one
// that is furthest, and the leader if that is there itself.
func (b *Broker) closest(img *raftmeta.Image, f *fetchedPartition, rack string) int32 {
	if rack == "" || rack == b.options.Rack || f.leader.Leader != b.nodeID || !b.config().RackAwareFetch {
		return -1
	}
	best, bestLag := int32(-1), int64(0)
	end := f.host.replica.Offsets().End
	for _, id := range f.leader.Replicas {
		broker, ok := img.Broker(id)
		if !ok || broker.State != raftmeta.Active || broker.Rack != rack || !slices.Contains(f.leader.ISR, id) {
			continue
		}
		lag, ok := f.host.replica.FollowerLag(id)
		if !ok || lag < 0 || end-lag < f.want.Offset {
			continue
		}
		if best < 0 || lag < bestLag {
			best, bestLag = id, lag
		}
	}
	return best
}
