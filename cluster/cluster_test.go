package cluster

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

func TestLateNodesFollowAndThenVote(t *testing.T) {
	first := startAll(t, 1, newPlace(t, 1))
	activate(t, first...)
	var hosts = first
	for node := int32(2); node <= 3; node++ {
		h, err := newPlace(t, node).open(1, first[0].GossipAddress())
		if err != nil {
			t.Fatal(err)
		}
		bring(t, h)
		members, err := first[0].meta.Members()
		if err != nil || members[node-1].ID != h.ServerID() {
			t.Fatalf("members = %v, %v", members, err)
		}
		hosts = append(hosts, h)
	}
	oneCluster(t, hosts...)
	eventually(t, "three vote", func() bool { return voters(t, hosts[0]) == 3 })
	activate(t, hosts[1:]...)
}

func voters(t *testing.T, h *host) (count int) {
	t.Helper()
	members, err := h.meta.Members()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Voter {
			count++
		}
	}
	return count
}

func TestSecondNodeUnderOneIDIsRefused(t *testing.T) {
	first := startAll(t, 1, newPlace(t, 1))[0]
	if _, err := newPlace(t, 1).open(1, first.GossipAddress()); !errors.Is(err, ErrNodeIDTaken) {
		t.Errorf("open: %v", err)
	}
}

func TestNodeOfAnotherClusterIsRefused(t *testing.T) {
	first := startAll(t, 1, newPlace(t, 1))[0]
	p := newPlace(t, 2)
	p.cluster, p.hasState = newID(t), true
	if _, err := p.open(1, first.GossipAddress()); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("open: %v", err)
	}
	// And on the peer port, whatever gossip says.
	stranger, err := p.open(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.peers.introduce(testContext(t), first.Peers().Address()); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("hello: %v", err)
	}
}

func TestHelloIsForTheOneThatIsMeant(t *testing.T) {
	own, other := identity{1, newID(t)}, identity{1, newID(t)} // the same node on another directory
	here, elsewhere := newID(t), newID(t)
	for name, c := range map[string]struct {
		kind byte
		from uuid.ID
		to   identity
		own  uuid.ID
		want byte
	}{
		"member":                 {kindKafka, here, identity{}, here, helloOK},
		"raft":                   {kindRaft, here, own, here, helloOK},
		"raft for another":       {kindRaft, here, other, here, helloOtherNode},
		"raft from outside":      {kindRaft, elsewhere, own, here, helloOtherCluster},
		"raft without a cluster": {kindRaft, uuid.ID{}, own, here, helloOtherCluster},
		"raft too early":         {kindRaft, here, own, uuid.ID{}, helloNotFormed},
		"both new":               {kindKafka, uuid.ID{}, identity{}, uuid.ID{}, helloOK},
		"newcomer":               {kindKafka, uuid.ID{}, identity{}, here, helloOK},
		"member too early":       {kindKafka, here, identity{}, uuid.ID{}, helloNotFormed},
		"stranger":               {kindKafka, elsewhere, identity{}, here, helloOtherCluster},
		"unknown kind":           {'X', here, identity{}, here, helloUnknown},
	} {
		h := hello{kind: c.kind, clusterID: c.from, to: c.to}
		if got, err := h.judge(helloVersion, c.own, own); got != c.want || (err == nil) != (got == helloOK) {
			t.Errorf("%s: %d %v, want %d", name, got, err, c.want)
		}
	}
}

func TestGossipNeedsTheKey(t *testing.T) {
	key := func(b byte) func(*Options) {
		return func(o *Options) { o.GossipKey = []byte(strings.Repeat(string(b), 32)) }
	}
	a, b, c := newPlace(t, 1), newPlace(t, 2), newPlace(t, 3)
	a.options, b.options, c.options = key('a'), key('a'), key('c')
	first := startAll(t, 1, a)[0]
	stranger, err := c.open(1, first.GossipAddress())
	if err != nil {
		t.Fatal(err)
	}
	friend, err := b.open(1, first.GossipAddress())
	if err != nil {
		t.Fatal(err)
	}
	bring(t, friend)
	if members, _ := stranger.gossip.view(); len(members) != 0 {
		t.Errorf("the stranger knows %v", members)
	}
	if members, _ := first.gossip.view(); len(members) != 1 || members[0].node != 2 {
		t.Errorf("the first node knows %v", members)
	}
}

