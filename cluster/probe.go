package cluster

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/raftmeta"
)

// probePause is between two tries to reach a broker that cannot be reached, and at least between two
// connections to one that closes them.
const probePause = 100 * time.Millisecond

// probeSoon is how long after the first try the second comes, when a connection has just been lost: a dying process
// closes its connections one after the other, and its port is still open when the first of them is gone.
const probeSoon = 5 * time.Millisecond

// probe holds a connection to the peer port of one run of a broker, and does nothing with it: when the
// process dies, its kernel closes the connection and refuses the next. Both together are death, and are
// seen at once. Anything else, a lost packet or a paused process, is for the heartbeats to judge.
type probe struct {
	epoch  int64
	cancel context.CancelFunc
}

// probeAll keeps one probe for each other broker that is not fenced.
func (t *term) probeAll(im *raftmeta.Image) {
	for id, p := range t.probes {
		if b, ok := im.Broker(id); !ok || b.Epoch != p.epoch || b.State == raftmeta.Fenced {
			p.cancel()
			delete(t.probes, id)
		}
	}
	for b := range im.Brokers() {
		if t.probes[b.ID] != nil || b.State == raftmeta.Fenced || b.ID == t.c.n.o.NodeID {
			continue
		}
		ctx, cancel := context.WithCancel(t.ctx)
		t.probes[b.ID] = &probe{b.Epoch, cancel}
		broker, epoch := b.ID, b.Epoch
		t.running.Go(func() { t.c.n.probe(ctx, broker, func() { t.c.refused(broker, epoch) }) })
	}
}

// probe calls refused whenever a broker's peer port refuses a connection, until ctx ends.
func (n *Node) probe(ctx context.Context, broker int32, refused func()) {
	pause := probePause
	for ctx.Err() == nil {
		err := n.holdConnection(ctx, broker)
		if err == nil {
			pause = probeSoon // it was open for a while: look at once what has become of the broker
			continue
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			refused()
		}
		timer := time.NewTimer(pause)
		pause = min(2*pause, probePause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

var errProbe = errors.New("the broker cannot be reached")

// holdConnection connects to a broker and waits until the connection ends. An error is that of connecting,
// or that it ended at once.
func (n *Node) holdConnection(ctx context.Context, broker int32) error {
	address, ok := n.PeerAddress(broker)
	if !ok {
		return errProbe
	}
	conn, _, err := n.peers.dial(ctx, kindKafka, address, identity{})
	if err != nil {
		return err
	}
	since := time.Now()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1)) // nobody sends anything; it returns when the connection ends
	_ = conn.Close()
	if time.Since(since) < probePause {
		return errProbe
	}
	return nil
}
