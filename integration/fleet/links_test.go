package fleet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	within = 10 * time.Second      // for what must happen
	silent = 50 * time.Millisecond // for what must not
)

// world is the links of two nodes; node 2 is an echo.
type world struct {
	links *Links
	door  string // of node 2

	mu    sync.Mutex // guards peers
	peers []string   // the IPs that node 2 has seen
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) }) // runs last
	address, err := freeAddress("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{links: newLinks()}
	if _, err := w.links.add(1, "127.0.0.1", "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if w.door, err = w.links.add(2, "127.0.0.2", address); err != nil {
		t.Fatal(err)
	}
	w.echo(t, address)
	if err := w.links.up(2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.links.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// echo sends back what it gets. It ends after the links, whose end closes its connections.
func (w *world) echo(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			w.mu.Lock()
			w.peers = append(w.peers, host)
			w.mu.Unlock()
			work.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		work.Wait()
	})
}

// dial connects to node 2 as node 1.
func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := dialFrom("127.0.0.1", w.door)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, %v; want %q", got, err, text)
	}
}

func hearNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(silent)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %d bytes, %v; want silence", n, err)
	}
}

// hearReset waits for the connection to be broken.
func hearReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the connection ended with %v, want a reset", err)
	}
}

func await(t *testing.T, cond func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := Eventually(ctx, cond); err != nil {
		t.Fatal(err)
	}
}

func TestTheTargetSeesWhoDialed(t *testing.T) {
	w := newWorld(t)
	conn := w.dial(t)
	say(t, conn, "hello")
	hear(t, conn, "hello")
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.peers) != 1 || w.peers[0] != "127.0.0.1" {
		t.Errorf("node 2 saw %v", w.peers)
	}
}

func TestAnOrderlyEndTravelsBehindTheBytes(t *testing.T) {
	w := newWorld(t)
	conn := w.dial(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() { // ends with the connection
		_, _ = conn.Write(want)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came back, %v; want %d", len(got), err, len(want))
	}
	await(t, func() error {
		if n := w.links.Connections(); n != 0 {
			return errors.New("the connection is still carried")
		}
		return nil
	})
}

func TestACutHoldsWhatIsSent(t *testing.T) {
	for name, c := range map[string]struct{ from, to int32 }{"there": {1, 2}, "back": {2, 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			conn := w.dial(t)
			say(t, conn, "before")
			hear(t, conn, "before")
			w.links.Set(c.from, c.to, Condition{Cut: true})
			say(t, conn, "during")
			hearNothing(t, conn)
			if arrived := w.links.Traffic(1, 2).Bytes; (arrived == 12) != (c.from == 2) {
				t.Errorf("%d bytes have reached node 2", arrived)
			}
			if w.links.Traffic(c.from, c.to).Held == 0 {
				t.Error("nothing was counted as held")
			}
			w.links.Heal()
			hear(t, conn, "during")
		})
	}
}

func TestNewConnectionsHangInACut(t *testing.T) {
	for name, c := range map[string]struct{ from, to int32 }{"there": {1, 2}, "back": {2, 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.links.Set(c.from, c.to, Condition{Cut: true})
			patient, hasty := w.dial(t), w.dial(t)
			say(t, patient, "hello")
			hearNothing(t, patient)
			if err := hasty.Close(); err != nil {
				t.Fatal(err)
			}
			await(t, func() error {
				if w.links.Connections() != 1 {
					return errors.New("a dialer that has given up is still waited for")
				}
				return nil
			})
			w.links.Heal()
			hear(t, patient, "hello")
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.peers) != 1 {
				t.Errorf("node 2 saw %d connections, want only the patient one's", len(w.peers))
			}
		})
	}
}

func TestNewConnectionsAreRefusedOnRequest(t *testing.T) {
	w := newWorld(t)
	old := w.dial(t)
	say(t, old, "before")
	hear(t, old, "before")
	w.links.SetBoth(1, 2, Condition{Cut: true, Refuse: true})
	if conn, err := net.DialTimeout("tcp", w.door, within); err == nil {
		hearReset(t, conn)
		_ = conn.Close()
	} else if !errors.Is(err, syscall.ECONNRESET) { // it may come before dialing is done
		t.Fatal(err)
	}
	if w.links.Traffic(1, 2).Refused == 0 {
		t.Error("nothing was counted as refused")
	}
	say(t, old, "during")
	hearNothing(t, old)
	w.links.Heal()
	hear(t, old, "during")
}

func TestASlowLinkIsSlow(t *testing.T) {
	const delay, bytesASecond = 60 * time.Millisecond, 100_000
	for name, c := range map[string]struct {
		condition Condition
		bytes     int
		least     time.Duration
	}{
		"delay": {Condition{Delay: delay}, 10, delay},
		"rate":  {Condition{Rate: bytesASecond}, 10_000, 90 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			conn := w.dial(t)
			say(t, conn, "before")
			hear(t, conn, "before")
			w.links.Set(1, 2, c.condition)
			began := time.Now()
			text := strings.Repeat("x", c.bytes)
			say(t, conn, text)
			hear(t, conn, text)
			if took := time.Since(began); took < c.least {
				t.Errorf("it took %v, want %v at least", took, c.least)
			}
			if w.links.Traffic(1, 2).Slowed == 0 {
				t.Error("nothing was counted as slowed")
			}
		})
	}
}

func TestResetBreaksConnections(t *testing.T) {
	w := newWorld(t)
	conn := w.dial(t)
	say(t, conn, "before")
	hear(t, conn, "before")
	if n := w.links.Reset(2, 1); n != 1 {
		t.Errorf("%d connections were reset", n)
	}
	hearReset(t, conn)
	again := w.dial(t)
	say(t, again, "after")
	hear(t, again, "after")
}

func TestANodeThatIsDownRefuses(t *testing.T) {
	w := newWorld(t)
	w.links.down(2)
	if _, err := net.DialTimeout("tcp", w.door, within); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing gave %v", err)
	}
	if err := w.links.up(2); err != nil {
		t.Fatal(err)
	}
	conn := w.dial(t)
	say(t, conn, "hello")
	hear(t, conn, "hello")
}

func TestThousandsOfConnections(t *testing.T) {
	w := newWorld(t)
	var conns []net.Conn
	for range 2000 {
		conns = append(conns, w.dial(t))
	}
	for _, c := range conns {
		say(t, c, "hello")
	}
	w.links.SetBoth(1, 2, Condition{Cut: true})
	w.links.Heal()
	for i, c := range conns {
		hear(t, c, "hello")
		if i%2 == 0 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, func() error {
		if n := w.links.Connections(); n != len(conns)/2 {
			return errors.New("connections of clients that went are still carried")
		}
		return nil
	})
}
