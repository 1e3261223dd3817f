package fleet

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Links is the network between the nodes: it owns the address that each advertises to the others.
type Links struct {
	stop chan struct{}  // closed by Close
	work sync.WaitGroup // every goroutine of the proxy

	mu     sync.Mutex // guards the fields below
	closed bool
	nodes  map[string]int32 // by IP
	gates  map[direction]*gate
	doors  map[int32]*door
	open   map[*connection]struct{}
}

type direction struct{ from, to int32 }

// door is where others knock to reach a node.
type door struct {
	address  string // of the proxy
	target   string // of the node
	listener net.Listener
}

func newLinks() *Links {
	return &Links{stop: make(chan struct{}), nodes: map[string]int32{}, gates: map[direction]*gate{}, doors: map[int32]*door{},
		open: map[*connection]struct{}{}}
}

// add makes a door for a node. It is closed: nobody lives behind it yet.
func (l *Links) add(id int32, ip, target string) (advertise string, err error) {
	advertise, err = freeAddress(ip)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[ip] = id
	l.doors[id] = &door{address: advertise, target: target}
	return advertise, nil
}

// up opens the door of a node that is being started.
func (l *Links) up(id int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.doors[id]
	if l.closed || d == nil || d.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", d.address)
	if err != nil {
		return fmt.Errorf("the way to node %d: %w", id, err)
	}
	d.listener = listener
	l.work.Go(func() { l.accept(id, d.target, listener) })
	return nil
}

// down shuts the door of a node that has ended, so that dialing it is refused as it would be without a proxy.
func (l *Links) down(id int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.doors[id]; d != nil && d.listener != nil {
		_ = d.listener.Close() // nothing is lost with it
		d.listener = nil
	}
}

// Close ends all connections and waits until nothing of the proxy runs.
func (l *Links) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.stop)
	var errs []error
	for _, d := range l.doors {
		if d.listener != nil {
			errs = append(errs, d.listener.Close())
			d.listener = nil
		}
	}
	for c := range l.open {
		c.end(false)
	}
	l.mu.Unlock()
	l.work.Wait()
	return errors.Join(errs...)
}

func (l *Links) accept(target int32, address string, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // the door was shut
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		l.mu.Lock()
		from, known := l.nodes[host]
		refused := l.closed || !known
		l.mu.Unlock()
		if refused {
			reset(conn)
			continue
		}
		l.carry(conn.(*net.TCPConn), host, from, target, address)
	}
}

// carry serves one connection, unless the cut that it meets refuses it.
func (l *Links) carry(conn *net.TCPConn, host string, from, target int32, address string) {
	there, back := l.gate(from, target), l.gate(target, from)
	for _, g := range []*gate{there, back} {
		if c := g.now(); c.Cut && c.Refuse {
			g.refused.Add(1)
			reset(conn)
			return
		}
	}
	c := &connection{links: l, from: from, to: target, source: host, target: address, there: there, back: back,
		dialer: conn, done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		reset(conn)
		return
	}
	l.open[c] = struct{}{}
	l.work.Go(func() {
		c.run()
		l.mu.Lock()
		delete(l.open, c)
		l.mu.Unlock()
	})
}

func (l *Links) gate(from, to int32) *gate {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := direction{from, to}
	if l.gates[d] == nil {
		l.gates[d] = newGate()
	}
	return l.gates[d]
}

// Set changes how bytes travel from one node to another.
func (l *Links) Set(from, to int32, c Condition) { l.gate(from, to).set(c) }

// SetBoth changes both directions between two nodes.
func (l *Links) SetBoth(a, b int32, c Condition) {
	l.Set(a, b, c)
	l.Set(b, a, c)
}

// Heal makes every link good again.
func (l *Links) Heal() {
	l.mu.Lock()
	gates := make([]*gate, 0, len(l.gates))
	for _, g := range l.gates {
		gates = append(gates, g)
	}
	l.mu.Unlock()
	for _, g := range gates {
		g.set(Condition{})
	}
}

// Traffic tells what has happened from one node to another.
func (l *Links) Traffic(from, to int32) Traffic { return l.gate(from, to).traffic() }

// Reset breaks every connection between two nodes and returns how many there were.
func (l *Links) Reset(a, b int32) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for c := range l.open {
		if (c.from == a && c.to == b) || (c.from == b && c.to == a) {
			c.end(true)
			n++
		}
	}
	return n
}

// Connections counts those that are open.
func (l *Links) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}
