package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// gossip tells nodes of each other, and no more: it fences, elects and removes nobody (replication.md 4.9).
// memberlist calls its Notify methods under its own lock, so they only write down what they heard.
type gossip struct {
	list    *memberlist.Memberlist
	telling sync.Mutex // held while memberlist takes over what this node says: it stands no two at once
	logger  *slog.Logger
	metrics *metrics

	mu       sync.Mutex // guards the fields below
	self     member
	runs     map[string]member // of others, that are alive; by name
	lost     map[int32]string  // gossip addresses of nodes that went silent, to be looked for again
	taken    *member           // somebody else who runs under this node's id
	foreign  *member           // somebody of another cluster, among those that were to be joined
	stale    map[uuid.ID]bool  // directories that others believe alive under this node's id, and are not
	shunned  map[identity]bool // have been reported in the log
	news     chan struct{}     // closed when members change
	departed bool
}

// maxLost bounds lost, stale and shunned, which only a crowd of strangers could fill.
const maxLost = 256

// What keeps a node out of the gossip.
var (
	// ErrNodeIDTaken means that another process runs under the same node id.
	ErrNodeIDTaken = errors.New("another node runs under this node id")
	errGossipMeta  = errors.New("not a node of ours")
	errEarlierRun  = errors.New("an earlier run of this node")
)

// openGossip listens, alone until join.
func openGossip(o *Options, self member, m *metrics) (*gossip, error) {
	g := &gossip{
		logger: o.Logger, metrics: m, self: self, runs: map[string]member{}, lost: map[int32]string{},
		stale: map[uuid.ID]bool{}, shunned: map[identity]bool{}, news: make(chan struct{}),
	}
	logger := newGossipLogger(o.Logger)
	host, port, err := splitHostPort(o.GossipListen)
	if err != nil {
		return nil, fmt.Errorf("gossip address %q: %w", o.GossipListen, err)
	}
	transport := o.GossipTransport
	if transport == nil {
		bound, err := openGossipTransport(host, port, logger)
		if err != nil {
			return nil, err
		}
		transport, port = bound, bound.GetAutoBindPort()
	}
	config := memberlist.DefaultLANConfig()
	config.Name = self.name()
	config.Transport = transport
	config.BindAddr, config.BindPort = host, port
	config.AdvertiseAddr, config.AdvertisePort, err = advertiseGossip(o.GossipAdvertise, config.BindPort)
	if err != nil {
		return nil, errors.Join(err, transport.Shutdown())
	}
	config.SecretKey = o.GossipKey
	config.Logger = logger
	config.Delegate, config.Events, config.Merge, config.Alive = g, g, g, g
	// A handful of nodes on one network: look often, and tell everybody at once.
	config.ProbeInterval, config.ProbeTimeout = 500*time.Millisecond, 300*time.Millisecond
	config.SuspicionMaxTimeoutMult = 2
	config.GossipInterval, config.GossipNodes = 100*time.Millisecond, 4
	config.PushPullInterval = 10 * time.Second
	config.TCPTimeout = 2 * time.Second
	g.list, err = memberlist.Create(config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start gossip: %w", err), transport.Shutdown())
	}
	return g, nil
}

// advertiseGossip resolves an advertised address, which memberlist wants as an IP. Port 0, or no address,
// stands for what is listened on.
func advertiseGossip(address string, bound int) (string, int, error) {
	if address == "" {
		return "", bound, nil
	}
	host, port, err := splitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q: %w", address, err)
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q: %w", address, err)
	}
	if port == 0 {
		port = bound
	}
	return ip.String(), port, nil
}

// address is where others send to.
func (g *gossip) address() string { return g.list.LocalNode().Address() }

// view is who is known to be alive, by node id, this node left out. news is closed when that changes.
func (g *gossip) view() (members []member, news <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Values(g.latestLocked()), func(a, b member) int { return a.compare(b.identity) }), g.news
}

// latestLocked has the last run of each node.
func (g *gossip) latestLocked() map[int32]member {
	latest := map[int32]member{}
	for _, m := range g.runs {
		if known, ok := latest[m.node]; !ok || known.run < m.run {
			latest[m.node] = m
		}
	}
	return latest
}

// find is where a node was last heard of.
func (g *gossip) find(id identity) (address string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.latestLocked()[id.node]
	return m.peerAddress, ok && m.directory == id.directory
}

// tell changes what this node says of itself.
func (g *gossip) tell(change func(*member)) {
	g.mu.Lock()
	old := g.self
	change(&g.self)
	changed := old != g.self && !g.departed
	g.mu.Unlock()
	if changed {
		g.telling.Lock()
		defer g.telling.Unlock()
		if err := g.list.UpdateNode(time.Second); err != nil {
			g.logger.Debug("gossip was slow to spread this node's news", "err", err)
		}
	}
}