func TestGossipOffLoopbackWantsAKey(t *testing.T) {
	p := newPlace(t, 1)
	p.options = func(o *Options) { o.GossipListen = "0.0.0.0:0" }
	if _, err := p.open(1); err == nil || !strings.Contains(err.Error(), "needs a key") {
		t.Errorf("open: %v", err)
	}
}

func TestPeersProveThemselves(t *testing.T) {
	trusted, stranger := newAuthority(t), newAuthority(t)
	places := []*place{newPlace(t, 1), newPlace(t, 2), newPlace(t, 3)}
	for _, p := range places {
		p.options = func(o *Options) { o.TLS = trusted.config(t) }
	}
	hosts := startAll(t, 3, places...)
	oneCluster(t, hosts...)
	activate(t, hosts...)
	for name, security := range map[string]*tls.Config{
		"plain": nil, "another authority": stranger.config(t), "no certificate": {RootCAs: trusted.pool},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := NewPeers(listener, "", security, testLog(t, 9))
		p.SetClusterID(hosts[0].ClusterID())
		if _, err := p.introduce(testContext(t), hosts[0].Peers().Address()); err == nil {
			t.Errorf("%s: let in", name)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDeadBrokerIsFencedAtOnce(t *testing.T) {
	places := []*place{newPlace(t, 1), newPlace(t, 2), newPlace(t, 3)}
	for _, p := range places {
		p.options = func(o *Options) { o.SessionTimeout = time.Hour } // only the closed connection can tell
	}
	hosts := startAll(t, 3, places...)
	activate(t, hosts...)
	leader := leaderOf(t, hosts...)
	for _, victim := range hosts {
		if victim != leader {
			victim.kill()
			awaitState(t, leader, victim.place.node, raftmeta.Fenced)
			return
		}
	}
}

func TestSilentBrokerIsFencedAndComesBack(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 1), newPlace(t, 2), newPlace(t, 3))
	activate(t, hosts...)
	leader := leaderOf(t, hosts...)
	silent := hosts[0]
	if silent == leader {
		silent = hosts[1]
	}
	silent.broker.change(func() { silent.broker.epoch = -1 }) // its port stays open
	awaitState(t, leader, silent.place.node, raftmeta.Fenced)
	silent.SetBroker(silent.epoch)
	awaitState(t, leader, silent.place.node, raftmeta.Active)
	silent.Unwell("disk")
	awaitState(t, leader, silent.place.node, raftmeta.Fenced)
	silent.Unwell("")
	awaitState(t, leader, silent.place.node, raftmeta.Active)
}

func TestControllerMovesWithTheLead(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 1), newPlace(t, 2), newPlace(t, 3))
	activate(t, hosts...)
	old := leaderOf(t, hosts...)
	if err := old.handOverLead(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old controller stops", func() bool { return !old.isController() })
	next := leaderOf(t, hosts...)
	if next == old {
		t.Fatal("the lead came back")
	}
	eventually(t, "all know the controller", func() bool {
		for _, h := range hosts {
			if h.Controller() != next.place.node {
				return false
			}
		}
		return true
	})
	// A follower's proposals go through the new one; the old controller's own do not.
	if _, err := old.meta.ProposeAsLeader(testContext(t), &raftmeta.InitCluster{ClusterID: old.ClusterID()}); !errors.Is(err, raftmeta.ErrNotLeader) {
		t.Errorf("the old controller proposes: %v", err)
	}
	if _, err := old.propose(testContext(t), &raftmeta.SetDraining{ID: 1, Draining: true}); err != nil {
		t.Errorf("propose on a follower: %v", err)
	}
	next.kill() // and again, by death
	hosts = without(hosts, next)
	last := leaderOf(t, hosts...)
	awaitState(t, last, next.place.node, raftmeta.Fenced)
	for _, h := range hosts {
		awaitState(t, last, h.place.node, raftmeta.Active)
		if h.Isolated() {
			t.Errorf("node %d feels isolated", h.place.node)
		}
	}
}

