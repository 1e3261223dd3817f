package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func TestPipelinedRepliesKeepTheirOrder(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{Strict: true}, heartbeatAPI(col.handle))
	for _, n := range []int{1, 2, 10, 100} {
		c := s.dial()
		c.send(heartbeats(0, int32(n)))
		requests := make([]*Request, n)
		for i := range requests {
			requests[i] = col.next(t)
		}
		rand.Shuffle(n, func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := i; j < n; j += 4 {
					echo(requests[j])
				}
			})
		}
		c.expectEcho(0, int32(n))
		wg.Wait()
	}
}

// TestMixedAnswers draws how each of many pipelined requests is answered: at once, later by another
// goroutine, or not at all.
func TestMixedAnswers(t *testing.T) {
	const now, later, never, byParts = 0, 1, 2, 3 // the request says which, in its generation
	var wg sync.WaitGroup
	s := startServer(t, Options{Strict: true, MaxInFlight: 7}, heartbeatAPI(func(r *Request) {
		switch r.Body.(*kmsg.HeartbeatRequest).Generation {
		case now:
			echo(r)
		case later:
			wg.Go(func() { echo(r) })
		case byParts:
			body := echoResponse(r)
			body.SetVersion(r.Version)
			b := body.AppendTo(nil)
			r.ReplyParts([]Part{{Bytes: b[:1]}, {Bytes: b[1:]}}, nil)
		case never:
			r.NoReply()
		}
	}))
	rapid.Check(t, func(rt *rapid.T) {
		how := rapid.SliceOfN(rapid.Int32Range(0, 3), 1, 60).Draw(rt, "how")
		c := s.dial()
		for id, h := range how {
			req := heartbeat()
			req.Generation = h
			c.send(frame(req, int32(id)))
		}
		for id, h := range how {
			if h == never {
				continue
			}
			resp, err := c.tryReceive(heartbeat(), int32(id))
			if err != nil {
				rt.Fatal(err)
			}
			if got := resp.(*kmsg.HeartbeatResponse).ThrottleMillis; got != int32(id) {
				rt.Fatalf("reply %d carries the body of %d", id, got)
			}
		}
		c.nc.Close()
	})
	s.finish()
	wg.Wait()
}

func TestReadingStopsAtTheBound(t *testing.T) {
	for name, o := range map[string]Options{
		"requests": {MaxInFlight: 5},
		"bytes":    {MaxInFlightBytes: int64(5*(len(frame(heartbeat(), 0))-4)) - 1},
	} {
		t.Run(name, func(t *testing.T) {
			col := newCollector()
			s := startServer(t, o, heartbeatAPI(col.handle))
			c := s.dial()
			c.send(heartbeats(0, 50))
			var held []*Request
			for range 5 {
				held = append(held, col.next(t))
			}
			other := s.dial() // a full connection does not stop another one
			other.send(heartbeats(7, 8))
			echo(col.next(t))
			other.expectEcho(7, 8)
			if n := len(col.each); n != 0 {
				t.Errorf("%d requests above the bound were handled", n)
			}
			for id := range int32(50) {
				echo(held[0])
				held = held[1:]
				c.expectEcho(id, id+1)
				if id < 45 {
					held = append(held, col.next(t))
				}
			}
		})
	}
}

func TestCloseAfterEarlierReplies(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{Strict: true}, heartbeatAPI(col.handle))
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}} {
		c := s.dial()
		c.send(heartbeats(0, 3))
		requests := []*Request{col.next(t), col.next(t), col.next(t)}
		for _, i := range order {
			if i == 1 {
				requests[i].Close(errors.New("enough"))
			} else {
				echo(requests[i])
			}
		}
		c.expectEcho(0, 1)
		c.closed()
		<-requests[0].Context().Done()
	}
	s.finish()
	if got := metricValue(s.metrics.closed[closedByHandler]); got != 4 {
		t.Errorf("%v closes were counted, want 4", got)
	}
}

// TestResetIsNoOrderlyEnd: the client sees what it sees when the process dies.
func TestResetIsNoOrderlyEnd(t *testing.T) {
	s := startServer(t, Options{Strict: true}, heartbeatAPI(func(r *Request) { r.Reset(errors.New("elsewhere")) }))
	c := s.dial()
	c.send(heartbeats(0, 1))
	if _, err := c.nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
}

