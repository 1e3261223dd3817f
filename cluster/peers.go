package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Kinds of connection on the peer port; the first byte of a connection tells which.
const (
	kindRaft  byte = 'R' // the Raft library's own protocol
	kindKafka byte = 'K' // Kafka's protocol, with the APIs that brokers use among themselves
)

const (
	helloTimeout = 5 * time.Second
	dialTimeout  = 2 * time.Second
	// maxGreeting bounds the connections that have not said hello yet.
	maxGreeting = 256
)

// Peers is a node's peer port: one listener for Raft and for Kafka's protocol between brokers, and the
// way to the peer ports of others. Nodes of different clusters refuse each other (replication.md 4.8).
type Peers struct {
	listener  net.Listener
	advertise string
	self      identity
	locate    func(identity) (address string, ok bool) // by gossip; nil without
	security  *tls.Config                              // nil is plain TCP
	connect   func(ctx context.Context, network, address string) (net.Conn, error)
	logger    *slog.Logger
	clusterID atomic.Pointer[uuid.ID] // zero before the node has one

	raft, kafka *acceptQueue
	library     connSet // of Raft
	greeting    chan struct{}
	running     sync.WaitGroup
	closed      chan struct{}
	closing     sync.Once
}

// NewPeers takes over a listener and serves it until Close, as a node that says nothing of itself.
// advertise is where other nodes connect.
func NewPeers(listener net.Listener, advertise string, security *tls.Config, logger *slog.Logger) *Peers {
	return newPeers(listener, advertise, security, logger, identity{}, nil)
}

func newPeers(
	listener net.Listener, advertise string, security *tls.Config, logger *slog.Logger,
	self identity, locate func(identity) (string, bool),
) *Peers {
	if advertise == "" {
		advertise = listener.Addr().String()
	}
	p := &Peers{
		listener: listener, advertise: advertise, security: security, logger: logger, self: self, locate: locate,
		greeting: make(chan struct{}, maxGreeting), closed: make(chan struct{}),
	}
	p.connect = p.dialer().DialContext
	p.raft, p.kafka = newAcceptQueue(listener.Addr(), p.closed), newAcceptQueue(listener.Addr(), p.closed)
	p.SetClusterID(uuid.ID{})
	p.running.Go(p.accept)
	return p
}

// SetClusterID says which cluster the node belongs to, from the moment on when it knows.
func (p *Peers) SetClusterID(id uuid.ID) { p.clusterID.Store(&id) }

// Address is where other nodes connect.
func (p *Peers) Address() string { return p.advertise }

// Kafka is the listener of the connections that speak Kafka's protocol.
func (p *Peers) Kafka() net.Listener { return p.kafka }

// Close ends the port, and the connections of Raft. Others that were handed out are their owners' to close.
func (p *Peers) Close() error {
	var err error
	p.closing.Do(func() {
		close(p.closed)
		err = p.listener.Close()
		p.running.Wait()
		p.library.close()
	})
	return err
}

func (p *Peers) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			select {
			case <-p.closed:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors, for instance
				continue
			}
		}
		select {
		case p.greeting <- struct{}{}:
			p.running.Go(func() {
				p.greet(conn)
				<-p.greeting
			})
		default:
			_ = conn.Close() // too many at once; whoever it is tries again
		}
	}
}

// greet reads a connection's hello and hands it to whom it is for.
func (p *Peers) greet(conn net.Conn) {
	if p.security != nil {
		conn = tls.Server(conn, p.security)
	}
	kind, err := p.hello(conn)
	if err != nil {
		p.logger.Warn("a peer connection was refused", "remote", conn.RemoteAddr(), "err", err)
		_ = conn.Close()
		return
	}
	queue := p.kafka
	if kind == kindRaft {
		queue, conn = p.raft, p.library.add(conn)
	}
	if !queue.offer(conn) {
		_ = conn.Close()
	}
}

