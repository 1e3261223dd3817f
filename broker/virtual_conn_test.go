package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// half is one direction of a connection. What is written is read a moment later, once the way is open.
// It has no bound but maxHalf: a writer that waits inside some lock would hold the bubble's clock.
type half struct {
	net   *virtualNet
	way   way
	queue []segment
	bytes int
	news  chan struct{} // closed when there may be more to read
}

type segment struct {
	at   time.Time // when it arrives
	data []byte
	err  error // io.EOF, or a reset
}

// maxHalf is what a connection holds that nobody reads.
const maxHalf = 256 << 20

func newHalf(n *virtualNet, w way) *half { return &half{net: n, way: w, news: make(chan struct{})} }

func (h *half) pushLocked(data []byte, err error) {
	h.queue = append(h.queue, segment{time.Now().Add(virtualLatency), data, err})
	h.bytes += len(data)
	h.wakeLocked()
}

func (h *half) wakeLocked() {
	close(h.news)
	h.news = make(chan struct{})
}

// virtualConn is one end of a connection.
type virtualConn struct {
	machine       *virtualMachine
	peer          *virtualConn
	in, out       *half
	local, remote *net.TCPAddr

	failed                      error // of every call from now on
	readDeadline, writeDeadline time.Time
}

func (c *virtualConn) failLocked(err error) {
	if c.failed == nil {
		c.failed = err
	}
	c.in.wakeLocked()
}

// Read implements net.Conn.
func (c *virtualConn) Read(p []byte) (int, error) {
	for {
		n, news, at, err := c.tryRead(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		timer := time.NewTimer(time.Until(at))
		if at.IsZero() {
			timer.Stop()
		}
		select {
		case <-news:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// tryRead reads what has arrived. Otherwise there is nothing to do before news, or at if that is not zero.
func (c *virtualConn) tryRead(p []byte) (n int, news <-chan struct{}, at time.Time, err error) {
	c.machine.net.mu.Lock()
	defer c.machine.net.mu.Unlock()
	now := time.Now()
	switch {
	case c.failed != nil:
		return 0, nil, at, c.failed
	case !c.readDeadline.IsZero() && !now.Before(c.readDeadline):
		return 0, nil, at, os.ErrDeadlineExceeded
	}
	h := c.in
	if len(h.queue) > 0 && !h.net.cut[h.way] {
		head := &h.queue[0]
		switch {
		case now.Before(head.at):
			at = head.at
		case head.err != nil:
			return 0, nil, at, head.err
		default:
			n = copy(p, head.data)
			head.data = head.data[n:]
			h.bytes -= n
			if len(head.data) == 0 {
				h.queue = h.queue[1:]
			}
			return n, nil, at, nil
		}
	}
	if d := c.readDeadline; !d.IsZero() && (at.IsZero() || d.Before(at)) {
		at = d
	}
	return 0, h.news, at, nil
}

// Write implements net.Conn. It never waits.
func (c *virtualConn) Write(p []byte) (int, error) {
	c.machine.net.mu.Lock()
	defer c.machine.net.mu.Unlock()
	switch {
	case c.failed != nil:
		return 0, c.failed
	case !c.writeDeadline.IsZero() && !time.Now().Before(c.writeDeadline):
		return 0, os.ErrDeadlineExceeded
	case c.peer.failed == net.ErrClosed && !c.out.net.cut[c.out.way] && !c.in.net.cut[c.in.way]:
		return 0, syscall.EPIPE
	case c.out.bytes > maxHalf:
		return 0, syscall.ENOBUFS
	}
	if len(p) > 0 {
		c.out.pushLocked(append([]byte(nil), p...), nil)
	}
	return len(p), nil
}

// Close implements net.Conn.
func (c *virtualConn) Close() error {
	c.machine.net.mu.Lock()
	defer c.machine.net.mu.Unlock()
	if c.failed == net.ErrClosed {
		return net.ErrClosed
	}
	if c.failed == nil {
		c.out.pushLocked(nil, io.EOF)
	}
	c.failed = net.ErrClosed
	c.in.wakeLocked()
	if c.machine.life != powerLost { // else the machine says that it forgot the connection when it is back
		delete(c.machine.net.conns, c)
	}
	return nil
}

func (c *virtualConn) LocalAddr() net.Addr  { return c.local }
func (c *virtualConn) RemoteAddr() net.Addr { return c.remote }

func (c *virtualConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *virtualConn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.readDeadline, t)
}

func (c *virtualConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writeDeadline, t)
}

func (c *virtualConn) setDeadline(which *time.Time, t time.Time) error {
	c.machine.net.mu.Lock()
	defer c.machine.net.mu.Unlock()
	if c.failed == net.ErrClosed {
		return net.ErrClosed
	}
	*which = t
	c.in.wakeLocked()
	return nil
}

// virtualGossip is cluster.GossipTransport on a virtual network.
type virtualGossip struct {
	*virtualListener
	packets chan *memberlist.Packet
}

func (m *virtualMachine) gossip(port int) *virtualGossip {
	l := m.listen(port)
	g := &virtualGossip{l, make(chan *memberlist.Packet, 1024)}
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	l.packets = g.packets
	return g
}

func (g *virtualGossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return g.addr.IP, g.addr.Port, nil
}

// WriteTo loses what cannot be delivered, as UDP does.
func (g *virtualGossip) WriteTo(b []byte, address string) (time.Time, error) {
	m, now := g.machine, time.Now()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return now, err
	}
	packet := &memberlist.Packet{Buf: append([]byte(nil), b...), From: &net.UDPAddr{IP: g.addr.IP, Port: g.addr.Port}}
	go func() { // not time.AfterFunc: under the race detector each that fires in a bubble costs its runtime a stack frame for good
		time.Sleep(virtualLatency)
		m.deliver(packet, host)
	}()
	return now, nil
}

func (m *virtualMachine) deliver(packet *memberlist.Packet, ip string) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	target := m.net.machines[ip]
	if target == nil || target.life != machineUp || m.life != machineUp || m.net.cut[way{m.ip, ip}] {
		return
	}
	packet.Timestamp = time.Now()
	for _, l := range target.listeners {
		if l.packets == nil {
			continue
		}
		select {
		case l.packets <- packet:
		default:
		}
	}
}

func (g *virtualGossip) PacketCh() <-chan *memberlist.Packet { return g.packets }
func (g *virtualGossip) StreamCh() <-chan net.Conn           { return g.backlog }
func (g *virtualGossip) Shutdown() error                     { return g.Close() }

func (g *virtualGossip) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return g.machine.dial(ctx, "tcp", address)
}

func (g *virtualGossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

func (g *virtualGossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return g.DialTimeout(a.Addr, timeout)
}

func isErr(err, target error) bool { return errors.Is(err, target) }

func mustWrite(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.Copy(c, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}
