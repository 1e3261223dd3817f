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
	leader := r.core.Leader()
	if leader == nil {
		return core.Change{}, false
	}
	return leader.Propose(r.log.EndOffset(), now, lag, broker)
}

// ISRSettled reports that the proposal of leaderEpoch is decided, for or against, and that the partition
// was at partitionEpoch then.
func (r *Replica) ISRSettled(leaderEpoch, partitionEpoch int32) {
	r.mu.Lock()
	if leader := r.core.Leader(); leader != nil && leader.Epoch() == leaderEpoch {
		leader.Refused(partitionEpoch)
	}
	r.mu.Unlock()
	r.logMoved() // fewer may count now
}

// Leading returns the view that this replica leads with; ok is false if it does not lead.
func (r *Replica) Leading() (view core.View, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	leader := r.core.Leader()
	if leader == nil {
		return core.View{}, false
	}
	return leader.View(), true
}

// FollowerLag is by how many offsets a follower is behind, -1 if it has not fetched in this epoch. ok is
// false if this replica does not lead.
func (r *Replica) FollowerLag(id int32) (lag int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	leader := r.core.Leader()
	if leader == nil {
		return 0, false
	}
	end, known := leader.FollowerEnd(id)
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
	diverging, err := r.core.AcceptFetch(&core.Fetch{
		Replica: q.Replica, BrokerEpoch: q.BrokerEpoch, From: q.From,
		CurrentEpoch: q.CurrentEpoch, LastFetchedEpoch: q.LastFetchedEpoch, Now: q.Now,
	})
	if diverging != nil || err != nil {
		result := ReadResult{Offsets: r.offsetsLocked(), Diverging: diverging}
		r.mu.Unlock()
		return result, outOfRange(err)
	}
	woken := r.advanceLocked()
	acked := r.core.TakeAcked()
	joins := r.core.Leader().MayJoin(q.Replica)
	result := ReadResult{Offsets: r.offsetsLocked()}
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
