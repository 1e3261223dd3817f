package partition

import (
	"fmt"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/wire/record"
)

// Errors of following; nothing was done.
var (
	ErrNotFollower        = core.ErrNotFollower
	ErrWouldLoseCommitted = core.ErrWouldLoseCommitted
)

// FetchPosition is what a follower asks its leader for next.
type FetchPosition = core.FetchPosition

// fetchPosition tells where to go on; ok is false while the replica does not follow, or while something
// that it appended is not durable as the flush mode demands: a fetch reports what is safe here. Then w is woken when more
// of it is durable. It is registered without another look: whoever raises the durable end in this moment waits for the lock.
func (r *Replica) fetchPosition(w Waker) (p FetchPosition, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok = r.core.FetchPosition(); !ok && r.core.Following() && r.log.Failed() == nil {
		r.tails[w] = struct{}{}
	}
	return p, ok
}

// Answer is what a leader sent for one partition.
type Answer struct {
	Epoch         int32  // of the fetch that it answers
	From          int64  // of the fetch that it answers
	Batches       []byte // whole batches, or nothing; not kept
	HighWatermark int64
	Start         int64          // the leader's
	Diverging     *core.EpochEnd // where the histories part; then there is nothing else
}

// Replicate takes over a leader's answer: it truncates what diverges, or appends the batches as they
// are. Errors: ErrNotFollower for an answer of an earlier assignment, ErrWouldLoseCommitted, and those of
// the log and of batches that do not hold what they should.
func (r *Replica) Replicate(a Answer) error {
	r.role.Lock()
	defer r.role.Unlock()
	if err := r.checkAnswer(&a); err != nil {
		return err
	}
	if a.Diverging != nil {
		if mutant.On(mutant.HWBeforeTruncation) {
			r.followHW(a.HighWatermark)
		}
		return r.truncate(*a.Diverging)
	}
	if err := r.appendReplicated(a.Batches); err != nil {
		return err
	}
	r.followHW(a.HighWatermark)
	return r.followStart(a.Start)
}

// checkAnswer finds out whether the fetch that a answers is still the one that matters. The role cannot
// change until the caller lets it go.
func (r *Replica) checkAnswer(a *Answer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.CheckAnswer(a.Epoch, a.From)
}

func (r *Replica) truncate(diverging core.EpochEnd) error {
	r.mu.Lock()
	to, err := r.core.Truncation(diverging)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if err := r.log.TruncateTo(to); err != nil {
		return err
	}
	r.mu.Lock()
	r.core.Truncated()
	r.mu.Unlock()
	return nil
}

// appendReplicated verifies and appends. A batch that fails its CRC is not stored: it is fetched again.
func (r *Replica) appendReplicated(batches []byte) error {
	if len(batches) == 0 {
		return nil
	}
	r.mu.Lock()
	epoch := r.core.Epoch()
	r.mu.Unlock()
	for rest := batches; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			return fmt.Errorf("replicated batch: %w", err)
		}
		if err := b.Check(); err != nil {
			return fmt.Errorf("replicated batch at offset %d: %w", b.BaseOffset(), err)
		}
		if b.LeaderEpoch() > epoch {
			return fmt.Errorf("%w: replicated batch at offset %d is of leader epoch %d, the leader's is %d", record.ErrCorrupt, b.BaseOffset(), b.LeaderEpoch(), epoch)
		}
		rest = after
	}
	_, err := r.log.Append(batches, log.AppendOptions{Replicated: true})
	return err
}

// followHW takes over what the leader knows to be committed, as far as it is here (replication.md 8.4).
func (r *Replica) followHW(leader int64) {
	r.mu.Lock()
	var woken []Waker
	if r.core.FollowHW(leader) {
		r.log.SetHighWatermark(r.core.HighWatermark())
		woken = r.wakers.take()
	}
	r.mu.Unlock()
	wake(woken)
}

// followStart deletes what the leader has deleted.
func (r *Replica) followStart(leader int64) error {
	start := min(leader, r.log.HighWatermark())
	if start <= r.log.StartOffset() {
		return nil
	}
	return r.log.DeleteBefore(start)
}

func (r *Replica) restarts(leaderStart, from int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.Restarts(leaderStart, from)
}

// Restart empties the log and lets it go on at offset, the leader's log start: retention has overtaken
// this replica (replication.md 10.6). It is out of the ISR, for it lacks what the leader holds.
func (r *Replica) Restart(a Answer) error {
	r.role.Lock()
	defer r.role.Unlock()
	if err := r.checkAnswer(&a); err != nil {
		return err
	}
	if err := r.log.Reset(a.Start); err != nil {
		return err
	}
	r.mu.Lock()
	r.core.Restarted(a.Start)
	r.mu.Unlock()
	return nil
}
