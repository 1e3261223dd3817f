package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// readSize is the buffer of one read. A second read call for each 16 KiB frame costs a quarter
	// of the CPU of a Produce.
	readSize = 64 << 10
	// leastRead is the least room for which a read into the end of a buffer is worth its system call.
	leastRead = 4 << 10
	// smallRead is what a connection without a descriptor waits with while it holds no buffer.
	smallRead = 512

	lengthSize = 4 // of a frame's length prefix
)

// frameReader cuts a connection's bytes into frames. A frame lies in the pooled chunk it was read into;
// frames that came together share one.
//
// Memory follows bytes that came, not bytes that were announced: a frame's buffer starts with readSize
// and doubles as it fills, so a giant frame that never comes costs nothing. A connection that has
// completed a frame of some size gets that much at once. While nothing is there to be read, an idle
// connection holds no buffer, and one that stopped within a frame holds little more than what it sent.
//
// All methods belong to the connection's reader goroutine.
type frameReader struct {
	nc     net.Conn
	raw    syscall.RawConn // of a TCP connection, else nil
	budget *budget
	clock  readClock
	strict bool

	cur   *chunk // nil if there are no bytes
	r, w  int    // cur.b[r:w] was read and not yet taken
	limit int    // of a frame in bytes, its length prefix not counted
	most  int    // of a Produce, also while limit is lower
	grown int    // the largest frame completed so far

	need      int                   // bytes of the frame that is waited for, for tryRead
	result    readResult            // of tryRead
	resultErr error                 // with readFailed
	wantBytes int                   // with readNoMemory
	credit    int                   // bytes of budget taken and not yet part of a chunk
	tryReadCB func(fd uintptr) bool // tryRead, bound once
	small     []byte                // for a connection without a descriptor
}

// readClock is the frameReader's view of its connection's time limits.
type readClock interface {
	// parking is called before a wait for more bytes; midFrame tells that a frame has begun. It sees to
	// it that readTimeout will be called in time.
	parking(midFrame bool)
	// mustWake tells whether parking has something to do.
	mustWake(midFrame bool) bool
	// readTimeout is called when the deadline passed: nil means to go on waiting.
	readTimeout(midFrame bool) error
	// gotBytes is called after each read.
	gotBytes()
	// memoryWait bounds the wait for budget.
	memoryWait() (context.Context, context.CancelFunc)
}

type readResult uint8

const (
	readSome readResult = iota
	readNoMemory
	readMustPark
	readFailed
)

func newFrameReader(nc net.Conn, budget *budget, clock readClock, limit, most int, strict bool) *frameReader {
	f := &frameReader{nc: nc, budget: budget, clock: clock, limit: limit, most: max(limit, most), strict: strict}
	f.raw = rawConn(nc)
	f.tryReadCB = f.tryRead
	return f
}

// rawConn gives the descriptor of a plain TCP connection. Anything that wraps one (TLS, a proxy) must be
// read and written through its own methods.
func rawConn(nc net.Conn) syscall.RawConn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// next returns the next frame without its length. The bytes are valid until the call after, or for as
// long as a reference to chunk is held.
func (f *frameReader) next() (frame []byte, err error) {
	for {
		need := lengthSize
		if have := f.w - f.r; have >= lengthSize {
			n := f.announced()
			ok, peek := f.allowed(n)
			if !ok {
				return nil, f.badLength(n)
			}
			need += min(n, peek)
			if have >= lengthSize+n {
				need = lengthSize + n
				frame = f.cur.b[f.r+lengthSize : f.r+need : f.r+need]
				f.r += need
				f.grown = max(f.grown, need)
				return frame, nil
			}
		}
		if err := f.fill(need); err != nil {
			return nil, err
		}
	}
}

// hasFrame tells whether next would return without reading.
func (f *frameReader) hasFrame() bool {
	have := f.w - f.r
	if have < lengthSize {
		return false
	}
	n := f.announced()
	ok, _ := f.allowed(n)
	return !ok || have >= lengthSize+n
}

// allowed judges an announced length. Clients of the days before ApiVersions begin a connection to a
// partition leader with a Produce, which may be as large as their batches; everything else that comes
// first is small. peek is how many bytes of the frame are needed to tell which it is, or to have it.
func (f *frameReader) allowed(n int) (ok bool, peek int) {
	switch have := f.w - f.r - lengthSize; {
	case n < headerSize || n > f.most:
		return false, 0
	case n <= f.limit:
		return true, n
	case have < headerSize:
		return true, headerSize
	default:
		h := readHeader(f.cur.b[f.r+lengthSize : f.w])
		return h.key == int16(kmsg.Produce) && h.version >= 0 && h.version <= newestProduce, n
	}
}

var newestProduce = kmsg.NewPtrProduceRequest().MaxVersion()

func (f *frameReader) announced() int {
	return int(int32(binary.BigEndian.Uint32(f.cur.b[f.r:])))
}

// badLength says what is wrong with a length, and what the bytes may be instead of Kafka's protocol.
func (f *frameReader) badLength(n int) error {
	first := f.cur.b[f.r:f.w]
	hint := ""
	switch {
	case bytes.HasPrefix(first, []byte{0x16, 0x03}):
		hint = ": this looks like TLS"
	case bytes.HasPrefix(first, []byte("GET ")), bytes.HasPrefix(first, []byte("POST")), bytes.HasPrefix(first, []byte("HEAD")), bytes.HasPrefix(first, []byte("PUT ")):
		hint = ": this looks like HTTP"
	}
	return closing(closedBadRequest, "frame of %d bytes, want %d to %d%s", n, headerSize, f.limit, hint)
}

