package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	"github.com/chronik-stream/chronik/cluster"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

const (
	// formPatience is how often a node that waits for others says so.
	formPatience = 10 * time.Second
	// leaveWait bounds how long a stop waits for leaders to move away (replication.md 5.6).
	leaveWait = 10 * time.Second
	// leaderless is how long a stopping node waits for a new controller: two elections.
	leaderless = 2 * time.Second
	// diskCheck is how often the data directory is asked whether it has failed.
	diskCheck = 500 * time.Millisecond
	// touchCheck is how often a node looks whether it is still in touch with the controller.
	touchCheck = 50 * time.Millisecond
	// diskPatience is how long a sync may take before this node asks to be fenced (replication.md 5.4).
	diskPatience = 10 * time.Second
)

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
	identity, err := loadIdentity(b.options.FS, b.options.DataDir, b.wantedID())
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

	stopPeers, err := b.openCluster(&identity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPeers()) }()
	if err := b.openMeta(ctx, &identity); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.meta.Close()) }()

	// What runs beside the requests has this context; it ends after they did.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	work, err := b.startServices(background)
	if err != nil {
		return err
	}
	if err := b.joinCluster(ctx, &identity); err != nil {
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

// makeDurable creates the data directory with the log directory in it, and makes their names durable, and
// those of the directories above that were missing too: a loss of power right after the first start must not
// take the directory with it, for without its identity the node would be another one.
func makeDurable(fsys vfs.FS, dataDir, logDir string) error {
	above := filepath.Dir(filepath.Clean(dataDir))
	changed := []string{dataDir, above}
	for ; missing(fsys, above); above = filepath.Dir(above) {
		changed = append(changed, filepath.Dir(above))
	}
	if err := fsys.MkdirAll(logDir); err != nil {
		return err
	}
	for _, d := range changed {
		if err := fsys.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

func missing(fsys vfs.FS, name string) bool {
	_, err := fsys.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// wantedID is the node id that was asked for. Nodes of a cluster that were given none draw one: two that
// both took the first would refuse each other.
func (b *Broker) wantedID() int32 {
	alone := len(b.options.Join) == 0 && b.options.BootstrapExpect <= 1
	if b.options.NodeID != 0 || alone || hasIdentity(b.options.FS, b.options.DataDir) {
		return b.options.NodeID
	}
	return firstDrawnID + rand.Int32N(drawnIDs)
}

// Node ids that are drawn lie above those that people give.
const (
	firstDrawnID = 1_000
	drawnIDs     = 1_000_000
)

// openCluster opens the peer port and discovery. The returned function closes both.
func (b *Broker) openCluster(identity *identity) (stop func() error, _ error) {
	hasState, err := raftmeta.HasState(b.raftDir())
	if err != nil {
		return nil, err
	}
	fixed := config.ResolveBroker(config.Layers{Static: b.static}).Broker()
	b.cluster, err = cluster.Open(cluster.Options{
		NodeID: b.nodeID, DirectoryID: identity.directoryID, ClusterID: identity.clusterID, HasState: hasState,
		DataDir: b.options.DataDir, FS: b.options.FS,
		PeerListener: b.options.Peer, PeerAdvertise: b.options.PeerAdvertise,
		GossipListen: b.gossipListen(), GossipAdvertise: b.options.GossipAdvertise, GossipKey: b.options.GossipKey,
		Dial: b.options.dial, GossipTransport: b.options.gossip,
		TLS: b.options.PeerTLS, Join: b.options.Join, BootstrapExpect: max(b.options.BootstrapExpect, 1),
		BalanceInterval: fixed.LeaderRebalanceInterval, KeepLeaders: !fixed.LeaderRebalance,
		Now: b.now, Logger: b.logger, Registerer: b.options.Registry,
	})
	if err != nil {
		return nil, fmt.Errorf("open the peer port and discovery: %w", err)
	}
	b.cluster.Register(cluster.MethodLogEnd, b.logEnd)
	registry, err := wire.NewRegistry(b.peerAPIs())
	if err != nil {
		return nil, errors.Join(err, b.cluster.Close())
	}
	b.peerServer = wire.NewServer(wire.Options{
		Registry: registry, Listener: "PEER", Logger: b.logger, Registerer: b.options.Registry, Strict: b.options.strictWire,
	})
	served := make(chan error, 1)
	go func() { served <- b.peerServer.Serve(context.Background(), b.cluster.Peers().Kafka()) }()
	return func() error {
		bounded, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		err := b.peerServer.Shutdown(bounded) // has been before, after a complete start
		return errors.Join(err, b.cluster.Close(), <-served)
	}, nil
}

func (b *Broker) gossipListen() string {
	if b.options.Gossip == "" {
		return "127.0.0.1:0"
	}
	return b.options.Gossip
}

func (b *Broker) raftDir() string { return filepath.Join(b.options.DataDir, "raft") }

// openMeta finds out which Raft group this node is of, and opens its metadata log.
func (b *Broker) openMeta(ctx context.Context, identity *identity) error {
	formed := time.AfterFunc(formPatience, func() {
		b.logger.Warn("still waiting to form or find a cluster", "expect", b.options.BootstrapExpect, "join", b.options.Join)
	})
	formation, err := b.cluster.Form(ctx)
	formed.Stop()
	if err != nil {
		return fmt.Errorf("form or find a cluster: %w", err)
	}
	b.founder = len(formation.Founders) > 0
	if !b.founder {
		if err := identity.join(formation.ClusterID, b.options.FS, b.options.DataDir); err != nil {
			return err
		}
	}
	meta, err := raftmeta.Open(raftmeta.Options{
		Dir: b.raftDir(), ServerID: cluster.ServerID(b.nodeID, identity.directoryID),
		Stream: b.cluster.Peers().Stream(), Forward: b.cluster.Forward, Bootstrap: formation.Founders,
		Logger: b.logger, Registerer: b.options.Registry,
	})
	if err != nil {
		return fmt.Errorf("open metadata log: %w", err)
	}
	b.meta = meta
	if b.founder { // only now: the id without the log says that the log was lost
		if err := identity.join(formation.ClusterID, b.options.FS, b.options.DataDir); err != nil {
			return errors.Join(err, meta.Close())
		}
	}
	b.cluster.Attach(meta)
	b.reloadConfig()
	close(b.metaOpen)
	return nil
}

// joinCluster brings this node from an open metadata log to serving: it follows the log, opens what it
// hosts, registers this run, takes its roles and is activated (replication.md 5.1 to 5.3).
func (b *Broker) joinCluster(ctx context.Context, identity *identity) error {
	if err := b.cluster.Join(ctx); err != nil {
		return fmt.Errorf("join the Raft group: %w", err)
	}
	if err := b.meta.Ready(ctx); err != nil {
		return fmt.Errorf("catch up with the metadata log: %w", err)
	}
	if err := b.nameCluster(ctx, identity); err != nil {
		return err
	}
	b.reloadConfig()
	b.reconciler.begin()
	if err := b.register(ctx, identity); err != nil {
		return err
	}
	b.meta.SetProposer(b.nodeID, b.brokerEpoch.Load())
	b.cluster.SetBroker(b.brokerEpoch.Load())
	if err := b.setFirstConfig(ctx); err != nil {
		return err
	}
	b.reconciler.everythingNow()
	b.cluster.SetLoaded()
	if err := b.awaitActive(ctx); err != nil {
		return fmt.Errorf("wait to be activated: %w", err)
	}
	b.groupShards.catchUp()
	b.reconciler.catchUp()
	return nil
}

// awaitActive waits until the controller has activated this run, which it does upon a heartbeat that finds the
// broker well. A broker that activated itself would be ahead of its heartbeats, and fenced again for what
// the last one said.
func (b *Broker) awaitActive(ctx context.Context) error {
	changes := b.meta.Subscribe()
	defer changes.Close()
	for {
		_, img, err := changes.Wait(ctx)
		if err != nil {
			return err
		}
		if self, ok := img.Broker(b.nodeID); ok && self.Epoch == b.brokerEpoch.Load() && self.State == raftmeta.Active {
			return nil
		}
	}
}

// propose is for commands of the start, which are safe to repeat: it goes on until the answer is definite.
func (b *Broker) propose(ctx context.Context, what string, cmd raftmeta.Command) error {
	_, err := b.proposeUntil(ctx, what, cmd)
	return err
}

func (b *Broker) proposeUntil(ctx context.Context, what string, cmd raftmeta.Command) (raftmeta.Result, error) {
	for {
		bounded, cancel := context.WithTimeout(ctx, defaultWait)
		result, err := b.meta.Propose(bounded, cmd)
		cancel()
		var rejected raftmeta.Rejection
		if err == nil || ctx.Err() != nil || errors.As(err, &rejected) || errors.Is(err, raftmeta.ErrClosed) {
			return result, wrap(what, err)
		}
		b.logger.Warn("the metadata log has not answered, asking again", "what", what, "err", err)
		select {
		case <-ctx.Done():
			return result, wrap(what, ctx.Err())
		case <-time.After(retryRegister):
		}
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// nameCluster makes sure that the metadata log bears the cluster's id. As its answer is applied here,
// everything that was committed before is too.
func (b *Broker) nameCluster(ctx context.Context, identity *identity) error {
	err := b.propose(ctx, "name the cluster", &raftmeta.InitCluster{ClusterID: identity.clusterID})
	if errors.Is(err, raftmeta.ErrClusterIDMismatch) {
		return fmt.Errorf("data directory belongs to cluster %s, its metadata log to %s: it was put together from two", identity.clusterID, b.meta.Image().ClusterID())
	}
	return err
}

// setFirstConfig lets a cluster of three or more begin with acks that mean two replicas (replication.md 20);
// topics with fewer replicas are not held to more than they have. It comes after the registration, so that
// what an operator changes afterwards is not undone by a proposal that was on its way for long.
func (b *Broker) setFirstConfig(ctx context.Context) error {
	if !b.founder || b.options.BootstrapExpect < 3 || b.meta.Image().Config(raftmeta.BrokerResource, "") != nil {
		return nil
	}
	minISR := b.options.Config[minInsyncReplicas]
	if minISR == "" {
		minISR = "2"
	}
	return b.propose(ctx, "set "+minInsyncReplicas, &raftmeta.SetConfig{
		Type: raftmeta.BrokerResource, Change: raftmeta.ConfigChange{Ops: []raftmeta.ConfigOp{{Kind: raftmeta.ConfigSet, Key: minInsyncReplicas, Value: minISR}}},
	})
}

const minInsyncReplicas = "min.insync.replicas"

// retryRegister is how long a registration waits that another run still stands in the way of.
const retryRegister = 200 * time.Millisecond

// register announces this run. Replicas whose log may lack what was acknowledged are named: they leave
// the eligible leaders (replication.md 14.4).
func (b *Broker) register(ctx context.Context, identity *identity) error {
	incarnation, err := uuid.New(nil)
	if err != nil {
		return err
	}
	host, port := b.advertised()
	cmd := &raftmeta.RegisterBroker{
		ID: b.nodeID, Incarnation: incarnation, StorageIDs: []uuid.ID{identity.directoryID},
		KafkaHost: host, KafkaPort: port, Rack: b.options.Rack, PeerAddress: b.cluster.Peers().Address(),
	}
	for _, h := range b.replicas.all() {
		if b.mayLack(h) {
			cmd.SuspectPartitions = append(cmd.SuspectPartitions, raftmeta.TopicPartition{TopicID: h.key.topic, Partition: h.key.number})
		}
	}
	for _, key := range b.replicas.unserved() {
		cmd.SuspectPartitions = append(cmd.SuspectPartitions, raftmeta.TopicPartition{TopicID: key.topic, Partition: key.number})
	}
	if n := len(cmd.SuspectPartitions); n > 0 {
		b.logger.Warn("replicas may lack acknowledged records after the last stop and catch up before they count", "replicas", n)
	}
	for {
		cmd.Previous = 0
		if previous, ok := b.meta.Image().Broker(b.nodeID); ok {
			cmd.Previous = previous.Epoch
		}
		registered, err := b.proposeUntil(ctx, "register broker", cmd)
		if !errors.Is(err, raftmeta.ErrDuplicateBroker) && !errors.Is(err, raftmeta.ErrStaleBrokerEpoch) {
			b.brokerEpoch.Store(registered.BrokerEpoch)
			return err
		}
		select {
		case <-ctx.Done():
			return wrap("register broker", ctx.Err())
		case <-time.After(retryRegister): // until the controller has found the other run dead, or to look again
		}
	}
}

// mayLack tells whether a replica may lack records that were acknowledged before the last stop: its log says
// so, or the machine went down and the flush mode left acknowledged records to it (replication.md 14.3).
func (b *Broker) mayLack(h *hosted) bool {
	mode, _, _ := flushing(h.config.Load())
	return h.replica.Log().Suspect() || b.logs.PreviousStop().Suspect && mode != log.Sync
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

// serve answers clients until ctx ends or a listener fails, then stops in order: leaders move away, no
// new requests, the owed answers, the connections.
func (b *Broker) serve(ctx context.Context) error {
	limits := b.config()
	b.server = wire.NewServer(wire.Options{
		Registry: b.registry, Logger: b.logger, Registerer: b.options.Registry,
		MaxConnections: limits.MaxConnections, MaxConnectionsPerIP: limits.MaxConnectionsPerIP,
		MaxRequestBytes: limits.SocketRequestMaxBytes, IdleTimeout: orForever(limits.ConnectionsMaxIdle), Strict: b.options.strictWire,
	})
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	failed := make(chan error, 1)
	go func() { failed <- b.server.Serve(serving, b.options.Kafka) }()
	var err error
	select {
	case <-ctx.Done():
		b.leave(ctx)
		stopServing()
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
	return errors.Join(err, b.server.Shutdown(bounded), b.peerServer.Shutdown(bounded))
}

// watchDisk asks to be fenced while the data directory has failed or does not answer: a live heartbeat with
// a dead disk is worse than a crash (replication.md 5.4). It ends with ctx.
func (b *Broker) watchDisk(ctx context.Context) error {
	tick := time.NewTicker(diskCheck)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := ""
		if err := b.logs.Failed(); err != nil {
			now = err.Error()
		} else if b.logs.Syncing() > diskPatience {
			now = fmt.Sprintf("a sync of the data directory has taken longer than %v", diskPatience)
		}
		if now != said {
			said = now
			b.cluster.Unwell(now)
		}
	}
}

// watchTouch lets nobody wait for an acknowledgement that will not come: when this node has been out of touch for a
// session, others lead by now what it led, and its followers have left. Clients that are told so look for the new
// leader at once, instead of when their request times out, after 10 s and more. It ends with ctx.
func (b *Broker) watchTouch(ctx context.Context) error {
	tick := time.NewTicker(touchCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if !b.cluster.OutOfTouch() {
				continue
			}
			for _, h := range b.replicas.all() {
				h.replica.GiveUp()
			}
		}
	}
}

// leave lets others take over what this node leads, while it still serves (replication.md 5.6).
func (b *Broker) leave(ctx context.Context) {
	b.logger.Info("stopping")
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWait)
	defer cancel()
	b.spawn(func() { b.giveUpAlone(bounded, cancel) })
	if err := b.cluster.Leave(bounded); err != nil {
		b.logger.Warn("stopping without a hand-over: others will notice, and take over a little later", "err", err)
	}
	b.groupShards.catchUp()
	b.reconciler.catchUp()
}

// giveUpAlone ends the wait for a hand-over when there has been no controller for longer than an election
// takes: the whole cluster is being stopped, and this node is among the last.
func (b *Broker) giveUpAlone(ctx context.Context, giveUp func()) {
	tick := time.NewTicker(leaderless / 10)
	defer tick.Stop()
	for missed := 0; missed < 10; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if missed++; b.cluster.Controller() >= 0 {
			missed = 0
		}
	}
	giveUp()
}
