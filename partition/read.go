package partition

import (
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

// prepareRead judges a request at one moment: a log that is truncated between two looks would send a
// reader away that is right.
func (r *Replica) prepareRead(req *ReadRequest) (ReadResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.checkEpochLocked(req.CurrentEpoch); err != nil {
		return ReadResult{}, err
	}
	if r.leader == nil && !(req.FromFollower && r.following) {
		return ReadResult{}, ErrNotLeader
	}
	result := ReadResult{Offsets: r.offsetsLocked()}
	var err error
	if result.Diverging, err = r.divergenceLocked(req.LastFetchedEpoch, req.From); result.Diverging != nil || err != nil {
		return result, err
	}
	switch start, end := result.Offsets.Start, result.Offsets.End; {
	case req.From >= start && req.From <= end:
		return result, nil
	case r.leader == nil && req.From > end:
		return result, nil // a follower that is behind; the leader would know (KIP-392)
	default:
		return result, fmt.Errorf("%w: %d is not in [%d, %d]", log.ErrOffsetOutOfRange, req.From, start, end)
	}
}

// divergenceLocked compares a reader's last epoch with the history of this log.
func (r *Replica) divergenceLocked(lastEpoch int32, from int64) (*core.EpochEnd, error) {
	if lastEpoch == AnyEpoch {
		return nil, nil
	}
	if epoch, _ := r.log.EpochEnd(lastEpoch); epoch < 0 {
		return nil, fmt.Errorf("%w: no history of leader epoch %d", log.ErrOffsetOutOfRange, lastEpoch)
	}
	if end, diverges := core.Diverges(r.log.EpochEnd, lastEpoch, from); diverges {
		return &end, nil
	}
	return nil, nil
}
