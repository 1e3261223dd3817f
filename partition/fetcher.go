package partition

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/partition/log"
)

// Source is a broker that leads partitions, as its followers see it.
type Source interface {
	// Fetch asks for all of wants at once and waits until there is something, as long as a fetch may and at most
	// for the given time. Answers are of some of wants, by index; those without news may be missing. The batches are valid
	// until the next call. A Fetch that was cancelled leaves no fetch behind that could still be answered.
	Fetch(ctx context.Context, wants []Want, wait time.Duration) ([]Got, error)
}

// Want is one partition of a fetch.
type Want struct {
	Replica *Replica
	FetchPosition
}

// Got is the answer for wants[Index]. With Err there is nothing else, but ErrOffsetOutOfRange comes with
// the leader's Start.
type Got struct {
	Index int
	Answer
	Err error
}

const (
	retryPartition = 100 * time.Millisecond // after an error of one partition
	retryEpoch     = 10 * time.Millisecond  // after one that only says that leader and follower learn of a change at different times
	reportAfter    = 2 * time.Second        // an error that lasts so long is news for people
	retrySource    = 50 * time.Millisecond  // after a fetch that failed as a whole
	gatherChanges  = 2 * time.Millisecond   // how long changes of the assignment add up before a fetch is cut short
)

// Fetcher copies the partitions that one broker leads (replication.md 10.1). It is one stream: what an
// answer brought is appended and durable before the next fetch reports it.
type Fetcher struct {
	source Source
	logger *slog.Logger

	mu       sync.Mutex // guards assigned
	assigned map[*Replica]*followed

	news chan struct{} // holds a token: something is to be looked at
}

// followed is one partition of a fetcher.
type followed struct {
	name    string
	retryAt time.Time
	since   time.Time // when it began to fail, zero while it does not
	failing string    // the error last logged
}

// NewFetcher makes a fetcher, which works while Run runs.
func NewFetcher(source Source, logger *slog.Logger) *Fetcher {
	return &Fetcher{source: source, logger: logger, assigned: map[*Replica]*followed{}, news: make(chan struct{}, 1)}
}

// Add begins or renews to copy a replica that follows; name is for people.
func (f *Fetcher) Add(r *Replica, name string) {
	f.mu.Lock()
	f.assigned[r] = &followed{name: name}
	f.mu.Unlock()
	f.Wake()
}

// Remove stops copying r. What is under way for it is refused by the replica, which follows no more.
func (f *Fetcher) Remove(r *Replica) {
	f.mu.Lock()
	delete(f.assigned, r)
	f.mu.Unlock()
}

// Len is how many partitions are assigned.
func (f *Fetcher) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.assigned)
}

// Wake implements Waker: something was assigned or became durable.
func (f *Fetcher) Wake() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// Run fetches until ctx ends.
func (f *Fetcher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		wants, wait := f.gather(time.Now())
		if len(wants) == 0 {
			f.pause(ctx, wait)
			continue
		}
		got, cut, err := f.fetch(ctx, wants, wait)
		if err != nil {
			if !cut {
				f.pause(ctx, retrySource)
			}
			continue
		}
		for i := range got {
			f.take(wants[got[i].Index].Replica, &got[i])
		}
		f.settle(ctx, wants, got)
	}
}

// gather lists what can be fetched now, and says when there may be more: a partition whose leader was not ready must
// not wait until the others have news.
func (f *Fetcher) gather(now time.Time) (wants []Want, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait = time.Minute
	for r, state := range f.assigned {
		if left := state.retryAt.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if position, ok := r.fetchPosition(f); ok {
			wants = append(wants, Want{r, position})
		} else {
			wait = min(wait, retryPartition)
		}
	}
	return wants, wait
}

func (f *Fetcher) pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-f.news:
	}
}

// fetch asks the source, and cuts the waiting short when there is more to ask for: a new follower must not wait for the
// end of a long poll. It reports whether it did that.
func (f *Fetcher) fetch(ctx context.Context, wants []Want, wait time.Duration) (got []Got, cut bool, err error) {
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { f.watch(bounded, cancel, done, wants) })
	got, err = f.source.Fetch(bounded, wants, wait)
	close(done)
	watching.Wait()
	return got, bounded.Err() != nil, err
}

func (f *Fetcher) watch(ctx context.Context, cancel context.CancelFunc, done <-chan struct{}, fetching []Want) {
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-f.news:
		}
		if !f.hasMore(fetching) {
			continue
		}
		timer := time.NewTimer(gatherChanges)
		select {
		case <-done:
			timer.Stop()
			f.Wake()
			return
		case <-timer.C:
			cancel()
			return
		}
	}
}

// hasMore tells whether something could be fetched that is not asked for, or under another leadership.
func (f *Fetcher) hasMore(fetching []Want) bool {
	wants, _ := f.gather(time.Now())
	asked := make(map[*Replica]int32, len(fetching))
	for i := range fetching {
		asked[fetching[i].Replica] = fetching[i].Epoch
	}
	for i := range wants {
		if epoch, ok := asked[wants[i].Replica]; !ok || epoch != wants[i].Epoch {
			return true
		}
	}
	return false
}

// take gives one answer to its replica.
func (f *Fetcher) take(r *Replica, got *Got) {
	err := got.Err
	switch {
	case errors.Is(err, log.ErrOffsetOutOfRange) && r.restarts(got.Start, got.From):
		if err = r.Restart(got.Answer); err == nil {
			f.logger.Warn("a replica begins anew at the leader's log start: retention has overtaken it", "log", r.log.Ident().String(), "start", got.Start, "had", got.From)
		}
	case err == nil:
		err = r.Replicate(got.Answer)
	}
	f.note(r, err)
}

// note remembers how a partition fares: a pause before the next try, and one line for each trouble that
// stays. When leaders move, some errors are the order of the day.
func (f *Fetcher) note(r *Replica, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := f.assigned[r]
	if state == nil || errors.Is(err, ErrNotFollower) {
		return
	}
	now := time.Now()
	if err == nil {
		state.failing, state.since = "", time.Time{}
		return
	}
	if state.since.IsZero() {
		state.since = now
	}
	state.retryAt = now.Add(retryPartition)
	lasts := now.Sub(state.since) >= reportAfter
	if !lasts && (errors.Is(err, ErrNotLeader) || errors.Is(err, ErrFencedEpoch) || errors.Is(err, ErrUnknownEpoch)) {
		state.retryAt = now.Add(retryEpoch)
	}
	if text := err.Error(); lasts && text != state.failing {
		state.failing = text
		f.logger.Warn("a partition cannot be copied from its leader and is tried again", "log", state.name, "err", err)
	}
}

// settle waits until what an answer brought is durable, so that the next fetch may report it. The
// directory's group commit syncs all of it together.
func (f *Fetcher) settle(ctx context.Context, wants []Want, got []Got) {
	for i := range got {
		r := wants[got[i].Index].Replica
		for len(got[i].Batches) > 0 && r.waitDurable(f) {
			f.pause(ctx, time.Second)
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// waitDurable arranges for w to be woken when more of the log is durable; false if all of it is, or if
// it never will be here.
func (r *Replica) waitDurable(w Waker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.core.Following() || r.log.Failed() != nil || r.log.DurableOffset() >= r.log.EndOffset() {
		return false
	}
	r.tails[w] = struct{}{}
	return true
}
