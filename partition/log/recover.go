package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// savedOffsets is what the checkpoints of a directory say about one log. Zero is also "nothing".
type savedOffsets struct {
	recovery      int64 // recovery point
	synced        int64 // the batches below are on disk; at least recovery
	start         int64
	highWatermark int64
}

// recovery is the opening of one log.
type recovery struct {
	savedOffsets
	log       *Log
	end       int64 // after the last good batch so far
	lastEpoch int32
	epochs    []epochEntry // where a new leader epoch was met above the recovery point
	torn      bool         // a tail was cut off
	doubtful  bool         // ... that may have been acknowledged
	fresh     bool         // the log has just been created; the caller syncs its names

	header [record.HeaderSize]byte // of the batch that check returned last
}

// recover opens the log's files: it verifies the batches from the recovery point on, cuts off a torn
// tail, and brings indexes, leader epochs and producers in line with what is there (replication.md
// 14.4). Damage below what is known to be on disk quarantines the log, with all its bytes left alone;
// an error is one of the disk, and says nothing about the log.
func (l *Log) recover(saved savedOffsets, fresh bool) error {
	saved.synced = max(saved.synced, saved.recovery)
	r := &recovery{savedOffsets: saved, log: l, lastEpoch: -1, fresh: fresh}
	err := r.run()
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		return err
	}
	cause := fmt.Errorf("%w: %w", ErrQuarantined, err)
	l.quarantine.Store(&cause)
	l.start.Store(saved.start)
	l.end.Store(max(saved.start, saved.synced))
	l.synced.Store(saved.synced)
	l.recovery.Store(saved.recovery)
	l.hw.Store(saved.highWatermark)
	l.dir.metrics.quarantined.Inc()
	l.dir.logger.Error("log is damaged below what was synced and is not served", "log", l.id.String(), "err", err)
	return nil
}

func (r *recovery) run() error {
	l := r.log
	list, err := r.openSegments()
	if err != nil {
		return err
	}
	list, gone := r.scan(list)
	if gone.err != nil {
		l.setSegmentsLocked(append(list, gone.segments...)) // for close
		return gone.err
	}
	l.setSegmentsLocked(list)
	if r.end < r.synced && r.start <= r.end {
		return r.lost(list[len(list)-1])
	}
	if r.torn {
		if err := r.cut(list[len(list)-1], gone.segments); err != nil {
			return err
		}
	}
	l.end.Store(r.end)
	l.start.Store(max(r.start, list[0].base))
	l.recovery.Store(min(max(r.recovery, list[0].base), r.end))
	l.synced.Store(min(r.synced, r.end))
	if r.start > r.end {
		if err := r.restart(); err != nil {
			return err
		}
	}
	return r.finish()
}

// lost is the error for a log that ends below what was synced.
func (r *recovery) lost(last *segment) error {
	return last.corrupt(last.size.Load(), fmt.Errorf("%w: log ends at offset %d, but everything below %d was synced", record.ErrCorrupt, r.end, r.synced))
}

// openSegments lists the files and drops those that have no meaning any more: unfinished swaps and
// state files, indexes without a segment, segments below the start.
func (r *recovery) openSegments() ([]*segment, error) {
	l := r.log
	names, err := l.listFiles()
	if err != nil {
		return nil, err
	}
	var list []*segment
	for _, name := range names {
		base, ok := parseBase(name, logSuffix)
		if !ok {
			continue
		}
		s, err := openSegment(l, base)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	for len(list) > 1 && list[1].base <= r.start { // a retention that was not finished
		if err := list[0].remove(); err != nil {
			return nil, err
		}
		list = list[1:]
	}
	if len(list) > 0 {
		return list, nil
	}
	// Only a log that was never written to has no segment. Its first one is created here.
	if r.synced > r.start {
		return nil, &CorruptError{File: l.path, Err: fmt.Errorf("%w: no segments, but everything below offset %d was synced", record.ErrCorrupt, r.synced)}
	}
	s, err := createSegment(l, r.start)
	if err != nil {
		return nil, err
	}
	if !r.fresh {
		l.namesDirty++
	}
	return []*segment{s}, nil
}

// listFiles reads the directory, after finishing or undoing compactions, and sorts out what it finds.
func (l *Log) listFiles() ([]string, error) {
	entries, err := l.dir.fs.ReadDir(l.path)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return strings.HasSuffix(e.Name(), swapSuffix) || strings.HasSuffix(e.Name(), cleanedSuffix)
	}) {
		err := recoverSwaps(l.dir.fs, l.path)
		if errors.Is(err, errStateFile) {
			return nil, &CorruptError{File: l.path, Err: err}
		}
		if err != nil {
			return nil, err
		}
		if entries, err = l.dir.fs.ReadDir(l.path); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(entries))
	segments := map[string]bool{}
	for _, e := range entries {
		names = append(names, e.Name())
		if digits, ok := strings.CutSuffix(e.Name(), logSuffix); ok {
			segments[digits] = true
		}
	}
	for _, name := range names {
		if err := l.sortOut(name, segments); err != nil {
			return nil, err
		}
	}
	slices.Sort(l.snapshots)
	return names, nil
}

// sortOut deals with one file that is not a segment.
func (l *Log) sortOut(name string, segments map[string]bool) error {
	path := filepath.Join(l.path, name)
	if strings.HasSuffix(name, vfs.TempSuffix) {
		return removeIfThere(l.dir.fs, path)
	}
	if strings.HasSuffix(name, deletedSuffix) {
		l.dir.unlinkLater(0, path)
		return nil
	}
	if offset, ok := parseBase(name, snapshotSuffix); ok {
		l.snapshots = append(l.snapshots, offset)
		return nil
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		if digits, ok := strings.CutSuffix(name, suffix); ok && !segments[digits] {
			return removeIfThere(l.dir.fs, path)
		}
	}
	return nil
}

