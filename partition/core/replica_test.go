package core

import (
	"errors"
	"testing"
	"time"
)

// fixedLog is a log of one epoch.
type fixedLog struct {
	epoch int32
	end   int64
}

func (l fixedLog) StartOffset() int64   { return 0 }
func (l fixedLog) EndOffset() int64     { return l.end }
func (l fixedLog) DurableOffset() int64 { return l.end }
func (l fixedLog) LatestEpoch() int32   { return l.epoch }
func (l fixedLog) EpochEnd(epoch int32) (int32, int64) {
	if epoch < l.epoch {
		return epoch, 0
	}
	return l.epoch, l.end
}

// TestAFollowerSendsNobodyBack (I18, KIP-392): a consumer that has read further than this follower holds,
// or in a later epoch, is told nothing. Its history does not part from the leader's.
func TestAFollowerSendsNobodyBack(t *testing.T) {
	r := NewReplica[int](fixedLog{epoch: 3, end: 10})
	r.StartAt(8)
	r.Follow(4, -1)
	for _, q := range []Read{
		{From: 12, CurrentEpoch: 4, LastFetchedEpoch: 3, FromFollower: true},
		{From: 10, CurrentEpoch: 4, LastFetchedEpoch: 4, FromFollower: true},
		{From: 9, CurrentEpoch: 4, LastFetchedEpoch: 4, FromFollower: true},
	} {
		if diverging, err := r.MayRead(&q); diverging != nil || err != nil {
			t.Errorf("%+v: diverging %v, %v", q, diverging, err)
		}
	}
	q := Read{From: 5, CurrentEpoch: 4, LastFetchedEpoch: 2, FromFollower: true}
	if diverging, err := r.MayRead(&q); diverging == nil || err != nil {
		t.Errorf("a history that parts below the high watermark: diverging %v, %v", diverging, err)
	}
}

// TestAnEarlierLeaderSendsNobodyBack (I18): a leader that has been replaced and does not know it yet tells a consumer that
// has read from the next one nothing of where their histories part.
func TestAnEarlierLeaderSendsNobodyBack(t *testing.T) {
	r := NewReplica[int](fixedLog{epoch: 3, end: 10})
	r.Lead(1, View{Replicas: []int32{1}, ISR: []int32{1}, LeaderEpoch: 3, MinISR: 1}, time.Unix(1, 0))
	q := Read{From: 12, CurrentEpoch: 3, LastFetchedEpoch: 4}
	if diverging, err := r.MayRead(&q); diverging != nil || !errors.Is(err, ErrUnknownEpoch) {
		t.Errorf("%+v: diverging %v, %v", q, diverging, err)
	}
}

// TestARefusedProposalCounts: a copy of it may still be accepted at the same partition epoch, so that the
// newcomer counts until a withdrawal has moved the epoch on (replication.md 9.4; found by the simulator).
func TestARefusedProposalCounts(t *testing.T) {
	now := time.Unix(1, 0)
	active := func(id int32) (int64, bool) { return 10 + int64(id), true }
	view := View{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, LeaderEpoch: 1, PartitionEpoch: 5, MinISR: 2}
	l := Lead(1, view, 0, 0, now)
	for _, id := range []int32{2, 3} {
		if err := l.Fetched(id, 10+int64(id), 0, 0, now); err != nil {
			t.Fatal(err)
		}
	}
	change, due := l.Propose(0, now, time.Second, active)
	if !due || len(change.ISR) != 3 {
		t.Fatalf("proposed %+v, %v", change, due)
	}
	l.Refused(5)
	if err := l.Fetched(2, 12, 7, 7, now); err != nil {
		t.Fatal(err)
	}
	if l.Advance(7) {
		t.Errorf("the high watermark rose to %d, and 3 may be in sync any moment", l.HighWatermark())
	}
	withdrawal, due := l.Propose(7, now, time.Second, active)
	if !due || len(withdrawal.ISR) != 2 || withdrawal.PartitionEpoch != 5 {
		t.Fatalf("withdrawn with %+v, %v", withdrawal, due)
	}
	view.PartitionEpoch = 6
	l.Adopt(view, now)
	if !l.Advance(7) || l.HighWatermark() != 7 {
		t.Errorf("after the withdrawal the high watermark is %d", l.HighWatermark())
	}
}
