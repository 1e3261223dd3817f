package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/cluster"
	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/deadline"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// Options configures a node. Validate reports what is wrong with it.
type Options struct {
	// DataDir holds everything durable. One process at a time may use it.
	DataDir string
	// NodeID is the Kafka broker id, at least 1. 0 takes the id that DataDir remembers, or 1 in a new one.
	NodeID int32
	// Kafka and HTTP are the listeners for clients, Peer that for other nodes; the node closes them. HTTP
	// may be nil.
	Kafka, Peer, HTTP net.Listener
	// AdvertiseHost and AdvertisePort are where clients are told to connect. Empty and 0 mean the
	// address of Kafka.
	AdvertiseHost string
	AdvertisePort int
	// PeerAdvertise is where other nodes connect, host:port. Empty means the address of Peer.
	PeerAdvertise string
	// Gossip is the address that discovery listens on, TCP and UDP; port 0 picks a free one. Empty means
	// 127.0.0.1:0. GossipAdvertise is where other nodes find it, by default there.
	Gossip, GossipAdvertise string
	// GossipKey encrypts discovery: 16, 24 or 32 bytes, or none.
	GossipKey []byte
	// PeerTLS secures the peer port in both directions; nil is plain TCP.
	PeerTLS *tls.Config
	// Join lists gossip addresses of members, any of which leads to the cluster.
	Join []string
	// BootstrapExpect is how many new nodes must have met before they form a cluster. Default 1.
	BootstrapExpect int
	// Rack is this node's failure domain.
	Rack string
	// Config holds Kafka broker configs by their Kafka names (--set).
	Config map[string]string

	// FS holds the logs. Default the operating system.
	FS vfs.FS
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger defaults to none.
	Logger *slog.Logger
	// Registry gets the node's metrics, and is what /metrics serves. Default a new one.
	Registry *prometheus.Registry

	// What follows is for tests.
	strictWire bool                                                                 // see wire.Options.Strict
	dial       func(ctx context.Context, network, address string) (net.Conn, error) // see cluster.Options
	gossip     cluster.GossipTransport                                              // see cluster.Options
	bootID     string                                                               // default the kernel's
}

const (
	// defaultWait bounds a request that waits for a commit and carries no timeout of its own.
	defaultWait = 30 * time.Second
	// stopWait bounds each step of a stop.
	stopWait = 10 * time.Second
	// maxPeerSessions is how many brokers can fetch from here in sessions of their own.
	maxPeerSessions = 1000
)

// Broker is one node. Run starts it, serves, and stops it.
type Broker struct {
	options    Options
	logger     *slog.Logger
	now        func() time.Time
	nodeID     int32
	logDirPath string
	static     map[string]string // see staticConfig

	cluster      *cluster.Node
	meta         *raftmeta.Node // see metaOpen
	metaOpen     chan struct{}  // closed once meta and the config are there, for the peers that ask before
	logs         *log.Dir
	replicas     replicaSet
	reconciler   *reconciler
	fetchers     *fetchers
	vitals       *vitals // of the other brokers
	catchUp      pace    // of the replicas here that are outside the ISR
	isr          *isrKeeper
	groups       *groups.Coordinator
	groupShards  *groupShards
	sessions     *fetchSessions
	peerSessions *fetchSessions
	producerIDs  *producerIDs
	polls        *deadline.Queue // of parked fetches
	deadlines    *deadline.Queue // of everything else that waits
	registry     *wire.Registry
	server       *wire.Server
	peerServer   *wire.Server
	metrics      *metrics

	settings    atomic.Pointer[config.BrokerConfig]
	brokerEpoch atomic.Int64 // of this run's registration, 0 before
	founder     bool         // this node forms the cluster in this run
	endWaiting  func()       // set by startServices
	ready       atomic.Bool

	spawnMu  sync.Mutex     // guards stopping
	stopping bool           // no new goroutines
	spawned  sync.WaitGroup // the short-lived goroutines of requests
}

// Run brings a node up, calls ready with it, serves until ctx ends, and stops in order. It returns nil
// after a clean stop: then the next start finds everything synced and scans nothing.
func Run(ctx context.Context, o Options, ready func(*Broker)) error {
	b, err := newBroker(o)
	if err != nil {
		return err
	}
	return b.run(ctx, ready)
}

