package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	deletedSuffix   = ".deleted"
	baseNameLength  = 20 // digits
)

// segment is one file of batches, named by the offset at which it begins, with its indexes. The last
// one of a log is active: only it grows. Offsets of a segment are [base, base of the next).
type segment struct {
	base    int64
	dir     string
	fs      vfs.FS
	file    *handle
	offsets *offsetIndex
	times   *timeIndex
	// size counts the bytes of whole batches in the file; readers go no further. It is changed under
	// Log.mu, and read by anybody.
	size atomic.Int64

	interval int64       // index.interval.bytes when the segment was opened
	sealed   atomic.Bool // it gets no more appends, so that its indexes can be rebuilt while it is read
	indexing sync.Mutex  // guards checked; held while the indexes are rebuilt
	checked  indexCheck

	// syncedIndex counts the entries of both indexes that are on disk; -1 if their files have to be synced
	// whatever they hold. Guarded by Log.structure.
	syncedIndex int64

	// guarded by Log.mu
	created    time.Time // when it was created or opened
	jitter     time.Duration
	pinned     bool  // the file was acquired for a sync to come
	syncedSize int64 // bytes of the file known to be on disk
	sinceEntry int64 // bytes since the last index entry
	largest    timeAt
	largestOK  bool  // largest is known
	firstTime  int64 // largest timestamp of the first batch; record.NoTimestamp if none or unknown
}

// timeAt is a timestamp in ms and the last offset of the batch that has it.
type timeAt struct{ ts, offset int64 }

// newSegment describes a segment whose files exist or are about to.
func newSegment(l *Log, base int64) (*segment, error) {
	cfg := l.config()
	s := &segment{base: base, dir: l.path, fs: l.dir.fs, interval: cfg.IndexIntervalBytes, created: l.dir.now(), firstTime: record.NoTimestamp}
	s.largest = timeAt{record.NoTimestamp, base}
	if cfg.SegmentJitter > 0 {
		s.jitter = rand.N(cfg.SegmentJitter)
	}
	s.file = l.dir.files.handle(s.path(logSuffix), s.releaseIndexes)
	var err error
	if s.offsets, err = openOffsetIndex(s.fs, s.path(indexSuffix), base, cfg.SegmentIndexBytes); err != nil {
		return nil, err
	}
	if s.times, err = openTimeIndex(s.fs, s.path(timeIndexSuffix), base, cfg.SegmentIndexBytes); err != nil {
		return nil, err
	}
	return s, nil
}

