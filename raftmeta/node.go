package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Node is one server of the metadata group: the table, its Raft log, and the way to change it. All
// methods may be called from several goroutines.
type Node struct {
	id        raft.ServerID
	raft      *raft.Raft
	snapshots raft.SnapshotStore
	store     store
	transport raft.Transport
	feed      *feed
	proposals *proposals
	forward   Forward   // nil in a cluster of one
	outcomes  *outcomes // nil without forward
	metrics   *metrics
	log       *slog.Logger

	life context.Context // ends when Close begins
	end  context.CancelFunc

	waits    sync.WaitGroup // of goroutines that wait for the library; see await
	dead     chan struct{}  // closed when the library has ended
	closed   chan struct{}  // closed when Close begins
	closing  sync.Once
	closeErr error // result of closing

	mu     sync.RWMutex // held to add to waits, so that Close can wait for all of them
	ending bool         // nothing may be added to waits from outside
}

// snapshotsKept are the newest snapshots that stay on disk (replication.md 4.6).
const snapshotsKept = 2

// transportTimeout bounds an RPC between servers; that of a snapshot gets more by its size.
const transportTimeout = 5 * time.Second

// closeGrace is how long Close lets entries in flight finish, so that their proposers get an answer.
const closeGrace = 5 * time.Second

// Open starts the node from what its directory holds. It does not wait for a leader: see Ready. Until
// then the image is that of the newest snapshot.
func Open(o Options) (*Node, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	inner, err := openStore(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.wrapStore != nil {
		inner = o.wrapStore(inner)
	}
	n := &Node{
		id:      raft.ServerID(o.ServerID),
		store:   &guardedStore{store: inner, fatal: o.Fatal},
		forward: o.Forward,
		feed:    newFeed(),
		metrics: newMetrics(o.Registerer),
		log:     o.Logger,
		dead:    make(chan struct{}),
		closed:  make(chan struct{}),
	}
	n.life, n.end = context.WithCancel(context.Background())
	if o.Forward != nil {
		n.outcomes = newOutcomes()
	}
	if err := n.startRaft(&o); err != nil {
		n.end()
		return nil, errors.Join(err, closeTransport(n.transport), inner.Close())
	}
	n.proposals = newProposals(n.apply, n.metrics, o.inFlight)
	return n, nil
}

func (n *Node) startRaft(o *Options) error {
	config := o.raftConfig()
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(o.Dir, snapshotsKept, config.Logger)
	if err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	n.snapshots = snapshots
	n.transport = openTransport(o, config)
	if err := n.bootstrap(o, config, snapshots); err != nil {
		return err
	}
	machine := &fsm{feed: n.feed, metrics: n.metrics, fatal: o.Fatal, recent: n.outcomes}
	n.raft, err = raft.NewRaft(config, machine, n.store, n.store, snapshots, n.transport)
	if err != nil {
		return fmt.Errorf("start Raft: %w", err)
	}
	n.standIfAlone(config)
	return nil
}

// standIfAlone lets the only voter of a group begin its election at once, instead of first waiting for a
// leader that cannot be: what a leader that hands over tells its successor, this node tells itself.
func (n *Node) standIfAlone(config *raft.Config) {
	transport, ok := n.transport.(namedTransport)
	if !ok {
		return
	}
	servers := n.raft.GetConfiguration().Configuration().Servers
	if len(servers) != 1 || servers[0].ID != n.id || servers[0].Suffrage != raft.Voter {
		return
	}
	self := transport.LocalAddr()
	n.waits.Go(func() {
		request := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
			ProtocolVersion: config.ProtocolVersion, ID: []byte(n.id), Addr: transport.EncodePeer(n.id, self),
		}}
		if err := transport.TimeoutNow(n.id, self, request, &raft.TimeoutNowResponse{}); err != nil {
			n.log.Debug("the election of a cluster of one waits for its timeout", "err", err)
		}
	})
}

func openTransport(o *Options, config *raft.Config) raft.Transport {
	switch {
	case o.transport != nil:
		return o.transport
	case o.Stream != nil:
		return namedTransport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: o.Stream, MaxPool: 3, Timeout: transportTimeout, Logger: config.Logger,
		})}
	}
	_, alone := raft.NewInmemTransport(raft.ServerAddress(o.ServerID))
	return alone
}

func closeTransport(t raft.Transport) error {
	if network, ok := t.(namedTransport); ok {
		network.CloseStreams() // Close leaves the pooled connections open
	}
	if network, ok := t.(namedTransport); ok {
		network.CloseStreams() // Close leaves the pooled connections open
	}
	if c, ok := t.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// HasState tells whether dir holds a metadata log, which is never bootstrapped again.
func HasState(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, storeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for Raft state: %w", err)
	}
	inner, err := openStore(dir)
	if err != nil {
		return false, err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, hclog.NewNullLogger())
	if err != nil {
		return false, errors.Join(fmt.Errorf("open snapshots: %w", err), inner.Close())
	}
	exists, err := raft.HasExistingState(inner, inner, snapshots)
	if err != nil {
		err = fmt.Errorf("look for Raft state: %w", err)
	}
	return exists, errors.Join(err, inner.Close())
}

