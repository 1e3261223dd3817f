// Package core is the protocol inside a partition as plain functions and step types: who is in sync, how
// far records are committed, where a follower must truncate (replication.md 8 to 10). It has no
// goroutine, clock, lock or I/O. The broker drives it from partition.Replica, the simulator by the
// million with simulated disks and networks, and both run the same code.
package core

import (
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/mutant"
)

// View is what the metadata says of a partition. A leader adopts one only by applying the entry that
// holds it, in log order (replication.md 9.4).
type View struct {
	Replicas, ISR               []int32
	LeaderEpoch, PartitionEpoch int32
	// MinISR is min(min.insync.replicas, replication factor): with fewer in the ISR nothing is committed.
	MinISR     int
	Recovering bool // elected uncleanly, and not yet reported as recovered
}

// Member is a broker of a proposed ISR, and the run of it that was seen caught up.
type Member struct {
	ID          int32
	BrokerEpoch int64
}

// Change is a proposal to alter a partition (AlterPartition). Its epochs make it a compare-and-set: it
// takes effect at most once however often it is sent.
type Change struct {
	LeaderEpoch, PartitionEpoch int32
	ISR                         []Member
}

// noOffset stands for a position that was not reported in this leader epoch.
const noOffset int64 = -1

// follower is what a leader knows of one follower, in this leader epoch only.
type follower struct {
	end         int64 // its fetch offset: its log end, durable as its flush mode says; noOffset before the first fetch
	brokerEpoch int64 // of that fetch
	lastFetch   time.Time
	endAtFetch  int64 // the leader's end at that fetch
	caughtUp    time.Time
}

// Leader is a leader's knowledge in one leader epoch, beyond its log. It is not safe for concurrent use.
type Leader struct {
	self      int32
	view      View
	start     int64 // the log end when the epoch began (LESO)
	hw        int64
	proposed  []int32 // ISR of the proposal in flight, nil if there is none
	refused   bool    // it was refused and is to be withdrawn: see Refused
	followers map[int32]*follower
}

// Lead begins an epoch: self leads the partition of view from end on. hw is what self knew as a follower,
// which may be less than what an earlier leader has shown (replication.md 8.3).
func Lead(self int32, view View, end, hw int64, now time.Time) *Leader {
	l := &Leader{self: self, view: view, start: end, hw: hw, followers: make(map[int32]*follower, len(view.Replicas))}
	l.expect(now)
	return l
}

// expect begins with nothing of a new follower: what it said in an earlier epoch is forgotten, and a member
// of the ISR gets the full time to show up.
func (l *Leader) expect(now time.Time) {
	for _, id := range l.view.Replicas {
		if id != l.self && l.followers[id] == nil {
			l.followers[id] = &follower{end: noOffset, caughtUp: now}
		}
	}
}

// Adopt takes over a later state of the partition in the same leader epoch. A proposal in flight is
// settled by it: either this is its effect, or its partition epoch has become stale.
func (l *Leader) Adopt(view View, now time.Time) {
	if view.LeaderEpoch != l.view.LeaderEpoch || view.PartitionEpoch < l.view.PartitionEpoch {
		return
	}
	if view.PartitionEpoch > l.view.PartitionEpoch {
		l.settle()
	}
	l.view = view
	l.expect(now)
	for id := range l.followers {
		if !slices.Contains(view.Replicas, id) {
			delete(l.followers, id)
		}
	}
}

func (l *Leader) settle() { l.proposed, l.refused = nil, false }

// Epoch is the leader epoch.
func (l *Leader) Epoch() int32 { return l.view.LeaderEpoch }

// View is the state last adopted. It is shared, and not to be modified.
func (l *Leader) View() View { return l.view }

// Start is the log end at which this leader epoch began.
func (l *Leader) Start() int64 { return l.start }

// HighWatermark is the first offset that is not known to be committed.
func (l *Leader) HighWatermark() int64 { return l.hw }

