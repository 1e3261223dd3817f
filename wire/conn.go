package wire

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// coalesceBytes of replies are written at once even if more requests wait in the buffer.
	coalesceBytes = 32 << 10
	// lingerTimeout and lingerBytes bound the reading after the last reply of an orderly end: closing a
	// socket with unread bytes resets it, and some systems then discard replies the client had not read.
	lingerTimeout = 100 * time.Millisecond
	lingerBytes   = 1 << 20
)

// conn is one connection. Its reader goroutine reads requests, calls the handlers, and writes the
// replies that are ready when it would otherwise wait; its writer goroutine, started with the first
// reply that was not made inside Handle, writes those that become ready later. Whoever writes has set
// writing, and writes until nothing is ready.
type conn struct {
	srv *Server
	nc  net.Conn
	ip  string

	ctx    context.Context // of requests
	cancel context.CancelFunc
	// readCtx ends when nothing more is to be read; ctx ends later, or with it.
	readCtx    context.Context
	cancelRead context.CancelFunc

	// Of the reader goroutine.
	session  *Session
	in       *frameReader
	lastRead time.Time
	deadline time.Time // of reads, as last set by the reader
	clientID string    // of the last request
	good     bool      // a good request came

	out replyWriter // belongs to who has set writing

	space      chan struct{} // holds one token: look at the queue again; to the reader
	wakeWriter chan struct{} // holds one token
	writerDone chan struct{} // nil until the writer goroutine exists, closed when it ended

	mu            sync.Mutex // guards the fields below, and the queue's fields in Request
	head, tail    *Request   // read and not yet taken to be written, oldest first
	count         int        // of these and of those that are being written
	bytes         int64      // of these requests and their replies in memory
	readyBytes    int        // of the replies that wait to be written
	current       *Request   // inside Handle: the reader looks after it
	writing       bool
	spaceWanted   bool        // the reader waits for space
	stop          *closeError // nothing more is read
	closed        bool        // nothing more is written
	throttleUntil time.Time
	lastWrite     time.Time
}

