package partition

import (
	"context"
	"log/slog"
	"testing"
	"time"

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
