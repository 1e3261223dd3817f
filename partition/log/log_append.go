package log

import (
	"errors"
	"fmt"
	"math"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/wire/record"
)

// AppendOptions says how batches are appended.
type AppendOptions struct {
	// LeaderEpoch is stamped on the batches.
	LeaderEpoch int32
	// Replicated batches come from a leader: their offsets and epochs stay as they are, the producer
	// rules were applied there, and a full disk is no reason to refuse them before it really is full.
	Replicated bool
}

// Appended says where batches are: at the offsets [Base, Next).
type Appended struct {
	Base, Next   int64
	Duplicate    bool  // nothing was written; the offsets are those of the original
	StartOffset  int64 // of the log
	MaxTimestamp int64 // largest of the batches, in ms
}

// appendSet is what Append learns of its batches before it writes.
type appendSet struct {
	bytes   []byte
	base    int64
	next    int64 // after the last offset
	maxTS   int64
	batches int
	tracked bool // some batch has a producer id
}

// Append writes one or more whole, valid batches at the end of the log and returns their offsets. It
// stamps offsets and leader epoch into batch itself, and keeps no reference to it. The records are
// durable once DurableOffset has passed Appended.Next.
//
// On an error nothing was appended: ErrRecordListTooLarge, ErrDiskFull, ErrDirFailed, ErrQuarantined,
// ErrClosed, ErrUnexpectedOffset, those of the producer rules, or record.ErrCorrupt. A write that fails
// for want of space is cut off again; any other failure of the disk fails the directory.
func (l *Log) Append(batch []byte, o AppendOptions) (Appended, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(o); err != nil {
		return Appended{}, err
	}
	set, dup, err := l.examineLocked(batch, o)
	if err != nil {
		return Appended{}, err
	}
	if dup != nil {
		return Appended{Base: dup.firstOffset(), Next: dup.lastOffset + 1, Duplicate: true, StartOffset: l.start.Load(), MaxTimestamp: dup.timestamp}, nil
	}
	if set.batches == 0 {
		return Appended{Base: set.base, Next: set.base, StartOffset: l.start.Load(), MaxTimestamp: record.NoTimestamp}, nil
	}
	if err := l.rollIfDueLocked(&set); err != nil {
		return Appended{}, err
	}
	if err := l.writeLocked(set.bytes); err != nil {
		return Appended{}, fmt.Errorf("append to %s at offset %d: %w", l.id, set.base, err)
	}
	l.settleAppendLocked(&set)
	return Appended{Base: set.base, Next: set.next, StartOffset: l.start.Load(), MaxTimestamp: set.maxTS}, nil
}

func (l *Log) writableLocked(o AppendOptions) error {
	switch err := l.Failed(); {
	case err != nil:
		return err
	case l.closed:
		return ErrClosed
	case l.truncating:
		return fmt.Errorf("%w: the log is being truncated", ErrUnexpectedOffset)
	case !o.Replicated && l.dir.full.Load():
		return fmt.Errorf("%w: free space is below the limit", ErrDiskFull)
	}
	return nil
}

// examineLocked applies every rule to the batches and, if all pass, stamps them.
func (l *Log) examineLocked(data []byte, o AppendOptions) (set appendSet, dup *seenBatch, err error) {
	set = appendSet{bytes: data, base: l.end.Load(), next: l.end.Load(), maxTS: record.NoTimestamp}
	if limit := l.config().SegmentBytes; !o.Replicated && int64(len(data)) > limit || len(data) > maxSegmentBytes {
		return set, nil, fmt.Errorf("%w: %d bytes, segment.bytes is %d", ErrRecordListTooLarge, len(data), limit)
	}
	latest, _, _ := l.epochs.latest()
	for rest := data; len(rest) > 0; set.batches++ {
		b, after, err := record.Next(rest)
		if err != nil {
			return set, nil, err
		}
		if b.LastOffsetDelta() < 0 {
			return set, nil, fmt.Errorf("%w: last offset delta %d", record.ErrCorrupt, b.LastOffsetDelta())
		}
		if o.Replicated {
			latest, err = checkReplicated(b, set.next, latest)
			if err == nil && b.ProducerID() != record.NoProducer && b.IsControl() {
				_, _, err = parseMarker(b)
			}
		} else {
			dup, err = l.checkProducerLocked(b, data[:len(data)-len(rest)])
		}
		if err != nil || dup != nil {
			return set, dup, err
		}
		if !o.Replicated {
			b.Stamp(set.next, o.LeaderEpoch)
		} else if set.batches == 0 {
			set.base = b.BaseOffset()
		}
		set.next = b.NextOffset()
		set.maxTS = max(set.maxTS, b.MaxTimestamp())
		set.tracked = set.tracked || b.ProducerID() != record.NoProducer
		rest = after
	}
	return set, nil, nil
}

// checkReplicated holds a leader's batch against replication.md 10.4.
func checkReplicated(b record.Batch, next int64, latest int32) (int32, error) {
	if b.BaseOffset() < next {
		return latest, fmt.Errorf("%w: base offset %d, log end %d", ErrUnexpectedOffset, b.BaseOffset(), next)
	}
	if b.LeaderEpoch() < latest {
		return latest, fmt.Errorf("%w: batch at %d has leader epoch %d after %d", ErrUnexpectedOffset, b.BaseOffset(), b.LeaderEpoch(), latest)
	}
	return b.LeaderEpoch(), nil
}

