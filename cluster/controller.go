package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// controller is what the Raft leader does besides: it judges who is alive, and proposes what follows. It
// acts only after a barrier in its term and stops at the first sign that the term is over (replication.md
// 4.4, I23). All it knows is memory; the next controller learns it anew.
type controller struct {
	n    *Node
	wake chan struct{} // holds a token when a step is due at once

	mu     sync.Mutex // guards the fields below; never held across a proposal
	live   *liveness  // nil while this node is not the controller
	audits *audits
	odd    uint64 // newest index for which a disagreement was reported
}

const (
	// leadPoll is how often a node looks whether it leads the Raft group, and a controller what is due.
	leadPoll = 20 * time.Millisecond
	// barrierTimeout bounds the wait of a new leader for its own log.
	barrierTimeout = 10 * time.Second
	// proposeTimeout bounds one proposal of the controller. What it wanted it finds again.
	proposeTimeout = 5 * time.Second
	// maxProposals bounds the controller's proposals on their way.
	maxProposals = 64
)

func (c *controller) init(n *Node) { c.n, c.wake = n, make(chan struct{}, 1) }

// watch runs the controller whenever this server leads, until ctx ends.
func (c *controller) watch(ctx context.Context) error {
	ticker := time.NewTicker(leadPoll)
	defer ticker.Stop()
	for {
		if meta := c.n.metadata(); meta.IsLeader() {
			c.lead(ctx, meta, meta.Term())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lead is one term as the controller. When it returns, nothing of it runs any more.
func (c *controller) lead(ctx context.Context, meta *raftmeta.Node, number uint64) {
	ready, cancel := context.WithTimeout(ctx, barrierTimeout)
	err := meta.Barrier(ready)
	cancel()
	if err != nil || !stillLeads(meta, number) {
		return
	}
	t := newTerm(ctx, c, meta, number)
	c.begin()
	defer c.finish()
	defer t.close()
	c.n.log.Info("this node is the controller", "term", number)
	t.running.Go(func() { t.keepMembers(t.ctx) })
	t.running.Go(func() { t.recoverPartitions(t.ctx) })
	t.run()
	c.n.log.Info("this node is not the controller any more", "term", number)
}

func stillLeads(meta *raftmeta.Node, term uint64) bool { return meta.IsLeader() && meta.Term() == term }

func (c *controller) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live, c.audits = newLiveness(c.n.o.SessionTimeout), newAudits()
	c.n.metrics.controller.Set(1)
}

func (c *controller) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live, c.audits = nil, nil
	c.n.metrics.controller.Set(0)
}

// step is what is due now.
func (c *controller) step(im *raftmeta.Image) []action {
	c.mu.Lock()
	defer c.mu.Unlock()
	if audit := im.Audit(); audit.Index > 0 {
		c.noteLocked(c.n.o.NodeID, audit, im)
	}
	return c.live.step(im, c.n.o.Now())
}

// refused takes the word of a probe.
func (c *controller) refused(broker int32, epoch int64) {
	c.mu.Lock()
	news := c.live != nil && c.live.refuse(broker, epoch)
	c.mu.Unlock()
	if news {
		c.stepSoon()
	}
}

func (c *controller) stepSoon() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// noteLocked compares a fingerprint, and reports whether its sender must stop.
func (c *controller) noteLocked(broker int32, audit raftmeta.Audit, im *raftmeta.Image) bool {
	brokers := 0
	for range im.Brokers() {
		brokers++
	}
	minority, differ := c.audits.note(broker, audit, brokers)
	if !differ {
		return false
	}
	if audit.Index > c.odd {
		c.odd = audit.Index
		c.n.metrics.divergences.Inc()
		c.n.log.Error("brokers hold different metadata at the same index", "index", audit.Index, "broker", broker, "wrong", minority)
	}
	if slices.Contains(minority, c.n.o.NodeID) {
		go c.n.o.Fatal(errDiverged) // does not return, and must not hold the lock
	}
	return slices.Contains(minority, broker)
}

// serveHeartbeat answers a broker. It only reads and writes memory, so it may run on the reader.
func (n *Node) serveHeartbeat(r *wire.Request) {
	r.Reply(n.controller.heartbeat(r.Body.(*kmsg.BrokerHeartbeatRequest)))
}

func (c *controller) heartbeat(req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	meta := c.n.metadata()
	if meta == nil || !meta.IsLeader() {
		resp.ErrorCode = kerr.NotController.Code
		return resp
	}
	im := meta.Image()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil { // elected, and not through its barrier
		resp.ErrorCode = kerr.NotController.Code
		return resp
	}
	j := c.live.hear(im, sound{
		broker: req.BrokerID, epoch: req.BrokerEpoch, applied: req.CurrentMetadataOffset,
		wantFence: req.WantFence, wantShutdown: req.WantShutdown,
	}, c.n.o.Now())
	switch {
	case j.unknown:
		resp.ErrorCode = kerr.BrokerIDNotRegistered.Code
	case j.stale:
		resp.ErrorCode = kerr.StaleBrokerEpoch.Code
	case j.early:
		resp.ErrorCode = kerr.NotController.Code
	}
	resp.UnknownTags.Set(indexTag, appendUint64(nil, im.Index()))
	resp.IsFenced, resp.IsCaughtUp, resp.ShouldShutdown = j.fenced, j.caughtUp, j.shouldShutdown
	if audit, ok := readAudit(req); ok && resp.ErrorCode == 0 && c.noteLocked(req.BrokerID, audit, im) {
		resp.UnknownTags.Set(divergedTag, []byte{})
	}
	if j.due {
		c.stepSoon()
	}
	return resp
}

// term is one term as the controller. What it starts ends with it.
type term struct {
	c       *controller
	meta    *raftmeta.Node
	number  uint64
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	probes  map[int32]*probe

	mu       sync.Mutex // guards inFlight
	inFlight map[any]bool
}

func newTerm(ctx context.Context, c *controller, meta *raftmeta.Node, number uint64) *term {
	t := &term{c: c, meta: meta, number: number, probes: map[int32]*probe{}, inFlight: map[any]bool{}}
	t.ctx, t.cancel = context.WithCancel(ctx)
	return t
}

func (t *term) close() {
	t.cancel()
	t.running.Wait()
}

func (t *term) over() bool { return t.ctx.Err() != nil || !stillLeads(t.meta, t.number) }

// run steps until the term is over.
func (t *term) run() {
	ticker := time.NewTicker(leadPoll)
	defer ticker.Stop()
	balance := time.NewTicker(t.c.n.o.BalanceInterval)
	defer balance.Stop()
	for !t.over() {
		im := t.meta.Image()
		for _, a := range t.c.step(im) {
			t.act(a)
		}
		t.probeAll(im)
		select {
		case <-ticker.C:
		case <-t.c.wake:
		case <-balance.C:
			t.balance(t.meta.Image())
		case <-t.ctx.Done():
		}
	}
}

// act proposes what follows from who is alive.
func (t *term) act(a action) {
	t.propose(a.broker, a.command, func(err error) {
		if err != nil {
			return
		}
		if _, fenced := a.command.(*raftmeta.FenceBroker); fenced {
			t.c.n.metrics.fencings.WithLabelValues(a.reason).Inc()
		}
		t.c.n.log.Info("controller changed a broker", "broker", a.broker, "change", fmt.Sprintf("%T", a.command), "reason", a.reason)
	})
}

// propose sends a command on its way, unless one for the same thing is, or too many are: then it is found
// due again. It does not wait.
func (t *term) propose(about any, command raftmeta.Command, done func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inFlight[about] || len(t.inFlight) >= maxProposals {
		return
	}
	t.inFlight[about] = true
	t.running.Go(func() {
		ctx, cancel := context.WithTimeout(t.ctx, proposeTimeout)
		defer cancel()
		err := t.proposeNow(ctx, command)
		if done != nil {
			done(err)
		}
		t.mu.Lock()
		delete(t.inFlight, about)
		t.mu.Unlock()
	})
}

// proposeNow proposes a command in this term only.
func (t *term) proposeNow(ctx context.Context, command raftmeta.Command) error {
	if t.over() {
		return raftmeta.ErrNotLeader
	}
	_, err := t.meta.ProposeAsLeader(ctx, command)
	var rejection raftmeta.Rejection
	outcome := "committed"
	switch {
	case errors.As(err, &rejection):
		outcome = "rejected"
		t.c.n.log.Debug("a proposal of the controller was overtaken", "command", fmt.Sprintf("%T", command), "err", err)
	case err != nil:
		outcome = "failed"
		t.c.n.log.Warn("a proposal of the controller failed", "command", fmt.Sprintf("%T", command), "err", err)
	}
	t.c.n.metrics.proposals.WithLabelValues(outcome).Inc()
	return err
}