// openSegment opens a segment that is on disk. Its file is not touched.
func openSegment(l *Log, base int64) (*segment, error) {
	s, err := newSegment(l, base)
	if err != nil {
		return nil, err
	}
	info, err := s.fs.Stat(s.path(logSuffix))
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSegmentBytes {
		return nil, s.corrupt(maxSegmentBytes, fmt.Errorf("%w: file of %d bytes", record.ErrTooLarge, info.Size()))
	}
	s.size.Store(info.Size())
	return s, nil
}

// leftover is what scan could not make part of the log.
type leftover struct {
	segments []*segment
	err      error
}

// scan goes through the segments from the recovery point on. It returns those that make up the log, and
// the ones behind a tear.
func (r *recovery) scan(list []*segment) ([]*segment, leftover) {
	first := max(0, floorIndex(list, r.recovery))
	for _, s := range list[:first] {
		s.syncedSize = s.size.Load()
		s.syncedIndex = s.offsets.entries() + s.times.entries()
		s.sealed.Store(true)
		if s.syncedSize == 0 {
			return list, leftover{err: s.corrupt(0, fmt.Errorf("%w: segment below the recovery point %d is empty", record.ErrCorrupt, r.recovery))}
		}
	}
	if first > 0 && list[first].base == r.recovery && !r.log.dir.previous.Clean {
		if err := list[first-1].resealIndexes(); err != nil {
			return list, leftover{err: err}
		}
	}
	r.end = list[first].base
	for i, s := range list[first:] {
		i += first
		if s.base != r.end { // what lay between is gone, and so is the meaning of what follows
			if r.end < r.synced {
				return list[:i], leftover{list[i:], r.lost(list[i-1])}
			}
			r.torn, r.doubtful = true, true
			return list[:i], leftover{segments: list[i:]}
		}
		if i > first { // only now it is sure that the one before is not the last
			if err := list[i-1].seal(); err != nil {
				return list[:i], leftover{list[i:], err}
			}
		}
		if err := r.scanSegment(s); err != nil {
			return list[:i], leftover{list[i:], err}
		}
		if r.torn {
			r.doubtful = r.doubtful || i+1 < len(list) && list[i+1].size.Load() > 0
			return list[:i+1], leftover{segments: list[i+1:]}
		}
	}
	return list, leftover{}
}

// scanSegment verifies the batches of s from the last index entry below the recovery point on, and adds
// what is missing to the indexes.
func (r *recovery) scanSegment(s *segment) error {
	size, clean := s.size.Load(), r.log.dir.previous.Clean
	s.checked, s.largestOK = indexGood, true
	s.syncedSize = size
	if size == 0 {
		if s.offsets.exists() || s.times.exists() {
			s.syncedIndex = -1
		}
		return errors.Join(s.offsets.keep(0), s.times.keep(0))
	}
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	w := s.walkRecovering(f, size, clean)
	defer w.done()
	if err := s.trustIndexes(w, r.recovery, clean); err != nil {
		return err
	}
	pos, err := s.startRecovery(w)
	if err != nil {
		return err
	}
	if pos > 0 {
		r.end = s.base // rises with the first batch; what came before it is below the recovery point
	}
	for pos < size {
		b, err := r.check(w, pos)
		if errors.Is(err, ErrCorrupt) {
			return r.tear(s, w, pos, err)
		}
		if err != nil {
			return err
		}
		if err := s.noteAppended(b.header, pos); err != nil {
			return err
		}
		r.end = b.header.NextOffset()
		pos = b.next()
	}
	return nil
}

// check verifies the batch at pos and that it continues the log.
func (r *recovery) check(w *batchWalker, pos int64) (batchAt, error) {
	b, err := w.at(pos)
	if err != nil {
		return b, err
	}
	header := record.Batch(r.header[:copy(r.header[:], b.header)]) // verify moves the walker on
	if err := w.verify(b); err != nil {
		return b, err
	}
	b.header = header
	if base, epoch := header.BaseOffset(), header.LeaderEpoch(); base < r.end || epoch < r.lastEpoch {
		return b, w.seg.corrupt(pos, fmt.Errorf("%w: base offset %d and leader epoch %d after %d and %d", record.ErrCorrupt, base, epoch, r.end, r.lastEpoch))
	}
	if epoch := header.LeaderEpoch(); epoch > r.lastEpoch {
		r.lastEpoch = epoch
		r.epochs = append(r.epochs, epochEntry{epoch, header.BaseOffset()})
	}
	return b, nil
}

// tear decides what a bad batch at pos means: a torn tail, or damage.
func (r *recovery) tear(s *segment, w *batchWalker, pos int64, cause error) error {
	if r.end < r.synced {
		return cause
	}
	r.torn = true
	// An unfinished last write has nothing valid behind it, and happens without a power loss. Any other
	// tail may have been acknowledged.
	r.doubtful = !r.log.dir.sameBoot
	if b, err := w.at(pos); err == nil && b.next() < w.end {
		if next, err := w.at(b.next()); err == nil && w.verify(next) == nil {
			r.doubtful = true
		}
	}
	r.log.dir.logger.Warn("cut off a torn tail", "log", r.log.id.String(), "offset", r.end, "bytes", s.size.Load()-pos, "err", cause)
	r.log.dir.metrics.torn.Add(float64(s.size.Load() - pos))
	s.size.Store(pos)
	s.syncedSize = pos
	return nil
}
