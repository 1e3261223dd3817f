package log

import (
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/wire/record"
)

// TimedOffset is a record found by its time. Timestamp is in ms.
type TimedOffset struct {
	Offset, Timestamp int64
	LeaderEpoch       int32
}

// maxOpenedBatch bounds the batch that is read to look into: larger ones are never accepted.
const maxOpenedBatch = 1 << 30

// OffsetForTime returns the first record, in offset order, with a timestamp of ts or later that lies in
// [start, limit); ok is false if there is none. It goes by the time index and by batch headers, and
// opens one batch.
func (l *Log) OffsetForTime(ts, limit int64) (at TimedOffset, ok bool, err error) {
	err = l.eachSegment(limit, func(s *segment, from, limit int64) (bool, error) {
		largest, err := l.largestTimeOf(s)
		if err != nil || largest.ts < ts {
			return false, err
		}
		start := from
		if s.indexesUsable() { // all up to the entry's offset is older than ts
			entryTS, offset, err := s.times.lookup(ts - 1)
			if err != nil {
				return false, err
			}
			if entryTS != record.NoTimestamp {
				start = max(start, offset+1)
			}
		}
		at, ok, err = s.findRecord(start, limit, func(r *record.Record) bool {
			return r.Timestamp >= ts && r.Offset >= from && r.Offset < limit
		}, func(h record.Batch) bool { return h.MaxTimestamp() >= ts })
		return ok, err
	})
	return at, ok, err
}

// MaxTimestamp returns the first record with the largest timestamp in the batches that lie wholly in
// [start, limit); ok is false if no record there has a timestamp.
func (l *Log) MaxTimestamp(limit int64) (at TimedOffset, ok bool, err error) {
	err = l.eachSegment(limit, func(s *segment, from, limit int64) (bool, error) {
		largest, err := l.largestTimeOf(s)
		if err != nil || largest.ts == record.NoTimestamp || ok && largest.ts <= at.Timestamp {
			return false, err
		}
		if s.base < from || largest.offset >= limit { // that batch may not be one of those
			if largest, err = s.largestIn(from, limit); err != nil {
				return false, err
			}
			if largest.ts == record.NoTimestamp || ok && largest.ts <= at.Timestamp {
				return false, nil
			}
		}
		found, hit, err := s.findRecord(largest.offset, limit, func(r *record.Record) bool {
			return r.Timestamp == largest.ts
		}, func(h record.Batch) bool { return h.LastOffset() == largest.offset })
		if hit {
			at, ok = found, true
		}
		return false, err
	})
	return at, ok, err
}

// eachSegment calls fn for the segments with offsets in [start, limit), until it says stop. from and
// limit are the bounds of the log, not of the segment.
func (l *Log) eachSegment(limit int64, fn func(s *segment, from, limit int64) (stop bool, err error)) error {
	if err := l.readable(); err != nil {
		return err
	}
	l.layout.RLock()
	defer l.layout.RUnlock()
	limit = min(limit, l.end.Load())
	from := l.start.Load()
	list := l.list()
	for i := max(0, floorIndex(list, from)); i < len(list) && list[i].base < limit; i++ {
		stop, err := fn(list[i], from, limit)
		if err != nil {
			return fmt.Errorf("search segment %d of %s: %w", list[i].base, l.id, goneIsClosed(err))
		}
		if stop {
			return nil
		}
	}
	return nil
}

func (l *Log) largestTimeOf(s *segment) (timeAt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.largestTime()
}

// findRecord returns the first record that match accepts in the batches which contain or follow the
// offset from and begin below limit; only batches that open accepts are read.
func (s *segment) findRecord(from, limit int64, match func(r *record.Record) bool, open func(header record.Batch) bool) (at TimedOffset, ok bool, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return at, false, err
	}
	defer s.file.release()
	w := s.walk(f, s.size.Load())
	defer w.done()
	var buf []byte
	for b, more, err := s.seek(w, from); ; b, more, err = w.after(b) {
		if err != nil || !more || b.header.BaseOffset() >= limit {
			return at, false, err
		}
		if !open(b.header) || b.header.Count() == 0 {
			continue
		}
		batch, err := w.whole(b, buf, maxOpenedBatch)
		if err != nil {
			return at, false, err
		}
		buf = batch
		if err := batch.Check(); err != nil {
			return at, false, s.corrupt(b.pos, err)
		}
		at, ok, err = matchRecord(batch, from, match)
		if err != nil || ok {
			return at, ok, err
		}
	}
}

// errFound ends the walk through a batch.
var errFound = errors.New("found")

// matchRecord looks for a record in a batch whose CRC is right. One that cannot be opened all the same was
// produced like that, since compressed batches are stored unopened: it is found as a whole, by the time
// in its header, so that it costs a reader some records to skip and not the answer.
func matchRecord(b record.Batch, from int64, match func(r *record.Record) bool) (at TimedOffset, ok bool, err error) {
	err = b.Each(record.Limits{}, func(r *record.Record) error {
		if !match(r) {
			return nil
		}
		at, ok = TimedOffset{Offset: r.Offset, Timestamp: r.Timestamp, LeaderEpoch: b.LeaderEpoch()}, true
		return errFound
	})
	switch {
	case ok:
		return at, true, nil
	case errors.Is(err, record.ErrCorrupt), errors.Is(err, record.ErrInvalid), errors.Is(err, record.ErrTooLarge), errors.Is(err, record.ErrUnsupported):
		return TimedOffset{Offset: max(b.BaseOffset(), from), Timestamp: b.MaxTimestamp(), LeaderEpoch: b.LeaderEpoch()}, true, nil
	}
	return at, false, err
}

// after returns the batch behind b; ok is false at the end.
func (w *batchWalker) after(b batchAt) (next batchAt, ok bool, err error) {
	if b.next() >= w.end {
		return batchAt{}, false, nil
	}
	next, err = w.at(b.next())
	return next, err == nil, err
}

// largestIn finds the largest timestamp of the batches that lie in [from, limit), for a segment of which
// only a part is asked for.
func (s *segment) largestIn(from, limit int64) (timeAt, error) {
	largest := timeAt{record.NoTimestamp, s.base}
	f, err := s.file.acquire()
	if err != nil {
		return largest, err
	}
	defer s.file.release()
	w := s.scan(f, s.size.Load())
	defer w.done()
	for b, more, err := s.seek(w, from); ; b, more, err = w.after(b) {
		if err != nil || !more || b.header.NextOffset() > limit {
			return largest, err
		}
		if h := b.header; h.MaxTimestamp() > largest.ts && h.Count() > 0 && h.BaseOffset() >= from {
			largest = timeAt{b.header.MaxTimestamp(), b.header.LastOffset()}
		}
	}
}
