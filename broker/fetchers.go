package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/raftmeta"
)

// fetchers copies what this node follows: one stream for each broker that leads some of it
// (replication.md 10.1). The reconciler alone assigns; a stream lives as long as it has something to do.
type fetchers struct {
	b *Broker

	mu      sync.Mutex      // guards the fields below
	life    context.Context // ends all streams; see begin
	streams map[int32]*fetchStream
	leader  map[*partition.Replica]int32 // whose stream copies it
	running sync.WaitGroup
}

type fetchStream struct {
	fetcher *partition.Fetcher
	stop    context.CancelFunc
}

func newFetchers(b *Broker) *fetchers {
	return &fetchers{b: b, streams: map[int32]*fetchStream{}, leader: map[*partition.Replica]int32{}}
}

// begin comes before the first assign.
func (f *fetchers) begin(life context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life = life
}

// assign lets a replica copy from leader, from now on or anew.
func (f *fetchers) assign(h *hosted, t *raftmeta.Topic, leader int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.leader[h.replica]; ok && old != leader {
		f.removeLocked(h.replica)
	}
	s := f.streams[leader]
	if s == nil {
		s = f.startLocked(leader)
	}
	f.leader[h.replica] = leader
	s.fetcher.Add(h.replica, fmt.Sprintf("%s-%d", t.Name, h.key.number))
}

// unassign ends the copying of a replica, which follows no more.
func (f *fetchers) unassign(r *partition.Replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removeLocked(r)
}

func (f *fetchers) removeLocked(r *partition.Replica) {
	leader, ok := f.leader[r]
	if !ok {
		return
	}
	delete(f.leader, r)
	s := f.streams[leader]
	s.fetcher.Remove(r)
	if s.fetcher.Len() == 0 {
		s.stop()
		delete(f.streams, leader)
	}
}

func (f *fetchers) startLocked(leader int32) *fetchStream {
	ctx, stop := context.WithCancel(f.life)
	source := newLeaderSource(f.b, leader)
	s := &fetchStream{fetcher: partition.NewFetcher(source, f.b.logger.With("leader", leader)), stop: stop}
	f.streams[leader] = s
	f.running.Go(func() {
		s.fetcher.Run(ctx)
		source.close()
	})
	return s
}

// wait returns when no stream runs any more, which is soon after life has ended.
func (f *fetchers) wait() { f.running.Wait() }

// count is the number of streams, and of partitions that they copy.
func (f *fetchers) count() (streams, partitions int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams), len(f.leader)
}
