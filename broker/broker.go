package broker

import (
	"context"
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
	// Kafka and HTTP are the listeners for clients; the node closes them. HTTP may be nil.
	Kafka, HTTP net.Listener
	// AdvertiseHost and AdvertisePort are where clients are told to connect. Empty and 0 mean the
	// address of Kafka.
	AdvertiseHost string
	AdvertisePort int
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

	strictWire bool // see wire.Options.Strict; for tests
}

const (
	// defaultWait bounds a request that waits for a commit and carries no timeout of its own.
	defaultWait = 30 * time.Second
	// stopWait bounds each step of a stop.
	stopWait = 10 * time.Second
)

// Broker is one node. Run starts it, serves, and stops it.
type Broker struct {
	options    Options
	logger     *slog.Logger
	now        func() time.Time
	nodeID     int32
	logDirPath string
	static     map[string]string // see staticConfig

	meta        *raftmeta.Node
	logs        *log.Dir
	replicas    replicaSet
	reconciler  *reconciler
	groups      *groups.Coordinator
	sessions    *fetchSessions
	producerIDs *producerIDs
	polls       *deadline.Queue // of parked fetches
	deadlines   *deadline.Queue // of everything else that waits
	registry    *wire.Registry
	server      *wire.Server
	metrics     *metrics

	settings    atomic.Pointer[config.BrokerConfig]
	brokerEpoch atomic.Int64
	endWaiting  func() // set by startServices
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
	if o.Kafka == nil || o.DataDir == "" {
		return nil, errors.New("a node needs a data directory and a Kafka listener")
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
		polls:      deadline.New(),
		deadlines:  deadline.New(),
	}
	b.sessions = newFetchSessions(b.now, func() int { return b.config().FetchSessionSlots })
	b.producerIDs = newProducerIDs(b.reserveProducerIDs)
	b.metrics = newMetrics(o.Registry, b)
	registry, err := wire.NewRegistry(b.APIs())
	b.registry = registry
	return b, err
}

// run holds everything that is open while the node lives; each thing is closed by a defer beside its
// opening, so that a start which fails half-way leaves nothing behind.
func (b *Broker) run(ctx context.Context, ready func(*Broker)) (err error) {
	started := b.now()
	if err := makeDurable(b.options.FS, b.options.DataDir, b.logDirPath); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	lock, err := b.options.FS.Lock(filepath.Join(b.options.DataDir, ".lock"))
	if err != nil {
		return fmt.Errorf("data directory %s: %w: is another node running on it?", b.options.DataDir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	identity, err := loadIdentity(b.options.FS, b.options.DataDir, b.options.NodeID)
	if err != nil {
		return err
	}
	b.nodeID = identity.nodeID
	b.static = b.staticConfig()
	stopHTTP := b.startHTTP()
	defer func() { err = errors.Join(err, stopHTTP()) }()

	b.logs, err = log.OpenDir(b.dirOptions())
	if err != nil {
		return fmt.Errorf("open logs: %w", err)
	}
	defer func() { err = errors.Join(err, b.logs.Close()) }()

	if err := b.openMeta(identity); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.meta.Close()) }()

	// What runs beside the requests has this context; it ends after they did.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := b.joinCluster(ctx, &identity); err != nil {
		return err
	}
	work, err := b.startServices(background)
	if err != nil {
		return err
	}
	if err := b.activate(ctx); err != nil {
		stop()
		return errors.Join(err, work.Wait())
	}
	b.logger.Info("node is ready", "node", b.nodeID, "cluster", identity.clusterID, "partitions", len(b.replicas.all()), "start", b.now().Sub(started))
	b.ready.Store(true)
	if ready != nil {
		ready(b)
	}
	err = b.serve(ctx)
	b.ready.Store(false)
	b.settleRequests()
	stop()
	return errors.Join(err, work.Wait())
}

// makeDurable creates the data directory with the log directory in it, and makes their names durable: a
// loss of power right after the first start must not take the directory with it.
func makeDurable(fsys vfs.FS, dataDir, logDir string) error {
	if err := fsys.MkdirAll(logDir); err != nil {
		return err
	}
	return errors.Join(fsys.SyncDir(filepath.Dir(filepath.Clean(dataDir))), fsys.SyncDir(dataDir))
}

// openMeta opens the metadata log and waits until this node, alone in its group, leads it.
func (b *Broker) openMeta(identity identity) error {
	server := fmt.Sprintf("%d-%s", b.nodeID, identity.directoryID)
	meta, err := raftmeta.Open(raftmeta.Options{
		Dir: filepath.Join(b.options.DataDir, "raft"), ServerID: server, Bootstrap: []raftmeta.Server{{ID: server}},
		Logger: b.logger, Registerer: b.options.Registry,
	})
	if err != nil {
		return fmt.Errorf("open metadata log: %w", err)
	}
	b.meta = meta
	return nil
}

