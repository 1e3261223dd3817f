package log

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/chronik-stream/chronik/wire/record"
)

// batchFilter decides which records of the log survive a compaction.
//
// A record goes if the log has a later one of its key, or if it is a tombstone whose time has come.
// Offsets, sequence numbers and leader epochs of what stays do not change: a batch keeps its base
// offset and its end, however many records it loses. A batch that loses none is copied byte for byte.
type batchFilter struct {
	keys     *offsetMap
	mappedTo int64 // keys covers the log below this offset; records from it on are left alone

	now             time.Time
	deleteRetention int64 // ms that readers from the start get to see a tombstone (delete.retention.ms)

	// newest has, for each live producer, the last offset of its newest batch. Such a batch stays, empty
	// if need be: with it would go the last sequence number, and recognition of repeats.
	newest map[int64]int64

	builder *record.Builder
	keep    []bool // scratch: what becomes of each record of a batch
	stats   *CleanStats
}

// apply appends what stays of b to dst: b itself, a smaller batch, or nothing. With hold the batch
// stays even if empty.
func (f *batchFilter) apply(dst []byte, b record.Batch, hold bool) ([]byte, error) {
	f.stats.RecordsRead += int64(b.Count())
	if b.IsControl() || b.BaseOffset() >= f.mappedTo {
		f.stats.RecordsKept += int64(b.Count())
		return append(dst, b...), nil
	}
	kept, freshTombstone, err := f.judge(b)
	if err != nil {
		return dst, err
	}
	f.stats.RecordsKept += int64(kept)
	switch {
	case kept == 0:
		last, live := f.newest[b.ProducerID()]
		if !hold && (!live || last != b.LastOffset()) {
			return dst, nil
		}
		if b.Count() == 0 {
			return append(dst, b...), nil
		}
		return appendEmptied(dst, b), nil
	case kept == int(b.Count()) && !freshTombstone:
		return append(dst, b...), nil
	}
	return f.rebuild(dst, b, freshTombstone)
}

// judge fills f.keep and counts the records that stay. freshTombstone says that a tombstone among them
// has no time set yet.
func (f *batchFilter) judge(b record.Batch) (kept int, freshTombstone bool, err error) {
	f.keep = f.keep[:0]
	expired := b.HasDeleteHorizon() && b.BaseTimestamp() <= f.now.UnixMilli()
	err = b.Each(cleanerLimits, func(r *record.Record) error {
		keep := f.keepRecord(r, expired)
		f.keep = append(f.keep, keep)
		if keep {
			kept++
			if r.Value == nil && r.Offset < f.mappedTo {
				freshTombstone = !b.HasDeleteHorizon()
			}
		}
		return nil
	})
	return kept, freshTombstone, err
}

func (f *batchFilter) keepRecord(r *record.Record, expired bool) bool {
	if r.Offset >= f.mappedTo {
		return true
	}
	if r.Key == nil {
		return false // from before the topic was compacted: it can be neither found nor replaced
	}
	if r.Offset < f.keys.get(hashKey(r.Key)) {
		return false
	}
	if r.Value == nil && expired {
		f.stats.TombstonesRemoved++
		return false
	}
	return true
}

// rebuild appends a batch with the records that f.keep marks, compressed as b is. The first rebuild of
// a batch with tombstones sets the time at which those may go (KIP-534): from then on no older value
// of their keys is left, and readers get deleteRetention to notice.
func (f *batchFilter) rebuild(dst []byte, b record.Batch, freshTombstone bool) ([]byte, error) {
	spec := record.SpecOf(b)
	if freshTombstone {
		now := f.now.UnixMilli()
		spec.DeleteHorizon = now + min(f.deleteRetention, math.MaxInt64-now)
	}
	f.builder.Reset(spec)
	i := 0
	err := b.Each(cleanerLimits, func(r *record.Record) error {
		i++
		if !f.keep[i-1] {
			return nil
		}
		return f.builder.Add(r)
	})
	if err != nil {
		return dst, err
	}
	f.stats.BatchesRebuilt++
	return f.builder.Build(dst)
}

// Positions in a batch's header that an emptied batch changes, see wire/record.
const (
	batchLengthPos        = 8
	batchAttributesPos    = 21
	batchBaseTimestampPos = 27
	batchMaxTimestampPos  = 35
	batchCountPos         = 57
	batchKeptAttributes   = 0x38 // timestamp type, transactional, control; no codec, no delete horizon
)

// appendEmptied appends b without its records. Offsets, producer and sequence numbers stay. The times
// go, unlike in Kafka: time indexes and retention by time are about records, and here are none.
func appendEmptied(dst []byte, b record.Batch) []byte {
	at := len(dst)
	dst = append(dst, b[:record.HeaderSize]...)
	e := record.Batch(dst[at:])
	none := record.NoTimestamp
	binary.BigEndian.PutUint32(e[batchLengthPos:], record.HeaderSize-record.PrefixSize)
	binary.BigEndian.PutUint16(e[batchAttributesPos:], uint16(b.Attributes())&batchKeptAttributes)
	binary.BigEndian.PutUint64(e[batchBaseTimestampPos:], uint64(none))
	binary.BigEndian.PutUint64(e[batchMaxTimestampPos:], uint64(none))
	binary.BigEndian.PutUint32(e[batchCountPos:], 0)
	e.Seal()
	return dst
}
