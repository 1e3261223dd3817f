package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/raftmeta"
)

// fetchers copies what this node follows: one stream for what is in sync with each broker that leads some
// of it (replication.md 10.1), and one for what still has to catch up with it, which must not make the
// acknowledgements of the others wait. The reconciler alone assigns; a stream lives as long as it has
// something to do.
type fetchers struct {
	b *Broker

	mu      sync.Mutex      // guards the fields below
	life    context.Context // ends all streams; see begin
	streams map[streamKey]*fetchStream
	of      map[*partition.Replica]streamKey // which stream copies it
	running sync.WaitGroup
}

// streamKey names a stream.
type streamKey struct {
	leader  int32
	catchUp bool // of replicas outside the ISR
}

type fetchStream struct {
	fetcher *partition.Fetcher
	stop    context.CancelFunc
}

func newFetchers(b *Broker) *fetchers {
	return &fetchers{b: b, streams: map[streamKey]*fetchStream{}, of: map[*partition.Replica]streamKey{}}
}

// begin comes before the first assign.
func (f *fetchers) begin(life context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life = life
}

// assign lets a replica copy in the stream of key. anew says that it has begun to follow in another epoch;
// otherwise nothing happens to one that is in that stream already.
func (f *fetchers) assign(h *hosted, t *raftmeta.Topic, key streamKey, anew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, assigned := f.of[h.replica]
	switch {
	case assigned && old == key && !anew:
		return
	case assigned && old != key:
		f.removeLocked(h.replica)
	}
	s := f.streams[key]
	if s == nil {
		s = f.startLocked(key)
	}
	f.of[h.replica] = key
	s.fetcher.Add(h.replica, fmt.Sprintf("%s-%d", t.Name, h.key.number))
}

// unassign ends the copying of a replica, which follows no more.
func (f *fetchers) unassign(r *partition.Replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removeLocked(r)
}

func (f *fetchers) removeLocked(r *partition.Replica) {
	key, ok := f.of[r]
	if !ok {
		return
	}
	delete(f.of, r)
	s := f.streams[key]
	s.fetcher.Remove(r)
	if s.fetcher.Len() == 0 {
		s.stop()
		delete(f.streams, key)
	}
}

func (f *fetchers) startLocked(key streamKey) *fetchStream {
	ctx, stop := context.WithCancel(f.life)
	source := newLeaderSource(f.b, key)
	s := &fetchStream{fetcher: partition.NewFetcher(source, f.b.logger.With("leader", key.leader)), stop: stop}
	f.streams[key] = s
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
	return len(f.streams), len(f.of)
}
