package log

import (
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// DeleteBefore raises the start of the log to offset, durably, before it returns. The records below are
// not served any more; segments that lie wholly below go with the next retention. An offset above the
// high watermark is ErrOffsetOutOfRange, one below the start does nothing.
func (l *Log) DeleteBefore(offset int64) error {
	if err := l.deleteBefore(offset); err != nil {
		return fmt.Errorf("delete before %d: %w", offset, err)
	}
	l.notify()
	return nil
}

func (l *Log) deleteBefore(offset int64) error {
	l.structure.Lock()
	defer l.structure.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	if hw := l.hw.Load(); offset > hw || offset < 0 {
		return fmt.Errorf("%w: high watermark is %d", ErrOffsetOutOfRange, hw)
	}
	if offset <= l.start.Load() {
		return nil
	}
	l.raiseStart(offset)
	return l.dir.writeCheckpoints(logStartFile)
}

// raiseStart moves the start in memory. The caller holds structure, and owes a checkpoint before files
// go.
func (l *Log) raiseStart(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	invariant.Check(offset <= l.hw.Load() && offset <= l.end.Load(), "start %d of %s would pass hw %d or end %d", offset, l.id, l.hw.Load(), l.end.Load())
	if offset > l.start.Load() {
		l.start.Store(offset)
		l.dir.changed(logStartFile)
		if l.epochs.truncateBefore(offset) {
			l.epochsDirty = true
		}
	}
}

// TruncateTo removes the batches at and above offset, durably, before it returns: batches that contain
// offset go whole. It is for followers whose log diverges from the leader's; whether it may go below
// the high watermark is the caller's to know (replication.md 10.5). Appends are refused meanwhile. An
// offset at or above the end does nothing, one below the start is ErrOffsetOutOfRange: see Reset.
func (l *Log) TruncateTo(offset int64) error {
	l.structure.Lock()
	defer l.structure.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	if offset < l.start.Load() {
		return fmt.Errorf("%w: truncate to %d, log starts at %d", ErrOffsetOutOfRange, offset, l.start.Load())
	}
	if offset >= l.end.Load() {
		return nil
	}
	cut, err := l.findCut(offset)
	if err != nil {
		return fmt.Errorf("truncate %s to %d: %w", l.id, offset, err)
	}
	if cut.end < l.start.Load() { // the batch that holds the start goes, and what is left before it is not served
		return l.resetStructure(l.start.Load())
	}
	if err := l.dir.cleaner.lower(l, cut.end); err != nil {
		return fmt.Errorf("truncate %s to %d: %w", l.id, offset, err)
	}
	if err := l.beginTruncation(cut.end); err != nil {
		return fmt.Errorf("truncate %s to %d: %w", l.id, offset, err)
	}
	err = l.applyCut(cut)
	l.endTruncation()
	if err != nil {
		return fmt.Errorf("truncate %s to %d: %w", l.id, offset, l.dir.fail(err))
	}
	if err := l.syncData(); err != nil { // segments before the cut may not have been synced yet
		return fmt.Errorf("truncate %s to %d: %w", l.id, offset, err)
	}
	l.dir.logger.Info("truncated log", "log", l.id.String(), "end", cut.end)
	return nil
}

// logCut says where a log is cut: everything behind pos in segments[keep-1] goes, and all later
// segments.
type logCut struct {
	keep int
	pos  int64
	end  int64 // of the log afterwards
}

func (l *Log) findCut(offset int64) (logCut, error) {
	list := l.list()
	i := floorIndex(list, offset)
	invariant.Check(i >= 0, "offset %d lies in no segment of %s", offset, l.id)
	s := list[i]
	f, err := s.file.acquire()
	if err != nil {
		return logCut{}, err
	}
	defer s.file.release()
	w := s.walk(f, s.size.Load())
	defer w.done()
	b, ok, err := s.seek(w, offset)
	if err != nil {
		return logCut{}, err
	}
	cut := logCut{keep: i + 1, pos: w.end}
	if ok {
		cut.pos = b.pos
	}
	cut.end, err = s.endAt(w, cut.pos)
	return cut, err
}

// endAt is the offset after the last batch before pos, or the segment's base.
func (s *segment) endAt(w *batchWalker, pos int64) (int64, error) {
	at := int64(0)
	if pos > 0 && s.indexesUsable() {
		var err error
		if at, err = s.offsets.floor(pos - 1); err != nil {
			return 0, err
		}
	}
	end := s.base
	for at < pos {
		b, err := w.at(at)
		if err != nil {
			return 0, err
		}
		end, at = b.header.NextOffset(), b.next()
	}
	return end, nil
}

// beginTruncation refuses appends and takes back, durably, what was promised about the offsets from end
// on. A recovery point above the end of the log would be taken for lost data.
func (l *Log) beginTruncation(end int64) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.truncating = true
	l.generation++
	l.synced.Store(min(l.synced.Load(), end))
	l.recovery.Store(min(l.recovery.Load(), end))
	l.mu.Unlock()
	err := l.dir.writeCheckpoints(recoveryPointFile, syncedFile)
	if err != nil {
		l.endTruncation()
	}
	return err
}

func (l *Log) endTruncation() {
	l.mu.Lock()
	l.truncating = false
	l.mu.Unlock()
}

