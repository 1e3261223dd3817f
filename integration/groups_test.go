package integration

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

const sessionTimeout = 6 * time.Second // the shortest that brokers allow

// groupTopic creates a topic for a group to share.
func groupTopic(ctx context.Context, t *testing.T, addr, topic string, partitions int) {
	t.Helper()
	cl, err := newFranz(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	if err := cl.create(ctx, topic, partitions, 1, nil); err != nil {
		t.Fatal(err)
	}
}

// TestGroups has one broker for the cases below it.
func TestGroups(t *testing.T) {
	b := startBroker(t)
	t.Run("TakeOver", func(t *testing.T) { t.Parallel(); testTakeOver(t, b) })
	t.Run("StaticMember", func(t *testing.T) { t.Parallel(); testStaticMember(t, b) })
	t.Run("HundredMembers", func(t *testing.T) { t.Parallel(); testHundredMembers(t, b) })
}

// testTakeOver kills one of two members, of different clients: the other has everything as soon as the session of the
// dead one is over.
func testTakeOver(t *testing.T, b *broker) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	groupTopic(ctx, t, b.kafka, "takeover", groupPartitions)
	survivor, err := joinFranz(b.kafka, "takeover", "takeover")
	if err != nil {
		t.Fatal(err)
	}
	defer survivor.leave(ctx)
	cat, err := newKcat(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	victim, err := cat.join(ctx, "takeover", "takeover")
	if err != nil {
		t.Fatal(err)
	}
	half := groupPartitions / 2
	if !eventually(ctx, 20*time.Second, func() bool { return survivor.assigned() == half && victim.assigned() == half }) {
		t.Errorf("members hold %d and %d partitions, want %d each", survivor.assigned(), victim.assigned(), half)
	}
	if err := victim.(*kcatMember).kill9(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	const slack = 3 * time.Second // a heartbeat, a rejoin, and a loaded machine
	if !eventually(ctx, sessionTimeout+slack, func() bool { return survivor.assigned() == groupPartitions }) {
		t.Fatalf("%v after the kill the survivor holds %d partitions of %d", time.Since(killed), survivor.assigned(), groupPartitions)
	}
	t.Logf("taken over %v after the kill", time.Since(killed).Round(time.Millisecond))
}

// testStaticMember restarts the two static members of a group in turn (KIP-345). Neither restart makes a generation, for
// the leader's no more than for the follower's, and the restarted member gets its old share.
func testStaticMember(t *testing.T, b *broker) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	groupTopic(ctx, t, b.kafka, "static", groupPartitions)
	static := func(instance string) *franzMember {
		m, err := joinFranz(b.kafka, "static", "static", kgo.InstanceID(instance), kgo.SessionTimeout(20*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	half := groupPartitions / 2
	members := map[string]*franzMember{"one": static("one"), "two": static("two")}
	if !eventually(ctx, 20*time.Second, func() bool { return members["one"].assigned() == half && members["two"].assigned() == half }) {
		t.Fatalf("members hold %d and %d partitions, want %d each", members["one"].assigned(), members["two"].assigned(), half)
	}
	_, generation := members["one"].cl.GroupMetadata()
	for restarted, other := range map[string]string{"one": "two", "two": "one"} {
		if err := members[restarted].leave(ctx); err != nil { // a static member says no goodbye
			t.Fatal(err)
		}
		members[restarted] = static(restarted)
		if !eventually(ctx, 15*time.Second, func() bool { return members[restarted].assigned() == half }) {
			t.Errorf("%s was restarted and holds %d partitions, want %d", restarted, members[restarted].assigned(), half)
		}
		// Three heartbeats would have told the other member of a rebalance.
		disturbed := eventually(ctx, time.Second, func() bool { return members[other].assigned() != half })
		_, now := members[other].cl.GroupMetadata()
		if disturbed || now != generation {
			t.Errorf("the restart of %s took the group from generation %d to %d", restarted, generation, now)
		}
	}
	for _, m := range members {
		if err := m.leave(ctx); err != nil {
			t.Error(err)
		}
	}
}

// testHundredMembers lets a hundred members join at once. They settle with one partition each, in one generation.
func testHundredMembers(t *testing.T, b *broker) {
	const crowd = 100
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	groupTopic(ctx, t, b.kafka, "crowd", crowd)
	members := make([]*franzMember, crowd)
	began := time.Now()
	var join errgroup.Group
	for i := range members {
		join.Go(func() (err error) {
			members[i], err = joinFranz(b.kafka, "crowd", "crowd", kgo.RebalanceTimeout(20*time.Second))
			return err
		})
	}
	if err := join.Wait(); err != nil {
		t.Fatal(err)
	}
	settled := func() bool {
		_, first := members[0].cl.GroupMetadata()
		for _, m := range members {
			_, generation := m.cl.GroupMetadata()
			if m.assigned() != 1 || generation != first {
				return false
			}
		}
		return true
	}
	if !eventually(ctx, time.Minute, settled) {
		shares := map[int]int{}
		for _, m := range members {
			shares[m.assigned()]++
		}
		t.Errorf("after a minute the members hold (partitions: members) %v, want one each", shares)
	}
	_, generation := members[0].cl.GroupMetadata()
	t.Logf("settled %v after the first join, in generation %d", time.Since(began).Round(time.Millisecond), generation)
	var leave errgroup.Group
	for _, m := range members {
		leave.Go(func() error { return m.leave(ctx) })
	}
	if err := leave.Wait(); err != nil {
		t.Error(err)
	}
}