// leave says goodbye, so that nobody wonders. It may be called more than once.
func (g *gossip) leave(timeout time.Duration) error {
	g.mu.Lock()
	again := g.departed
	g.departed = true
	g.mu.Unlock()
	if again {
		return nil
	}
	return g.list.Leave(timeout)
}

func (g *gossip) close() error {
	return g.list.Shutdown() // the transport with it
}

func (g *gossip) changedLocked() {
	close(g.news)
	g.news = make(chan struct{})
	g.metrics.members.Set(float64(len(g.latestLocked()) + 1))
}

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.self.append(nil)
}

// NotifyAlive implements memberlist.AliveDelegate: it keeps strangers out of the members. The cluster id
// decides, and for this node's own id the directory.
func (g *gossip) NotifyAlive(node *memberlist.Node) error {
	m, err := memberOf(node)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case m.identity == g.self.identity && m.run != g.self.run:
		return errEarlierRun
	case m.node == g.self.node && m.directory != g.self.directory:
		g.shunLocked(m, "another node runs under this node's id, and is ignored")
		return ErrNodeIDTaken
	case !g.self.mayMeet(m):
		g.shunLocked(m, "a node of another cluster is ignored")
		return ErrOtherCluster
	}
	return nil
}

func (m *member) mayMeet(other member) bool {
	return m.clusterID.IsZero() || other.clusterID.IsZero() || m.clusterID == other.clusterID
}

// shunLocked reports a stranger once.
func (g *gossip) shunLocked(m member, what string) {
	if g.shunned[m.identity] || len(g.shunned) >= maxLost || g.stale[m.directory] {
		return
	}
	g.shunned[m.identity] = true
	g.logger.Warn(what, "node", m.node, "directory", m.directory, "cluster", m.clusterID, "peer", m.peerAddress)
}

// memberOf reads what a run says of itself, which its name must agree with.
func memberOf(node *memberlist.Node) (member, error) {
	m, err := readMember(node.Meta)
	if err != nil {
		return member{}, err
	}
	if node.Name != m.name() {
		return member{}, errGossipMeta
	}
	return m, nil
}

// NotifyMerge implements memberlist.MergeDelegate: it is asked on both sides when a node joins, and hears
// the newcomer about the members or the members about the newcomer. Whoever is told no stays outside.
func (g *gossip) NotifyMerge(nodes []*memberlist.Node) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, node := range nodes {
		m, err := memberOf(node)
		if err != nil || node.State != memberlist.StateAlive {
			continue
		}
		switch {
		case m.node == g.self.node && m.directory != g.self.directory && !g.stale[m.directory]:
			g.taken = &m
			return ErrNodeIDTaken
		case !g.self.mayMeet(m):
			g.foreign = &m
			return ErrOtherCluster
		}
	}
	return nil
}

// NotifyJoin implements memberlist.EventDelegate.
func (g *gossip) NotifyJoin(node *memberlist.Node) { g.heard(node, "node joined") }

// NotifyUpdate implements memberlist.EventDelegate.
func (g *gossip) NotifyUpdate(node *memberlist.Node) { g.heard(node, "") }

func (g *gossip) heard(node *memberlist.Node, what string) {
	m, err := memberOf(node)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil || m.node == g.self.node {
		return
	}
	if what != "" {
		g.logger.Info(what, "node", m.node, "directory", m.directory, "peer", m.peerAddress, "gossip", node.Address())
	}
	for _, other := range g.runs {
		if other.node == m.node && other.directory != m.directory {
			g.shunLocked(m, "a node is back on another directory, or two run under one id")
		}
	}
	g.runs[node.Name] = m
	delete(g.lost, m.node) // it may be back elsewhere
	g.changedLocked()
}

// NotifyLeave implements memberlist.EventDelegate: a run said goodbye, or went silent.
func (g *gossip) NotifyLeave(node *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, known := g.runs[node.Name]
	if !known {
		return
	}
	delete(g.runs, node.Name)
	latest, back := g.latestLocked()[m.node]
	if back && latest.run > m.run {
		return // its node has long been running again
	}
	left := node.State == memberlist.StateLeft
	g.logger.Info("node is gone from gossip", "node", m.node, "directory", m.directory, "peer", m.peerAddress, "left", left)
	if !left && len(g.lost) < maxLost {
		g.lost[m.node] = node.Address()
	}
	g.changedLocked()
}

// NotifyMsg implements memberlist.Delegate; nodes send each other no messages this way.
func (g *gossip) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (g *gossip) MergeRemoteState([]byte, bool) {}
