package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipMaxRatio bounds what deflate can yield: 258 bytes for a length code of two bits.
const gzipMaxRatio = 1032

type gzipReader struct {
	src  bytes.Reader
	zr   gzip.Reader
	over [4096]byte // what does not fit is counted here, to size a second attempt
}

var gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}

// gunzip sizes its output by the trailer. If that is wrong (several members, or a lie) it counts
// what comes out before it allocates for it: a bomb costs time up to the limit, but no memory.
func gunzip(src, dst []byte, most int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer r.release()
	room := min(most, len(src)*gzipMaxRatio)
	if len(src) >= 4 {
		room = min(room, int(binary.LittleEndian.Uint32(src[len(src)-4:])))
	}
	out, over, err := r.read(src, withRoom(dst, room), room, most)
	if err == nil && over > 0 {
		room += over
		out, _, err = r.read(src, withRoom(dst, room), room, most)
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, malformed(Gzip, err)
	}
	return out, nil
}

// read appends up to room bytes to dst, and counts the bytes which come after these.
func (r *gzipReader) read(src, dst []byte, room, most int) (out []byte, over int, err error) {
	r.src.Reset(src)
	if err := r.zr.Reset(&r.src); err != nil {
		return nil, 0, err
	}
	end := len(dst) + room
	for {
		target := r.over[:]
		if len(dst) < end {
			target = dst[len(dst):end]
		}
		n, err := r.zr.Read(target)
		if len(dst) < end {
			dst = dst[:len(dst)+n]
		} else if over += n; room+over > most {
			return nil, 0, tooLarge(Gzip, most)
		}
		if err == io.EOF {
			return dst, over, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

func (r *gzipReader) release() {
	r.src.Reset(nil)
	gzipReaders.Put(r)
}

// gzipWriters holds a pool per level; index 0 is the default level.
var gzipWriters [10]sync.Pool

// appender is an io.Writer onto a slice.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

type gzipWriter struct {
	out appender
	zw  *gzip.Writer
}

func gzipped(level int, src, dst []byte) ([]byte, error) {
	level = levelIn(level, 1, 9, 0)
	w, _ := gzipWriters[level].Get().(*gzipWriter)
	if w == nil {
		libLevel := level
		if level == 0 {
			libLevel = gzip.DefaultCompression
		}
		w = new(gzipWriter)
		var err error
		if w.zw, err = gzip.NewWriterLevel(&w.out, libLevel); err != nil {
			return dst, err
		}
	}
	w.out.buf = dst
	w.zw.Reset(&w.out)
	_, err := w.zw.Write(src)
	if err == nil {
		err = w.zw.Close()
	}
	out := w.out.buf
	w.out.buf = nil
	gzipWriters[level].Put(w)
	if err != nil {
		return dst, err
	}
	return out, nil
}