// applyCut cuts memory and files. Files go newest first, and a crash between leaves a longer prefix of
// the same log.
func (l *Log) applyCut(cut logCut) error {
	list := l.list()
	gone, s := list[cut.keep:], list[cut.keep-1]
	l.mu.Lock()
	for _, old := range list[cut.keep-1:] {
		if old.pinned {
			old.pinned = false
			old.file.release()
		}
	}
	l.setSegmentsLocked(list[:cut.keep:cut.keep])
	s.size.Store(cut.pos)
	l.end.Store(cut.end)
	l.SetHighWatermark(min(l.hw.Load(), cut.end))
	if l.epochs.truncateFrom(cut.end) {
		l.epochsDirty = true
	}
	l.mu.Unlock()

	l.layout.Lock()
	err := l.cutFiles(s, cut, gone)
	l.layout.Unlock()
	if err != nil {
		return err
	}
	if err := l.dropSnapshotsAbove(cut.end); err != nil {
		return err
	}
	if err := l.dir.fs.SyncDir(l.path); err != nil {
		return err
	}
	if err := l.saveState(false); err != nil {
		return err
	}
	if err := l.reopenTail(s, cut.pos); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.namesSynced = l.namesDirty
	return nil
}

func (l *Log) cutFiles(s *segment, cut logCut, gone []*segment) error {
	for i := len(gone) - 1; i >= 0; i-- {
		if err := gone[i].remove(); err != nil {
			return err
		}
	}
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	if err := f.Truncate(cut.pos); err != nil {
		return err
	}
	// The old entries must not come back under a history that has other batches there.
	if s.offsets.entries()+s.times.entries() > 0 {
		if err := errors.Join(s.offsets.truncateTo(cut.end), s.times.truncateTo(cut.end), s.offsets.sync(), s.times.sync()); err != nil {
			return err
		}
	}
	return f.Sync()
}

// reopenTail makes s, which ends at size, the active segment, and reads the producers again.
func (l *Log) reopenTail(s *segment, size int64) error {
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	w := s.walk(f, size)
	defer w.done()
	s.syncedIndex = s.offsets.entries() + s.times.entries() // cutFiles has synced them; readTail may cut more
	tail, err := s.readTail(w)
	if err != nil {
		return err
	}
	producers, err := l.rebuildProducers(l.end.Load())
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.sealed.Store(false)
	s.syncedSize = size
	s.useTail(tail)
	l.producers = producers
	l.unstable.Store(len(producers.txns) > 0)
	return nil
}

// Reset empties the log, durably, and lets it begin anew at offset: for a follower whom the leader's
// retention has overtaken (replication.md 10.6).
func (l *Log) Reset(offset int64) error {
	if offset < 0 {
		return fmt.Errorf("%w: %d", ErrOffsetOutOfRange, offset)
	}
	l.structure.Lock()
	err := l.Failed()
	if err == nil {
		err = l.resetStructure(offset)
	}
	l.structure.Unlock()
	if err == nil {
		l.notify()
	}
	return err
}

// resetStructure is Reset for callers that hold structure.
func (l *Log) resetStructure(offset int64) error {
	if err := l.dir.cleaner.lower(l, 0); err != nil {
		return fmt.Errorf("reset %s to %d: %w", l.id, offset, err)
	}
	if err := l.beginTruncation(0); err != nil {
		return fmt.Errorf("reset %s to %d: %w", l.id, offset, err)
	}
	defer l.endTruncation()
	l.start.Store(offset)
	if err := l.dir.writeCheckpoints(logStartFile); err != nil {
		return fmt.Errorf("reset %s to %d: %w", l.id, offset, err)
	}
	if err := l.startAnew(offset); err != nil {
		return fmt.Errorf("reset %s to %d: %w", l.id, offset, l.dir.fail(err))
	}
	return nil
}

// startAnew replaces all segments by an empty one. The start checkpoint is above all of them, so that
// recovery would do the same.
func (l *Log) startAnew(offset int64) error {
	l.mu.Lock()
	old := l.list()
	for _, s := range old {
		if s.pinned {
			s.pinned = false
			s.file.release()
		}
	}
	l.mu.Unlock()
	l.layout.Lock()
	for i := len(old) - 1; i >= 0; i-- {
		if err := old[i].remove(); err != nil {
			l.layout.Unlock()
			return err
		}
	}
	s, err := createSegment(l, offset)
	if err != nil {
		l.layout.Unlock()
		return err
	}
	l.mu.Lock()
	l.setSegmentsLocked([]*segment{s})
	l.end.Store(offset)
	l.SetHighWatermark(offset)
	l.producers = producerStates{}
	l.epochs.truncateFrom(0)
	l.epochsDirty = true
	l.unstable.Store(false)
	l.mu.Unlock()
	l.layout.Unlock()
	if err := l.dropSnapshotsAbove(-1); err != nil {
		return err
	}
	if err := l.dir.fs.SyncDir(l.path); err != nil {
		return err
	}
	if err := l.saveState(false); err != nil {
		return err
	}
	l.synced.Store(offset)
	l.recovery.Store(offset)
	l.dir.changed(recoveryPointFile)
	l.dir.changed(syncedFile)
	return nil
}

// dropSnapshotsAbove removes the producer snapshots of a history that was cut off at end. The caller
// syncs the directory before a new one can reach as far.
func (l *Log) dropSnapshotsAbove(end int64) error {
	l.mu.Lock()
	var kept, gone []int64
	for _, offset := range l.snapshots {
		if offset > end {
			gone = append(gone, offset)
		} else {
			kept = append(kept, offset)
		}
	}
	l.snapshots = kept
	for offset := range l.pending {
		if offset > end {
			delete(l.pending, offset)
		}
	}
	l.mu.Unlock()
	for _, offset := range gone {
		if err := removeIfThere(l.dir.fs, snapshotPath(l.path, offset)); err != nil {
			return err
		}
	}
	return nil
}