// joinCluster names the cluster if it has no name, and registers this run of the broker.
func (b *Broker) joinCluster(ctx context.Context, identity *identity) error {
	ctx, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	if err := b.meta.Ready(ctx); err != nil {
		return fmt.Errorf("catch up with the metadata log: %w", err)
	}
	if err := b.nameCluster(ctx, identity); err != nil {
		return err
	}
	b.reloadConfig()
	incarnation, err := uuid.New(nil)
	if err != nil {
		return err
	}
	host, port := b.advertised()
	registered, err := b.meta.Propose(ctx, &raftmeta.RegisterBroker{
		ID: b.nodeID, Incarnation: incarnation, StorageIDs: []uuid.ID{identity.directoryID},
		KafkaHost: host, KafkaPort: port, Rack: b.options.Rack,
	})
	if err != nil {
		return fmt.Errorf("register broker: %w", err)
	}
	b.brokerEpoch.Store(registered.BrokerEpoch)
	return nil
}

func (b *Broker) nameCluster(ctx context.Context, identity *identity) error {
	committed := b.meta.Image().ClusterID()
	switch {
	case committed.IsZero():
		id, err := uuid.New(nil)
		if err != nil {
			return err
		}
		if _, err := b.meta.Propose(ctx, &raftmeta.InitCluster{ClusterID: id}); err != nil {
			return fmt.Errorf("name the cluster: %w", err)
		}
		committed = id
	case !identity.clusterID.IsZero() && identity.clusterID != committed:
		return fmt.Errorf("data directory belongs to cluster %s, its metadata log to %s: it was put together from two", identity.clusterID, committed)
	}
	if identity.clusterID == committed {
		return nil
	}
	identity.clusterID = committed
	return identity.save(b.options.FS, b.options.DataDir)
}

// advertised is where clients are told to connect.
func (b *Broker) advertised() (host string, port int32) {
	host, port = b.options.AdvertiseHost, int32(b.options.AdvertisePort)
	if addr, ok := b.options.Kafka.Addr().(*net.TCPAddr); ok {
		if host == "" {
			host = addr.IP.String()
		}
		if port == 0 {
			port = int32(addr.Port)
		}
	}
	return host, port
}

// startServices starts what runs beside the requests. The group ends when background does.
func (b *Broker) startServices(background context.Context) (*errgroup.Group, error) {
	coordinator, err := groups.New(groups.Options{
		Store: groupStore{b.meta}, TopicName: b.topicName, Config: b.groupConfig,
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
	b.reconciler = newReconciler(b)
	work := new(errgroup.Group)
	work.Go(func() error { return b.deadlines.Run(background) })
	work.Go(func() error { return b.logs.Run(background) })
	work.Go(func() error { return b.polls.Run(background) })
	work.Go(func() error { return b.groups.Run(groupsContext) })
	work.Go(func() error { return b.reconciler.run(background) })
	return work, nil
}

func (b *Broker) topicName(tenant string, id uuid.ID) (string, bool) {
	t, ok := b.meta.Image().TopicByID(id)
	if !ok || t.Tenant != tenant {
		return "", false
	}
	return t.Name, true
}

// activate loads every committed partition, then lets this broker lead them.
func (b *Broker) activate(ctx context.Context) error {
	b.reconciler.catchUp()
	bounded, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	if _, err := b.meta.Propose(bounded, &raftmeta.ActivateBroker{ID: b.nodeID, Epoch: b.brokerEpoch.Load()}); err != nil {
		return fmt.Errorf("activate broker: %w", err)
	}
	b.reconciler.catchUp()
	return nil
}

// serve answers clients until ctx ends or a listener fails, then stops in order: no new requests, the
// owed answers, the connections.
func (b *Broker) serve(ctx context.Context) error {
	limits := b.config()
	b.server = wire.NewServer(wire.Options{
		Registry: b.registry, Logger: b.logger, Registerer: b.options.Registry,
		MaxConnections: limits.MaxConnections, MaxConnectionsPerIP: limits.MaxConnectionsPerIP,
		MaxRequestBytes: limits.SocketRequestMaxBytes, IdleTimeout: orForever(limits.ConnectionsMaxIdle), Strict: b.options.strictWire,
	})
	failed := make(chan error, 1)
	go func() { failed <- b.server.Serve(ctx, b.options.Kafka) }()
	var err error
	select {
	case <-ctx.Done():
		b.logger.Info("stopping")
		err = <-failed
	case err = <-failed:
	}
	if err != nil {
		err = fmt.Errorf("the Kafka listener failed: %w", err)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	b.ready.Store(false)
	b.endWaiting()
	return errors.Join(err, b.server.Shutdown(bounded))
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
