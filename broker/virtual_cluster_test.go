package broker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/raftmeta"
)

// inBubble runs a test in virtual time: it passes only while everybody waits, and then at once.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// Ports and addresses of a virtual cluster. Node 1 is 127.0.0.1, and so on.
const (
	kafkaPort  = 9092
	peerPort   = 9093
	gossipPort = 7946
	clientIP   = "127.0.0.100"
)

func virtualIP(id int32) string { return fmt.Sprintf("127.0.0.%d", id) }

// virtualCluster is three whole brokers in a bubble, on a virtual network and on file systems in memory.
// The metadata log alone is a real file, which the Raft library opens itself; it is synced at each write,
// so no crash can take anything from it.
type virtualCluster struct {
	t      *testing.T
	net    *virtualNet
	rng    *rand.Rand // what a power loss takes
	nodes  []*virtualNode
	runs   []*virtualRun // all, also those that crashed
	client *virtualMachine
	config map[string]string
}

// virtualNode is a machine with its disk, and the broker on it.
type virtualNode struct {
	*virtualRun
	c     *virtualCluster
	id    int32
	disk  *vfs.Mem
	dir   string
	boots int
	up    atomic.Pointer[Broker] // the running broker, for the goroutines of clients
}

// virtualRun is one life of a broker. A crashed one cannot be killed: it lives on, cut off from the network
// and with what its machine had when it crashed no longer its own, until the end of the test.
type virtualRun struct {
	b       *Broker // once it is ready
	machine *virtualMachine
	stop    context.CancelFunc
	ready   chan *Broker
	done    chan error
	crashed bool
	over    bool
}

// startVirtual forms a cluster, and ends it with the test.
func startVirtual(t *testing.T, seed uint64, config map[string]string) *virtualCluster {
	t.Helper()
	c := &virtualCluster{t: t, net: newVirtualNet(), rng: rand.New(rand.NewPCG(seed, 0)), config: config}
	c.client = c.net.boot(clientIP)
	t.Cleanup(c.end)
	base := t.TempDir()
	for id := int32(1); id <= 3; id++ {
		n := &virtualNode{c: c, id: id, disk: vfs.NewMem(), dir: filepath.Join(base, fmt.Sprint("node-", id))}
		c.nodes = append(c.nodes, n)
		n.launch()
	}
	for _, n := range c.nodes {
		n.await()
	}
	return c
}

// launch boots the machine and starts its broker; await waits for it.
func (n *virtualNode) launch() {
	n.c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ip := virtualIP(n.id)
	run := &virtualRun{machine: n.c.net.boot(ip), stop: cancel, ready: make(chan *Broker, 1), done: make(chan error, 1)}
	if n.boots == 0 {
		n.boots = 1
	}
	o := Options{
		DataDir: n.dir, FS: n.disk, NodeID: n.id, Config: n.c.config, Rack: fmt.Sprint("rack-", n.id),
		Kafka: run.machine.listen(kafkaPort), Peer: run.machine.listen(peerPort),
		Gossip: fmt.Sprintf("%s:%d", ip, gossipPort), BootstrapExpect: 3,
		strictWire: true, dial: run.machine.dial, gossip: run.machine.gossip(gossipPort), bootID: fmt.Sprint("boot-", n.boots),
		Logger: slog.New(slog.NewTextHandler(runWriter{n.c.t, run}, &slog.HandlerOptions{Level: virtualLogLevel()})).With("node", n.id),
	}
	for id := int32(1); id <= 3; id++ {
		o.Join = append(o.Join, fmt.Sprintf("%s:%d", virtualIP(id), gossipPort))
	}
	n.virtualRun = run
	n.c.runs = append(n.c.runs, run)
	go func() { run.done <- Run(ctx, o, func(b *Broker) { run.ready <- b }) }()
}

// virtualLogLevel is that of the brokers' logs; CHRONIK_VIRTUAL_LOG=debug shows everything.
func virtualLogLevel() slog.Level {
	level := slog.LevelError
	if text := os.Getenv("CHRONIK_VIRTUAL_LOG"); text != "" {
		_ = level.UnmarshalText([]byte(text))
	}
	return level
}

type runWriter struct {
	t   *testing.T
	run *virtualRun
}

// Write implements io.Writer. What a crashed run says would only confuse.
func (w runWriter) Write(p []byte) (int, error) {
	if w.run.machine.alive() {
		w.t.Logf("node: %s", p)
	}
	return len(p), nil
}

func (m *virtualMachine) alive() bool {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	return m.life == machineUp
}

