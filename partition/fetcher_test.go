package partition

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/partition/log"
)

// scriptedSource answers the first fetch with an error of the first partition, and tells how long each may wait.
type scriptedSource struct {
	waits  chan time.Duration
	failed bool
}

func (s *scriptedSource) Fetch(ctx context.Context, wants []Want, wait time.Duration) ([]Got, error) {
	select {
	case s.waits <- wait:
	case <-ctx.Done():
	}
	if s.failed || len(wants) < 2 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.failed = true
	return []Got{{Index: 0, Err: ErrNotLeader}}, nil
}

// TestARetryIsNotHeldUp: a partition whose leader was not ready is asked for again soon, also while the others have no
// news: the fetch without it may wait no longer than until then.
func TestARetryIsNotHeldUp(t *testing.T) {
	source := &scriptedSource{waits: make(chan time.Duration)}
	f := NewFetcher(source, slog.New(slog.DiscardHandler))
	for range 2 {
		w := newWorld(t, log.Sync)
		if !w.r.Follow(1, -1) {
			t.Fatal("following is no news")
		}
		f.Add(w.r, "t-0")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if wait := <-source.waits; wait < time.Second {
		t.Errorf("the first fetch may wait only %v", wait)
	}
	if wait := <-source.waits; wait > retryEpoch {
		t.Errorf("the fetch beside a retry may wait %v", wait)
	}
}

// quietSource has no news for anybody, and tells what it is asked for.
type quietSource chan []Want

func (s quietSource) Fetch(ctx context.Context, wants []Want, _ time.Duration) ([]Got, error) {
	select {
	case s <- wants:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestALongPollEndsForMore: what can be fetched only after the fetch has been sent must not wait until that returns, or
// the acknowledgements of a new leader wait for as long.
func TestALongPollEndsForMore(t *testing.T) {
	source := make(quietSource)
	f := NewFetcher(source, slog.New(slog.DiscardHandler))
	first, second := newWorld(t, log.Sync), newWorld(t, log.Sync)
	first.r.Follow(1, -1)
	f.Add(first.r, "first-0")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	next := func(want ...*Replica) {
		t.Helper()
		select {
		case wants := <-source:
			if len(wants) != len(want) {
				t.Fatalf("%d partitions are asked for, want %d", len(wants), len(want))
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the fetch is not cut short")
		}
	}
	next(first.r)

	// A former leader whose last record is not on its disk yet.
	if err := second.r.Lead(self, alone(0), time.Now()); err != nil {
		t.Fatal(err)
	}
	gate, reached := make(chan struct{}), make(chan struct{}, 100)
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	second.fs.OnOp(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			reached <- struct{}{}
			<-gate
		}
		return nil
	})
	second.append(AcksNone)
	<-reached
	second.r.Follow(1, -1)
	f.Add(second.r, "second-0")
	for deadline := time.Now().Add(10 * time.Second); !waitedFor(second.r); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for the sync")
		}
	}
	open()
	next(first.r, second.r)

	// Another epoch of the same leader.
	first.r.Follow(2, -1)
	f.Add(first.r, "first-0")
	next(first.r, second.r)
}

func waitedFor(r *Replica) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tails) > 0
}