// Settled tells whether the leader knows the true high watermark: from the moment on when everything
// that it found in its log is committed. Before, an earlier leader may have shown more (replication.md 8.3).
func (l *Leader) Settled() bool { return l.hw >= l.start || mutant.On(mutant.SettledAtOnce) }

// UnderMin tells whether too few replicas are in sync to commit anything.
func (l *Leader) UnderMin() bool { return len(l.view.ISR) < l.view.MinISR }

// RefusesAppend tells whether a batch with acks=all must be refused before it is written (7.1).
func (l *Leader) RefusesAppend() bool { return l.UnderMin() && !mutant.On(mutant.AppendBelowMin) }

// Fetched notes a follower's fetch from offset, in this epoch and without divergence: it has everything
// below offset. end is the leader's log end.
func (l *Leader) Fetched(id int32, brokerEpoch, offset, end int64, now time.Time) error {
	f := l.followers[id]
	if f == nil {
		return ErrNotReplica
	}
	if f.end != noOffset && brokerEpoch < f.brokerEpoch && !mutant.On(mutant.OldRunFetch) {
		return ErrNotReplica // an earlier run of the broker, heard late (I11)
	}
	switch {
	case offset >= end:
		f.caughtUp = now
	case f.end != noOffset && offset >= f.endAtFetch && f.lastFetch.After(f.caughtUp):
		f.caughtUp = f.lastFetch
	}
	f.end, f.brokerEpoch, f.lastFetch, f.endAtFetch = offset, brokerEpoch, now, end
	return nil
}

// Advance raises the high watermark to what every member of the maximal ISR has, and reports whether it
// rose. own is what the leader itself may count: its end, or in mode sync its durable end.
func (l *Leader) Advance(own int64) bool {
	if l.UnderMin() && !mutant.On(mutant.HWBelowMin) {
		return false // I10: those who left would miss what is committed now
	}
	low := own
	for _, id := range l.view.Replicas {
		if id == l.self || !l.counts(id) {
			continue
		}
		low = min(low, l.followers[id].end)
	}
	if low > l.hw || low >= 0 && mutant.On(mutant.HWFalls) {
		l.hw = low
		return true
	}
	return false
}

// counts tells whether the high watermark waits for a follower: while a change of the ISR is in flight
// that is whoever is in sync before or after it (maximal ISR, replication.md 9.2).
func (l *Leader) counts(id int32) bool {
	if mutant.On(mutant.HWIgnoresFollowers) {
		return false
	}
	committed, proposed := slices.Contains(l.view.ISR, id), slices.Contains(l.proposed, id)
	switch {
	case mutant.On(mutant.HWFromCommittedISR):
		return committed
	case mutant.On(mutant.ShrinkCountsAtOnce) && l.proposed != nil:
		return proposed
	}
	return committed || proposed
}

// Broker tells of a broker whether it may be in sync, and in which run: it is active in the metadata.
type Broker func(id int32) (brokerEpoch int64, active bool)

// Propose returns the change of the ISR that is due, if any: out goes who has not been caught up for lag,
// in comes who meets all of replication.md 9.1. From here on, before anything is sent, the maximal ISR
// counts; there is one proposal in flight at most, until Adopt settles it. One that was refused is followed
// by its withdrawal.
func (l *Leader) Propose(end int64, now time.Time, lag time.Duration, broker Broker) (Change, bool) {
	switch {
	case l.refused:
		return l.withdraw(broker)
	case l.proposed != nil:
		return Change{}, false
	}
	change := Change{LeaderEpoch: l.view.LeaderEpoch, PartitionEpoch: l.view.PartitionEpoch}
	var isr []int32
	for _, id := range l.view.Replicas {
		epoch, active := broker(id)
		member := slices.Contains(l.view.ISR, id)
		switch {
		case id == l.self:
		case l.view.Recovering: // the leader reports that it has recovered, alone
			continue
		case member && !active:
			return Change{}, false // it is about to be fenced out of the ISR, which changes the epoch
		case member && l.lagging(id, end, now, lag):
			continue
		case !member && !l.mayJoin(id, epoch, active):
			continue
		}
		isr = append(isr, id)
		change.ISR = append(change.ISR, Member{id, epoch})
	}
	if slices.Equal(isr, inOrder(l.view.Replicas, l.view.ISR)) && !l.view.Recovering {
		return Change{}, false
	}
	l.proposed = isr
	if mutant.On(mutant.AdoptOwnProposal) {
		l.view.ISR = isr
	}
	return change, true
}

