package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
)

// brokerState is what this node's heartbeats say of its broker.
type brokerState struct {
	contact atomic.Pointer[time.Time] // last contact with a Raft leader; nil before Run
	leased  atomic.Pointer[time.Time] // when the last heartbeat was sent that another node answered as the controller; see Leased
	known   atomic.Pointer[time.Time] // see current; nil for never

	learning atomic.Pointer[knowledge] // what is to be applied for known to be later; nil for nothing

	mu       sync.Mutex // guards the fields below
	epoch    int64      // of the registration, -1 before
	loaded   bool
	unwell   string
	leaving  bool
	released chan struct{} // closed when the controller lets this broker stop
	free     bool          // released is closed
	kick     chan struct{} // holds a token when a heartbeat is due at once
}

func (b *brokerState) init() {
	b.epoch, b.released, b.kick = -1, make(chan struct{}), make(chan struct{}, 1)
}

func (b *brokerState) change(change func()) {
	b.mu.Lock()
	change()
	b.mu.Unlock()
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// SetBroker says under which broker epoch this run is registered: heartbeats begin.
func (n *Node) SetBroker(epoch int64) { n.broker.change(func() { n.broker.epoch = epoch }) }

// SetLoaded says that the logs are loaded: heartbeats stop asking to stay fenced.
func (n *Node) SetLoaded() { n.broker.change(func() { n.broker.loaded = true }) }

// Unwell says why this broker should be fenced although it is alive, or with "" that it is well again
// (replication.md 5.4).
func (n *Node) Unwell(reason string) {
	n.broker.change(func() {
		if n.broker.unwell != reason {
			n.log.Warn("this broker's health changed", "unwell", reason)
		}
		n.broker.unwell = reason
	})
}

// auditTag is the tagged field of a heartbeat that carries the sender's last fingerprint: log index uint64,
// hash [32]. divergedTag in the answer, with no content, says that the sender's state differs from what the
// others agree on; indexTag carries the log index uint64 that the controller has applied. Kafka's own tags are
// far below.
const (
	auditTag    = 10_000
	divergedTag = 10_000
	indexTag    = 10_001
)

// heartbeat is the next one, or false if there is none to send.
func (n *Node) heartbeat(meta *raftmeta.Node) (*kmsg.BrokerHeartbeatRequest, bool) {
	b := &n.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.epoch < 0 {
		return nil, false
	}
	image := meta.Image()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch = n.o.NodeID, b.epoch
	req.CurrentMetadataOffset = int64(image.Index())
	req.WantFence = !b.loaded || b.unwell != ""
	req.WantShutdown = b.leaving
	if audit := image.Audit(); audit.Index > 0 {
		req.UnknownTags.Set(auditTag, append(appendUint64(nil, audit.Index), audit.Hash[:]...))
	}
	return req, true
}

// readAudit finds the fingerprint in a heartbeat.
func readAudit(req *kmsg.BrokerHeartbeatRequest) (raftmeta.Audit, bool) {
	var audit raftmeta.Audit
	found := false
	req.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag != auditTag || len(value) != 8+len(audit.Hash) {
			return
		}
		index, hash, _ := readUint64(value)
		audit, found = raftmeta.Audit{Index: index, Hash: raftmeta.Hash(hash)}, true
	})
	return audit, found
}

// touch notes a contact with a Raft leader.
func (n *Node) touch() { n.touchedAt(n.o.Now()) }

// touchedAt notes one that was at a moment, if it is the latest.
func (n *Node) touchedAt(at time.Time) {
	for {
		known := n.broker.contact.Load()
		if known != nil && !at.After(*known) || n.broker.contact.CompareAndSwap(known, &at) {
			return
		}
	}
}

// watchContact notes when Raft itself heard from a leader, or leads.
func (n *Node) watchContact(meta *raftmeta.Node) {
	if last := meta.LastContact(); !last.IsZero() {
		n.touchedAt(n.o.Now().Add(-time.Since(last)))
	}
}