func (n *virtualNode) await() {
	n.c.t.Helper()
	select {
	case n.b = <-n.ready:
		n.up.Store(n.b)
	case err := <-n.done:
		n.over = true
		n.c.t.Fatalf("node %d did not start: %v", n.id, err)
	case <-time.After(time.Minute):
		n.c.t.Fatalf("node %d is not ready after a minute", n.id)
	}
}

// shutDown stops a broker in order.
func (n *virtualNode) shutDown() {
	n.c.t.Helper()
	n.up.Store(nil)
	n.stop()
	n.over = true
	if err := n.stopped(n.c.t); err != nil {
		n.c.t.Errorf("node %d did not stop cleanly: %v", n.id, err)
	}
}

// stopped waits for the end of a run. One that hangs ends the test with the stacks of all goroutines: they cannot
// leave the bubble.
func (r *virtualRun) stopped(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(2 * time.Minute):
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		panic("a node has not stopped within two minutes\n" + stacks.String())
	}
}

// crash kills the process: what it wrote is there, synced or not.
func (n *virtualNode) crash() { n.endRun(killed, (*vfs.Mem).CrashKeepAll) }

// losePower takes the machine down, and by chance any of what was not synced.
func (n *virtualNode) losePower() { n.c.cutPower(n) }

// endRun takes what survives while all goroutines rest, so that it is of one instant.
func (n *virtualNode) endRun(how lifeState, survives func(*vfs.Mem) *vfs.Mem) {
	n.c.t.Helper()
	synctest.Wait()
	n.up.Store(nil)
	n.machine.die(how)
	n.disk = survives(n.disk)
	raft := filepath.Join(n.dir, "raft")
	left := fmt.Sprintf("%s.of-run-%d", raft, len(n.c.runs))
	if err := os.Rename(raft, left); err != nil { // the files that the old run holds open go with the name
		n.c.t.Fatal(err)
	}
	if err := os.CopyFS(raft, os.DirFS(left)); err != nil {
		n.c.t.Fatal(err)
	}
	n.crashed = true
	n.stop()
}

// start brings a node back.
func (n *virtualNode) start() {
	n.c.t.Helper()
	n.launch()
	n.await()
}

// running are the brokers that are up.
func (c *virtualCluster) running() (up []*Broker) {
	for _, n := range c.nodes {
		if b := n.up.Load(); b != nil {
			up = append(up, b)
		}
	}
	return up
}

// end stops everything, the crashed runs too: the bubble must be empty.
func (c *virtualCluster) end() {
	c.net.heal()
	for _, run := range c.runs {
		run.stop()
	}
	for _, run := range c.runs {
		if run.over {
			continue
		}
		if err := run.stopped(c.t); err != nil && !run.crashed {
			c.t.Errorf("a node did not stop cleanly: %v", err)
		}
	}
	time.Sleep(leftovers)
}

// leftovers is how long memberlist, and Raft's transport, keep on after they were shut down.
const leftovers = 30 * time.Second

// cutOff cuts ways between a node and the other nodes: from it, to it or both.
func (c *virtualCluster) cutOff(n *virtualNode, from, to bool) {
	for _, other := range c.nodes {
		if other != n {
			c.between(n, other, !from, !to)
		}
	}
}

// between sets the ways from one node to another and back.
func (c *virtualCluster) between(a, b *virtualNode, there, back bool) {
	c.net.setWay(virtualIP(a.id), virtualIP(b.id), there)
	c.net.setWay(virtualIP(b.id), virtualIP(a.id), back)
}

// stall cuts a node off from everybody, also from clients, as one that is paused seems to be.
func (c *virtualCluster) stall(n *virtualNode, stalled bool) {
	c.cutOff(n, stalled, stalled)
	c.net.setWay(virtualIP(n.id), clientIP, !stalled)
	c.net.setWay(clientIP, virtualIP(n.id), !stalled)
}

// partition is a partition as a node sees it, nil without its topic.
func (n *virtualNode) partition(topic string, number int) *raftmeta.Partition {
	return n.b.partitionSeen(topic, number)
}

func (b *Broker) partitionSeen(topic string, number int) *raftmeta.Partition {
	found, ok := b.meta.Image().Topic(defaultTenant, topic)
	if !ok {
		return nil
	}
	return &found.Partitions[number]
}

// eventually asks until cond holds, and returns how long that took.
func (c *virtualCluster) eventually(within time.Duration, what string, cond func() bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > within {
			c.t.Fatalf("after %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}