func (l *Leader) lagging(id int32, end int64, now time.Time, lag time.Duration) bool {
	f := l.followers[id]
	return f.end != end && now.Sub(f.caughtUp) > lag
}

func (l *Leader) mayJoin(id int32, epoch int64, active bool) bool {
	f := l.followers[id]
	fetched := f.end != noOffset || mutant.On(mutant.JoinWithoutFetch)
	return active && fetched &&
		(f.brokerEpoch == epoch || mutant.On(mutant.JoinOldBrokerEpoch) || mutant.On(mutant.JoinWithoutFetch)) &&
		(f.end >= l.hw || mutant.On(mutant.JoinBelowHW) || mutant.On(mutant.JoinWithoutFetch)) &&
		(f.end >= l.start || mutant.On(mutant.JoinBelowEpochStart) || mutant.On(mutant.JoinBelowHW) || mutant.On(mutant.JoinWithoutFetch))
}

// inOrder is set in the order of order.
func inOrder(order, set []int32) []int32 {
	var out []int32
	for _, id := range order {
		if slices.Contains(set, id) {
			out = append(out, id)
		}
	}
	return out
}

// MayJoin tells whether a follower outside the ISR looks ready to be proposed: a cheap test after a fetch.
func (l *Leader) MayJoin(id int32) bool {
	f := l.followers[id]
	return l.proposed == nil && f != nil && !slices.Contains(l.view.ISR, id) && f.end >= max(l.hw, l.start)
}

// Refused notes that a proposal was definitely not accepted, when the partition was at partitionEpoch. If
// that is the epoch adopted here, the next Propose withdraws it; otherwise the entry that changed the epoch
// is on its way, and Adopt settles it.
//
// The refusal itself settles nothing. A copy of the proposal may still be on its way, from a call whose
// outcome was unknown, and be accepted at the same partition epoch: a member that was refused because it
// was fenced may be active again when the copy arrives. Who is proposed therefore counts until the
// partition epoch has moved on, which a withdrawal brings about.
func (l *Leader) Refused(partitionEpoch int32) {
	if partitionEpoch != l.view.PartitionEpoch || l.proposed == nil {
		return
	}
	l.refused = true
	if mutant.On(mutant.RefusalSettles) {
		l.settle()
	}
}

// withdraw proposes the ISR that is committed.
func (l *Leader) withdraw(broker Broker) (Change, bool) {
	change := Change{LeaderEpoch: l.view.LeaderEpoch, PartitionEpoch: l.view.PartitionEpoch}
	for _, id := range l.view.ISR {
		epoch, active := broker(id)
		if !active && id != l.self {
			return Change{}, false // it is about to be fenced out of the ISR, which changes the epoch
		}
		change.ISR = append(change.ISR, Member{id, epoch})
	}
	l.refused = false
	return change, true
}

// Proposed is the ISR of the proposal in flight, nil if there is none.
func (l *Leader) Proposed() []int32 { return l.proposed }

// FollowerEnd is the log end that a follower has reported in this epoch; ok is false before it has.
func (l *Leader) FollowerEnd(id int32) (end int64, ok bool) {
	f := l.followers[id]
	if f == nil || f.end == noOffset {
		return 0, false
	}
	return f.end, true
}
