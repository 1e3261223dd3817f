package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/raftmeta"
)

const (
	// healthInterval is how often the Raft leader asks every server how far its log goes.
	healthInterval = time.Second
	// healthTimeout bounds one such question; a server that does not answer by then is not well.
	healthTimeout = time.Second
	// changeTimeout bounds one change of the Raft group.
	changeTimeout = 10 * time.Second
	// maxLag is how many entries a server may be behind the leader and still count as keeping up.
	maxLag = 256
	// joinPause is between the first two tries to get into the Raft group, and maxJoinPause between later ones.
	joinPause    = 10 * time.Millisecond
	maxJoinPause = 320 * time.Millisecond
)

// keepMembers has the Raft group follow the servers' health while the term lasts; see seats.
func (t *term) keepMembers(ctx context.Context) {
	seats := newSeats(t.meta.ServerID(), t.c.n.o.Voters, t.c.n.o.PromoteAfter)
	seats.registered = func(broker int32) bool {
		_, ok := t.meta.Image().Broker(broker)
		return ok
	}
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		members, err := t.meta.Members()
		if err != nil || t.over() {
			continue
		}
		seats.observe(members, t.c.n.askHealth(ctx, t.meta, members), t.c.n.o.Now())
		if change, ok := seats.next(); ok && !t.over() {
			t.c.n.changeSeat(ctx, t.meta, change)
		}
	}
}

// askHealth tells which servers keep up with this one.
func (n *Node) askHealth(ctx context.Context, meta *raftmeta.Node, members []raftmeta.Member) map[string]bool {
	own := meta.Progress()
	well := make([]bool, len(members))
	var asking errgroup.Group
	asking.SetLimit(8)
	for i, m := range members {
		asking.Go(func() error {
			well[i] = m.ID == meta.ServerID() || n.keepsUp(ctx, m.Server, own)
			return nil
		})
	}
	_ = asking.Wait() // nobody returns an error
	health := map[string]bool{}
	for i, m := range members {
		health[m.ID] = well[i]
	}
	return health
}

func (n *Node) keepsUp(ctx context.Context, s raftmeta.Server, own raftmeta.Progress) bool {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	answer, err := n.Call(ctx, n.addressOf(s), MethodHealth, []byte(s.ID))
	if err != nil || len(answer) != 16 {
		return false
	}
	term, rest, _ := readUint64(answer)
	last, _, _ := readUint64(rest)
	return term == own.Term && last+maxLag >= own.LastIndex
}

// serveHealth says how far this server's log goes, if it is the server that is meant.
func (n *Node) serveHealth(_ context.Context, body []byte) ([]byte, error) {
	meta := n.metadata()
	if meta == nil || string(body) != meta.ServerID() {
		return nil, fmt.Errorf("%w: this is %s, or it is starting", ErrRefused, n.self)
	}
	p := meta.Progress()
	return appendUint64(appendUint64(nil, p.Term), p.LastIndex), nil
}

func (n *Node) changeSeat(ctx context.Context, meta *raftmeta.Node, change seatChange) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	var err error
	what := "promote"
	if change.remove {
		what = "remove"
		err = meta.RemoveServer(ctx, change.server.ID)
	} else {
		err = meta.Promote(ctx, change.server)
	}
	if err != nil {
		n.log.Warn("the Raft group was not changed", "change", what, "server", change.server.ID, "err", err)
		return
	}
	n.metrics.membershipMoves.WithLabelValues(what).Inc()
	n.log.Info("the Raft group changed", "change", what, "server", change.server.ID, "reason", change.reason)
}