func newBroker(o Options) (*Broker, error) {
	if o.Kafka == nil || o.Peer == nil || o.DataDir == "" {
		return nil, errors.New("a node needs a data directory, a Kafka listener and a peer listener")
	}
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.bootID == "" {
		o.bootID = kernelBootID()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if err := config.Broker.ValidateStatic(o.Config); err != nil {
		return nil, fmt.Errorf("broker config: %w", err)
	}
	b := &Broker{
		options: o, logger: o.Logger, now: o.Now,
		logDirPath: filepath.Join(o.DataDir, "log"),
		replicas:   replicaSet{byKey: map[partitionKey]*hosted{}, failed: map[partitionKey]error{}},
		metaOpen:   make(chan struct{}),
		polls:      deadline.New(),
		deadlines:  deadline.New(),
	}
	b.sessions = newFetchSessions(b.now, func() int { return b.config().FetchSessionSlots })
	b.peerSessions = newFetchSessions(b.now, func() int { return maxPeerSessions })
	b.isr = newISRKeeper(b)
	b.fetchers = newFetchers(b)
	b.vitals = newVitals(b)
	b.producerIDs = newProducerIDs(b.reserveProducerIDs)
	b.metrics = newMetrics(o.Registry, b)
	registry, err := wire.NewRegistry(b.APIs())
	b.registry = registry
	return b, err
}

// startServices starts what runs beside the requests. The group ends when background does.
func (b *Broker) startServices(background context.Context) (*errgroup.Group, error) {
	coordinator, err := groups.New(groups.Options{
		Store: groupStore{b.meta}, TopicName: b.topicName, Config: b.groupConfig, Leased: b.cluster.Leased,
		Now: b.now, Logger: b.logger, Registerer: b.options.Registry,
	})
	if err != nil {
		return nil, err
	}
	b.groups = coordinator
	// Shutting the server down waits for every answer that is owed, so those who merely wait, members for
	// their group and fetches for news, are answered first.
	groupsContext, stopGroups := context.WithCancel(background)
	b.endWaiting = func() {
		stopGroups()
		b.polls.Expire()
	}
	b.fetchers.begin(background)
	b.vitals.begin(groupsContext)
	b.reconciler = newReconciler(b)
	b.groupShards = newGroupShards(b)
	work := new(errgroup.Group)
	work.Go(func() error { return b.cluster.Run(background) })
	work.Go(func() error { return b.isr.run(background) })
	work.Go(func() error { return b.watchDisk(background) })
	work.Go(func() error { return b.watchTouch(background) })
	work.Go(func() error {
		<-background.Done()
		b.fetchers.wait()
		return nil
	})
	work.Go(func() error { return b.deadlines.Run(background) })
	work.Go(func() error { return b.logs.Run(background) })
	work.Go(func() error { return b.polls.Run(background) })
	work.Go(func() error { return b.groups.Run(groupsContext) })
	work.Go(func() error { return b.reconciler.run(background) })
	work.Go(func() error { return b.groupShards.run(background) })
	return work, nil
}

func (b *Broker) topicName(tenant string, id uuid.ID) (string, bool) {
	t, ok := b.meta.Image().TopicByID(id)
	if !ok || t.Tenant != tenant {
		return "", false
	}
	return t.Name, true
}

// startHTTP serves health and metrics from the first moment on, so that an orchestrator can tell a node
// that is recovering from one that hangs. The returned function ends it.
func (b *Broker) startHTTP() (stop func() error) {
	if b.options.HTTP == nil {
		return func() error { return nil }
	}
	web := &http.Server{
		Handler: b.httpHandler(), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
	}
	done := make(chan error, 1)
	go func() { done <- web.Serve(b.options.HTTP) }()
	return func() error {
		bounded, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		err := web.Shutdown(bounded)
		if e := <-done; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}
}

// orForever reads Kafka's -1. Ten years leave room to add a deadline to.
func orForever(d time.Duration) time.Duration {
	if d < 0 {
		return 10 * 365 * 24 * time.Hour
	}
	return d
}

// spawn runs work on a goroutine that the node waits for before it stops. After that point work is not
// run: what it would have answered has no connection any more.
func (b *Broker) spawn(work func()) {
	b.spawnMu.Lock()
	defer b.spawnMu.Unlock()
	if b.stopping {
		return
	}
	b.spawned.Go(work)
}

// settleRequests ends what requests have left behind, so that the packages below may close.
func (b *Broker) settleRequests() {
	b.spawnMu.Lock()
	b.stopping = true
	b.spawnMu.Unlock()
	for _, h := range b.replicas.all() {
		h.replica.Close()
	}
	b.spawned.Wait()
	b.vitals.close()
}

// bounded is the context of a request that waits for something: it ends with the connection, after
// timeoutMillis if that is positive, and after defaultWait in any case.
func (b *Broker) bounded(r *wire.Request, timeoutMillis int32) (context.Context, context.CancelFunc) {
	wait := defaultWait
	if timeoutMillis > 0 {
		wait = min(wait, time.Duration(timeoutMillis)*time.Millisecond)
	}
	return context.WithTimeout(r.Context(), wait)
}

// NodeID is the broker id.
func (b *Broker) NodeID() int32 { return b.nodeID }

// GossipAddress is where discovery listens.
func (b *Broker) GossipAddress() string { return b.cluster.GossipAddress() }