// TestCloseInsideHandle: what was pipelined behind it is not even handled.
func TestCloseInsideHandle(t *testing.T) {
	handled := make(chan int32, 10)
	s := startServer(t, Options{}, heartbeatAPI(func(r *Request) {
		handled <- r.CorrelationID
		if r.CorrelationID == 1 {
			r.Close(nil)
			return
		}
		echo(r)
	}))
	c := s.dial()
	c.send(heartbeats(0, 5))
	c.expectEcho(0, 1)
	c.closed()
	if n := len(handled); n != 2 {
		t.Errorf("%d requests were handled, want 2", n)
	}
}

func TestPanicInHandler(t *testing.T) {
	s := startServer(t, Options{}, heartbeatAPI(func(r *Request) {
		if r.CorrelationID == 1 {
			panic("the handler is broken")
		}
		echo(r)
	}))
	c, other := s.dial(), s.dial()
	c.send(heartbeats(0, 3))
	c.expectEcho(0, 1)
	c.closed()
	other.send(heartbeats(0, 1))
	other.expectEcho(0, 1)
	if got := metricValue(s.metrics.panics); got != 1 {
		t.Errorf("%v panics were counted", got)
	}
}

func TestSecondAnswer(t *testing.T) {
	released := 0
	s := startServer(t, Options{}, heartbeatAPI(func(r *Request) {
		echo(r)
		echo(r)
		r.NoReply()
		r.ReplyParts(nil, func() { released++ })
		r.Close(nil)
	}))
	c := s.dial()
	c.send(heartbeats(0, 2))
	c.expectEcho(0, 2)
	if got := metricValue(s.metrics.violations); got != 8 || released != 2 {
		t.Errorf("%v violations were counted, %d releases called; want 8 and 2", got, released)
	}
}

func TestSecondAnswerPanicsWhenStrict(t *testing.T) {
	r := &Request{conn: &conn{srv: newTestServer(t, Options{Strict: true}, heartbeatAPI(echo))}}
	r.claimed.Store(true)
	defer func() {
		if _, ok := recover().(violation); !ok {
			t.Error("no panic")
		}
	}()
	r.NoReply()
}

// TestReleaseIsCalledOnce with and without a connection to write to.
func TestReleaseIsCalledOnce(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{}, heartbeatAPI(col.handle))
	released := make(chan struct{}, 10)
	release := func() { released <- struct{}{} }
	body := heartbeat().ResponseKind().AppendTo(nil)

	c := s.dial()
	c.send(heartbeats(0, 1))
	col.next(t).ReplyParts([]Part{{Bytes: body}}, release)
	c.receive(heartbeat(), 0)
	<-released

	c.send(heartbeats(1, 4)) // answered out of turn, and the connection goes before its turn comes
	first, second, third := col.next(t), col.next(t), col.next(t)
	second.ReplyParts([]Part{{Bytes: body}}, release)
	c.nc.Close()
	<-first.Context().Done()
	<-released
	third.ReplyParts([]Part{{Bytes: body}}, release) // and after it is gone
	<-released
	echo(first)
	if len(released) != 0 {
		t.Error("released twice")
	}
}

func TestHoldKeepsTheBytes(t *testing.T) {
	type heldRequest struct {
		r       *Request
		records []byte
		release func()
	}
	held := make(chan heldRequest, 100)
	s := startServer(t, Options{Strict: true}, API{Key: 0, Min: 3, Max: 9, Handle: func(r *Request) {
		records := r.Body.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
		h := heldRequest{r: r, records: records}
		if r.CorrelationID%2 == 0 {
			h.release = r.Hold()
		}
		held <- h
	}})
	payload := func(id int32, size int) []byte { return bytes.Repeat([]byte{byte(id) + 1}, size) }
	c := s.dial()
	var all []byte
	var requests []*kmsg.ProduceRequest
	sizes := []int{10, 20_000, 3, 100_000, 70_000, 1 << 20, 5, 16 << 10, 16 << 10, 16 << 10, 16 << 10, 2 << 20}
	for id, size := range sizes {
		req := produce(9, payload(int32(id), size))
		requests = append(requests, req)
		all = append(all, frame(req, int32(id))...)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c.trySend(all)
	}()
	for id, size := range sizes {
		h := <-held
		if h.release != nil {
			defer func() {
				if !bytes.Equal(h.records, payload(int32(id), size)) {
					t.Errorf("the records of held request %d have changed", id)
				}
				h.release()
			}()
		}
		h.r.Reply(ErrorResponse(h.r.Body, int16(id)))
	}
	<-sent
	for id, req := range requests {
		resp := c.receive(req, int32(id)).(*kmsg.ProduceResponse)
		if got := resp.Topics[0].Partitions[0].ErrorCode; got != int16(id) {
			t.Errorf("reply %d has code %d", id, got)
		}
	}
	c.nc.Close()
}

