package wire

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// brokenListener fails to accept as often as told, then works.
type brokenListener struct {
	*pipeListener
	failures int
	times    []time.Time
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.times = append(l.times, time.Now())
	if len(l.times) <= l.failures {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.pipeListener.Accept()
}

// TestAcceptBacksOff: out of descriptors, the server neither spins nor gives up.
func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, Options{}, heartbeatAPI(echo))
		ln := &brokenListener{pipeListener: newPipeListener(), failures: 12}
		end := serveScript(s, ln)
		c := ln.dial(t)
		c.send(heartbeats(0, 1))
		c.expectEcho(0, 1)
		end()
		var gaps []time.Duration
		for i := range 12 {
			gaps = append(gaps, ln.times[i+1].Sub(ln.times[i]))
		}
		if !slices.IsSorted(gaps) || gaps[0] != minAcceptBackoff || gaps[11] != maxAcceptBackoff {
			t.Errorf("accepts came after %v", gaps)
		}
	})
}

func TestServeEndsWithItsContextOrListener(t *testing.T) {
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	s := newTestServer(t, Options{}, heartbeatAPI(echo))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Serve(ctx, listen()); err != nil {
		t.Errorf("with a context that ended: %v", err)
	}
	ln := listen()
	ln.Close()
	if err := s.Serve(context.Background(), ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("with a listener that was closed: %v", err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Serve(context.Background(), listen()); err != nil {
		t.Errorf("after Shutdown: %v", err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

func TestConnectionLimits(t *testing.T) {
	for name, o := range map[string]Options{
		"all":    {MaxConnections: 2},
		"per ip": {MaxConnectionsPerIP: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, o, heartbeatAPI(echo))
			var kept []*client
			for range 2 {
				c := s.dial()
				c.send(heartbeats(0, 1))
				c.expectEcho(0, 1)
				kept = append(kept, c)
			}
			s.dial().closed()
			kept[0].nc.Close()
			for { // the place becomes free when the server has seen the end
				c := s.dial()
				c.trySend(heartbeats(0, 1))
				if _, err := c.tryReceive(heartbeat(), 0); err == nil {
					break
				}
				c.nc.Close()
			}
			kept[1].send(heartbeats(1, 2))
			kept[1].expectEcho(1, 2)
		})
	}
}

func TestMetricsRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	for _, listener := range []string{"INSIDE", "OUTSIDE"} { // two servers share a registerer
		s := newTestServer(t, Options{Registerer: reg, Listener: listener}, heartbeatAPI(echo))
		if err := s.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	families, err := reg.Gather()
	if err != nil || len(families) < 10 {
		t.Errorf("%d metric families, err %v", len(families), err)
	}
}

func TestRegistry(t *testing.T) {
	reg, err := NewRegistry([]API{{Key: 12, Min: 1, Max: 3, Handle: echo}, {Key: 0, Min: 3, Max: 9, Handle: echo}})
	if err != nil {
		t.Fatal(err)
	}
	if got := reg.Ranges(); !slices.Equal(got, []Range{{0, 3, 9}, {12, 1, 3}}) {
		t.Errorf("Ranges() = %v", got)
	}
	if a, ok := reg.Lookup(12); !ok || a.Min != 1 || a.Max != 3 {
		t.Errorf("Lookup(12) = %v, %v", a, ok)
	}
	for _, key := range []int16{-1, 1, 94, 95, 32767, -32768} {
		if _, ok := reg.Lookup(key); ok {
			t.Errorf("Lookup(%d) finds something", key)
		}
	}
	for name, apis := range map[string][]API{
		"unknown key":      {{Key: 1000, Handle: echo}},
		"negative key":     {{Key: -1, Handle: echo}},
		"no handler":       {{Key: 1}},
		"empty range":      {{Key: 1, Min: 3, Max: 2, Handle: echo}},
		"negative version": {{Key: 1, Min: -1, Max: 2, Handle: echo}},
		"newer than kmsg":  {{Key: 1, Min: 0, Max: 1000, Handle: echo}},
		"twice":            {{Key: 1, Handle: echo}, {Key: 1, Handle: echo}},
	} {
		if _, err := NewRegistry(apis); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestIdleConnectionsAreSmall: what waits for a client's next request is a goroutine and a few structs,
// also after the connection was busy.
func TestIdleConnectionsAreSmall(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 200
	}
	s := startServer(t, Options{}, heartbeatAPI(echo))
	clients := make([]net.Conn, n)
	before := memory()
	for i := range clients {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		clients[i] = nc
	}
	withClients := memory() - before
	for _, nc := range clients {
		c := &client{t, nc}
		c.send(heartbeats(0, 20))
		c.expectEcho(0, 20)
	}
	total := memory() - before
	perConn := total / int64(n)
	t.Logf("%d bytes per connection with the client's side, %d before any request", perConn, withClients/int64(n))
	if perConn > 8<<10 {
		t.Errorf("an idle connection holds %d bytes, want at most 8 KiB", perConn)
	}
	if used := s.budget.used.Load(); used > 10*readSize {
		t.Errorf("%d bytes of request memory are in use while all are idle", used)
	}
}

func memory() int64 {
	runtime.GC()
	runtime.GC() // pools keep what they hold for one more cycle
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
