package log

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// timeIndex finds where in one segment records of a certain time begin: Kafka's .timeindex, entries
// of (timestamp in ms, offset relative to the segment's base). An entry says that no record up to its
// offset is later than its timestamp, and that the batch which ends at the offset has that timestamp;
// timestamps rise from entry to entry. Methods may be called from several goroutines.
type timeIndex struct {
	entryFile
	base   int64
	lastTS int64 // of the last entry, once lastKnown
	lastAt int64 // its offset
	known  bool
}

// openTimeIndex is like openOffsetIndex. maxBytes is segment.index.bytes.
func openTimeIndex(fsys vfs.FS, name string, base, maxBytes int64) (*timeIndex, error) {
	x := &timeIndex{base: base}
	return x, x.open(fsys, name, timeEntrySize, maxBytes)
}

// maybeAppend records that ts, the largest timestamp so far, is that of the batch whose last offset
// is offset. It does nothing if ts is not above the last entry's, or the index is full.
func (x *timeIndex) maybeAppend(ts, offset int64) error {
	return x.add(ts, offset, x.maxCount)
}

// seal is maybeAppend for the end of a segment: the entry with the segment's largest timestamp goes
// in even if the index is full, because retention by time and searches rely on it.
func (x *timeIndex) seal(ts, offset int64) error {
	return x.add(ts, offset, x.maxCount+1)
}

func (x *timeIndex) add(ts, offset, limit int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.learnLastLocked(); err != nil {
		return err
	}
	if ts < 0 || x.count >= limit || (x.count > 0 && ts <= x.lastTS) {
		return nil
	}
	relative := offset - x.base
	if relative < 0 || relative > math.MaxInt32 {
		return fmt.Errorf("%w: offset %d does not fit %s", errIndexInvalid, offset, x.name)
	}
	if x.count > 0 && offset < x.lastAt {
		return fmt.Errorf("%w: offset %d after %d in %s", errIndexInvalid, offset, x.lastAt, x.name)
	}
	var entry [timeEntrySize]byte
	binary.BigEndian.PutUint64(entry[:], uint64(ts))
	binary.BigEndian.PutUint32(entry[8:], uint32(relative))
	if err := x.appendLocked(entry[:]); err != nil {
		return err
	}
	x.lastTS, x.lastAt, x.known = ts, offset, true
	return nil
}

func (x *timeIndex) learnLastLocked() error {
	if x.known || x.count == 0 {
		return nil
	}
	entry, err := x.entryLocked(x.count - 1)
	if err != nil {
		return err
	}
	x.lastTS, x.lastAt = x.decode(entry[:])
	x.known = true
	return nil
}

func (x *timeIndex) decode(entry []byte) (ts, offset int64) {
	return int64(binary.BigEndian.Uint64(entry)), x.base + int64(binary.BigEndian.Uint32(entry[8:]))
}

// lookup returns the last entry whose timestamp is not above ts; all records before its offset are no
// later than its timestamp, so a search for ts+1 may begin there. Without such an entry it returns
// (record.NoTimestamp, base of the segment).
func (x *timeIndex) lookup(ts int64) (entryTS, offset int64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, err := x.countLocked(func(entry []byte) bool {
		at, _ := x.decode(entry)
		return at <= ts
	})
	if err != nil {
		return -1, x.base, err
	}
	return x.atLocked(n - 1)
}

// last returns the last entry, or (record.NoTimestamp, base of the segment) if there is none.
func (x *timeIndex) last() (ts, offset int64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.atLocked(x.count - 1)
}

func (x *timeIndex) atLocked(i int64) (ts, offset int64, err error) {
	if i < 0 {
		return -1, x.base, nil
	}
	entry, err := x.entryLocked(i)
	if err != nil {
		return -1, x.base, err
	}
	ts, offset = x.decode(entry[:])
	return ts, offset, nil
}

// truncateTo drops the entries at or above offset.
func (x *timeIndex) truncateTo(offset int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, err := x.countLocked(func(entry []byte) bool {
		_, at := x.decode(entry)
		return at < offset
	})
	if err != nil {
		return err
	}
	x.known = false
	return x.truncateLocked(n)
}

// sanity tells whether the index can belong to a segment whose offsets are [base, end). It reads two
// entries.
func (x *timeIndex) sanity(end int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.wholeLocked(); err != nil || x.count == 0 {
		return err
	}
	firstTS, _, err := x.atLocked(0)
	if err != nil {
		return err
	}
	ts, offset, err := x.atLocked(x.count - 1)
	if err != nil {
		return err
	}
	if ts < firstTS || offset < x.base || offset >= end {
		return fmt.Errorf("%w: %s ends with timestamp %d at offset %d; the segment ends at %d", errIndexInvalid, x.name, ts, offset, end)
	}
	return nil
}