// fill reads once or more, until there is something new. need is the size of the frame that begins at
// r as far as it is known, with its length prefix.
func (f *frameReader) fill(need int) error {
	f.need = need
	for {
		err := f.readOnce()
		switch {
		case err == nil:
			f.clock.gotBytes()
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := f.clock.readTimeout(f.w > f.r); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

func (f *frameReader) readOnce() error {
	if f.raw == nil {
		return f.readPlain()
	}
	for {
		if err := f.raw.Read(f.tryReadCB); err != nil {
			return err
		}
		switch f.result {
		case readSome:
			return nil
		case readMustPark:
			f.clock.parking(f.w > f.r)
		case readNoMemory:
			if err := f.waitForMemory(); err != nil {
				return err
			}
		case readFailed:
			return f.resultErr
		}
	}
}

// park gives memory back before a wait whose end is the peer's choice.
func (f *frameReader) park() {
	have := f.w - f.r
	switch {
	case f.cur == nil:
	case have == 0:
		f.drop()
	case len(f.cur.b) > max(leastRead, 4*have):
		if f.takeBudget(chunkSize(have)) {
			f.moveTo(have)
		}
	}
}

// readPlain is for connections without a descriptor: there the wait is inside Read, so that it begins
// with a buffer of its own.
func (f *frameReader) readPlain() error {
	midFrame := f.w > f.r
	if f.clock.mustWake(midFrame) {
		f.clock.parking(midFrame)
	}
	if midFrame {
		if err := f.roomOrWait(); err != nil {
			return err
		}
		n, err := f.nc.Read(f.cur.b[f.w:])
		f.w += n
		return readError(n, err)
	}
	f.drop()
	if f.small == nil {
		f.small = make([]byte, smallRead)
	}
	n, err := f.nc.Read(f.small)
	if n == 0 {
		return err
	}
	if err := f.roomOrWait(); err != nil {
		return err
	}
	f.w += copy(f.cur.b[f.w:], f.small[:n])
	return nil
}

func readError(n int, err error) error {
	if n > 0 {
		return nil // an error comes again with the next call
	}
	return err
}

func (f *frameReader) roomOrWait() error {
	for !f.room() {
		if err := f.waitForMemory(); err != nil {
			return err
		}
	}
	return nil
}

// room makes space to read more of the frame at r, without blocking: false means that the budget has
// not the wantBytes for it.
func (f *frameReader) room() bool {
	have := f.w - f.r
	goal := max(readSize, min(f.need, max(f.grown, 2*have)))
	if f.cur != nil {
		sole := f.cur.refs.Load() == 1
		if have == 0 && sole {
			f.r, f.w = 0, 0
		}
		free := len(f.cur.b) - f.w
		if free >= max(leastRead, f.need-have) || free > 0 && f.r == 0 && len(f.cur.b) >= goal {
			return true
		}
		if sole && len(f.cur.b) >= goal {
			f.r, f.w = 0, copy(f.cur.b, f.cur.b[f.r:f.w])
			return true
		}
	}
	if !f.takeBudget(chunkSize(goal)) {
		return false
	}
	f.moveTo(goal)
	return true
}

// takeBudget takes n bytes into credit, from which moveTo takes them.
func (f *frameReader) takeBudget(n int) bool {
	if f.credit < n && !f.budget.try(n-f.credit) {
		f.wantBytes = n
		return false
	}
	f.credit = max(f.credit, n)
	return true
}

// moveTo goes on in a new chunk for n bytes, paid from credit, taking along what is not yet taken.
func (f *frameReader) moveTo(n int) {
	next := newChunk(n)
	next.budget, next.poison = f.budget, f.strict
	if f.credit -= len(next.b); f.credit > 0 {
		f.budget.put(f.credit)
	}
	f.credit = 0
	w := 0
	if f.cur != nil {
		w = copy(next.b, f.cur.b[f.r:f.w])
		f.cur.release()
	}
	f.cur, f.r, f.w = next, 0, w
}

// waitForMemory takes the budget that room did not get. Its end is somebody else's choice, so it has a
// deadline: connections that each hold half a frame and wait for the rest would otherwise wait for ever.
func (f *frameReader) waitForMemory() error {
	ctx, cancel := f.clock.memoryWait()
	defer cancel()
	n := f.wantBytes - f.credit
	if err := f.budget.sem.Acquire(ctx, int64(n)); err != nil {
		return closing(closedNoMemory, "no memory for %d bytes of requests", n)
	}
	f.budget.used.Add(int64(n))
	f.credit += n
	return nil
}

// drop lets go of the current chunk, which has no bytes that are still wanted.
func (f *frameReader) drop() {
	if f.cur != nil {
		f.cur.release()
		f.cur, f.r, f.w = nil, 0, 0
	}
}

// close gives back everything.
func (f *frameReader) close() {
	f.drop()
	if f.credit > 0 {
		f.budget.put(f.credit)
		f.credit = 0
	}
}