func produce(version int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 1000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = records
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "topic", append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return req
}

func TestSessionIsImmutable(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{Listener: "INSIDE"}, heartbeatAPI(func(r *Request) {
		if r.CorrelationID == 1 {
			r.UpdateSession(func(s *Session) { s.Principal = "User:alice" })
		}
		col.handle(r)
	}))
	c := s.dial()
	c.send(heartbeats(0, 3))
	for i, want := range []string{"", "User:alice", "User:alice"} {
		r := col.next(t)
		got := *r.Session
		if got.Principal != want || got.Listener != "INSIDE" || got.ClientID != "tester" || r.ClientID != "tester" ||
			got.RemoteAddr.String() != c.nc.LocalAddr().String() || got.LocalAddr.String() != s.addr || got.ConnID == 0 {
			t.Errorf("request %d has session %+v", i, got)
		}
		echo(r)
	}
	c.expectEcho(0, 3)
}

func TestThrottleDelaysReading(t *testing.T) {
	const pause = 50 * time.Millisecond
	s := startServer(t, Options{}, heartbeatAPI(func(r *Request) {
		if r.CorrelationID == 0 {
			r.Throttle(pause)
		}
		echo(r)
	}))
	c := s.dial()
	start := time.Now()
	c.send(heartbeats(0, 2))
	c.expectEcho(0, 2)
	if d := time.Since(start); d < pause {
		t.Errorf("the second reply came after %v", d)
	}
}

func TestContextEndsWithTheConnection(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{}, heartbeatAPI(col.handle))
	c := s.dial()
	c.send(heartbeats(0, 1))
	r := col.next(t)
	if err := r.Context().Err(); err != nil {
		t.Fatal(err)
	}
	c.nc.Close()
	<-r.Context().Done()
	echo(r)
}

func TestShutdownFinishesWhatIsOwed(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{}, heartbeatAPI(col.handle))
	c, idle := s.dial(), s.dial()
	c.send(heartbeats(0, 3))
	requests := []*Request{col.next(t), col.next(t), col.next(t)}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	<-requests[0].Stopping()
	idle.closed()
	c.trySend(heartbeats(3, 5)) // comes too late
	for _, r := range requests {
		echo(r)
	}
	c.expectEcho(0, 3)
	c.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(col.each) != 0 {
		t.Error("a request was handled after Shutdown had begun")
	}
}

func TestShutdownGivesUpAtItsDeadline(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{}, heartbeatAPI(col.handle))
	c := s.dial()
	c.send(heartbeats(0, 1))
	r := col.next(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	<-r.Context().Done()
	c.closed()
	echo(r)
}

func TestCountersBalance(t *testing.T) {
	s := startServer(t, Options{}, heartbeatAPI(echo))
	for range 3 {
		c := s.dial()
		c.send(heartbeats(0, 10))
		c.expectEcho(0, 10)
		c.nc.Close()
	}
	s.finish()
	for name, want := range map[string]struct{ got, want float64 }{
		"in flight":     {metricValue(s.metrics.inFlight), 0},
		"connections":   {metricValue(s.metrics.connections), 0},
		"accepted":      {metricValue(s.metrics.accepted), 3},
		"requests":      {metricValue(s.apis[12].metrics.requests), 30},
		"request bytes": {metricValue(s.metrics.requestBytes), float64(3 * len(heartbeats(0, 10)))},
	} {
		if want.got != want.want {
			t.Error(fmt.Sprint(name, ": ", want.got, ", want ", want.want))
		}
	}
}
