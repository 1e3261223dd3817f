package partition

import (
	"fmt"

	"github.com/chronik-stream/chronik/partition/log"
)

// ReadRequest asks for whole batches.
type ReadRequest struct {
	From         int64
	MaxBytes     int
	AtLeastOne   bool  // return the first batch even if it exceeds MaxBytes
	CurrentEpoch int32 // AnyEpoch to skip the check
	// LastFetchedEpoch is the epoch of the last record before From that the reader has, or AnyEpoch. A
	// log that diverges from it is answered with Diverging instead of records (KIP-595).
	LastFetchedEpoch int32
	Isolation        Isolation
}

// ReadResult is what a reader gets. View must be released, unless Read failed.
type ReadResult struct {
	View    log.View
	Offsets Offsets
	// Diverging, if not nil, is where the reader's history and ours part; then there are no records.
	Diverging *EpochEnd
}

// EpochEnd is the end offset of a leader epoch, exclusive.
type EpochEnd struct {
	Epoch int32
	End   int64
}

// Read returns the batches from the one that contains req.From up to what the isolation level shows. A
// reader at the end gets none and no error. The offsets in the result are valid whenever the replica
// leads, even when the error is log.ErrOffsetOutOfRange.
func (r *Replica) Read(req ReadRequest) (ReadResult, error) {
	offsets, err := r.LeaderOffsets(req.CurrentEpoch)
	if err != nil {
		return ReadResult{}, err
	}
	result := ReadResult{Offsets: offsets}
	if req.LastFetchedEpoch != AnyEpoch {
		epoch, end := r.log.EpochEnd(req.LastFetchedEpoch)
		if epoch < 0 {
			return result, fmt.Errorf("%w: no history of leader epoch %d", log.ErrOffsetOutOfRange, req.LastFetchedEpoch)
		}
		if epoch < req.LastFetchedEpoch || end < req.From {
			result.Diverging = &EpochEnd{Epoch: epoch, End: end}
			return result, nil
		}
	}
	if req.From < offsets.Start || req.From > offsets.End {
		return result, fmt.Errorf("%w: %d is not in [%d, %d]", log.ErrOffsetOutOfRange, req.From, offsets.Start, offsets.End)
	}
	visible := offsets.Visible(req.Isolation)
	if req.From >= visible {
		return result, nil
	}
	result.View, err = r.log.Read(req.From, visible, req.MaxBytes, req.AtLeastOne)
	return result, err
}
