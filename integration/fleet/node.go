package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Node is one place in the fleet: its addresses and its data directory, and the process that lives there now, if any.
type Node struct {
	ID      int32
	IP      string // 127.0.0.ID
	DataDir string

	Kafka, Peer, Gossip, HTTP string // host:port on which the process listens

	fleet         *Fleet
	dir           string // log files
	peerAdvertise string
	lives         int
	process       atomic.Pointer[life]
}

// life is a process and the goroutine that shuts the node's door when it ends.
type life struct {
	*Process
	watched chan struct{} // closed when the door is shut
	readyIn time.Duration
}

// Start starts the node and returns when it is ready.
func (n *Node) Start(ctx context.Context) error {
	if err := n.Launch(); err != nil {
		return fmt.Errorf("start node %d: %w", n.ID, err)
	}
	return n.AwaitReady(ctx)
}

// Launch starts the process and does not wait for it. It must not run yet.
func (n *Node) Launch() error {
	if n.Running() {
		return errors.New("it runs already")
	}
	<-n.watched()
	if err := os.MkdirAll(n.DataDir, 0o755); err != nil {
		return err
	}
	if n.fleet.links != nil {
		if err := n.fleet.links.up(n.ID); err != nil {
			return err
		}
	}
	n.lives++
	p, err := Launch(exec.Command(n.fleet.options.Binary, n.args()...), filepath.Join(n.dir, fmt.Sprintf("node-%d-life-%03d.log", n.ID, n.lives)))
	if err != nil {
		return err
	}
	l := &life{Process: p, watched: make(chan struct{})}
	n.process.Store(l)
	go func() { // ends with the process; Launch and Fleet.Close wait for it
		defer close(l.watched)
		<-p.Done()
		if n.fleet.links != nil {
			n.fleet.links.down(n.ID)
		}
	}()
	return nil
}

func (n *Node) args() []string {
	args := []string{"serve", "--data-dir", n.DataDir, "--node-id", strconv.Itoa(int(n.ID)),
		"--kafka-listen", n.Kafka, "--peer-listen", n.Peer, "--gossip-listen", n.Gossip, "--http-listen", n.HTTP,
		"--peer-advertise", n.peerAdvertise, "--rack", fmt.Sprintf("rack-%d", n.ID)}
	if len(n.fleet.nodes) > 1 {
		args = append(args, "--join", n.fleet.gossip(), "--bootstrap-expect", strconv.Itoa(len(n.fleet.nodes)))
	}
	for _, s := range n.fleet.options.Settings {
		args = append(args, "--set", s)
	}
	return args
}

// AwaitReady waits for the ready line of the process that Launch started.
func (n *Node) AwaitReady(ctx context.Context) error {
	l := n.process.Load()
	began := time.Now()
	if _, err := l.AwaitReady(ctx); err != nil {
		return fmt.Errorf("node %d, life %d: %w\n%s", n.ID, n.lives, err, l.LogTail(20))
	}
	l.readyIn = time.Since(began)
	return nil
}

// Running reports whether there is a process, be it ready or paused.
func (n *Node) Running() bool {
	l := n.process.Load()
	if l == nil {
		return false
	}
	select {
	case <-l.Done():
		return false
	default:
		return true
	}
}

// Process is the present life, or the last one; nil before the first.
func (n *Node) Process() *Process {
	if l := n.process.Load(); l != nil {
		return l.Process
	}
	return nil
}

// Lives counts the starts.
func (n *Node) Lives() int { return n.lives }

// watched is closed when nothing of the latest life is left.
func (n *Node) watched() <-chan struct{} {
	if l := n.process.Load(); l != nil {
		return l.watched
	}
	none := make(chan struct{})
	close(none)
	return none
}

// Kill ends the process by SIGKILL and waits until its door is shut.
func (n *Node) Kill() error {
	if err := n.process.Load().Kill(); err != nil {
		return fmt.Errorf("kill node %d: %w", n.ID, err)
	}
	<-n.watched()
	return nil
}

// Stop asks for a controlled shutdown, and says so if the node did not end by it with exit code 0.
func (n *Node) Stop(ctx context.Context) error {
	if err := n.process.Load().Terminate(ctx); err != nil {
		return fmt.Errorf("stop node %d: %w\n%s", n.ID, err, n.LogTail(20))
	}
	<-n.watched()
	return nil
}

// Pause stops the process as SIGSTOP does: its sockets stay open and nobody answers. It returns when every thread stands.
func (n *Node) Pause() error {
	p := n.process.Load()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	return Eventually(ctx, p.stopped)
}

// Resume lets a paused process go on.
func (n *Node) Resume() error { return n.process.Load().Signal(syscall.SIGCONT) }

// Wipe empties the data directory of a node that does not run, as a new disk would. The directory itself stays: it may be
// a mount.
func (n *Node) Wipe() error {
	if n.Running() {
		return fmt.Errorf("node %d runs: its data are not to be wiped", n.ID)
	}
	entries, err := os.ReadDir(n.DataDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(n.DataDir, e.Name())))
	}
	return err
}

// PartitionDir is where the node keeps a replica.
func (n *Node) PartitionDir(topic string, partition int32) string {
	return filepath.Join(n.DataDir, "log", fmt.Sprintf("%s-%d", topic, partition))
}

// LogTail is the end of the latest life's log, for a failure's message.
func (n *Node) LogTail(lines int) string {
	if p := n.Process(); p != nil {
		return fmt.Sprintf("node %d, end of %s:\n%s", n.ID, filepath.Base(p.Log()), p.LogTail(lines))
	}
	return fmt.Sprintf("node %d never ran", n.ID)
}
