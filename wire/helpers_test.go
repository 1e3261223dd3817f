package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds the waits of tests on real sockets; it passes only when something is broken.
const patience = 20 * time.Second

// testServer is a server on a TCP port of loopback.
type testServer struct {
	*Server
	t    testing.TB
	addr string
}

// startServer serves until the test ends; then no goroutine may be left and no request memory be in use.
func startServer(t testing.TB, o Options, apis ...API) *testServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{Server: newTestServer(t, o, apis...), t: t, addr: ln.Addr().String()}
	s.serveUntilEnd(t, ln)
	return s
}

func newTestServer(t testing.TB, o Options, apis ...API) *Server {
	t.Helper()
	reg, err := NewRegistry(apis)
	if err != nil {
		t.Fatal(err)
	}
	o.Registry = reg
	return NewServer(o)
}

func (s *Server) serveUntilEnd(t testing.TB, ln net.Listener) {
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := s.budget.used.Load(); n != 0 {
			t.Errorf("%d bytes of request memory were not given back", n)
		}
	})
}

// finish waits until all connections have ended, after which the metrics stand still.
func (s *testServer) finish() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		s.t.Fatal(err)
	}
}

func (s *testServer) dial() *client {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	c := newClient(s.t, nc)
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// client speaks frames, and knows nothing of the code under test.
type client struct {
	t  testing.TB
	nc net.Conn
}

func newClient(t testing.TB, nc net.Conn) *client {
	t.Cleanup(func() { nc.Close() })
	return &client{t, nc}
}

// frame encodes a request with its length prefix.
func frame(req kmsg.Request, correlationID int32) []byte {
	if req.Key() == 7 && req.GetVersion() == 0 { // the one with header v0, whose body kmsg leaves out
		e := Enc{B: make([]byte, lengthSize)}
		e.Int16(7)
		e.Int16(0)
		e.Int32(correlationID)
		b := req.AppendTo(e.B)
		setFrameLength(b, len(b)-lengthSize)
		return b
	}
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("tester")).AppendRequest(nil, req, correlationID)
}

func (c *client) send(frames ...[]byte) {
	c.t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	if _, err := c.nc.Write(all); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// trySend ignores that the server may have closed already.
func (c *client) trySend(b []byte) { _, _ = c.nc.Write(b) }

// next reads one response frame.
func (c *client) next() (frame []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		return nil, err
	}
	frame = make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(c.nc, frame)
	return frame, err
}

// receive reads the response to req with its header, and decodes it as a client of that version.
func (c *client) receive(req kmsg.Request, correlationID int32) kmsg.Response {
	c.t.Helper()
	resp, err := c.tryReceive(req, correlationID)
	if err != nil {
		c.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp
}

func (c *client) tryReceive(req kmsg.Request, correlationID int32) (kmsg.Response, error) {
	frame, err := c.next()
	if err != nil {
		return nil, err
	}
	return parseResponse(req, correlationID, frame)
}

func parseResponse(req kmsg.Request, correlationID int32, frame []byte) (kmsg.Response, error) {
	if len(frame) < 4 {
		return nil, fmt.Errorf("a response of %d bytes", len(frame))
	}
	if got := int32(binary.BigEndian.Uint32(frame)); got != correlationID {
		return nil, fmt.Errorf("response to %d came for request %d", got, correlationID)
	}
	resp, body := req.ResponseKind(), frame[4:]
	if resp.IsFlexible() && req.Key() != 18 {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("no tagged fields in the response header")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		return nil, fmt.Errorf("a body of %d bytes, of which %d mean something", len(body), len(again))
	}
	return resp, nil
}

// closed waits for the end of the connection, which must come with no more bytes.
func (c *client) closed() {
	c.t.Helper()
	if n, err := c.nc.Read(make([]byte, 1)); n != 0 || errors.Is(err, context.DeadlineExceeded) {
		c.t.Fatalf("read %d bytes, err %v; want the end of the connection", n, err)
	} else if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		c.t.Fatal("the connection is still open")
	}
	c.nc.Close()
}

// gone waits for an end that may be a reset, because the server leaves bytes unread.
func (c *client) gone() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.nc)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		c.t.Fatal("the connection is still open")
	}
}

// heartbeat is a small request; its correlation id comes back in the response's ThrottleMillis when
// the handler is echo.
func heartbeat() *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID = 4, "group", "member"
	return req
}

func echoResponse(r *Request) kmsg.Response {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.ThrottleMillis = r.CorrelationID
	return resp
}

func echo(r *Request) { r.Reply(echoResponse(r)) }

func heartbeatAPI(handle func(*Request)) API { return API{Key: 12, Min: 0, Max: 4, Handle: handle} }

// expectEcho reads the replies to heartbeats from, from+1, … up to but not including to.
func (c *client) expectEcho(from, to int32) {
	c.t.Helper()
	for id := from; id < to; id++ {
		resp := c.receive(heartbeat(), id).(*kmsg.HeartbeatResponse)
		if resp.ThrottleMillis != id {
			c.t.Fatalf("reply %d carries the body of %d", id, resp.ThrottleMillis)
		}
	}
}

func heartbeats(from, to int32) (all []byte) {
	for id := from; id < to; id++ {
		all = append(all, frame(heartbeat(), id)...)
	}
	return all
}

// collector is a handler that keeps requests for the test to answer.
type collector struct{ each chan *Request }

func newCollector() *collector { return &collector{each: make(chan *Request, 10_000)} }

func (c *collector) handle(r *Request) { c.each <- r }

func (c *collector) next(t testing.TB) *Request {
	t.Helper()
	select {
	case r := <-c.each:
		return r
	case <-time.After(patience):
		t.Fatal("no request arrived")
		return nil
	}
}

// pipeListener hands out net.Pipe connections, for tests in a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (l *pipeListener) dial(t testing.TB) *client {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return newClient(t, ours)
}

// metricValue reads a counter or gauge.
func metricValue(c prometheus.Collector) float64 {
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		panic(fmt.Sprint(families, err))
	}
	m := families[0].GetMetric()[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}