// bootstrap writes the first configuration into an empty store.
func (n *Node) bootstrap(o *Options, config *raft.Config, snapshots raft.SnapshotStore) error {
	exists, err := raft.HasExistingState(n.store, n.store, snapshots)
	if err != nil {
		return fmt.Errorf("look for Raft state: %w", err)
	}
	if exists || len(o.Bootstrap) == 0 {
		return nil
	}
	var initial raft.Configuration
	for _, s := range o.Bootstrap {
		address := raft.ServerAddress(s.Address)
		if s.ID == o.ServerID && address == "" {
			address = n.transport.LocalAddr()
		}
		initial.Servers = append(initial.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: address,
		})
	}
	if err := raft.BootstrapCluster(config, n.store, n.store, snapshots, n.transport, initial); err != nil {
		return fmt.Errorf("bootstrap Raft: %w", err)
	}
	return nil
}

// Image is the table as this node has applied it. Reading it takes no lock; see Image.
func (n *Node) Image() *Image { return n.feed.image.Load() }

// Subscribe starts a stream of changes; the caller closes it.
func (n *Node) Subscribe() *Subscription { return n.feed.subscribe() }

// Propose asks the Raft group to commit cmd and returns what it came to once this node has applied it,
// so that the caller then reads its own write. cmd must not be modified meanwhile. Concurrent proposals
// share Raft entries (replication.md 4.11). The error is
//
//   - nil, or a Rejection: the table decided;
//   - ErrNotLeader, ErrTooLarge, ErrClosed, or that of ctx alone: nothing was proposed;
//   - ErrOutcomeUnknown, together with its cause: it may have been, or may yet be, committed.
func (n *Node) Propose(ctx context.Context, cmd Command) (Result, error) {
	return n.proposals.propose(ctx, cmd)
}

// Barrier returns once this node has applied everything that was committed before the call. It fails
// with ErrNotLeader elsewhere than on the Raft leader.
func (n *Node) Barrier(ctx context.Context) error {
	err := n.ask(ctx, func() raft.Future { return n.raft.Barrier(0) })
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
		return fmt.Errorf("barrier: %w: %w", ErrNotLeader, err)
	}
	if err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	return nil
}

// CatchUp returns once this node has applied everything that was committed before the call, on whichever node. It commits an
// entry without commands for it, so it fails like Propose where no leader is to be had.
func (n *Node) CatchUp(ctx context.Context) error {
	err := n.ask(ctx, func() raft.Future {
		return futureOf(func() error {
			response, err := n.apply(beginEntry(stamp{}))
			_, err = entryOutcomes(response, err, 0)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("catch up: %w", err)
	}
	return nil
}

// futureOf makes a future of what is asked for when its answer is.
type futureOf func() error

func (f futureOf) Error() error { return f() }

// ask is await for callers from outside, which Close turns away.
func (n *Node) ask(ctx context.Context, question func() raft.Future) error {
	n.mu.RLock()
	if n.ending {
		n.mu.RUnlock()
		return ErrClosed
	}
	n.waits.Add(1) // of this call, so that what await starts is counted too
	n.mu.RUnlock()
	defer n.waits.Done()
	return n.await(ctx, question)
}

// await puts a question to the library, which knows no context, and waits for the answer. The
// goroutine ends with the answer. Only what is still in the library's queues when it shuts down is
// never answered; Close gives it a grace first, and leaves such a goroutine behind.
func (n *Node) await(ctx context.Context, question func() raft.Future) error {
	answer := make(chan error, 1)
	n.waits.Go(func() { answer <- question().Error() })
	select {
	case err := <-answer:
		return err
	case <-n.dead:
		return raft.ErrRaftShutdown
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready waits until the group has a leader, and if it is this node, until everything of earlier terms is
// applied here (replication.md 4.4).
func (n *Node) Ready(ctx context.Context) error {
	news := make(chan raft.Observation, 1)
	observer := raft.NewObserver(news, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	for {
		switch _, leader := n.raft.LeaderWithID(); {
		case n.IsLeader():
			if err := n.Barrier(ctx); !errors.Is(err, ErrNotLeader) {
				return err
			}
		case leader != "":
			return nil
		}
		select {
		case <-news:
		case <-n.closed:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for a Raft leader: %w", ctx.Err())
		}
	}
}

// IsLeader reports whether this node leads the Raft group, as far as it knows.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Leader is the server that leads the group, as far as this node knows; ok is false if there is none.
func (n *Node) Leader() (s Server, ok bool) {
	address, id := n.raft.LeaderWithID()
	return Server{ID: string(id), Address: string(address)}, id != ""
}

// Snapshot writes a snapshot now and cuts the log behind it. Nothing new to write is no error.
func (n *Node) Snapshot(ctx context.Context) error {
	err := n.ask(ctx, func() raft.Future { return n.raft.Snapshot() })
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// Close ends the node and waits for everything it started. Proposals that no entry holds yet get
// ErrClosed; those in flight get their answer, or ErrOutcomeUnknown if it takes longer than closeGrace.
// The image stays readable.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.mu.Lock()
	n.ending = true
	n.mu.Unlock()
	close(n.closed)
	n.end()
	n.proposals.close()

	idle := make(chan struct{})
	go func() {
		n.proposals.wait()
		n.waits.Wait()
		close(idle)
	}()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-idle:
	case <-grace.C:
		n.log.Warn("closing with metadata proposals in flight, their outcome is unknown")
	}
	err := n.raft.Shutdown().Error() // waits for the library's goroutines
	close(n.dead)
	n.proposals.wait()
	n.feed.close()
	return errors.Join(err, closeTransport(n.transport), n.store.Close())
}
