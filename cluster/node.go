package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Node is this node among the others. Its life goes in this order: Open, Register what the broker answers,
// serve Peers().Kafka() with APIs, Form, open the metadata node with what Form found, Attach it, Run, Join,
// and once the broker has registered SetBroker and SetLoaded; then Leave and Close. All methods may be
// called from any goroutine, but for Register.
type Node struct {
	o       Options
	self    identity
	log     *slog.Logger
	metrics *metrics

	peers    *Peers
	gossip   *gossip
	pool     *linkPool
	handlers [256]Handler
	serving  *gate
	pledges  *pledges
	refused  atomic.Pointer[error]

	meta       atomic.Pointer[raftmeta.Node]
	broker     brokerState
	controller controller
	joining    chan struct{} // holds a token while this node, as the leader, lets a server in

	life    context.Context // ends when Close begins
	end     context.CancelFunc
	running sync.WaitGroup // of goroutines of Open
	closing sync.Once
}

// Open listens on the peer port and for gossip, and looks for the others. It fails when one of them runs
// under the same node id on another directory, or belongs to another cluster; if nobody answers at once the
// search goes on, and Form fails instead.
func Open(o Options) (*Node, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		o: o, self: identity{o.NodeID, o.DirectoryID}, log: o.Logger, metrics: newMetrics(o.Registerer),
		serving: newGate(maxServing), joining: make(chan struct{}, 1),
	}
	n.broker.init()
	n.controller.init(n)
	var err error
	if n.pledges, err = openPledges(&o); err != nil {
		return nil, err
	}
	n.life, n.end = context.WithCancel(context.Background())
	n.peers = newPeers(o.PeerListener, o.PeerAdvertise, o.TLS, o.Logger, n.self, n.find)
	if o.Dial != nil {
		n.peers.connect = o.Dial
	}
	n.peers.SetClusterID(o.ClusterID)
	n.pool = newLinkPool(n.peers)
	if err := n.openGossip(); err != nil {
		n.end()
		return nil, errors.Join(err, n.peers.Close())
	}
	n.handlers[methodNone] = func(context.Context, []byte) ([]byte, error) { return nil, nil }
	n.handlers[MethodPropose] = n.servePropose
	n.handlers[MethodAddServer] = n.serveAddServer
	n.handlers[MethodPledge] = n.servePledge
	n.handlers[MethodOutcome] = n.serveOutcome
	n.handlers[MethodHealth] = n.serveHealth
	if err := n.lookAround(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) openGossip() error {
	self := member{
		identity: n.self, run: uint64(time.Now().UnixNano()), clusterID: n.o.ClusterID,
		peerAddress: n.peers.Address(), expect: n.o.BootstrapExpect,
	}
	switch {
	case len(self.peerAddress) > maxAddress:
		return fmt.Errorf("a peer address of %d bytes: want at most %d", len(self.peerAddress), maxAddress)
	case !n.o.ClusterID.IsZero() && n.o.HasState:
		self.standing = standingFormed
	case n.pledges.given != nil:
		self.standing = standingPledged
	}
	var err error
	n.gossip, err = openGossip(&n.o, self, n.metrics)
	return err
}

// lookAround starts the search for the others, and waits for a moment whether anybody objects.
func (n *Node) lookAround() error {
	first := make(chan error, 1)
	n.running.Go(func() { n.keepJoined(n.life, first) })
	timer := time.NewTimer(firstJoin)
	defer timer.Stop()
	select {
	case <-first:
	case <-timer.C:
	}
	return n.refusal()
}

// find is where a node is, by gossip; the peer port asks.
func (n *Node) find(id identity) (string, bool) {
	if n.gossip == nil {
		return "", false
	}
	return n.gossip.find(id)
}

// Peers is the peer port.
func (n *Node) Peers() *Peers { return n.peers }

// GossipAddress is where others send gossip to.
func (n *Node) GossipAddress() string { return n.gossip.address() }

// ServerID is this node's Raft identity.
func (n *Node) ServerID() string { return n.self.String() }

// ClusterID is the cluster that this node belongs to, zero before Form found one.
func (n *Node) ClusterID() uuid.ID { return *n.peers.clusterID.Load() }

