package log

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// Buffers of a batchWalker: small for a few headers near an index entry, large for going through a file.
const (
	walkBufferBytes = 4 << 10
	scanBufferBytes = 256 << 10
)

var (
	walkers  = sync.Pool{New: func() any { return &batchWalker{buf: make([]byte, walkBufferBytes)} }}
	scanners = sync.Pool{New: func() any { return &batchWalker{buf: make([]byte, scanBufferBytes)} }}
)

// batchWalker goes from batch to batch in the bytes [0, end) of a segment file. It never holds a whole
// batch: memory is that of its buffer however large the lengths on disk claim to be.
type batchWalker struct {
	seg *segment
	f   vfs.File
	end int64

	buf    []byte
	lo, hi int64 // buf holds the bytes [lo, hi) of the file
}

// batchAt is a batch in a segment. The header's payload is not there: only what comes before it.
type batchAt struct {
	header record.Batch // record.HeaderSize bytes, valid until the walker's next step
	pos    int64
	size   int64
}

func (b batchAt) next() int64 { return b.pos + b.size }

// walk gives a walker over the bytes [0, end) of s, whose file f the caller has acquired. done gives it
// back.
func (s *segment) walk(f vfs.File, end int64) *batchWalker {
	return walkers.Get().(*batchWalker).over(s, f, end)
}

// scan is walk with a large buffer, for whole files.
func (s *segment) scan(f vfs.File, end int64) *batchWalker {
	return scanners.Get().(*batchWalker).over(s, f, end)
}

func (w *batchWalker) over(s *segment, f vfs.File, end int64) *batchWalker {
	w.seg, w.f, w.end, w.lo, w.hi = s, f, end, 0, 0
	return w
}

func (w *batchWalker) done() {
	w.seg, w.f = nil, nil
	if len(w.buf) == walkBufferBytes {
		walkers.Put(w)
	} else {
		scanners.Put(w)
	}
}

// bytes returns n <= len(buf) bytes from pos on, which must lie before end. The result is valid until
// the next call.
func (w *batchWalker) bytes(pos int64, n int) ([]byte, error) {
	if pos < w.lo || pos+int64(n) > w.hi {
		want := min(int64(len(w.buf)), w.end-pos)
		got, err := w.f.ReadAt(w.buf[:want], pos)
		w.lo, w.hi = pos, pos+int64(got)
		if got < n {
			if err == nil || errors.Is(err, io.EOF) {
				return nil, w.seg.corrupt(pos, io.ErrUnexpectedEOF)
			}
			w.lo, w.hi = 0, 0
			return nil, fmt.Errorf("read segment %d at byte %d: %w", w.seg.base, pos, err)
		}
	}
	return w.buf[pos-w.lo : pos-w.lo+int64(n)], nil
}

// at returns the batch at pos, which is a batch's border before end. It looks at the header alone: the
// error is a CorruptError if no batch of this segment can begin there and end before end.
func (w *batchWalker) at(pos int64) (batchAt, error) {
	if w.end-pos < record.HeaderSize {
		return batchAt{}, w.seg.corrupt(pos, record.ErrIncomplete)
	}
	header, err := w.bytes(pos, record.HeaderSize)
	if err != nil {
		return batchAt{}, err
	}
	b := batchAt{header: record.Batch(header), pos: pos, size: int64(record.Batch(header).Size())}
	switch h := b.header; {
	case h.Magic() != 2:
		return batchAt{}, w.seg.corrupt(pos, fmt.Errorf("%w: magic %d", record.ErrCorrupt, h.Magic()))
	case b.size < record.HeaderSize, h.LastOffsetDelta() < 0, h.BaseOffset() < w.seg.base, h.BaseOffset()-w.seg.base > math.MaxInt32-int64(h.LastOffsetDelta()):
		return batchAt{}, w.seg.corrupt(pos, fmt.Errorf("%w: %d bytes, base offset %d, last offset delta %d", record.ErrCorrupt, b.size, h.BaseOffset(), h.LastOffsetDelta()))
	case b.next() > w.end:
		return batchAt{}, w.seg.corrupt(pos, record.ErrIncomplete)
	}
	return b, nil
}

// verify reads all of a batch and compares its CRC-32C.
func (w *batchWalker) verify(b batchAt) error {
	want, count := b.header.CRC(), b.header.Count()
	const crcStart = 21 // the CRC covers what follows it
	sum := uint32(0)
	for pos := b.pos + crcStart; pos < b.next(); {
		n := int(min(int64(len(w.buf)), b.next()-pos))
		if held := w.hi - pos; pos >= w.lo && held > 0 {
			n = int(min(held, int64(n))) // use up what was read already
		}
		chunk, err := w.bytes(pos, n)
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, chunk)
		pos += int64(n)
	}
	if sum != want || count < 0 {
		return w.seg.corrupt(b.pos, fmt.Errorf("%w: CRC-32C is %08x, header says %08x", record.ErrCorrupt, sum, want))
	}
	return nil
}

// whole returns a copy of the batch with its payload, into buf if that is large enough. At most limit
// bytes are read.
func (w *batchWalker) whole(b batchAt, buf []byte, limit int64) (record.Batch, error) {
	if b.size > limit {
		return nil, w.seg.corrupt(b.pos, fmt.Errorf("%w: batch of %d bytes", record.ErrTooLarge, b.size))
	}
	if int64(cap(buf)) < b.size {
		buf = make([]byte, b.size)
	}
	buf = buf[:b.size]
	if n, err := w.f.ReadAt(buf, b.pos); n < len(buf) {
		return nil, fmt.Errorf("read segment %d at byte %d: %w", w.seg.base, b.pos, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return record.Batch(buf), nil
}

// seek returns the first batch of s in [0, w.end) whose last offset is not below offset; ok is false if
// there is none. It starts where the offset index says, if a batch with that entry is really there, and
// at the start of the file if not.
func (s *segment) seek(w *batchWalker, offset int64) (b batchAt, ok bool, err error) {
	pos, err := s.startFor(w, offset)
	if err != nil {
		return batchAt{}, false, err
	}
	for pos < w.end {
		if b, err = w.at(pos); err != nil {
			return batchAt{}, false, err
		}
		if b.header.LastOffset() >= offset {
			return b, true, nil
		}
		pos = b.next()
	}
	return batchAt{}, false, nil
}

func (s *segment) startFor(w *batchWalker, offset int64) (int64, error) {
	if !s.indexesUsable() {
		return 0, nil
	}
	pos, err := s.offsets.lookup(offset)
	if err == nil && (pos == 0 || pos >= w.end) {
		return 0, nil
	}
	if err == nil {
		var b batchAt
		if b, err = w.at(pos); err == nil && b.header.LastOffset() > offset {
			err = fmt.Errorf("%w: entry for %d leads to %d", errIndexInvalid, offset, b.header.LastOffset())
		}
	}
	switch {
	case err == nil:
		return pos, nil
	case errors.Is(err, errIndexInvalid), errors.Is(err, ErrCorrupt):
		s.distrustIndexes() // if it is the batch that is damaged, going there from the start will show it
		return 0, nil
	}
	return 0, err
}

// floor returns the position of the last index entry that lies at or before pos, or 0.
func (x *offsetIndex) floor(pos int64) (int64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, err := x.countLocked(func(entry []byte) bool {
		_, at := x.decode(entry)
		return at <= pos
	})
	if err != nil || n == 0 {
		return 0, err
	}
	entry, err := x.entryLocked(n - 1)
	_, at := x.decode(entry[:])
	return at, err
}
