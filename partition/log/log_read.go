package log

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Range is a part of an open file.
type Range struct {
	File     vfs.File
	Off, Len int64 // bytes
}

// View is a run of whole batches, as ranges of files that stay open until Release. The zero View is
// empty. Copies of a View are the same View.
type View struct{ v *view }

type view struct {
	ranges   [1]Range
	file     *handle
	released atomic.Bool
}

// Size is the bytes in the view.
func (v View) Size() int {
	if v.v == nil {
		return 0
	}
	return int(v.v.ranges[0].Len)
}

// Ranges are the parts of the view, in order. They belong to the view.
func (v View) Ranges() []Range {
	if v.v == nil {
		return nil
	}
	return v.v.ranges[:]
}

// Bytes appends the batches to dst and returns the result.
func (v View) Bytes(dst []byte) ([]byte, error) {
	for _, r := range v.Ranges() {
		at := len(dst)
		dst = append(dst, make([]byte, r.Len)...)
		if n, err := r.File.ReadAt(dst[at:], r.Off); int64(n) < r.Len {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return dst[:at], fmt.Errorf("read batches: %w", err)
		}
	}
	return dst, nil
}

// Release gives the files back. The ranges must not be used any more. Further calls do nothing.
func (v View) Release() {
	if v.v != nil && v.v.released.CompareAndSwap(false, true) {
		v.v.file.release()
	}
}

// Read returns whole batches, beginning with the one that contains the offset from, all of them below
// limit and the end of the log. They are at most maxBytes, unless the first alone is larger and
// atLeastOne is set; there may be fewer than would fit. At the end, or with from at or above limit, the
// view is empty. An offset outside [start, end] is ErrOffsetOutOfRange.
func (l *Log) Read(from, limit int64, maxBytes int, atLeastOne bool) (View, error) {
	if err := l.readable(); err != nil {
		return View{}, err
	}
	l.layout.RLock()
	defer l.layout.RUnlock()
	end := l.end.Load() // before the list and the sizes: those then hold all below it
	if start := l.start.Load(); from < start || from > end {
		return View{}, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, from, start, end)
	}
	limit = min(limit, end)
	if from >= limit {
		return View{}, nil
	}
	list := l.list()
	for i := max(0, floorIndex(list, from)); i < len(list) && list[i].base < limit; i++ {
		v, found, err := list[i].read(from, limit, int64(maxBytes), atLeastOne)
		if err != nil {
			return View{}, fmt.Errorf("read %s at offset %d: %w", l.id, from, goneIsClosed(err))
		}
		if found {
			return v, nil
		}
	}
	return View{}, nil // what is left of the range was compacted away
}

// goneIsClosed tells what it means that a segment is gone while layout is held: the log was closed.
func goneIsClosed(err error) error {
	if errors.Is(err, errSegmentGone) {
		return ErrClosed
	}
	return err
}

// read finds the view in one segment; found is false if it has no batch of [from, limit).
func (s *segment) read(from, limit, maxBytes int64, atLeastOne bool) (_ View, found bool, err error) {
	f, err := s.file.acquire()
	if err != nil {
		return View{}, false, err
	}
	keep := false
	defer func() {
		if !keep {
			s.file.release()
		}
	}()
	w := s.walk(f, s.size.Load())
	defer w.done()
	first, ok, err := s.seek(w, from)
	if err != nil || !ok {
		return View{}, false, err
	}
	if first.header.NextOffset() > limit {
		return View{}, true, nil
	}
	if first.size > maxBytes && !atLeastOne {
		return View{}, true, nil
	}
	pos, next := first.pos, first.next()
	if next-pos < maxBytes {
		if next, err = s.extend(w, next, min(w.end, pos+maxBytes), limit); err != nil {
			return View{}, false, err
		}
	}
	keep = true
	return View{&view{ranges: [1]Range{{File: f, Off: pos, Len: next - pos}}, file: s.file}}, true, nil
}

// extend returns the largest border of a batch in [pos, most] that has no batch of limit or above before
// it. pos is a border. Over longer stretches the index says from where on to look.
func (s *segment) extend(w *batchWalker, pos, most, limit int64) (int64, error) {
	if most-pos > 2*s.interval {
		pos = max(pos, s.borderBefore(w, most, limit))
	}
	for pos < most {
		b, err := w.at(pos)
		if err != nil {
			return 0, err
		}
		if b.next() > most || b.header.NextOffset() > limit {
			break
		}
		pos = b.next()
	}
	return pos, nil
}

// borderBefore returns a border at or before most with only batches below limit before it, as far on as
// the index knows; 0 if it knows none.
func (s *segment) borderBefore(w *batchWalker, most, limit int64) int64 {
	if !s.indexesUsable() {
		return 0
	}
	bySize, err1 := s.offsets.floor(most)
	byOffset, err2 := s.offsets.lookup(limit - 1)
	if err1 != nil || err2 != nil {
		return 0
	}
	border := min(bySize, byOffset)
	if border >= w.end {
		return 0
	}
	if _, err := w.at(border); err != nil {
		return 0 // going there step by step shows what is wrong
	}
	return border
}
