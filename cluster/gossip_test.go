package cluster

import (
	"log/slog"
	"net"
	"testing"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// TestANodeThatCameBackElsewhereIsNotLookedForAnyMore: a lost node is called at its old address until it is back, wherever
// that is, and not for ever.
func TestANodeThatCameBackElsewhereIsNotLookedForAnyMore(t *testing.T) {
	g := &gossip{
		logger: slog.New(slog.DiscardHandler), metrics: newMetrics(prometheus.NewRegistry()), self: member{identity: identity{node: 1}},
		runs: map[string]member{}, lost: map[int32]string{}, news: make(chan struct{}),
	}
	run := func(number uint64, port uint16) *memberlist.Node {
		m := member{identity: identity{node: 2, directory: uuid.ID{2}}, run: number, peerAddress: "127.0.0.1:1"}
		return &memberlist.Node{Name: m.name(), Addr: net.IPv4(127, 0, 0, 1), Port: port, Meta: m.append(nil), State: memberlist.StateDead}
	}
	g.heard(run(1, 7001), "")
	g.NotifyLeave(run(1, 7001))
	if g.lost[2] != "127.0.0.1:7001" {
		t.Errorf("a node that went silent is looked for at %q", g.lost)
	}
	g.heard(run(2, 7002), "")
	if len(g.lost) != 0 {
		t.Errorf("a node that is back is looked for at %q", g.lost)
	}
	g.NotifyLeave(run(1, 7001)) // news of the run before, late
	if len(g.lost) != 0 {
		t.Errorf("a node that is here is looked for at %q", g.lost)
	}
}
