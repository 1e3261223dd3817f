package broker

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// virtualLatency is how long a byte is on its way. It is also what lets virtual time pass: without it two
// nodes that answer each other at once would do so for ever within one instant.
const virtualLatency = 200 * time.Microsecond

// virtualNet is the network of a bubble: machines with addresses, connections and packets between them, and
// the faults of both. A cut way holds the bytes of a connection back, as TCP does, and loses packets.
// Waiting is done on channels and timers only, which do not hold the bubble's clock.
type virtualNet struct {
	mu       sync.Mutex // guards the fields below and those of every machine, conn and half; held for moments
	machines map[string]*virtualMachine
	cut      map[way]bool
	conns    map[*virtualConn]struct{} // both ends of each that is not closed
	nextPort int
	changed  chan struct{} // closed when a way opens or a machine boots
}

// way is a direction between two machines.
type way struct{ from, to string }

func newVirtualNet() *virtualNet {
	return &virtualNet{
		machines: map[string]*virtualMachine{}, cut: map[way]bool{}, conns: map[*virtualConn]struct{}{},
		nextPort: 30_000, changed: make(chan struct{}),
	}
}

// virtualMachine is one life of a machine, or of the one process on it: what a crash leaves behind is cut
// off for good, so that the goroutines which cannot be killed reach nobody.
type virtualMachine struct {
	net       *virtualNet
	ip        string
	life      lifeState
	listeners map[int]*virtualListener
}

type lifeState int

const (
	machineUp lifeState = iota
	killed              // the process is gone: its machine refuses and resets
	powerLost           // the machine is gone: nothing answers
)

// boot begins a life at an address. Connections of an earlier one are reset when they are heard of.
func (n *virtualNet) boot(ip string) *virtualMachine {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := &virtualMachine{net: n, ip: ip, listeners: map[int]*virtualListener{}}
	if old := n.machines[ip]; old != nil {
		old.dieLocked(killed)
	}
	n.machines[ip] = m
	n.changedLocked()
	return m
}

// die ends a life at once.
func (m *virtualMachine) die(how lifeState) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	m.dieLocked(how)
}

func (m *virtualMachine) dieLocked(how lifeState) {
	m.life = how
	for c := range m.net.conns {
		if c.machine != m {
			continue
		}
		c.failLocked(syscall.ECONNRESET)
		if how == killed {
			c.out.pushLocked(nil, syscall.ECONNRESET)
			delete(m.net.conns, c)
		}
	}
}

// setWay opens or cuts one direction.
func (n *virtualNet) setWay(from, to string, open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[way{from, to}] = !open
	n.changedLocked()
}

// heal opens all ways.
func (n *virtualNet) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.changedLocked()
}

func (n *virtualNet) changedLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
	for c := range n.conns {
		c.in.wakeLocked()
	}
}

// listen opens a port.
func (m *virtualMachine) listen(port int) *virtualListener {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	l := &virtualListener{
		machine: m, addr: tcpAddr(m.ip, port), backlog: make(chan net.Conn, 1024), closed: make(chan struct{}),
	}
	m.listeners[port] = l
	return l
}

func tcpAddr(ip string, port int) *net.TCPAddr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }

// dial implements cluster.Options.Dial, and franz-go's dialer. Where nothing answers it waits for ctx.
func (m *virtualMachine) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	failed := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: tcpAddr(host, port), Err: err}
	}
	for {
		target, changed := m.reach(host)
		if target != nil {
			if err := sleep(ctx, 2*virtualLatency); err != nil {
				return nil, failed(err)
			}
			conn, err := m.connect(target, port)
			if err != nil {
				return nil, failed(os.NewSyscallError("connect", err))
			}
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, failed(ctx.Err())
		}
	}
}