// Attach hands over the metadata node, once, before Join and Run.
func (n *Node) Attach(meta *raftmeta.Node) { n.meta.Store(meta) }

func (n *Node) metadata() *raftmeta.Node { return n.meta.Load() }

// Forward is raftmeta.Options.Forward: it has the leader commit an entry of commands.
func (n *Node) Forward(ctx context.Context, leader raftmeta.Server, entry []byte) (uint64, error) {
	answer, err := n.Call(ctx, n.addressOf(leader), MethodPropose, entry)
	switch {
	case errors.Is(err, ErrNotSent), errors.Is(err, ErrBusy):
		return 0, fmt.Errorf("%w: %w", raftmeta.ErrNotLeader, err) // for sure not proposed: try again, elsewhere perhaps
	case err != nil:
		return 0, err
	}
	index, rest, ok := readUint64(answer)
	if !ok || len(rest) > 0 {
		return 0, fmt.Errorf("the leader answered an entry with %d bytes", len(answer))
	}
	return index, nil
}

// addressOf is where a server of the Raft group is now: where gossip heard of it, for its committed address
// may be that of an earlier run.
func (n *Node) addressOf(s raftmeta.Server) string {
	if id, err := parseServerID(s.ID); err == nil {
		if address, ok := n.find(id); ok {
			return address
		}
	}
	return s.Address
}

// PeerAddress is the peer port of a broker: as it registered, else as the Raft group knows it.
func (n *Node) PeerAddress(broker int32) (address string, ok bool) {
	meta := n.metadata()
	if meta == nil {
		return "", false
	}
	if b, ok := meta.Image().Broker(broker); ok && b.PeerAddress != "" {
		return b.PeerAddress, true
	}
	members, err := meta.Members()
	if err != nil {
		return "", false
	}
	for _, m := range members {
		if brokerOf(m.ID) == broker {
			address = n.addressOf(m.Server) // of several the last: it was added last
		}
	}
	return address, address != ""
}

// Controller is the broker id of the Raft leader, -1 if it is not known.
func (n *Node) Controller() int32 {
	meta := n.metadata()
	if meta == nil {
		return -1
	}
	leader, ok := meta.Leader()
	if !ok {
		return -1
	}
	return brokerOf(leader.ID)
}

// Isolated tells whether this node has had no contact with a Raft leader for IsolationGrace. It then must
// not serve what it leads any more (replication.md 5.5).
func (n *Node) Isolated() bool { return n.outOfTouchFor(n.o.IsolationGrace) }

// OutOfTouch tells whether this node has had no contact with a Raft leader for a whole session: the others have
// fenced it by now, most likely, and lead what it led.
func (n *Node) OutOfTouch() bool { return n.outOfTouchFor(n.o.SessionTimeout) }

// outOfTouchFor asks Raft before it says so: heartbeats notice a contact up to a session late when they still wait for a
// controller that has died, and a new leader would be taken for one that is cut off.
func (n *Node) outOfTouchFor(limit time.Duration) bool {
	if n.broker.contact.Load() == nil {
		return false // not started: nothing is served yet
	}
	silent := func() bool { return n.o.Now().Sub(*n.broker.contact.Load()) > limit }
	if !silent() {
		return false
	}
	n.watchContact(n.metadata())
	return silent()
}

// Run does the node's work until ctx ends: it sends heartbeats, and is the controller while this server
// leads the Raft group. When it returns, all that has stopped.
func (n *Node) Run(ctx context.Context) error {
	if n.metadata() == nil {
		return errors.New("cluster: Run before Attach")
	}
	n.touch()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.beat(ctx) })
	group.Go(func() error { return n.controller.watch(ctx) })
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// whileOpen ends a context with the node.
func (n *Node) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// Close ends the node: gossip, the peer port, and every call. It does not say goodbye; see Leave.
func (n *Node) Close() error {
	var err error
	n.closing.Do(func() {
		n.end()
		n.pool.close()
		n.serving.close()
		n.running.Wait()
		err = errors.Join(n.gossip.close(), n.peers.Close())
		if errors.Is(err, net.ErrClosed) {
			err = nil
		}
	})
	return err
}
