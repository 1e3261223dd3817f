package log

import (
	"errors"
	"math"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// maxIndexFileBytes is more than segment.index.bytes can sensibly ask for; a larger file is rebuilt.
const maxIndexFileBytes = 64 << 20

// indexCheck says what is known about the indexes of a segment.
type indexCheck uint8

const (
	indexUnchecked indexCheck = iota // as they were found on disk
	indexGood
	indexBad // a lookup led astray: to be rebuilt
)

// indexesUsable tells whether lookups may use the indexes. Those of a sealed segment are checked at
// first use, not at start, and rebuilt if they are missing or cannot belong to the file; an active
// segment's were checked by recovery.
func (s *segment) indexesUsable() bool {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	if s.checked == indexGood {
		return true
	}
	if !s.sealed.Load() {
		return s.checked != indexBad
	}
	if s.checked == indexUnchecked && s.saneIndexes() {
		s.checked = indexGood
		return true
	}
	if err := s.rebuildIndexes(); err != nil {
		return false
	}
	s.checked = indexGood
	return true
}

// distrustIndexes has the indexes rebuilt before they are used again.
func (s *segment) distrustIndexes() {
	s.indexing.Lock()
	s.checked = indexBad
	s.indexing.Unlock()
}

// saneIndexes tells whether the indexes of a sealed segment can be its own.
func (s *segment) saneIndexes() bool {
	size := s.size.Load()
	// A sealed segment has the entry of its largest time. Without one the file may have lost what it held;
	// where the records have no times the rebuild finds that out, and costs one reading of headers.
	if size > 0 && s.times.entries() == 0 || size > s.interval && !s.offsets.exists() {
		return false
	}
	return s.offsets.sanity(size) == nil && s.times.sanity(math.MaxInt64) == nil
}

// rebuildIndexes makes both indexes anew from the headers of the file.
func (s *segment) rebuildIndexes() error {
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	if err := errors.Join(s.offsets.reset(), s.times.reset()); err != nil {
		return err
	}
	w := s.scan(f, s.size.Load())
	defer w.done()
	since, largest := int64(0), timeAt{record.NoTimestamp, s.base}
	for pos := int64(0); pos < w.end; {
		b, err := w.at(pos)
		if err != nil {
			return err
		}
		if ts := b.header.MaxTimestamp(); ts > largest.ts {
			largest = timeAt{ts, b.header.LastOffset()}
		}
		if since > s.interval {
			if err := errors.Join(s.offsets.append(b.header.LastOffset(), pos), s.times.maybeAppend(largest.ts, largest.offset)); err != nil {
				return err
			}
			since = 0
		}
		since += b.size
		pos = b.next()
	}
	return errors.Join(s.times.seal(largest.ts, largest.offset), s.offsets.sync(), s.times.sync())
}

// trustIndexesBelow cuts the indexes of a segment that recovery is about to scan to what can be
// believed: the entries of batches below offset, which lie at the front and were synced. What follows
// may be anything, zeroes and torn entries too, so the entries are read from the front and not searched.
func (s *segment) trustIndexesBelow(offset int64, size int64) error {
	if s.offsets.ragged || s.offsets.entries() > 0 {
		n, err := s.offsets.prefix(func(entry, before []byte) bool {
			at, pos := s.offsets.decode(entry)
			if before != nil {
				lastAt, lastPos := s.offsets.decode(before)
				if at <= lastAt || pos <= lastPos {
					return false
				}
			}
			return at >= s.base && at < offset && pos > 0 && pos < size
		})
		if err != nil {
			return err
		}
		if err := s.offsets.keep(n); err != nil {
			return err
		}
		s.offsets.lastKnown = false
	}
	if s.times.ragged || s.times.entries() > 0 {
		n, err := s.times.prefix(func(entry, before []byte) bool {
			ts, at := s.times.decode(entry)
			if before != nil {
				lastTS, lastAt := s.times.decode(before)
				if ts <= lastTS || at < lastAt {
					return false
				}
			}
			return ts >= 0 && at >= s.base && at < offset
		})
		if err != nil {
			return err
		}
		if err := s.times.keep(n); err != nil {
			return err
		}
		s.times.known = false
	}
	return nil
}

// prefix counts the leading entries that are good, each judged with the one before it.
func (x *entryFile) prefix(good func(entry, before []byte) bool) (int64, error) {
	data, err := vfs.ReadFile(x.fs, x.name, maxIndexFileBytes)
	if err != nil {
		return 0, err
	}
	var before []byte
	n := int64(0)
	for ; len(data) >= x.entry; data = data[x.entry:] {
		entry := data[:x.entry]
		if !good(entry, before) {
			break
		}
		before = entry
		n++
	}
	return n, nil
}

// keep drops all but the first count entries, and an incomplete one at the end.
func (x *entryFile) keep(count int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.truncateLocked(count)
}
