package core

import "testing"

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
