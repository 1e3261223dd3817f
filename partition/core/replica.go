package core

import (
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/mutant"
)

// Errors that callers branch on. None of them leaves anything changed.
var (
	ErrNotLeader         = errors.New("not the leader of this partition")
	ErrFencedEpoch       = errors.New("leader epoch is older than the partition's")
	ErrUnknownEpoch      = errors.New("leader epoch is newer than this broker knows")
	ErrNotEnoughReplicas = errors.New("fewer replicas in sync than min.insync.replicas")
	// ErrNotReplica refuses the fetch of a broker that has no place in the partition, or of an earlier run.
	ErrNotReplica = errors.New("the broker holds no replica of this partition")
	// ErrNotFollower means that the replica does not follow in the epoch of the call any more.
	ErrNotFollower = errors.New("the replica does not follow in this epoch")
	// ErrWouldLoseCommitted means that the leader's history contradicts records which this replica knows
	// to be committed, and that no unclean election explains it (replication.md 10.5).
	ErrWouldLoseCommitted = errors.New("the leader lacks records that are committed here")
	ErrOffsetOutOfRange   = errors.New("offset is not in the log")
)

// AnyEpoch is the epoch of whoever does not know one.
const AnyEpoch int32 = -1

// Log is what the protocol asks of a replica's log. Only the shell changes the log.
type Log interface {
	StartOffset() int64
	EndOffset() int64
	// DurableOffset is what this replica may count: in mode sync the end of what is on disk, else the end.
	DurableOffset() int64
	LatestEpoch() int32
	EpochEnd(epoch int32) (int32, int64)
}

// Replica is one replica's place in the protocol: its role, leader epoch and high watermark, and who
// waits for an acknowledgement, each a W. The shell tells it what the metadata says and what came over
// the network, does to the log what the answers demand, and serialises the calls.
type Replica[W any] struct {
	log          Log
	leader       *Leader // nil unless this replica leads
	following    bool
	closed       bool
	epoch        int32 // the newest leader epoch heard of
	uncleanEpoch int32 // see Follow
	hw           int64
	durable      waits[W] // for the leader's own copy
	committed    waits[W] // for hw
}

// NewReplica makes a replica that neither leads nor follows.
func NewReplica[W any](log Log) *Replica[W] { return &Replica[W]{log: log} }

// StartAt sets the high watermark that the log's checkpoint remembers, before the replica has a role.
func (r *Replica[W]) StartAt(hw int64) { r.hw = hw }

// Leader is what is known while this replica leads, else nil.
func (r *Replica[W]) Leader() *Leader { return r.leader }

// Following tells whether this replica follows.
func (r *Replica[W]) Following() bool { return r.following }

// Epoch is the newest leader epoch heard of.
func (r *Replica[W]) Epoch() int32 { return r.epoch }

// HighWatermark is the first offset that this replica does not know to be committed.
func (r *Replica[W]) HighWatermark() int64 { return r.hw }

// Settled is false for a new leader that does not know the true high watermark yet.
func (r *Replica[W]) Settled() bool { return r.leader == nil || r.leader.Settled() }

// Adopt takes over what view says of the epoch that this replica leads in already. Otherwise known is
// false, and the shell goes on with StepDown, writes the epoch down, and then calls Lead (10.7).
func (r *Replica[W]) Adopt(view View, now time.Time) (known bool, _ error) {
	switch {
	case view.LeaderEpoch < r.epoch:
		return false, fmt.Errorf("%w: told to lead in %d after %d", ErrFencedEpoch, view.LeaderEpoch, r.epoch)
	case r.leader == nil || r.epoch != view.LeaderEpoch:
		return false, nil
	}
	r.leader.Adopt(view, now)
	return true, nil
}

// Lead begins to lead. The log knows the epoch.
func (r *Replica[W]) Lead(self int32, view View, now time.Time) {
	r.epoch = view.LeaderEpoch
	r.leader = Lead(self, view, r.log.EndOffset(), r.hw, now)
}

// IsNews tells whether Follow with this epoch changes anything.
func (r *Replica[W]) IsNews(epoch int32) bool {
	return !r.closed && epoch >= r.epoch && !(r.following && r.epoch == epoch)
}

// Follow begins to follow the leader of epoch, after StepDown. unclean is the leader epoch of the newest
// unclean election, -1 if there was none: what a log holds of earlier epochs may have been put aside by
// it (10.5).
func (r *Replica[W]) Follow(epoch, unclean int32) {
	r.following, r.epoch, r.uncleanEpoch = true, epoch, unclean
}

// Resign notes, after StepDown, that the partition has no leader in epoch.
func (r *Replica[W]) Resign(epoch int32) { r.epoch = max(r.epoch, epoch) }

// StepDown ends leading and following and returns who waits in vain: what they appended may survive
// under the next leader, or not (7.3).
func (r *Replica[W]) StepDown(closing bool) []W {
	r.leader, r.following, r.closed = nil, false, r.closed || closing
	if mutant.On(mutant.AckInAnotherEpoch) && !closing {
		return nil
	}
	return r.TakeWaiting()
}

// TakeWaiting removes and returns all who wait for an acknowledgement.
func (r *Replica[W]) TakeWaiting() []W { return append(r.durable.takeAll(), r.committed.takeAll()...) }

// MayAppend judges a produce request before anything is written (7.1).
func (r *Replica[W]) MayAppend(all bool) error {
	switch {
	case r.leader == nil:
		return ErrNotLeader
	case all && r.leader.RefusesAppend():
		return ErrNotEnoughReplicas
	}
	return nil
}

