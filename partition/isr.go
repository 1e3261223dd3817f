package partition

import (
	"time"

	"github.com/chronik-stream/chronik/partition/core"
)

// ProposeISR returns the change of the in-sync replicas that is due, if this replica leads and none is in
// flight. Whoever gets one sends it until the outcome is definite, and then says so with ISRSettled. The
// change itself takes effect only through Lead, with the view that the metadata came to (replication.md 9.4).
func (r *Replica) ProposeISR(now time.Time, lag time.Duration, broker core.Broker) (core.Change, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader == nil {
		return core.Change{}, false
	}
	return r.leader.Propose(r.log.EndOffset(), now, lag, broker)
}

// ISRSettled reports that the proposal of leaderEpoch is decided, for or against, and that the partition
// was at partitionEpoch then.
func (r *Replica) ISRSettled(leaderEpoch, partitionEpoch int32) {
	r.mu.Lock()
	if r.leader != nil && r.leader.Epoch() == leaderEpoch {
		r.leader.Refused(partitionEpoch)
	}
	r.mu.Unlock()
	r.logMoved() // fewer may count now
}

// Leading returns the view that this replica leads with; ok is false if it does not lead.
func (r *Replica) Leading() (view core.View, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader == nil {
		return core.View{}, false
	}
	return r.leader.View(), true
}

// FollowerLag is by how many offsets a follower is behind, -1 if it has not fetched in this epoch. ok is
// false if this replica does not lead.
func (r *Replica) FollowerLag(id int32) (lag int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader == nil {
		return 0, false
	}
	end, known := r.leader.FollowerEnd(id)
	if !known {
		return -1, true
	}
	return max(r.log.EndOffset()-end, 0), true
}

// FollowerRead is a follower's fetch.
type FollowerRead struct {
	Replica          int32 // who asks
	BrokerEpoch      int64 // of the run that asks; the caller has checked that it is not stale
	From             int64 // its log end
	CurrentEpoch     int32
	LastFetchedEpoch int32 // AnyEpoch for an empty log
	MaxBytes         int
	AtLeastOne       bool
	Now              time.Time
}

// ReadForFollower returns the batches from q.From up to the end of the log. An accepted fetch tells how
// far the follower is, which may commit records; a refused or diverging one changes nothing (10.2).
func (r *Replica) ReadForFollower(q FollowerRead) (ReadResult, error) {
	result, err := r.acceptFetch(&q)
	if err != nil || result.Diverging != nil || q.From >= result.Offsets.End {
		return result, err
	}
	result.View, err = r.log.Read(q.From, result.Offsets.End, q.MaxBytes, q.AtLeastOne)
	return result, err
}

func (r *Replica) acceptFetch(q *FollowerRead) (ReadResult, error) {
	r.mu.Lock()
	if err := r.checkFetchLocked(q); err != nil {
		r.mu.Unlock()
		return ReadResult{}, err
	}
	result := ReadResult{Offsets: r.offsetsLocked()}
	diverging, err := r.divergenceLocked(q.LastFetchedEpoch, q.From)
	if diverging != nil || err != nil {
		r.mu.Unlock()
		result.Diverging = diverging
		return result, err
	}
	if err := r.leader.Fetched(q.Replica, q.BrokerEpoch, q.From, result.Offsets.End, q.Now); err != nil {
		r.mu.Unlock()
		return ReadResult{}, err
	}
	woken := r.advanceLocked()
	acked := r.takeAckedLocked()
	joins := r.leader.MayJoin(q.Replica)
	result.Offsets = r.offsetsLocked()
	r.mu.Unlock()
	for _, e := range acked {
		e.waiter.Acked(e.appended, nil)
	}
	wake(woken)
	if joins {
		r.isrDue()
	}
	return result, nil
}

// checkFetchLocked demands the very epoch of this leader: a follower always knows one.
func (r *Replica) checkFetchLocked(q *FollowerRead) error {
	switch {
	case q.CurrentEpoch < r.epoch:
		return ErrFencedEpoch
	case q.CurrentEpoch > r.epoch:
		return ErrUnknownEpoch
	case r.leader == nil:
		return ErrNotLeader
	}
	return nil
}