func newConn(s *Server, nc net.Conn, ip string, id uint64) *conn {
	c := &conn{
		srv: s, nc: nc, ip: ip,
		session: &Session{
			Listener: s.o.Listener, RemoteAddr: nc.RemoteAddr(), LocalAddr: nc.LocalAddr(), ConnID: id,
		},
		lastRead:   time.Now(),
		space:      make(chan struct{}, 1),
		wakeWriter: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.readCtx, c.cancelRead = context.WithCancel(c.ctx)
	c.in = newFrameReader(nc, s.budget, c, s.o.FirstRequestBytes, s.o.MaxRequestBytes, s.o.Strict)
	c.out = replyWriter{nc: nc, raw: c.in.raw, timeout: s.o.WriteTimeout}
	return c
}

// run is the reader goroutine. When it returns, the connection has no goroutine and no buffer left.
func (c *conn) run() {
	end := c.readLoop()
	c.stopReading(end)
	c.srv.logClosed(c, end) // before the peer sees the end, so that the lines of its connections keep their order
	if end.reason.orderly() {
		c.drain(end.reason == closedShutdown)
		c.linger()
	}
	c.abort(end)
	c.mu.Lock()
	writerDone := c.writerDone
	c.mu.Unlock()
	if writerDone != nil {
		<-writerDone
	}
	c.in.close()
	c.srv.metrics.inFlight.Sub(float64(c.count)) // nobody else is left
	c.srv.metrics.closed[end.reason].Inc()
}

func (c *conn) readLoop() *closeError {
	for {
		if end := c.beforeRead(); end != nil {
			return end
		}
		frame, err := c.in.next()
		if err != nil {
			return c.stoppedOr(err)
		}
		if end := c.request(frame); end != nil {
			return end
		}
	}
}

// beforeRead does what must come before the next request is read or, if it is there already, taken:
// write what is ready, unless more is coming and little is ready, and wait while the connection has too
// much in flight or is throttled. It returns the reason if nothing more is to be read.
func (c *conn) beforeRead() *closeError {
	for {
		c.mu.Lock()
		c.current = nil
		end, until := c.stop, c.throttleUntil
		full := c.count >= c.srv.o.MaxInFlight || c.bytes >= c.srv.o.MaxInFlightBytes
		waits := full || end != nil || !until.IsZero() || !c.in.hasFrame()
		flush := c.canWriteLocked() && (waits || c.readyBytes >= coalesceBytes)
		c.spaceWanted = full
		c.mu.Unlock()
		switch {
		case flush:
			c.flush()
		case end != nil:
			return end
		case !until.IsZero():
			c.waitThrottle(until)
		case full:
			c.waitSpace()
		default:
			return nil
		}
	}
}

func (c *conn) waitThrottle(until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.readCtx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.throttleUntil.After(until) {
		c.throttleUntil = time.Time{}
	}
}

// waitSpace ends with a reply that was written, so the handlers' own deadlines bound it.
func (c *conn) waitSpace() {
	select {
	case <-c.space:
	case <-c.readCtx.Done():
	}
}

// request takes one frame: from here the request has its place in the order of replies.
func (c *conn) request(frame []byte) (end *closeError) {
	h := readHeader(frame)
	r := &Request{
		Session: c.session, Key: h.key, Version: h.version, CorrelationID: h.correlationID,
		Size: len(frame), Received: c.lastRead, conn: c,
	}
	defer func() {
		if p := recover(); p != nil {
			end = c.panicked(r, p)
		}
	}()
	c.srv.metrics.requestBytes.Add(float64(lengthSize + len(frame)))
	api := c.srv.lookup(h.key)
	if api == nil || h.version < api.Min || h.version > api.Max {
		return c.unserved(r, api, frame)
	}
	clientID, body, err := h.readRest(frame)
	if err == nil {
		r.Body, err = decodeBody(h, body)
	}
	c.named(r, clientID)
	if err != nil {
		return closing(closedBadRequest, "%s v%d from client %q: %w", kmsg.NameForKey(h.key), h.version, r.ClientID, err)
	}
	if !c.good {
		c.welcome(r)
	}
	r.api = api
	if end := c.enqueue(r); end != nil {
		return end
	}
	if api.Waits {
		c.flush()
	}
	r.started = time.Now()
	api.Handle(r)
	if c.srv.o.Strict && c.in.cur.refs.Load() == 1 {
		poison(frame)
	}
	return nil
}

func decodeBody(h header, body []byte) (kmsg.Request, error) {
	if err := checkBody(h.key, h.version, body); err != nil {
		return nil, err
	}
	req := kmsg.RequestForKey(h.key)
	req.SetVersion(h.version)
	if err := req.ReadFrom(body); err != nil {
		return nil, err
	}
	return req, nil
}

// named sets the client id; a connection has the same one in all its requests, so the string is kept.
func (c *conn) named(r *Request, clientID []byte) {
	if c.clientID != string(clientID) {
		c.clientID = string(clientID)
	}
	r.ClientID = c.clientID
}

// welcome lifts the limits that hold until the first good request.
func (c *conn) welcome(r *Request) {
	c.good = true
	c.in.limit = c.srv.o.MaxRequestBytes
	s := *c.session
	s.ClientID = r.ClientID
	r.Session, c.session = &s, &s
}

// unserved answers a request whose key or version is not served, where the client can understand an
// answer, and else ends the connection as Kafka does. Its body is not looked at.
func (c *conn) unserved(r *Request, api *servedAPI, frame []byte) *closeError {
	clientID, _, _ := header{key: r.Key, version: r.Version}.readRest(frame)
	c.named(r, clientID)
	resp := unservedResponse(r.Key, r.Version, api)
	c.srv.metrics.unsupported.Inc()
	if resp == nil {
		return closing(closedUnsupported, "api key %d (%s) version %d from client %q is not served",
			r.Key, kmsg.NameForKey(r.Key), r.Version, r.ClientID)
	}
	c.srv.logUnserved(c, r)
	if end := c.enqueue(r); end != nil {
		return end
	}
	r.started = time.Now()
	r.answer(resp)
	return nil
}

// panicked ends the connection after a panic in a handler, with replies to earlier requests.
func (c *conn) panicked(r *Request, p any) *closeError {
	if v, ok := p.(violation); ok {
		panic(v)
	}
	c.srv.metrics.panics.Inc()
	c.srv.o.Logger.Error("panic in a handler", "api", kmsg.NameForKey(r.Key), "version", r.Version,
		"client", r.ClientID, "remote", c.session.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
	end := closing(closedByPanic, "panic in the handler of %s: %v", kmsg.NameForKey(r.Key), p)
	if r.claimed.CompareAndSwap(false, true) {
		r.closing = end
		c.publish(r)
	}
	return end
}

// drain lets the replies to the requests read so far go out. The wait ends by itself, or with the
// connection; a server that shuts down ends it by its own deadline.
func (c *conn) drain(byShutdown bool) {
	var expired <-chan time.Time
	if !byShutdown {
		t := time.NewTimer(c.srv.o.WriteTimeout)
		defer t.Stop()
		expired = t.C
	}
	for {
		c.mu.Lock()
		c.current = nil
		done, flush := c.count == 0 || c.closed, c.canWriteLocked()
		c.spaceWanted = true
		c.mu.Unlock()
		if done {
			return
		}
		if flush {
			c.flush()
			continue
		}
		select {
		case <-c.space:
		case <-c.ctx.Done():
			return
		case <-expired:
			return
		}
	}
}

// linger says that no more replies come and reads on for a moment.
func (c *conn) linger() {
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok || tcp.CloseWrite() != nil || c.nc.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return
	}
	buf := newChunk(leastRead)
	defer buf.release()
	for total := 0; total < lingerBytes; {
		n, err := c.nc.Read(buf.b)
		if err != nil {
			return
		}
		total += n
	}
}

// stopReading makes the reader end as soon as it has returned from the handler it may be in.
func (c *conn) stopReading(end *closeError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopLocked(end)
}

func (c *conn) stopLocked(end *closeError) {
	if c.stop != nil {
		return
	}
	c.stop = end
	c.cancelRead()
	c.interruptLocked()
}

// stoppedOr is why reading ended: what stopped it, or else the error that it met.
func (c *conn) stoppedOr(err error) *closeError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		return c.stop
	}
	return socketClosed(err)
}

// abort ends the connection at once. What is in the queue is dropped, and so are the answers to come.
func (c *conn) abort(end *closeError) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.stopLocked(end)
	dropped := c.head
	c.head, c.tail = nil, nil
	var ready []*Request
	for r := dropped; r != nil; r = r.next {
		if r.ready {
			ready = append(ready, r)
		}
	}
	c.mu.Unlock()
	c.cancel()
	if end.reason == resetByHandler {
		reset(c.nc)
	}
	if err := c.nc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.srv.o.Logger.Debug("close of a connection failed", "remote", c.session.RemoteAddr, "err", err)
	}
	for _, r := range ready {
		r.drop()
	}
}