// dial opens a connection of one kind to another node's peer port: to the node that is meant, or with the
// zero identity to whoever answers there.
func (p *Peers) dial(ctx context.Context, kind byte, address string, to identity) (net.Conn, introduction, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := p.connect(ctx, "tcp", address)
	if err != nil {
		return nil, introduction{}, err
	}
	if p.security != nil {
		config := p.security.Clone()
		if host, _, err := net.SplitHostPort(address); err == nil && config.ServerName == "" {
			config.ServerName = host
		}
		conn = tls.Client(conn, config)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	deadline, _ := ctx.Deadline()
	met, err := p.sayHello(conn, deadline, kind, to)
	if err != nil {
		return nil, met, errors.Join(fmt.Errorf("peer %s: %w", address, err), conn.Close())
	}
	if !stop() {
		return nil, met, errors.Join(ctx.Err(), conn.Close())
	}
	return conn, met, nil
}

// dialer calls from the address that the node listens on, if it is a particular one: a host with several
// addresses then shows the others the one by which they know this node.
func (p *Peers) dialer() *net.Dialer {
	if at, ok := p.listener.Addr().(*net.TCPAddr); ok && !at.IP.IsUnspecified() {
		return &net.Dialer{LocalAddr: &net.TCPAddr{IP: at.IP, Zone: at.Zone}}
	}
	return &net.Dialer{}
}

// introduce asks who answers at an address. What is known of it is also returned with a refusal.
func (p *Peers) introduce(ctx context.Context, address string) (introduction, error) {
	conn, met, err := p.dial(ctx, kindKafka, address, identity{})
	if err != nil {
		return met, err
	}
	return met, conn.Close()
}

// Stream is the peer port as the Raft library wants it.
func (p *Peers) Stream() raft.StreamLayer { return stream{p.raft, p} }

type stream struct {
	*acceptQueue
	p *Peers
}

// Addr is where other nodes connect; the library passes it on to them as this server's address.
func (s stream) Addr() net.Addr { return advertised(s.p.advertise) }

type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

// Dial implements raft.StreamLayer. raftmeta asks for HOST:PORT/SERVER-ID. The server is looked for where
// it was last heard of, for its committed address may be that of an earlier run.
func (s stream) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	address, server, _ := strings.Cut(string(target), "/")
	to, err := parseServerID(server)
	if err != nil {
		return nil, err
	}
	if s.p.locate != nil {
		if heard, ok := s.p.locate(to); ok {
			address = heard
		}
	}
	conn, _, err := s.p.dial(ctx, kindRaft, address, to)
	if err != nil {
		return nil, err
	}
	return s.p.library.add(conn), nil
}

// connSet closes connections for a library that forgets them: Raft's transport leaves those that it keeps
// for later, and those that it reads from, to whoever made them.
type connSet struct {
	mu     sync.Mutex // guards the fields below
	open   map[*ownedConn]struct{}
	closed bool
}

type ownedConn struct {
	net.Conn
	set *connSet
}

func (s *connSet) add(conn net.Conn) net.Conn {
	owned := &ownedConn{conn, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
	}
	if s.open == nil {
		s.open = map[*ownedConn]struct{}{}
	}
	s.open[owned] = struct{}{}
	return owned
}

// Read reports the end of a connection that this side closed as an end, which to the library is no error.
func (c *ownedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

func (c *ownedConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.open, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

func (s *connSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.open {
		_ = conn.Conn.Close()
	}
	s.open = nil
}

// acceptQueue is the part of a shared listener that takes connections of one kind.
type acceptQueue struct {
	addr   net.Addr
	conns  chan net.Conn
	shared <-chan struct{} // closed with the whole port
	closed chan struct{}
	once   sync.Once
}

func newAcceptQueue(addr net.Addr, shared <-chan struct{}) *acceptQueue {
	return &acceptQueue{addr: addr, conns: make(chan net.Conn), shared: shared, closed: make(chan struct{})}
}

// offer hands a connection to Accept, and reports false if nobody takes it in time.
func (q *acceptQueue) offer(conn net.Conn) bool {
	timer := time.NewTimer(helloTimeout)
	defer timer.Stop()
	select {
	case q.conns <- conn:
		return true
	case <-q.closed:
	case <-q.shared:
	case <-timer.C:
	}
	return false
}

// Accept implements net.Listener.
func (q *acceptQueue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
	case <-q.shared:
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener; the port stays open for other kinds.
func (q *acceptQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *acceptQueue) Addr() net.Addr { return q.addr }