// Wait lets w wait until what ends at next is acknowledged: it is committed, or with all unset the
// leader's own copy is safe. It reports false if that is so already.
func (r *Replica[W]) Wait(all bool, next int64, w W) bool {
	queue, reached := &r.durable, r.log.DurableOffset()
	if all {
		queue, reached = &r.committed, r.ackedEnd()
	}
	if reached >= next {
		return false
	}
	queue.push(next, w)
	return true
}

// TakeAcked removes and returns whose append is acknowledged now.
func (r *Replica[W]) TakeAcked() []W {
	return append(r.durable.takeUpTo(r.log.DurableOffset()), r.committed.takeUpTo(r.ackedEnd())...)
}

func (r *Replica[W]) ackedEnd() int64 {
	if mutant.On(mutant.AckBeforeHW) {
		return r.log.DurableOffset()
	}
	return r.hw
}

// Advance raises a leader's high watermark as far as the replicas that count allow, and reports whether
// it rose.
func (r *Replica[W]) Advance() bool {
	if r.leader == nil || !r.leader.Advance(r.log.DurableOffset()) {
		return false
	}
	r.hw = r.leader.HighWatermark()
	invariant.Check(r.hw <= r.log.EndOffset(), "hw %d is past the log end %d", r.hw, r.log.EndOffset())
	return true
}

// CheckEpoch judges the epoch that a request claims to be the current one. It comes before leadership, so
// that a stale client learns that it is stale.
func (r *Replica[W]) CheckEpoch(current int32) error {
	switch {
	case current != AnyEpoch && current < r.epoch:
		return ErrFencedEpoch
	case current != AnyEpoch && current > r.epoch:
		return ErrUnknownEpoch
	}
	return nil
}

// Fetch is a follower's fetch.
type Fetch struct {
	Replica          int32 // who asks
	BrokerEpoch      int64 // of the run that asks; the caller has checked that it is not stale
	From             int64 // its log end, durable as its flush mode says
	CurrentEpoch     int32
	LastFetchedEpoch int32 // of its last record, AnyEpoch without one
	Now              time.Time
}

// AcceptFetch judges a follower's fetch, and notes how far the follower is if it is good. A refused or
// diverging one changes nothing; diverging is where the histories part (10.2). Whoever accepts one calls
// Advance.
func (r *Replica[W]) AcceptFetch(q *Fetch) (diverging *EpochEnd, _ error) {
	switch {
	case q.CurrentEpoch < r.epoch && !mutant.On(mutant.StaleEpochFetch):
		return nil, ErrFencedEpoch
	case q.CurrentEpoch > r.epoch:
		return nil, ErrUnknownEpoch
	case r.leader == nil:
		return nil, ErrNotLeader
	}
	diverging, err := r.Divergence(q.LastFetchedEpoch, q.From)
	if err != nil {
		return nil, err
	}
	if diverging != nil && !mutant.On(mutant.DivergenceMovesState) {
		return diverging, nil
	}
	start, end := r.log.StartOffset(), r.log.EndOffset()
	if diverging == nil && (q.From < start || q.From > end) {
		return nil, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, q.From, start, end)
	}
	return diverging, r.leader.Fetched(q.Replica, q.BrokerEpoch, q.From, end, q.Now)
}

// Divergence compares the history of a reader, whose last record before from is of lastEpoch, with that
// of this log.
func (r *Replica[W]) Divergence(lastEpoch int32, from int64) (*EpochEnd, error) {
	if lastEpoch == AnyEpoch {
		return nil, nil
	}
	if epoch, _ := r.log.EpochEnd(lastEpoch); epoch < 0 {
		return nil, fmt.Errorf("%w: no history of leader epoch %d", ErrOffsetOutOfRange, lastEpoch)
	}
	if end, diverges := Diverges(r.log.EpochEnd, lastEpoch, from); diverges {
		return &end, nil
	}
	return nil, nil
}

// Read is a client's fetch.
type Read struct {
	From             int64
	CurrentEpoch     int32 // AnyEpoch to skip the check
	LastFetchedEpoch int32 // AnyEpoch to skip the check
	FromFollower     bool  // a follower may answer (KIP-392)
}

// CheckHistory judges what a client says of its history: one that has records of a later leader than this replica knows
// of must not be compared with it. It would take the answer for a loss (I18).
func (r *Replica[W]) CheckHistory(lastEpoch int32) error {
	if lastEpoch > r.epoch && !mutant.On(mutant.EarlierLeaderCompares) {
		return ErrUnknownEpoch
	}
	return nil
}

// MayRead judges a client's fetch at one moment: a log that is truncated between two looks would send a
// reader away that is right. A reader at the end gets nothing, and so does one that a follower has
// nothing to show: it may be ahead of this log, which must not be taken for a history that parts (I18).
func (r *Replica[W]) MayRead(q *Read) (diverging *EpochEnd, _ error) {
	if err := r.CheckEpoch(q.CurrentEpoch); err != nil {
		return nil, err
	}
	if err := r.CheckHistory(q.LastFetchedEpoch); err != nil {
		return nil, err
	}
	if r.leader == nil && !(q.FromFollower && r.following) {
		return nil, ErrNotLeader
	}
	if r.leader == nil && q.From >= r.hw {
		return nil, nil // the leader would know
	}
	if diverging, err := r.Divergence(q.LastFetchedEpoch, q.From); diverging != nil || err != nil {
		return diverging, err
	}
	if start, end := r.log.StartOffset(), r.log.EndOffset(); q.From < start || q.From > end {
		return nil, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, q.From, start, end)
	}
	return nil, nil
}
