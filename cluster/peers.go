package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	helloVersion = 1
	helloBytes   = 2 + 16 // kind, version, cluster id
	helloTimeout = 5 * time.Second
	dialTimeout  = 2 * time.Second
	// maxGreeting bounds the connections that have not said hello yet.
	maxGreeting = 256
)

// Answers to a hello.
const (
	helloOK byte = iota
	helloOtherCluster
	helloUnknown
)

// ErrOtherCluster means that a node belongs to another cluster and will have nothing to do with this one.
var ErrOtherCluster = errors.New("the node at the other end belongs to another cluster")

// Peers is a node's peer port: one listener for Raft and for Kafka's protocol between brokers, and the
// way to the peer ports of others. Nodes of different clusters refuse each other (replication.md 4.8).
type Peers struct {
	listener  net.Listener
	advertise string
	security  *tls.Config // nil is plain TCP
	logger    *slog.Logger
	clusterID atomic.Pointer[uuid.ID] // zero before the node has one

	raft, kafka *acceptQueue
	greeting    chan struct{}
	running     sync.WaitGroup
	closed      chan struct{}
	closing     sync.Once
}

// NewPeers takes over a listener and serves it until Close. advertise is where other nodes connect.
func NewPeers(listener net.Listener, advertise string, security *tls.Config, logger *slog.Logger) *Peers {
	if advertise == "" {
		advertise = listener.Addr().String()
	}
	p := &Peers{
		listener: listener, advertise: advertise, security: security, logger: logger,
		greeting: make(chan struct{}, maxGreeting), closed: make(chan struct{}),
	}
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

// Close ends the port. Connections that were handed out are their owners' to close.
func (p *Peers) Close() error {
	var err error
	p.closing.Do(func() {
		close(p.closed)
		err = p.listener.Close()
		p.running.Wait()
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
		queue = p.raft
	}
	if !queue.offer(conn) {
		_ = conn.Close()
	}
}

func (p *Peers) hello(conn net.Conn) (kind byte, err error) {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return 0, err
	}
	var in [helloBytes]byte
	if _, err := io.ReadFull(conn, in[:]); err != nil {
		return 0, fmt.Errorf("read hello: %w", err)
	}
	kind = in[0]
	own, theirs := *p.clusterID.Load(), uuid.ID(in[2:])
	answer, refused := helloOK, error(nil)
	switch {
	case kind != kindRaft && kind != kindKafka || in[1] != helloVersion:
		answer, refused = helloUnknown, fmt.Errorf("hello %q of version %d is not one of ours", kind, in[1])
	case own != theirs && !own.IsZero() && !theirs.IsZero(), kind == kindRaft && own != theirs:
		answer, refused = helloOtherCluster, fmt.Errorf("it belongs to cluster %s, this node to %s", theirs, own)
	}
	if _, err := conn.Write([]byte{answer}); err != nil {
		return 0, fmt.Errorf("answer hello: %w", err)
	}
	if refused != nil {
		return 0, refused
	}
	return kind, conn.SetDeadline(time.Time{})
}

// dial opens a connection of one kind to another node's peer port.
func (p *Peers) dial(ctx context.Context, kind byte, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if p.security != nil {
		config := p.security.Clone()
		if host, _, err := net.SplitHostPort(address); err == nil && config.ServerName == "" {
			config.ServerName = host
		}
		conn = tls.Client(conn, config)
	}
	if err := p.sayHello(ctx, conn, kind); err != nil {
		return nil, errors.Join(fmt.Errorf("peer %s: %w", address, err), conn.Close())
	}
	return conn, nil
}

func (p *Peers) sayHello(ctx context.Context, conn net.Conn, kind byte) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	id := *p.clusterID.Load()
	if _, err := conn.Write(append([]byte{kind, helloVersion}, id[:]...)); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("wait for the answer to hello: %w", err)
	}
	switch answer[0] {
	case helloOK:
		return conn.SetDeadline(time.Time{})
	case helloOtherCluster:
		return ErrOtherCluster
	}
	return fmt.Errorf("hello was answered with %d", answer[0])
}

// Stream is the peer port as the Raft library wants it.
func (p *Peers) Stream() raft.StreamLayer { return stream{p.raft, p} }

type stream struct {
	*acceptQueue
	p *Peers
}

func (s stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.p.dial(ctx, kindRaft, string(address))
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
