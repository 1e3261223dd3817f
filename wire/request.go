package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Request is one request on a connection. Its exported fields do not change after Handle returned and
// may be read from any goroutine, with the exception that Body's byte slices live only as long as Hold
// says; its strings are copies.
//
// It gets exactly one of Reply, ReplyParts, NoReply and Close. A second one is a bug of the handler: it
// has no effect but a log line, or a panic with Options.Strict. All of them may be called from any
// goroutine, inside or after Handle, also when the connection is gone.
type Request struct {
	Session       *Session
	Key, Version  int16
	CorrelationID int32
	ClientID      string // "" also when null
	Body          kmsg.Request
	Size          int       // of the frame in bytes, without its length prefix
	Received      time.Time // when its last bytes were read

	conn    *conn
	api     *servedAPI // nil if the server answers by itself
	started time.Time  // when Handle was called
	claimed atomic.Bool

	// Set by the one who claimed the request, before it publishes it.
	answeredAt time.Time
	reply      *chunk // a whole frame
	parts      []Part // or what follows the header of a frame
	release    func() // of parts
	wireBytes  int    // of the frame, with its length prefix; 0 for none
	heapBytes  int    // of those what lies in memory
	flexible   bool   // of parts
	closing    *closeError

	// Guarded by conn.mu.
	next    *Request
	ready   bool // published
	dropped bool // cut off by an earlier Close
}

// Part is a piece of a hand-encoded body: Bytes, or if File is set the range [Off, Off+Len) of it. The
// range must stay in the file until the reply is released.
type Part struct {
	Bytes    []byte
	File     vfs.File
	Off, Len int64
}

func (p *Part) size() int64 {
	if p.File != nil {
		return p.Len
	}
	return int64(len(p.Bytes))
}

// Context ends when the connection goes, or when Shutdown gives up waiting for replies.
func (r *Request) Context() context.Context { return r.conn.ctx }

// Stopping is closed when the server begins to shut down: waits that are a courtesy (a Fetch below its
// minimum bytes) should end and answer with what there is.
func (r *Request) Stopping() <-chan struct{} { return r.conn.srv.stopping }

// UpdateSession changes the session for this request and those read after it. Only inside Handle.
func (r *Request) UpdateSession(change func(*Session)) {
	s := *r.Session
	change(&s)
	r.Session, r.conn.session = &s, &s
}

// Reply answers with a response, which it sets to the request's version. The response is encoded
// before Reply returns.
func (r *Request) Reply(resp kmsg.Response) {
	resp.SetVersion(r.Version)
	r.answer(resp)
}

// answer replies in the version that resp has.
func (r *Request) answer(resp kmsg.Response) {
	if !r.claim("Reply") {
		return
	}
	c := newChunk(r.sizeHint())
	b := appendResponseHeader(c.b[:0], r.Key, r.CorrelationID, resp.IsFlexible())
	b = resp.AppendTo(b)
	setFrameLength(b, len(b)-lengthSize)
	c.b = b // append may have moved it
	r.reply, r.wireBytes, r.heapBytes = c, len(b), len(b)
	if r.api != nil {
		r.api.replySize.Store(int32(min(len(b), 1<<maxClass)))
	}
	r.conn.publish(r)
}

// sizeHint guesses the size of a reply from the one before it of the same API.
func (r *Request) sizeHint() int {
	if r.api == nil {
		return 0
	}
	return int(r.api.replySize.Load())
}

// ReplyParts answers with a body that the caller encoded, without any header. The parts must not
// change until release (may be nil) is called: once, when they are written or dropped, from any
// goroutine, which it must not block.
func (r *Request) ReplyParts(parts []Part, release func()) {
	if !r.claim("ReplyParts") {
		if release != nil {
			release()
		}
		return
	}
	r.parts, r.release = parts, release
	r.flexible = r.Version >= firstFlexible(r.Key) // as its response is
	size := int64(lengthSize + 4)
	if r.flexible && r.Key != keyAPIVersions {
		size++
	}
	for i := range parts {
		size += parts[i].size()
		r.heapBytes += len(parts[i].Bytes)
	}
	if size-lengthSize > math.MaxInt32 {
		r.closing = closing(closedByHandler, "a reply of %d bytes does not fit a frame", size)
		size = 0
	}
	r.wireBytes = int(size)
	r.conn.publish(r)
}

// NoReply ends a request that has no answer (a Produce with acks=0); it takes its turn without bytes.
func (r *Request) NoReply() {
	if r.claim("NoReply") {
		r.conn.publish(r)
	}
}

// Close ends the connection after the replies to earlier requests went out. Nothing more is read;
// requests that were read after this one get no reply.
func (r *Request) Close(reason error) {
	if reason == nil {
		reason = errClosedByHandler
	}
	if r.claim("Close") {
		r.closing = &closeError{closedByHandler, reason}
		r.conn.publish(r)
	}
}

// Reset breaks the connection, as the death of this process would: the client tries another broker. An orderly end
// means something else to some: franz-go takes one before the first answer for a lack of credentials, and gives up.
func (r *Request) Reset(reason error) {
	if r.claim("Reset") {
		r.closing = &closeError{resetByHandler, reason}
		r.conn.publish(r)
	}
}

// Hold keeps the memory that Body's byte slices alias, a pooled buffer which is otherwise reused as
// soon as Handle returns. It may be called only inside Handle; the returned function must be called
// once, from any goroutine. Until then the buffer counts against Options.RequestMemory.
func (r *Request) Hold() (release func()) {
	c := r.conn.in.cur
	c.retain()
	var done atomic.Bool
	return func() {
		if done.CompareAndSwap(false, true) {
			c.release()
		}
	}
}

// Throttle stops reading the connection for d, counted from now (KIP-219: the reply goes at once, the
// client is told the delay, and the broker enforces it).
func (r *Request) Throttle(d time.Duration) {
	if d > 0 {
		r.conn.throttle(d)
	}
}

// claim makes sure of one answer per request.
func (r *Request) claim(how string) bool {
	if r.claimed.CompareAndSwap(false, true) {
		return true
	}
	s := r.conn.srv
	v := violation(fmt.Sprintf("wire: %s on a request that has its answer (%s v%d)", how, kmsg.NameForKey(r.Key), r.Version))
	if s.o.Strict {
		panic(v)
	}
	s.metrics.violations.Inc()
	s.o.Logger.Error("a handler answered a request twice", "call", how, "api", kmsg.NameForKey(r.Key), "version", r.Version)
	return false
}

var errClosedByHandler = errors.New("closed by the handler")

// violation is what a handler's bug panics with in Strict mode; it is not recovered.
type violation string

// drop gives back what the answer holds, when it was written or will not be.
func (r *Request) drop() {
	if r.reply != nil {
		r.reply.release()
		r.reply = nil
	}
	if r.release != nil {
		r.release()
		r.release = nil
	}
	r.parts = nil
}