func without(hosts []*host, gone *host) (rest []*host) {
	for _, h := range hosts {
		if h != gone {
			rest = append(rest, h)
		}
	}
	return rest
}

func TestNodeWithoutAMajorityIsIsolated(t *testing.T) {
	places := []*place{newPlace(t, 1), newPlace(t, 2), newPlace(t, 3)}
	for _, p := range places {
		p.options = func(o *Options) { o.IsolationGrace = 500 * time.Millisecond }
	}
	hosts := startAll(t, 3, places...)
	activate(t, hosts...)
	if hosts[0].Isolated() {
		t.Error("isolated among friends")
	}
	hosts[1].kill()
	hosts[2].kill()
	eventually(t, "the last node notices", hosts[0].Isolated)
}

// TestRaftIsContact: a heartbeat may still wait for a controller that has died when its successor has long been heard.
func TestRaftIsContact(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 1), newPlace(t, 2), newPlace(t, 3))
	activate(t, hosts...)
	for _, h := range hosts {
		long := h.o.Now().Add(-time.Hour)
		h.broker.contact.Store(&long) // as if no heartbeat had been answered, nor looked for contact, since
		if h.OutOfTouch() || h.Isolated() {
			t.Errorf("node %d takes itself for cut off, though Raft has a leader", h.o.NodeID)
		}
	}
}

func TestLeaveIsOrderly(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 1), newPlace(t, 2), newPlace(t, 3))
	activate(t, hosts...)
	leader := leaderOf(t, hosts...)
	if err := leader.Leave(testContext(t)); err != nil {
		t.Fatal(err)
	}
	rest := without(hosts, leader)
	if b, _ := rest[0].meta.Image().Broker(leader.place.node); b.State != raftmeta.ShuttingDown {
		t.Errorf("state %d", b.State)
	}
	next := leaderOf(t, rest...)
	eventually(t, "gossip knows", func() bool {
		members, _ := next.gossip.view()
		return len(members) == 1
	})
	leader.kill()
	awaitState(t, next, leader.place.node, raftmeta.Fenced)
}

// TestWipedNodeIsSomebodyElse: a voter comes back on an empty directory at its old address. Its old self
// never answers again, and it gets a vote of its own.
func TestWipedNodeIsSomebodyElse(t *testing.T) {
	places := []*place{newPlace(t, 1), newPlace(t, 2), newPlace(t, 3)}
	hosts := startAll(t, 3, places...)
	activate(t, hosts...)
	leader := leaderOf(t, hosts...)
	victim := hosts[0]
	if victim == leader {
		victim = hosts[1]
	}
	oldID, address := victim.ServerID(), victim.Peers().Address()
	victim.kill()
	awaitState(t, leader, victim.place.node, raftmeta.Fenced)

	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := newPlace(t, victim.place.node).openOn(listener, 3, leader.GossipAddress())
	if err != nil {
		t.Fatal(err)
	}
	bring(t, fresh)
	eventually(t, "the new directory votes and the old one is gone", func() bool {
		members, err := leader.meta.Members()
		if err != nil {
			t.Fatal(err)
		}
		votes := false
		for _, m := range members {
			if m.ID == oldID {
				return false
			}
			votes = votes || m.ID == fresh.ServerID() && m.Voter
		}
		return votes && len(members) == 3
	})
	activate(t, fresh)
}