// checkProducerLocked applies the producer rules to one batch of a set. A producer that has several
// batches in the set must number them on; before holds the bytes of those that came before b.
func (l *Log) checkProducerLocked(b record.Batch, before []byte) (*seenBatch, error) {
	if b.ProducerID() == record.NoProducer {
		return nil, nil
	}
	if b.IsControl() {
		return nil, l.producers.checkMarker(b)
	}
	var earlier record.Batch
	for len(before) > 0 {
		var e record.Batch
		e, before, _ = record.Next(before) // it was cut the same way just now
		if e.ProducerID() == b.ProducerID() {
			earlier = e
		}
	}
	if earlier == nil {
		return l.producers.check(b)
	}
	if earlier.ProducerEpoch() != b.ProducerEpoch() || record.AddSequence(earlier.LastSequence(), 1) != b.BaseSequence() {
		return nil, fmt.Errorf("%w: producer %d sent sequence %d after %d in one append", ErrOutOfOrderSequence, b.ProducerID(), b.BaseSequence(), earlier.LastSequence())
	}
	return nil, nil
}

// writeLocked puts bytes at the end of the active segment. After an error the file ends where it did.
func (l *Log) writeLocked(data []byte) error {
	s := l.activeLocked()
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	keep := l.config().FlushMode == Sync && !s.pinned
	defer func() {
		if !keep {
			s.file.release()
		}
	}()
	size := s.size.Load()
	if _, err := f.WriteAt(data, size); err != nil {
		keep = false
		return l.undoWrite(f.Truncate(size), err)
	}
	if keep {
		s.pinned = true
	}
	return nil
}

// undoWrite judges a failed write, whose effect was cut off with the result undone.
func (l *Log) undoWrite(undone, cause error) error {
	if undone != nil {
		return l.dir.fail(errors.Join(cause, undone))
	}
	return l.dir.stateError(cause)
}

// settleAppendLocked makes the written batches part of the log.
func (l *Log) settleAppendLocked(set *appendSet) {
	s := l.activeLocked()
	pos, now := s.size.Load(), l.dir.now()
	for rest := set.bytes; len(rest) > 0; {
		b, after, err := record.Next(rest)
		invariant.Check(err == nil, "a batch changed while it was appended: %v", err)
		if err := s.noteAppended(b, pos); err != nil {
			l.dir.logger.Warn("an index entry could not be written; lookups take longer", "log", l.id.String(), "err", err)
		}
		if set.tracked {
			err := l.producers.update(b, now)
			invariant.Check(err == nil, "a marker that was checked cannot be read: %v", err)
		}
		if l.epochs.assign(b.LeaderEpoch(), b.BaseOffset()) {
			l.epochsDirty = true // saved before the batch counts as durable
		}
		pos += int64(len(b))
		rest = after
	}
	if len(l.producers.txns) > 0 {
		l.unstable.Store(true)
	}
	if s.base > set.base || set.next-1-s.base > math.MaxInt32 { // asked here, since passing the numbers on costs an allocation each
		invariant.Check(false, "offsets [%d, %d) do not fit segment %d", set.base, set.next, s.base)
	}
	s.size.Store(pos)
	l.end.Store(set.next)
	l.unflushed += set.next - set.base
	l.dir.metrics.appended(len(set.bytes))
	l.commitLaterLocked()
}

// commitLaterLocked arranges for what was appended to be synced as the mode says, and for the listener.
func (l *Log) commitLaterLocked() {
	switch cfg := l.config(); {
	case cfg.FlushMode == Sync, cfg.FlushMode == Interval && cfg.FlushMessages > 0 && l.unflushed >= cfg.FlushMessages:
		l.dir.commits.add(l, true)
	case cfg.FlushMode == Interval:
		l.dir.commits.addAfter(l, cfg.FlushInterval)
	default:
		l.dir.commits.add(l, false)
	}
}

// rollIfDueLocked begins a new segment if the batches do not belong into the active one.
func (l *Log) rollIfDueLocked(set *appendSet) error {
	s := l.activeLocked()
	base, due := s.base, s.rollDue(l.config(), len(set.bytes), set.next-1, set.maxTS, l.dir.now())
	if due {
		base = l.end.Load()
	}
	if set.next-1-base > math.MaxInt32 { // no compaction leaves such a gap: it keeps a batch per segment
		return fmt.Errorf("%w: offsets up to %d, log end %d: one segment cannot hold that", ErrUnexpectedOffset, set.next, l.end.Load())
	}
	if !due {
		return nil
	}
	return l.rollLocked(base)
}

// Roll closes the active segment and begins a new one, unless it is empty.
func (l *Log) Roll() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(AppendOptions{Replicated: true}); err != nil {
		return err
	}
	if l.activeLocked().size.Load() == 0 {
		return nil
	}
	return l.rollLocked(l.end.Load())
}

// rollLocked begins a segment at base. Nothing is synced here: the committer syncs the closed segment,
// the new one and its name before anything in the new one counts, and maintenance moves the recovery
// point once indexes and producer snapshot are on disk too.
func (l *Log) rollLocked(base int64) error {
	old := l.activeLocked()
	s, err := createSegment(l, base)
	if err != nil {
		return fmt.Errorf("roll %s at offset %d: %w", l.id, base, l.dir.stateError(err))
	}
	if err := old.seal(); err != nil {
		l.dir.logger.Warn("the time index of a closed segment is incomplete and will be rebuilt", "log", l.id.String(), "err", err)
		old.distrustIndexes()
	}
	old.largestOK = true
	list := l.list()
	l.setSegmentsLocked(append(append(make([]*segment, 0, len(list)+1), list...), s))
	l.namesDirty++
	if l.pending == nil {
		l.pending = map[int64][]byte{}
	}
	l.pending[base] = l.producers.encodeSnapshot()
	l.dir.metrics.rolls.Inc()
	l.dir.wakeMaintenance(l)
	return nil
}
