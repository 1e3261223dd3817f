package partition

import (
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/partition/core"
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
	// FromFollower lets a follower answer, as far as it knows the records to be committed (KIP-392).
	FromFollower bool
}

// ReadResult is what a reader gets. View must be released, unless Read failed.
type ReadResult struct {
	View    log.View
	Offsets Offsets
	// Diverging, if not nil, is where the reader's history and ours part; then there are no records.
	Diverging *core.EpochEnd
}

// Read returns the batches from the one that contains req.From up to what the isolation level shows. A
// reader at the end gets none and no error. The offsets in the result are valid whenever the replica
// may answer, even when the error is log.ErrOffsetOutOfRange.
func (r *Replica) Read(req ReadRequest) (ReadResult, error) {
	result, err := r.prepareRead(&req)
	if err != nil || result.Diverging != nil {
		return result, err
	}
	visible := result.Offsets.Visible(req.Isolation)
	if req.From >= visible {
		return result, nil
	}
	result.View, err = r.log.Read(req.From, visible, req.MaxBytes, req.AtLeastOne)
	return result, err
}

// prepareRead judges a request at one moment. The offsets go with every answer but those about epochs.
func (r *Replica) prepareRead(req *ReadRequest) (ReadResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	diverging, err := r.core.MayRead(&core.Read{
		From: req.From, CurrentEpoch: req.CurrentEpoch, LastFetchedEpoch: req.LastFetchedEpoch, FromFollower: req.FromFollower,
	})
	if err != nil && !errors.Is(err, core.ErrOffsetOutOfRange) {
		return ReadResult{}, err
	}
	return ReadResult{Offsets: r.offsetsLocked(), Diverging: diverging}, outOfRange(err)
}

// outOfRange turns core's error into the log's own, which readers know.
func outOfRange(err error) error {
	if errors.Is(err, core.ErrOffsetOutOfRange) {
		return fmt.Errorf("%w: %w", log.ErrOffsetOutOfRange, err)
	}
	return err
}
