package core

import "github.com/chronik-stream/chronik/internal/mutant"

// EpochEnd is the end offset of a leader epoch, exclusive.
type EpochEnd struct {
	Epoch int32
	End   int64
}

// History answers for a log's leader epochs: the largest one that is not above epoch, and where it ends:
// at the start of the next, or at the log end for the newest. An epoch before all history is answered
// with itself and the start of the oldest; without history the answer is (-1, -1).
type History func(epoch int32) (int32, int64)

// Diverges judges a fetch from offset by a reader whose last record is of lastEpoch: if the leader's own
// log does not hold that history, it returns the point to go back to (replication.md 10.2). Such a
// fetch is answered with that point and nothing else, and changes nothing that the leader knows.
func Diverges(leader History, lastEpoch int32, offset int64) (EpochEnd, bool) {
	if mutant.On(mutant.NoDivergenceCheck) {
		return EpochEnd{}, false
	}
	epoch, end := leader(lastEpoch)
	if epoch < lastEpoch || end < offset {
		return EpochEnd{epoch, end}, true
	}
	return EpochEnd{}, false
}

// TruncateTo is the offset to which a follower cuts its log when the leader has answered with diverging
// (replication.md 10.3). It asks again from there until nothing diverges.
func TruncateTo(own History, diverging EpochEnd, hw int64) int64 {
	if mutant.On(mutant.TruncateToHW) {
		return hw
	}
	_, end := own(diverging.Epoch)
	if end < 0 {
		end = 0
	}
	return min(end, diverging.End)
}

// FollowerHW is a follower's high watermark after an answer that was appended normally (8.4).
func FollowerHW(leaderHW, ownEnd int64) int64 {
	if mutant.On(mutant.FollowerHWPastEnd) {
		return leaderHW
	}
	return min(leaderHW, ownEnd)
}
