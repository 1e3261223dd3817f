package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	// sendfileBytes is the length from which sendfile beats a read into a buffer and a write.
	sendfileBytes = 64 << 10
	// outSize is the buffer in which replies are gathered: a reply with a file range below
	// sendfileBytes goes out with one write.
	outSize = sendfileBytes + 4<<10
	// directBytes is the length from which a piece of a reply is written from where it lies, at the
	// price of one more system call, and not copied first.
	directBytes = 16 << 10
)

// replyWriter writes replies to a connection. It belongs to the goroutine that has set conn.writing.
type replyWriter struct {
	nc      net.Conn
	raw     syscall.RawConn // of a TCP connection, else nil
	timeout time.Duration

	deadline   time.Time // as last set
	progressAt time.Time // when the peer last took something, as far as it was looked at

	out  *chunk // gathers small pieces while a batch is written
	n    int    // bytes in out
	left int64  // bytes of the batch that are neither in out nor written
	sent int64  // bytes of the batch that are written
}

// write writes the replies of a batch and returns how many bytes went out. After an error the stream
// is torn and must not be used.
func (w *replyWriter) write(batch *Request) (sent int64, err error) {
	w.left, w.sent = 0, 0
	for r := batch; r != nil; r = r.next {
		w.left += int64(r.wireBytes)
	}
	if w.left == 0 {
		return 0, nil
	}
	w.progressAt = time.Now()
	defer w.dropBuffer()
	for r := batch; r != nil; r = r.next {
		if err := w.reply(r); err != nil {
			return w.sent, err
		}
	}
	return w.sent, w.flush()
}

func (w *replyWriter) reply(r *Request) error {
	switch {
	case r.reply != nil:
		return w.bytes(r.reply.b)
	case r.wireBytes == 0:
		return nil
	}
	var header [lengthSize + 5]byte
	h := appendResponseHeader(header[:0], r.Key, r.CorrelationID, r.flexible)
	setFrameLength(h, r.wireBytes-lengthSize)
	if err := w.copied(h); err != nil {
		return err
	}
	for i := range r.parts {
		p := &r.parts[i]
		var err error
		if p.File != nil {
			err = w.file(p.File, p.Off, p.Len)
		} else {
			err = w.bytes(p.Bytes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bytes adds a piece. Small ones are gathered, unless there is nothing to gather them with.
func (w *replyWriter) bytes(p []byte) error {
	alone := w.n == 0 && int64(len(p)) == w.left
	if len(p) < directBytes && !alone {
		return w.copied(p)
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.left -= int64(len(p))
	return w.send(p)
}

// copied adds a piece to the buffer.
func (w *replyWriter) copied(p []byte) error {
	for len(p) > 0 {
		room, err := w.room()
		if err != nil {
			return err
		}
		n := copy(room, p)
		w.n += n
		w.left -= int64(n)
		p = p[n:]
	}
	return nil
}

// room is the free part of the buffer, which is written out if it is full.
func (w *replyWriter) room() ([]byte, error) {
	if w.out == nil {
		w.out = newChunk(int(min(w.left, outSize)))
	}
	if w.n == len(w.out.b) {
		if err := w.flush(); err != nil {
			return nil, err
		}
		if len(w.out.b) < outSize && w.left > int64(len(w.out.b)) {
			w.dropBuffer()
			return w.room()
		}
	}
	return w.out.b[w.n:], nil
}

func (w *replyWriter) dropBuffer() {
	if w.out != nil {
		w.out.release()
		w.out, w.n = nil, 0
	}
}

// file adds a range of a file: by sendfile if it is long and both ends allow it, else through the
// buffer.
func (w *replyWriter) file(f vfs.File, off, n int64) error {
	if osFile, ok := f.(vfs.OSFile); ok && w.raw != nil && n >= sendfileBytes {
		if err := w.flush(); err != nil {
			return err
		}
		done, err := w.sendfile(osFile.OS(), off, n)
		w.left -= done
		w.sent += done
		off, n = off+done, n-done
		if err != nil && !errors.Is(err, errNoSendfile) {
			return fmt.Errorf("send %d bytes at %d of a file: %w", n, off, err)
		}
	}
	for n > 0 {
		room, err := w.room()
		if err != nil {
			return err
		}
		room = room[:min(n, int64(len(room)))]
		if err := readFull(f, room, off); err != nil {
			return fmt.Errorf("read %d bytes at %d of a file for a reply: %w", len(room), off, err)
		}
		w.n += len(room)
		w.left -= int64(len(room))
		off, n = off+int64(len(room)), n-int64(len(room))
	}
	return nil
}

// errNoSendfile says that a file cannot be sent that way, as some file systems have it.
var errNoSendfile = errors.New("sendfile is not supported here")

// sendfile sends a range and returns how much of it went out, also with an error.
func (w *replyWriter) sendfile(f *os.File, off, n int64) (done int64, err error) {
	if err := w.arm(); err != nil {
		return 0, err
	}
	for done < n {
		sent, err := sendfile(w.raw, f, off+done, n-done)
		done += sent
		if err = w.afterSend(sent > 0, err); err != nil {
			return done, err
		}
	}
	return done, nil
}

func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the range was promised with the frame's length
	}
	return err
}

// flush writes what was gathered.
func (w *replyWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	p := w.out.b[:w.n]
	w.n = 0
	return w.send(p)
}

// send writes p. While more of the batch is to follow, the kernel is told so (MSG_MORE): it then does
// not send a short segment, whose acknowledgement the peer may delay (golang/go #45256).
func (w *replyWriter) send(p []byte) error {
	if err := w.arm(); err != nil {
		return err
	}
	for len(p) > 0 {
		var n int
		var err error
		if w.left > 0 && w.raw != nil {
			n, err = sendMore(w.raw, p)
		} else {
			n, err = w.nc.Write(p)
		}
		w.sent += int64(n)
		p = p[n:]
		if err = w.afterSend(n > 0, err); err != nil {
			return err
		}
	}
	return nil
}

// arm sees to it that a write deadline lies ahead. On TCP it is moved only when half of it is used up;
// afterSend makes good for that. Elsewhere a deadline that passes may have torn the stream (TLS), so
// it is set for each write.
func (w *replyWriter) arm() error {
	if w.raw != nil && w.deadline.Sub(w.progressAt) > w.timeout/2 {
		return nil
	}
	if w.raw == nil {
		w.progressAt = time.Now()
	}
	return w.setDeadline()
}

func (w *replyWriter) setDeadline() error {
	w.deadline = w.progressAt.Add(w.timeout)
	return w.nc.SetWriteDeadline(w.deadline)
}

// afterSend judges the outcome of a write: a deadline that passed is an error only if the peer took
// nothing for the whole of the timeout.
func (w *replyWriter) afterSend(progress bool, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	now := time.Now()
	if progress {
		w.progressAt = now
	}
	if now.Sub(w.progressAt) >= w.timeout {
		return closing(closedWriteTimeout, "the peer took no byte of a reply for %v", w.timeout)
	}
	return w.setDeadline()
}
