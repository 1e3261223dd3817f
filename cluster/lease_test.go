package cluster

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
)

func TestLeaseIsCountedFromSending(t *testing.T) {
	now := time.Unix(1000, 0)
	n := &Node{o: Options{SessionTimeout: time.Second, Now: func() time.Time { return now }}}
	n.broker.init()
	if n.Leased() {
		t.Error("leased before any answer")
	}
	answer := kmsg.NewPtrBrokerHeartbeatResponse()
	answer.IsFenced = false // its default is true
	n.broker.renew(now, answer)
	for _, at := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second - 1, true}, {time.Second, false}, {time.Hour, false}} {
		now = time.Unix(1000, 0).Add(at.after)
		if n.Leased() != at.want {
			t.Errorf("after %v: leased %v", at.after, !at.want)
		}
	}
	n.broker.renew(now, answer)
	refusal := *answer
	refusal.ErrorCode = kerr.NotController.Code
	n.broker.renew(now.Add(time.Second), &refusal)
	if !n.Leased() {
		t.Error("who is not the controller took the lease")
	}
	if now = now.Add(time.Second); n.Leased() {
		t.Error("who is not the controller prolonged the lease")
	}
	n.broker.renew(now, answer)
	fenced := *answer
	fenced.IsFenced = true
	if n.broker.renew(now, &fenced); n.Leased() {
		t.Error("a fenced broker has a lease")
	}
}

// TestLeaseEndsBeforeTheFence: a broker whose heartbeats stop has no lease any more when others take over.
func TestLeaseEndsBeforeTheFence(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 1), newPlace(t, 2), newPlace(t, 3))
	activate(t, hosts...)
	leader := leaderOf(t, hosts...)
	silent := without(hosts, leader)[0]
	eventually(t, "all are leased", func() bool { return allLeased(hosts) })
	silent.broker.change(func() { silent.broker.epoch = -1 })
	fenced := func() bool {
		b, _ := leader.meta.Image().Broker(silent.place.node)
		return b.State == raftmeta.Fenced
	}
	eventually(t, "it is fenced, and loses its lease before", func() bool {
		over := fenced() // asked first
		if over && silent.Leased() {
			t.Error("fenced, and leased")
		}
		return over
	})
	silent.SetBroker(silent.epoch)
	eventually(t, "it comes back", func() bool { return silent.Leased() && !fenced() })
}

func allLeased(hosts []*host) bool {
	for _, h := range hosts {
		if !h.Leased() {
			return false
		}
	}
	return true
}

// TestLeaseAcrossAnElection logs for how long a survivor is without a lease when the controller dies or
// hands over.
func TestLeaseAcrossAnElection(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 1), newPlace(t, 2), newPlace(t, 3))
	activate(t, hosts...)
	eventually(t, "all are leased", func() bool { return allLeased(hosts) })
	gap := func(what string, old *host) {
		began, without := time.Now(), time.Duration(0)
		last := began
		eventually(t, what+": another controller, and all are leased", func() bool {
			now := time.Now()
			leased := allLeased(hosts)
			if !leased {
				without += now.Sub(last)
			}
			last = now
			for _, h := range hosts {
				if h != old && h.isController() && leased && now.Sub(began) > 2*time.Second { // past what was granted before
					return true
				}
			}
			return false
		})
		t.Logf("%s: some node without a lease for %v", what, without.Round(time.Millisecond))
		if without > 5*time.Second {
			t.Errorf("%s: without a lease for %v", what, without)
		}
	}
	old := leaderOf(t, hosts...)
	if err := old.handOverLead(); err != nil {
		t.Fatal(err)
	}
	gap("handed over", old)
	old = leaderOf(t, hosts...)
	old.kill()
	hosts = without(hosts, old)
	gap("killed", old)
}

// TestLoneNodeIsAlwaysLeased, also while its heartbeats are not answered.
func TestLoneNodeIsAlwaysLeased(t *testing.T) {
	hosts := startAll(t, 1, newPlace(t, 1))
	activate(t, hosts...)
	hosts[0].broker.change(func() { hosts[0].broker.epoch = -1 })
	awaitState(t, hosts[0], 1, raftmeta.Fenced) // which takes longer than any lease of another kind
	if !hosts[0].Leased() {
		t.Error("a lone node has lost its lease")
	}
}