// beat sends the heartbeats, over a connection of their own so that nothing stands in their way.
func (n *Node) beat(ctx context.Context) error {
	ticker := time.NewTicker(n.o.HeartbeatInterval)
	defer ticker.Stop()
	var to *Link
	defer func() {
		if to != nil {
			to.Close()
		}
	}()
	failing := ""
	for {
		meta := n.metadata()
		n.watchContact(meta)
		var err error
		if req, ok := n.heartbeat(meta); ok {
			to, err = n.sendHeartbeat(ctx, meta, to, req)
			failing = n.reportBeat(ctx, failing, err)
		}
		select {
		case <-ticker.C:
		case <-n.broker.kick:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reportBeat counts a heartbeat, logs when the outcome is news, and returns what it said.
func (n *Node) reportBeat(ctx context.Context, said string, err error) string {
	if err == nil {
		n.metrics.heartbeats.WithLabelValues("answered").Inc()
		if said != "" {
			n.log.Info("the controller answers heartbeats")
		}
		return ""
	}
	if ctx.Err() != nil {
		return said
	}
	n.metrics.heartbeats.WithLabelValues("failed").Inc()
	if said == "" {
		n.log.Warn("heartbeats fail, trying on", "err", err)
	}
	return err.Error()
}

// sendHeartbeat sends one to the controller, and returns the link for the next.
func (n *Node) sendHeartbeat(ctx context.Context, meta *raftmeta.Node, to *Link, req *kmsg.BrokerHeartbeatRequest) (*Link, error) {
	leader, ok := meta.Leader()
	if !ok {
		return to, errors.New("the Raft group has no leader")
	}
	if leader.ID == meta.ServerID() {
		sent := n.o.Now()
		return to, n.heartbeatAnswer(n.controller.heartbeat(req), sent)
	}
	if address := n.addressOf(leader); to == nil || to.Address() != address {
		if to != nil {
			to.Close()
		}
		to = n.peers.Link(address)
	}
	ctx, cancel := context.WithTimeout(ctx, n.o.SessionTimeout/2) // one lost answer must not cost the session
	defer cancel()
	sent := n.o.Now()
	resp, err := to.Do(ctx, req)
	if err != nil {
		return to, err
	}
	answer := resp.(*kmsg.BrokerHeartbeatResponse)
	n.broker.renew(sent, answer)
	return to, n.heartbeatAnswer(answer, sent)
}

// heartbeatAnswer does what the controller says.
func (n *Node) heartbeatAnswer(resp *kmsg.BrokerHeartbeatResponse, sent time.Time) error {
	err := kerr.ErrorForCode(resp.ErrorCode)
	switch {
	case errors.Is(err, kerr.StaleBrokerEpoch):
		err = fmt.Errorf("another run of broker %d has registered: %w", n.o.NodeID, err)
		n.o.Fatal(err)
		return err
	case err != nil:
		return err
	}
	n.touch()
	heard := knowledge{sent: sent}
	resp.UnknownTags.Each(func(tag uint32, value []byte) {
		switch tag {
		case divergedTag:
			n.o.Fatal(errDiverged)
		case indexTag:
			heard.index, _, _ = readUint64(value)
		}
	})
	if heard.index > 0 { // else the controller did not say how far it is, and this node cannot know as much
		n.current() // makes room, if what was heard before is applied
		n.learn(heard)
	}
	if resp.ShouldShutdown {
		n.broker.mu.Lock()
		if n.broker.leaving && !n.broker.free {
			n.broker.free = true
			close(n.broker.released)
		}
		n.broker.mu.Unlock()
	}
	return nil
}

// errDiverged stops a node (replication.md 4.2, I20). Its files stay for whoever wants to know why.
var errDiverged = errors.New("the metadata of this node differ from what the other nodes agree on")

// Leave is the orderly goodbye (replication.md 5.6). It returns when the controller lets the broker stop, or
// with ctx's error when that takes longer. Run must be running. In either case others hear by gossip that
// this node leaves, and a Raft leadership is handed on.
func (n *Node) Leave(ctx context.Context) error {
	n.broker.mu.Lock()
	registered, released := n.broker.epoch >= 0, n.broker.released
	n.broker.mu.Unlock()
	n.broker.change(func() { n.broker.leaving = true })
	var err error
	if registered {
		select {
		case <-released:
		case <-ctx.Done():
			err = fmt.Errorf("leave: the controller has not let go: %w", ctx.Err())
		}
	}
	return errors.Join(err, n.handOverLead(), n.gossip.leave(goodbye))
}

const (
	goodbye      = time.Second     // for gossip to spread that this node leaves
	handOverTime = 3 * time.Second // for another server to win the election
)

// handOverLead makes another server the Raft leader, if this one is and there is another.
func (n *Node) handOverLead() error {
	meta := n.metadata()
	if meta == nil || !meta.IsLeader() {
		return nil
	}
	members, err := meta.Members()
	if err != nil {
		return err
	}
	voters := 0
	for _, m := range members {
		if m.Voter {
			voters++
		}
	}
	if voters < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverTime)
	defer cancel()
	if err := meta.TransferLeadership(ctx, nil); err != nil {
		n.log.Warn("the Raft leadership was not handed over, the others will elect", "err", err)
	}
	return nil
}