// reach finds the machine at an address if bytes pass both ways.
func (m *virtualMachine) reach(ip string) (*virtualMachine, <-chan struct{}) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	target := m.net.machines[ip]
	open := m.life == machineUp && target != nil && target.life != powerLost && !m.net.cut[way{m.ip, ip}] && !m.net.cut[way{ip, m.ip}]
	if !open {
		target = nil
	}
	return target, m.net.changed
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *virtualMachine) connect(target *virtualMachine, port int) (net.Conn, error) {
	n := m.net
	n.mu.Lock()
	defer n.mu.Unlock()
	l := target.listeners[port]
	if m.life != machineUp || target.life != machineUp || l == nil {
		return nil, syscall.ECONNREFUSED
	}
	n.nextPort++
	there, back := newHalf(n, way{m.ip, target.ip}), newHalf(n, way{target.ip, m.ip})
	caller := &virtualConn{machine: m, in: back, out: there, local: tcpAddr(m.ip, n.nextPort), remote: l.addr}
	callee := &virtualConn{machine: target, in: there, out: back, local: l.addr, remote: caller.local}
	caller.peer, callee.peer = callee, caller
	select {
	case l.backlog <- callee:
	default:
		return nil, syscall.ECONNREFUSED
	}
	n.conns[caller], n.conns[callee] = struct{}{}, struct{}{}
	return caller, nil
}

// virtualListener is an open port.
type virtualListener struct {
	machine *virtualMachine
	addr    *net.TCPAddr
	backlog chan net.Conn
	packets chan *memberlist.Packet // of gossip, else nil
	closed  chan struct{}
	once    sync.Once
}

func (l *virtualListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.backlog:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close also resets who was not accepted.
func (l *virtualListener) Close() error {
	l.once.Do(func() {
		l.machine.net.mu.Lock()
		delete(l.machine.listeners, l.addr.Port)
		l.machine.net.mu.Unlock()
		close(l.closed)
	})
	for {
		select {
		case conn := <-l.backlog:
			_ = conn.Close()
		default:
			return nil
		}
	}
}

func (l *virtualListener) Addr() net.Addr { return l.addr }

// TestVirtualNet holds the network to what the tests that stand on it take for granted.
func TestVirtualNet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newVirtualNet()
		a, b := n.boot("127.0.0.1"), n.boot("127.0.0.2")
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		if _, err := a.dial(short(), "tcp", "127.0.0.2:1"); !isErr(err, syscall.ECONNREFUSED) {
			t.Errorf("a closed port: %v", err)
		}
		l := b.listen(1)
		from, err := a.dial(short(), "tcp", "127.0.0.2:1")
		if err != nil {
			t.Fatal(err)
		}
		to, _ := l.Accept()
		n.setWay(a.ip, b.ip, false)
		mustWrite(t, from, "held back")
		_ = to.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := to.Read(make([]byte, 9)); !isErr(err, os.ErrDeadlineExceeded) {
			t.Errorf("read over a cut way: %v", err)
		}
		mustWrite(t, to, "other way")
		mustRead(t, from, "other way")
		if _, err := a.dial(short(), "tcp", "127.0.0.2:1"); !isErr(err, context.DeadlineExceeded) {
			t.Errorf("dial over a cut way: %v", err)
		}
		n.heal()
		_ = to.SetReadDeadline(time.Time{})
		mustRead(t, to, "held back")
		b.die(powerLost)
		mustWrite(t, from, "nobody")
		_ = from.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := from.Read(make([]byte, 1)); !isErr(err, os.ErrDeadlineExceeded) {
			t.Errorf("read from a machine without power: %v", err)
		}
		n.boot("127.0.0.2")
		_ = from.SetReadDeadline(time.Time{})
		if _, err := from.Read(make([]byte, 1)); !isErr(err, syscall.ECONNRESET) {
			t.Errorf("read from the life before: %v", err)
		}
		if _, err := to.Write([]byte("x")); err == nil {
			t.Error("the dead still speak")
		}
		_ = from.Close()
	})
}
