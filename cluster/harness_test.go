package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// memberlist does not wait for its last probe, which ends within seconds.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPullNode"))
}

// patience bounds the waits of these tests; it passes only when something is broken.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// testLog writes what nodes log to the test, for as long as it runs: memberlist has a last word after that.
func testLog(t testing.TB, node int32) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t = nil
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo})).With("me", node)
}

type testWriter struct {
	mu sync.Mutex // guards t
	t  testing.TB
}

func (w *testWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Logf("%s", line[:len(line)-1])
	}
	return len(line), nil
}

// eventually polls until ok, or fails the test.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx := testContext(t)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// place is a data directory, which outlives the runs of a node on it.
type place struct {
	t         testing.TB
	dir       string
	node      int32
	directory uuid.ID
	cluster   uuid.ID
	hasState  bool
	options   func(*Options)
}

func newPlace(t testing.TB, node int32) *place {
	t.Helper()
	return &place{t: t, dir: t.TempDir(), node: node, directory: newID(t)}
}

func newID(t testing.TB) uuid.ID {
	t.Helper()
	id, err := uuid.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// host is one run of a node, with as much of a broker around it as the package needs.
type host struct {
	*Node
	place  *place
	server *wire.Server
	meta   *raftmeta.Node
	epoch  int64
	logEnd atomic.Pointer[func(body []byte) ([]byte, error)]

	stop   context.CancelFunc
	served chan error
	work   errgroup.Group
	fatal  chan error
	dead   bool
}

// open listens and serves the peer port; expect and join are as in Options.
func (p *place) open(expect int, join ...string) (*host, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	return p.openOn(listener, expect, join...)
}

func (p *place) openOn(listener net.Listener, expect int, join ...string) (*host, error) {
	h := &host{place: p, served: make(chan error, 1), fatal: make(chan error, 1)}
	o := Options{
		NodeID: p.node, DirectoryID: p.directory, ClusterID: p.cluster, HasState: p.hasState, DataDir: p.dir,
		PeerListener: listener, Join: join, BootstrapExpect: expect, PromoteAfter: 300 * time.Millisecond,
		BalanceInterval: 100 * time.Millisecond, Logger: testLog(p.t, p.node),
		Fatal: func(err error) {
			select {
			case h.fatal <- err:
			default:
			}
		},
	}
	if p.options != nil {
		p.options(&o)
	}
	var err error
	if h.Node, err = Open(o); err != nil {
		return nil, errors.Join(err, ignoreClosed(listener.Close()))
	}
	h.Register(MethodLogEnd, func(_ context.Context, body []byte) ([]byte, error) {
		if answer := h.logEnd.Load(); answer != nil {
			return (*answer)(body)
		}
		return nil, ErrBusy
	})
	registry, err := wire.NewRegistry(h.APIs())
	if err != nil {
		p.t.Fatal(err)
	}
	h.server = wire.NewServer(wire.Options{Registry: registry, Listener: "PEER", Logger: testLog(p.t, p.node), Strict: true})
	go func() { h.served <- h.server.Serve(context.Background(), h.Peers().Kafka()) }()
	p.t.Cleanup(h.kill)
	return h, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// start brings a run from its directory into the group.
func (h *host) start(ctx context.Context) error {
	f, err := h.Form(ctx)
	if err != nil {
		return err
	}
	h.place.cluster = f.ClusterID
	h.meta, err = raftmeta.Open(raftmeta.Options{
		Dir: filepath.Join(h.place.dir, "raft"), ServerID: h.ServerID(), Stream: h.Peers().Stream(),
		Forward: h.Forward, Bootstrap: f.Founders, Logger: testLog(h.place.t, h.place.node),
	})
	if err != nil {
		return err
	}
	h.place.hasState = true
	h.Attach(h.meta)
	var run context.Context
	run, h.stop = context.WithCancel(context.Background())
	h.work.Go(func() error { return h.Run(run) })
	if err := h.Join(ctx); err != nil {
		return err
	}
	return h.meta.Ready(ctx)
}

// register makes the run an active broker.
func (h *host) register(ctx context.Context) error {
	if _, err := h.propose(ctx, &raftmeta.InitCluster{ClusterID: h.ClusterID()}); err != nil {
		return err
	}
	incarnation, err := uuid.New(nil)
	if err != nil {
		return err
	}
	registration := &raftmeta.RegisterBroker{
		ID: h.place.node, Incarnation: incarnation, StorageIDs: []uuid.ID{h.place.directory},
		KafkaHost: "127.0.0.1", KafkaPort: 9092, PeerAddress: h.Peers().Address(),
	}
	if previous, ok := h.meta.Image().Broker(h.place.node); ok {
		registration.Previous = previous.Epoch
	}
	result, err := h.propose(ctx, registration)
	if err != nil {
		return err
	}
	h.epoch = result.BrokerEpoch
	h.meta.SetProposer(h.place.node, h.epoch)
	h.SetBroker(h.epoch)
	h.SetLoaded()
	return nil
}

// propose retries as a proposer whose preconditions make that safe.
func (h *host) propose(ctx context.Context, command raftmeta.Command) (raftmeta.Result, error) {
	for {
		result, err := h.meta.Propose(ctx, command)
		if !errors.Is(err, raftmeta.ErrNotLeader) && !errors.Is(err, raftmeta.ErrOutcomeUnknown) || ctx.Err() != nil {
			return result, err
		}
	}
}

func (h *host) answerLogEnd(answer func(body []byte) ([]byte, error)) { h.logEnd.Store(&answer) }

// kill ends a run without a goodbye. What is on disk stays.
func (h *host) kill() {
	if h.dead {
		return
	}
	h.dead = true
	if h.stop != nil {
		h.stop()
	}
	if err := h.peers.listener.Close(); ignoreClosed(err) != nil {
		h.place.t.Error(err)
	}
	if err := h.work.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		h.place.t.Errorf("node %d: Run: %v", h.place.node, err)
	}
	if h.meta != nil {
		if err := h.meta.Close(); err != nil {
			h.place.t.Errorf("node %d: close metadata: %v", h.place.node, err)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.server.Shutdown(gone) // connections are cut, as by a death
	if err := h.Node.Close(); err != nil {
		h.place.t.Errorf("node %d: close: %v", h.place.node, err)
	}
	<-h.served
}

// startAll opens nodes one after the other, each joining those before it, and brings them up together.
func startAll(t testing.TB, expect int, places ...*place) []*host {
	t.Helper()
	var hosts []*host
	var join []string
	for _, p := range places {
		h, err := p.open(expect, join...)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
		join = append(join, h.GossipAddress())
	}
	bring(t, hosts...)
	return hosts
}

// bring brings opened nodes into their group, all at once.
func bring(t testing.TB, hosts ...*host) {
	t.Helper()
	ctx := testContext(t)
	var all errgroup.Group
	for _, h := range hosts {
		all.Go(func() error {
			if err := h.start(ctx); err != nil {
				return fmt.Errorf("node %d: %w", h.place.node, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// activate registers nodes as brokers and waits until all are active.
func activate(t testing.TB, hosts ...*host) {
	t.Helper()
	ctx := testContext(t)
	for _, h := range hosts {
		if err := h.register(ctx); err != nil {
			t.Fatalf("node %d: register: %v", h.place.node, err)
		}
	}
	for _, h := range hosts {
		awaitState(t, hosts[0], h.place.node, raftmeta.Active)
	}
}

func awaitState(t testing.TB, witness *host, broker int32, state raftmeta.BrokerState) {
	t.Helper()
	eventually(t, fmt.Sprintf("broker %d reaches state %d", broker, state), func() bool {
		b, ok := witness.meta.Image().Broker(broker)
		return ok && b.State == state
	})
}

// leaderOf waits for the node that is the controller.
func leaderOf(t testing.TB, hosts ...*host) (leader *host) {
	t.Helper()
	eventually(t, "there is a controller", func() bool {
		at := slices.IndexFunc(hosts, func(h *host) bool { return !h.dead && h.isController() })
		if at >= 0 {
			leader = hosts[at]
		}
		return at >= 0
	})
	return leader
}

func (h *host) isController() bool {
	h.controller.mu.Lock()
	defer h.controller.mu.Unlock()
	return h.controller.live != nil
}

// oneCluster fails unless all nodes are of one cluster and one Raft group.
func oneCluster(t testing.TB, hosts ...*host) {
	t.Helper()
	for _, h := range hosts {
		if h.ClusterID() != hosts[0].ClusterID() || h.ClusterID().IsZero() {
			t.Fatalf("node %d is of cluster %s, node %d of %s", h.place.node, h.ClusterID(), hosts[0].place.node, hosts[0].ClusterID())
		}
	}
	eventually(t, "all have one leader", func() bool {
		first, ok := hosts[0].meta.Leader()
		return ok && !slices.ContainsFunc(hosts, func(h *host) bool {
			leader, ok := h.meta.Leader()
			return !ok || leader.ID != first.ID
		})
	})
}
