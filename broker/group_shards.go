package broker

import "github.com/chronik-stream/chronik/raftmeta"

// updateShards tells the group coordinator which shards this broker owns in img (replication.md 18.1).
// Callers take turns, and their images only get newer.
func (b *Broker) updateShards(img *raftmeta.Image) {
	owned := map[int32]int32{}
	for i := range int32(raftmeta.GroupShards) {
		if shard := img.Shard(i); shard.Owner == b.nodeID {
			owned[i] = shard.Epoch
		}
	}
	b.groups.SetShards(owned)
}