// Join asks until this server is in the Raft group at its present address, as a follower without a vote if
// it is new. It fails when another process runs under this node's id.
func (n *Node) Join(ctx context.Context) error {
	meta := n.metadata()
	if meta == nil {
		return errors.New("cluster: Join before Attach")
	}
	ctx, cancel := n.whileOpen(ctx)
	defer cancel()
	said := ""
	for pause := joinPause; ; pause = min(2*pause, maxJoinPause) {
		err := n.joinGroup(ctx, meta)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrRefused):
			return fmt.Errorf("join the Raft group: %w", err)
		case ctx.Err() != nil:
			return fmt.Errorf("join the Raft group: %w: %w", ctx.Err(), err)
		case err.Error() != said && pause == maxJoinPause:
			said = err.Error()
			n.log.Info("this server is not in the Raft group yet, trying on", "err", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// joinGroup is one try. That its own log has this server in the group proves nothing before a leader is heard
// from: it may have been removed meanwhile, and nobody would tell it.
func (n *Node) joinGroup(ctx context.Context, meta *raftmeta.Node) error {
	own := raftmeta.Server{ID: meta.ServerID(), Address: n.peers.Address()}
	members, err := meta.Members()
	if err != nil {
		return err
	}
	if _, led := meta.Leader(); led && slices.ContainsFunc(members, func(m raftmeta.Member) bool { return m.Server == own }) {
		return nil
	}
	if meta.IsLeader() {
		return meta.AddNonvoter(ctx, own) // itself, at a new address
	}
	body := appendPeerAddress([]byte{mayForward}, own.Address)
	body = append(body, own.ID...)
	err = errors.New("no other member of the cluster is known, and this one does not lead")
	for _, address := range n.whoToAsk(members) {
		if _, err = n.Call(ctx, address, MethodAddServer, body); err == nil || errors.Is(err, ErrRefused) {
			return err
		}
	}
	return err
}

// whoToAsk lists peer addresses of members of the cluster, without repetition.
func (n *Node) whoToAsk(members []raftmeta.Member) []string {
	seen := map[string]bool{n.peers.Address(): true}
	var list []string
	add := func(address string) {
		if !seen[address] {
			seen[address] = true
			list = append(list, address)
		}
	}
	heard, _ := n.gossip.view()
	for _, m := range heard {
		if m.standing == standingFormed && m.clusterID == n.ClusterID() {
			add(m.peerAddress)
		}
	}
	for _, m := range members {
		add(n.addressOf(m.Server))
	}
	return list
}

// The first byte of AddServer: whether who gets it may pass it on to the leader. Once is enough.
const (
	mustLead   byte = 0
	mayForward byte = 1
)

// serveAddServer lets a server in, here or by asking the leader. Body: mustLead or mayForward, length of
// the address uvarint, address, server id.
func (n *Node) serveAddServer(ctx context.Context, body []byte) ([]byte, error) {
	meta := n.metadata()
	if meta == nil || len(body) == 0 {
		return nil, fmt.Errorf("%w: the node is starting", ErrBusy)
	}
	address, id, ok := readPeerAddress(body[1:])
	who, err := parseServerID(string(id))
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: not a server: %w", ErrRefused, err)
	}
	if meta.IsLeader() {
		return nil, n.addServer(ctx, meta, who, raftmeta.Server{ID: string(id), Address: address})
	}
	leader, known := meta.Leader()
	if !known || body[0] != mayForward || leader.ID == meta.ServerID() {
		return nil, fmt.Errorf("%w: ask again", raftmeta.ErrNotLeader)
	}
	return n.Call(ctx, n.addressOf(leader), MethodAddServer, append([]byte{mustLead}, body[1:]...))
}

// addServer changes the Raft group, one server at a time. A node id is taken while the server that has it
// answers; when it does not, its directory was replaced, and at the latest its address is free.
func (n *Node) addServer(ctx context.Context, meta *raftmeta.Node, who identity, s raftmeta.Server) error {
	select {
	case n.joining <- struct{}{}:
		defer func() { <-n.joining }()
	case <-ctx.Done():
		return ctx.Err()
	}
	members, err := meta.Members()
	if err != nil {
		return err
	}
	for _, m := range members {
		switch old, err := parseServerID(m.ID); {
		case m.Server == s:
			return nil
		case err != nil || old == who || old.node != who.node && m.Address != s.Address:
			continue
		case n.answers(ctx, m.Server, old):
			return fmt.Errorf("%w: %w: %s answers at %s", ErrRefused, ErrNodeIDTaken, m.ID, n.addressOf(m.Server))
		case m.Address == s.Address: // Raft wants every address once
			if err := n.replaceServer(ctx, meta, members, m); err != nil {
				return err
			}
		}
	}
	if err := meta.AddNonvoter(ctx, s); err != nil {
		return err
	}
	n.metrics.membershipMoves.WithLabelValues("add").Inc()
	n.log.Info("the Raft group changed", "change", "add", "server", s.ID, "address", s.Address)
	return nil
}

// answers tells whether a server is still the one at its address.
func (n *Node) answers(ctx context.Context, s raftmeta.Server, id identity) bool {
	met, _ := n.peers.introduce(ctx, n.addressOf(s))
	return met.identity == id
}

// replaceServer removes a server whose place another one takes, if the rest can go on without it.
func (n *Node) replaceServer(ctx context.Context, meta *raftmeta.Node, members []raftmeta.Member, gone raftmeta.Member) error {
	health := n.askHealth(ctx, meta, members)
	if gone.Voter && !safeWithout(members, health, gone.ID) {
		return fmt.Errorf("%w: the Raft group has no reachable majority without %s", ErrBusy, gone.ID)
	}
	if err := meta.RemoveServer(ctx, gone.ID); err != nil {
		return err
	}
	n.metrics.membershipMoves.WithLabelValues("remove").Inc()
	n.log.Info("the Raft group changed", "change", "remove", "server", gone.ID, "reason", "its address belongs to another server now")
	return nil
}