func TestCallsKeepTheirErrors(t *testing.T) {
	hosts := startAll(t, 1, newPlace(t, 1))
	h, address := hosts[0], hosts[0].Peers().Address()
	ctx := testContext(t)
	for _, sentinel := range []error{
		ErrRefused, ErrBusy, raftmeta.ErrNotLeader, raftmeta.ErrOutcomeUnknown, raftmeta.ErrUnknownTopic, raftmeta.ErrInvalidRequest,
	} {
		h.answerLogEnd(func([]byte) ([]byte, error) { return nil, sentinel })
		if _, err := h.Call(ctx, address, MethodLogEnd, nil); !errors.Is(err, sentinel) {
			t.Errorf("%v arrived as %v", sentinel, err)
		}
	}
	if _, err := h.Call(ctx, address, 200, nil); !errors.Is(err, ErrUnknownMethod) {
		t.Errorf("unknown method: %v", err)
	}
	h.answerLogEnd(func(body []byte) ([]byte, error) { return append([]byte("<"), body...), nil })
	if got, err := h.Call(ctx, address, MethodLogEnd, []byte("x")); err != nil || string(got) != "<x" {
		t.Errorf("answer %q, %v", got, err)
	}
	large := make([]byte, maxCall-1)
	h.pool.close() // so that the large one is the first on its connection
	h.pool = newLinkPool(h.peers)
	if got, err := h.Call(ctx, address, MethodLogEnd, large); err != nil || len(got) != maxCall {
		t.Errorf("a large call: %d bytes, %v", len(got), err)
	}
	if _, err := h.Call(ctx, "127.0.0.1:1", MethodLogEnd, nil); !errors.Is(err, ErrNotSent) {
		t.Errorf("nobody there: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Call(gone, address, MethodLogEnd, nil); err == nil {
		t.Error("a call without time succeeds")
	}
}

// TestRecoveryTakesTheFurthestLog: both replicas of a partition came back under suspicion.
func TestRecoveryTakesTheFurthestLog(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 1), newPlace(t, 2), newPlace(t, 3))
	activate(t, hosts...)
	ctx := testContext(t)
	topic := newID(t)
	if _, err := hosts[0].propose(ctx, &raftmeta.CreateTopic{ID: topic, Name: "a", Assignments: [][]int32{{2, 3}}, Config: map[string]string{"min.insync.replicas": "2"}}); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts[1:] { // lost disks: new runs on other storage
		h.broker.change(func() { h.broker.epoch = -1 })
		awaitState(t, hosts[0], h.place.node, raftmeta.Fenced)
		result, err := h.propose(ctx, &raftmeta.RegisterBroker{
			ID: h.place.node, Incarnation: newID(t), StorageIDs: []uuid.ID{newID(t)}, KafkaHost: "h", KafkaPort: 1,
			PeerAddress: h.Peers().Address(), Suspect: true, Previous: h.epoch,
		})
		if err != nil {
			t.Fatal(err)
		}
		h.SetBroker(result.BrokerEpoch)
	}
	for _, h := range hosts[1:] {
		awaitState(t, hosts[0], h.place.node, raftmeta.Active)
	}
	partition := func() *raftmeta.Partition {
		found, _ := hosts[0].meta.Image().TopicByID(topic)
		return &found.Partitions[0]
	}
	if p := partition(); p.Leader != raftmeta.NoLeader || len(p.LastKnownELR) != 2 {
		t.Fatalf("partition %+v", p)
	}
	ends := func(epoch int32, offset int64) func([]byte) ([]byte, error) {
		return func(body []byte) ([]byte, error) {
			if want := appendPartition(nil, topic, 0); string(body) != string(want) {
				t.Errorf("asked for %x", body)
			}
			return appendUint64(binary.BigEndian.AppendUint32(nil, uint32(epoch)), uint64(offset)), nil
		}
	}
	hosts[1].answerLogEnd(ends(4, 100))
	hosts[2].answerLogEnd(ends(5, 10))
	eventually(t, "the replica of the later epoch leads", func() bool { return partition().Leader == 3 })
}