// createSegment makes the files of a new, empty segment. Its name is durable only after SyncDir of the
// log's directory, which the caller owes before a record in it counts.
func createSegment(l *Log, base int64) (*segment, error) {
	s, err := newSegment(l, base)
	if err != nil {
		return nil, err
	}
	// Indexes of that name can only be left over from a history that was truncated away.
	if s.offsets.exists() || s.times.exists() {
		s.syncedIndex = -1
		if err := errors.Join(s.offsets.reset(), s.times.reset()); err != nil {
			return nil, err
		}
	}
	f, err := s.fs.OpenFile(s.path(logSuffix), os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	if cfg := l.config(); cfg.Preallocate {
		if err := f.Preallocate(cfg.SegmentBytes); err != nil {
			return nil, errors.Join(err, f.Close(), s.fs.Remove(s.path(logSuffix)))
		}
	}
	s.checked, s.largestOK = indexGood, true
	s.file.adopt(f)
	s.file.release()
	return s, nil
}

func (s *segment) path(suffix string) string { return segmentPath(s.dir, s.base, suffix) }

// releaseIndexes gives back the handles of the indexes. What it fails to write is rebuilt by recovery.
func (s *segment) releaseIndexes() { _ = errors.Join(s.offsets.release(), s.times.release()) }

// noteAppended brings indexes and times up to date with the batch that was written at pos. An index
// that cannot take an entry only makes lookups scan further.
//
// An entry is due when more than the interval was appended since the last one, as in Kafka. Entries
// depend on the batches alone, so that a rebuild gives the same ones.
func (s *segment) noteAppended(b record.Batch, pos int64) error {
	if ts := b.MaxTimestamp(); ts > s.largest.ts {
		s.largest = timeAt{ts, b.LastOffset()}
	}
	if pos == 0 {
		s.firstTime = b.MaxTimestamp()
	}
	var err error
	if s.sinceEntry > s.interval {
		err = errors.Join(s.offsets.append(b.LastOffset(), pos), s.times.maybeAppend(s.largest.ts, s.largest.offset))
		s.sinceEntry = 0
	}
	s.sinceEntry += int64(b.Size())
	return err
}

// seal ends the growth of the segment. The time index gets its last entry, which retention and searches
// by time rely on.
func (s *segment) seal() error {
	s.sealed.Store(true)
	return s.times.seal(s.largest.ts, s.largest.offset)
}

// rollDue tells whether the segment must be closed before bytes more are appended whose last offset and
// largest timestamp are given. An empty segment need not.
func (s *segment) rollDue(cfg *Config, bytes int, last, ts int64, now time.Time) bool {
	size := s.size.Load()
	if size == 0 {
		return false
	}
	if size+int64(bytes) > cfg.SegmentBytes || last-s.base > math.MaxInt32 || s.offsets.full() || s.times.full() {
		return true
	}
	age := now.Sub(s.created)
	if s.firstTime != record.NoTimestamp && ts != record.NoTimestamp {
		age = time.UnixMilli(ts).Sub(time.UnixMilli(s.firstTime)) // saturates
	}
	return age > cfg.SegmentMs-s.jitter
}

// largestTime returns the largest timestamp of the segment. The caller holds Log.mu.
func (s *segment) largestTime() (timeAt, error) {
	if s.largestOK {
		return s.largest, nil
	}
	if !s.indexesUsable() {
		return timeAt{}, fmt.Errorf("%w: %s", errIndexInvalid, s.path(timeIndexSuffix))
	}
	ts, offset, err := s.times.last()
	if err != nil {
		return timeAt{}, err
	}
	s.largest, s.largestOK = timeAt{ts, offset}, true
	return s.largest, nil
}

// indexesUnsynced tells whether an index has entries that may not be on disk.
func (s *segment) indexesUnsynced() bool {
	return s.offsets.entries()+s.times.entries() != s.syncedIndex
}

// syncIndexes makes both indexes durable. The caller holds Log.structure.
func (s *segment) syncIndexes() error {
	entries := s.offsets.entries() + s.times.entries()
	if err := errors.Join(s.offsets.sync(), s.times.sync()); err != nil {
		return err
	}
	s.syncedIndex = entries
	return nil
}

// close gives back all handles; the segment is not used any more.
func (s *segment) close() error {
	s.file.retire()
	return errors.Join(s.offsets.close(), s.times.close())
}

// markDeleted renames the files so that they are not found by recovery, and returns their new names, to
// be unlinked later: readers may be at them. The caller holds Log.layout for writing.
func (s *segment) markDeleted() (names []string, err error) {
	s.file.retire()
	errs := []error{s.offsets.discard(), s.times.discard()}
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		name := s.path(suffix)
		switch err := s.fs.Rename(name, name+deletedSuffix); {
		case err == nil:
			names = append(names, name+deletedSuffix)
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return names, errors.Join(errs...)
}

// remove unlinks the files at once: they were never readable, or nothing can be reading them.
func (s *segment) remove() error {
	s.file.retire()
	errs := []error{s.offsets.discard(), s.times.discard()}
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		errs = append(errs, removeIfThere(s.fs, s.path(suffix)))
	}
	return errors.Join(errs...)
}

// parseBase reads the base offset off a file name of the form 00000000000000000042<suffix>.
func parseBase(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != baseNameLength {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return base, err == nil && base >= 0
}

// corrupt describes damage in the segment's file.
func (s *segment) corrupt(pos int64, err error) error {
	return &CorruptError{File: filepath.Join(filepath.Base(s.dir), fmt.Sprintf("%020d%s", s.base, logSuffix)), Pos: pos, Err: err}
}
