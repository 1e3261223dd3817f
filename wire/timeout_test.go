package wire

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs a test with a server on pipes, where time passes only when all wait.
// Without a handler, requests are collected.
func bubble(t *testing.T, o Options, handle func(*Request), test func(t *testing.T, b *bubbled)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		col := newCollector()
		if handle == nil {
			handle = col.handle
		}
		s := newTestServer(t, o, heartbeatAPI(handle), API{Key: 0, Min: 9, Max: 9, Handle: handle})
		ln := newPipeListener()
		end := serveScript(s, ln)
		defer end()
		test(t, &bubbled{Server: s, col: col, dial: func() *client { return ln.dial(t) }})
	})
}

type bubbled struct {
	*Server
	col  *collector
	dial func() *client
}

// endsAfter waits for the end of the connection and checks when it came.
func (c *client) endsAfter(want time.Duration) {
	c.t.Helper()
	start := time.Now()
	if _, err := c.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		c.t.Fatalf("read: %v, want the end", err)
	}
	if got := time.Since(start); got != want {
		c.t.Errorf("the connection ended after %v, want %v", got, want)
	}
}

func TestIdleTimeout(t *testing.T) {
	bubble(t, Options{}, echo, func(t *testing.T, b *bubbled) {
		b.dial().endsAfter(10 * time.Minute)
		c := b.dial()
		for id := range int32(5) {
			time.Sleep(9 * time.Minute)
			c.send(heartbeats(id, id+1))
			c.expectEcho(id, id+1)
		}
		c.endsAfter(10 * time.Minute)
		synctest.Wait()
		if got := metricValue(b.metrics.closed[closedIdle]); got != 2 {
			t.Errorf("%v connections were closed as idle, want 2", got)
		}
	})
}

func TestOutstandingRequestIsNotIdle(t *testing.T) {
	bubble(t, Options{}, nil, func(t *testing.T, b *bubbled) {
		c := b.dial()
		c.send(heartbeats(0, 1))
		r := <-b.col.each
		time.Sleep(25 * time.Minute)
		go echo(r)
		c.expectEcho(0, 1)
		synctest.Wait()
		start := time.Now()
		if _, err := c.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("read: %v", err)
		}
		if d := time.Since(start); d < 10*time.Minute || d > 20*time.Minute {
			t.Errorf("idle for %v before the end", d)
		}
	})
}

