package broker

import (
	"context"
	"sync"

	"github.com/chronik-stream/chronik/raftmeta"
)

// groupShards keeps the group coordinator at the shards that this broker owns (replication.md 18.1). It
// follows the change stream by itself, beside the reconciler: that opens logs, which takes a while, and
// clients of groups that have moved here are waiting.
type groupShards struct {
	b   *Broker
	sub *raftmeta.Subscription
	mu  sync.Mutex // held while the coordinator is told, so that what it hears only gets newer
}

func newGroupShards(b *Broker) *groupShards { return &groupShards{b: b, sub: b.meta.Subscribe()} }

// run follows the change stream until ctx ends.
func (s *groupShards) run(ctx context.Context) error {
	defer s.sub.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.sub.Changed():
			s.catchUp()
		}
	}
}

// catchUp tells the coordinator of every move that was committed before the call. What an earlier run of
// this broker owned is not this one's.
func (s *groupShards) catchUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, img, ok := s.sub.Take()
	if !ok || !changes.All && !changes.Shards && !changes.Brokers {
		return
	}
	owned := map[int32]int32{}
	if self, ok := img.Broker(s.b.nodeID); ok && self.Epoch == s.b.brokerEpoch.Load() {
		for i := range int32(raftmeta.GroupShards) {
			if shard := img.Shard(i); shard.Owner == s.b.nodeID {
				owned[i] = shard.Epoch
			}
		}
	}
	s.b.groups.SetShards(owned)
}
