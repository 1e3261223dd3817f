package core

import (
	"fmt"

	"github.com/chronik-stream/chronik/internal/mutant"
)

// FetchPosition is what a follower asks its leader for next.
type FetchPosition struct {
	Epoch     int32 // of the leadership that it follows
	From      int64 // its log end
	LastEpoch int32 // of its last record, AnyEpoch without one
	Start     int64
}

// FetchPosition tells where to go on; ok is false while the replica does not follow, or while something
// that it appended is not durable as the flush mode demands: a fetch reports what is safe here.
func (r *Replica[W]) FetchPosition() (p FetchPosition, ok bool) {
	end := r.log.EndOffset()
	if !r.following || r.log.DurableOffset() < end {
		return FetchPosition{}, false
	}
	return FetchPosition{Epoch: r.epoch, From: end, LastEpoch: r.log.LatestEpoch(), Start: r.log.StartOffset()}, true
}

// CheckAnswer finds out whether the fetch of epoch from the offset from is still the one that matters
// (KAFKA-13207). The role must not change until its answer is in the log.
func (r *Replica[W]) CheckAnswer(epoch int32, from int64) error {
	stale := r.epoch != epoch || r.log.EndOffset() != from
	if !r.following || stale && !mutant.On(mutant.StaleAnswerAppended) {
		return ErrNotFollower
	}
	return nil
}

// Truncation is the offset to which the shell cuts the log, after an answer that checks out and diverges;
// then it calls Truncated. ErrWouldLoseCommitted forbids it.
func (r *Replica[W]) Truncation(diverging EpochEnd) (to int64, _ error) {
	to = max(TruncateTo(r.log.EpochEnd, diverging, r.hw), r.log.StartOffset())
	if to < r.hw && r.uncleanEpoch <= r.log.LatestEpoch() {
		return 0, fmt.Errorf("%w: high watermark %d, the leader's epoch %d ends at %d", ErrWouldLoseCommitted, r.hw, diverging.Epoch, diverging.End)
	}
	if mutant.On(mutant.NoTruncation) {
		return r.log.EndOffset(), nil
	}
	return to, nil
}

// Truncated notes that the log was cut.
func (r *Replica[W]) Truncated() { r.hw = min(r.hw, r.log.EndOffset()) }

// Restarts tells whether this replica begins anew at the leader's log start, after a fetch from its log end
// was out of range: retention has overtaken it, or it is empty and the leader, elected uncleanly, does not
// reach as far (10.6). Any other log that is too long is for the epochs to judge.
func (r *Replica[W]) Restarts(leaderStart, from int64) bool {
	return leaderStart > from || r.log.StartOffset() == from
}

// Restarted notes that the log is empty and goes on at start.
func (r *Replica[W]) Restarted(start int64) { r.hw = start }

// FollowHW takes over what the leader knows to be committed, after an answer that is in the log, and
// reports whether the high watermark rose.
func (r *Replica[W]) FollowHW(leader int64) bool {
	hw := FollowerHW(leader, r.log.EndOffset())
	if hw <= r.hw {
		return false
	}
	r.hw = hw
	return true
}