func TestFrameTimeout(t *testing.T) {
	bubble(t, Options{}, echo, func(t *testing.T, b *bubbled) {
		whole := frame(heartbeat(), 0)
		for _, n := range []int{1, 4, len(whole) - 1} {
			c := b.dial()
			c.send(whole[:n])
			c.endsAfter(30 * time.Second)
		}
		slow := b.dial() // every byte is progress
		for _, b := range whole {
			time.Sleep(29 * time.Second)
			slow.send([]byte{b})
		}
		slow.expectEcho(0, 1)
		slow.nc.Close()
		synctest.Wait()
		if got := metricValue(b.metrics.closed[closedFrameTimeout]); got != 3 {
			t.Errorf("%v connections were closed within a frame, want 3", got)
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	bubble(t, Options{}, echo, func(t *testing.T, b *bubbled) {
		dead := b.dial()
		dead.send(heartbeats(0, 1))
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if got := metricValue(b.metrics.closed[closedWriteTimeout]); got != 0 {
			t.Error("closed too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := metricValue(b.metrics.closed[closedWriteTimeout]); got != 1 {
			t.Errorf("%v connections were closed for writing, want 1", got)
		}
		slow := b.dial() // every byte is progress
		slow.send(heartbeats(0, 1))
		reply := make([]byte, 16)
		for i := range reply {
			time.Sleep(20 * time.Second)
			if _, err := slow.nc.Read(reply[i : i+1]); err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
		slow.nc.Close()
		if _, err := parseResponse(heartbeat(), 0, reply[4:]); err != nil {
			t.Error(err)
		}
	})
}

// TestThrottle: the reply goes at once, the next request is read when the time is over.
func TestThrottle(t *testing.T) {
	bubble(t, Options{}, func(r *Request) {
		r.Throttle(time.Minute)
		echo(r)
	}, func(t *testing.T, b *bubbled) {
		c := b.dial()
		start := time.Now()
		go c.send(heartbeats(0, 3))
		for id := range int32(3) {
			c.expectEcho(id, id+1)
			if got, want := time.Since(start), time.Duration(id)*time.Minute; got != want {
				t.Errorf("reply %d came after %v, want %v", id, got, want)
			}
		}
	})
}

// TestLateAnswerMayThrottle what is read after it.
func TestLateAnswerMayThrottle(t *testing.T) {
	bubble(t, Options{}, nil, func(t *testing.T, b *bubbled) {
		c := b.dial()
		c.send(heartbeats(0, 1))
		r := <-b.col.each
		start := time.Now()
		r.Throttle(time.Minute)
		go echo(r)
		c.expectEcho(0, 1)
		c.send(heartbeats(1, 2)) // it was being waited for already
		go func() {
			for r := range b.col.each {
				echo(r)
			}
		}()
		c.expectEcho(1, 2)
		c.send(heartbeats(2, 3))
		c.expectEcho(2, 3)
		if d := time.Since(start); d != time.Minute {
			t.Errorf("the request after it was answered after %v", d)
		}
		close(b.col.each)
	})
}

// TestMemoryRunsOut: a connection waits for request memory, and is closed if none comes.
func TestMemoryRunsOut(t *testing.T) {
	releases := make(chan func(), 10)
	o := Options{MaxRequestBytes: 1000, RequestMemory: 1}
	bubble(t, o, func(r *Request) {
		if r.Key == 0 {
			releases <- r.Hold()
		}
		if r.Key == 12 {
			echo(r)
			return
		}
		r.Reply(ErrorResponse(r.Body, 0))
	}, func(t *testing.T, b *bubbled) {
		req := produce(9, []byte("records"))
		holders := b.o.RequestMemory / readSize
		for range holders {
			c := b.dial()
			c.send(frame(req, 0))
			c.receive(req, 0)
		}
		start := time.Now()
		starved := b.dial()
		starved.send(heartbeats(0, 1))
		if _, err := starved.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(start) != 30*time.Second {
			t.Errorf("read: %v after %v, want the end after 30s", err, time.Since(start))
		}
		lucky := b.dial()
		lucky.send(heartbeats(0, 1))
		time.Sleep(20 * time.Second)
		(<-releases)()
		lucky.expectEcho(0, 1)
		for range holders - 1 {
			(<-releases)()
		}
		synctest.Wait()
		if got := metricValue(b.metrics.closed[closedNoMemory]); got != 1 {
			t.Errorf("%v connections were closed for want of memory, want 1", got)
		}
	})
}

// TestUnansweredRequestDoesNotKeepABadConnection: earlier replies are waited for, but not for ever.
func TestUnansweredRequestDoesNotKeepABadConnection(t *testing.T) {
	bubble(t, Options{}, nil, func(t *testing.T, b *bubbled) {
		c := b.dial()
		c.send(heartbeats(0, 1), []byte{0xFF, 0xFF, 0xFF, 0xFF})
		r := <-b.col.each
		c.endsAfter(30 * time.Second)
		<-r.Context().Done()
		echo(r)
	})
}

// TestTimeoutsOnTCP covers the deadlines of sockets, which a bubble cannot.
func TestTimeoutsOnTCP(t *testing.T) {
	big := make([]byte, 64<<20)
	released := make(chan struct{})
	s := startServer(t, Options{
		IdleTimeout: 100 * time.Millisecond, FrameTimeout: 30 * time.Millisecond, WriteTimeout: 100 * time.Millisecond,
	}, heartbeatAPI(func(r *Request) { r.ReplyParts([]Part{{Bytes: big}}, func() { close(released) }) }))

	s.dial().closed() // idle

	c := s.dial()
	c.send(frame(heartbeat(), 0)[:9])
	c.closed()

	c = s.dial() // takes no byte
	c.send(heartbeats(0, 1))
	<-released
	if n, err := io.Copy(io.Discard, c.nc); n >= int64(len(big)) {
		t.Errorf("%d bytes came, err %v", n, err)
	}
	s.finish()
	for _, reason := range []closeReason{closedIdle, closedFrameTimeout, closedWriteTimeout} {
		if got := metricValue(s.metrics.closed[reason]); got != 1 {
			t.Errorf("%v connections were closed by %v, want 1", got, reason)
		}
	}
}

// TestMemoryRunsOutOnTCP: there the read itself finds that there is no memory.
func TestMemoryRunsOutOnTCP(t *testing.T) {
	held := make(chan func(), 10)
	s := startServer(t, Options{MaxRequestBytes: 1000, RequestMemory: 1, FrameTimeout: 50 * time.Millisecond},
		API{Key: 0, Min: 9, Max: 9, Handle: func(r *Request) {
			held <- r.Hold()
			r.Reply(ErrorResponse(r.Body, 0))
		}}, heartbeatAPI(echo))
	req := produce(9, []byte("records"))
	for range s.o.RequestMemory / readSize {
		c := s.dial()
		c.send(frame(req, 0))
		c.receive(req, 0)
	}
	starved := s.dial()
	starved.trySend(heartbeats(0, 1))
	starved.gone()
	for range s.o.RequestMemory / readSize {
		(<-held)()
	}
	c := s.dial()
	c.send(heartbeats(0, 1))
	c.expectEcho(0, 1)
	s.finish()
	if got := metricValue(s.metrics.closed[closedNoMemory]); got != 1 {
		t.Errorf("%v connections were closed for want of memory, want 1", got)
	}
}
