package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

func TestSurvivorTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		a, b := r.consume("a", ""), r.consume("b", "")
		time.Sleep(20 * time.Second)
		if got := owners(t, a, b); !slices.Equal(got, []int{6, 6}) {
			t.Errorf("two members have %v partitions", got)
		}
		b.kill()
		time.Sleep(testSession + testHeartbeat + 100*time.Millisecond)
		owners(t, a)
		if d := r.coordinator().Describe(DescribeRequest{Group: "g"}); d.State != Stable || len(d.Members) != 1 {
			t.Errorf("group is %+v", d)
		}
	})
}

func TestStaticMemberRestartsQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		a, b := r.consume("a", "ia"), r.consume("b", "ib")
		time.Sleep(20 * time.Second)
		before := [][]int32{a.assigned(), b.assigned()}
		for range 3 { // each in turn, so that the leader is among them
			a.kill()
			time.Sleep(testSession / 2)
			a = r.consume("a", "ia")
			time.Sleep(time.Second)
			b.kill()
			b = r.consume("b", "ib")
			time.Sleep(time.Second)
		}
		owners(t, a, b)
		if diff := cmp.Diff(before, [][]int32{a.assigned(), b.assigned()}); diff != "" {
			t.Errorf("assignment moved (-before +after):\n%s", diff)
		}
		if g, _ := r.store.Group("", "g"); g.Generation != 1 {
			t.Errorf("generation = %d after restarts, want 1", g.Generation)
		}
	})
}

func TestManyMembersSettleInFewRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		store.delay = 5 * time.Millisecond
		r := newRig(t, store)
		var all []*consumer
		for i := range 100 {
			all = append(all, r.consume(fmt.Sprintf("c%03d", i), ""))
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		d := r.coordinator().Describe(DescribeRequest{Group: "g"})
		if d.State != Stable || len(d.Members) != 100 {
			t.Errorf("group is %v with %d members", d.State, len(d.Members))
		}
		if g, _ := store.Group("", "g"); g.Generation != 1 {
			t.Errorf("100 members that start together took %d rounds, want 1", g.Generation)
		}
		owners(t, all...)
		// A second wave finds a Stable group: every member joins again, in few rounds all the same.
		for i := range 100 {
			all = append(all, r.consume(fmt.Sprintf("d%03d", i), ""))
		}
		time.Sleep(30 * time.Second)
		owners(t, all...)
		if g, _ := store.Group("", "g"); g.Generation > 3 {
			t.Errorf("100 more members took %d rounds, want at most 2", g.Generation-1)
		}
	})
}

func TestRestartKeepsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		a, b := r.consume("a", ""), r.consume("b", "ib")
		time.Sleep(20 * time.Second)
		for range 3 {
			r.halt()
			time.Sleep(2 * testSession) // longer than any session: nobody may be blamed for it
			r.start()
			time.Sleep(20 * time.Second)
		}
		owners(t, a, b)
		if g, _ := r.store.Group("", "g"); g.Generation != 1 || r.store.saved("g") != 1 {
			t.Errorf("generation = %d after restarts, want 1; saved %d times", g.Generation, r.store.saved("g"))
		}
		// The sessions run without anybody touching the group.
		a.kill()
		b.kill()
		r.halt()
		r.start()
		time.Sleep(testSession + time.Second)
		if g, _ := r.store.Group("", "g"); len(g.Members) != 0 || g.EmptySince == 0 || g.Generation < 2 {
			t.Errorf("after everybody fell silent: %+v", g)
		}
	})
}

// loner joins a group by version 3, alone, and syncs.
func (r *rig) loner(t *testing.T, group string) JoinReply {
	t.Helper()
	j := r.join(JoinRequest{
		Group: group, Version: 3, ClientID: "c", SessionTimeout: 10_000, RebalanceTimeout: 60_000, ProtocolType: "consumer",
		Protocols: []raftmeta.GroupProtocol{{Name: "range", Metadata: subscriptionOf("logs")}},
	})
	if j.Err != 0 {
		t.Fatalf("join: %v", kerr.ErrorForCode(j.Err))
	}
	if s := r.sync(SyncRequest{Group: group, Version: 3, MemberID: j.MemberID, Generation: j.Generation}); s.Err != 0 {
		t.Fatalf("sync: %v", kerr.ErrorForCode(s.Err))
	}
	return j
}

func (r *rig) commit(group, member string, generation int32, offsets ...raftmeta.CommittedOffset) []Code {
	return r.coordinator().Commit(context.Background(), CommitRequest{
		Group: group, Version: 8, MemberID: member, Generation: generation, Retention: -1, Offsets: offsets,
	}).Codes
}

// TestQueueIsBounded: what would change a group waits for its save, but not without limit, and not
// longer than its caller.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		r.store.delay = time.Second
		j := r.join(JoinRequest{
			Group: "g", Version: 0, SessionTimeout: 10_000, RebalanceTimeout: -1, ProtocolType: "consumer",
			Protocols: []raftmeta.GroupProtocol{{Name: "range"}, {Name: "range", Metadata: []byte("twice")}},
		})
		sync := SyncRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation}
		answers := make(chan Code, 2*maxQueued)
		tally := func() map[Code]int {
			codes := map[Code]int{}
			for len(answers) > 0 {
				codes[<-answers]++
			}
			return codes
		}
		for range maxQueued + 3 { // one that begins the save, and two too many
			r.coordinator().Sync(sync, func(reply SyncReply) { answers <- reply.Err })
		}
		if diff := cmp.Diff(map[Code]int{kerr.RebalanceInProgress.Code: 2}, tally()); diff != "" {
			t.Errorf("refused syncs (-want +got):\n%s", diff)
		}
		r.coordinator().Join(JoinRequest{Group: "g", Version: 3, SessionTimeout: 10_000}, func(reply JoinReply) { answers <- reply.Err })
		if diff := cmp.Diff(map[Code]int{kerr.CoordinatorLoadInProgress.Code: 1}, tally()); diff != "" {
			t.Errorf("refused join (-want +got):\n%s", diff)
		}
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff(map[Code]int{0: maxQueued + 1}, tally()); diff != "" {
			t.Errorf("answered syncs (-want +got):\n%s", diff)
		}
		// Somebody who leaves does not wait longer than the context.
		done := make(chan Code, 1)
		r.coordinator().Join(JoinRequest{
			Group: "g", MemberID: j.MemberID, SessionTimeout: 10_000, ProtocolType: "consumer", Protocols: []raftmeta.GroupProtocol{{Name: "range"}},
		}, func(reply JoinReply) { done <- reply.Err })
		<-done
		sync.Generation++
		r.coordinator().Sync(sync, func(SyncReply) {})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		leave := LeaveRequest{Group: "g", Version: 3, Members: []LeaveMember{{MemberID: j.MemberID}}}
		if got := r.coordinator().Leave(ctx, leave); got.Err != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("leave: %+v", got)
		}
		if code := r.coordinator().Delete(ctx, "", "g"); code != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("delete: %v", code)
		}
		if code, _ := r.coordinator().DeleteOffsets(ctx, "", "g", nil); code != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("delete offsets: %v", code)
		}
	})
}

func TestFailedSavesKeepTheGroupFromAdvancing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		var failures atomic.Int32
		failures.Store(3)
		r.store.fail = func(raftmeta.Command) error {
			if failures.Add(-1) >= 0 {
				return errors.New("disk on fire")
			}
			return nil
		}
		a, b := r.consume("a", ""), r.consume("b", "")
		time.Sleep(6 * time.Second)
		if _, ok := r.store.Group("", "g"); ok && failures.Load() >= 0 {
			t.Error("group was saved by a store that fails")
		}
		time.Sleep(60 * time.Second)
		owners(t, a, b)
	})
}

func TestHangingSaveIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		r.store.delay = time.Hour
		j := r.join(JoinRequest{
			Group: "g", Version: 3, SessionTimeout: 10_000, RebalanceTimeout: 10_000,
			ProtocolType: "consumer", Protocols: []raftmeta.GroupProtocol{{Name: "range"}},
		})
		began := time.Now()
		s := r.sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation})
		if s.Err != kerr.CoordinatorNotAvailable.Code || time.Since(began) != 10*time.Second {
			t.Errorf("sync: %v after %v", kerr.ErrorForCode(s.Err), time.Since(began))
		}
		if d := r.coordinator().Describe(DescribeRequest{Group: "g"}); d.State == Stable {
			t.Error("group is Stable, but not saved")
		}
	})
}

// TestEndAnswersEverybody stops the coordinator while joins, syncs and commits wait, some for a save.
func TestEndAnswersEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		j := r.loner(t, "busy")
		r.store.delay = time.Hour
		answers := make(chan Code, 10)
		join := func(group, instance string) {
			r.coordinator().Join(JoinRequest{
				Group: group, Version: 3, InstanceID: instance, SessionTimeout: 10_000, RebalanceTimeout: 60_000,
				ProtocolType: "consumer", Protocols: []raftmeta.GroupProtocol{{Name: "range"}},
			}, func(reply JoinReply) { answers <- reply.Err })
		}
		join("g", "")      // waits for the first round's end
		join("busy", "ia") // waits for the other member to join
		r.coordinator().Leave(t.Context(), LeaveRequest{Group: "busy", Version: 3, Members: []LeaveMember{{MemberID: j.MemberID}}})
		time.Sleep(time.Millisecond)
		go func() { answers <- r.commit("simple", "", -1, raftmeta.CommittedOffset{TopicID: logsTopic})[0] }()
		synctest.Wait()
		r.stop()
		<-r.served
		join("after", "")
		answers <- r.coordinator().Heartbeat(HeartbeatRequest{Group: "busy", MemberID: j.MemberID})
		answers <- r.coordinator().Heartbeat(HeartbeatRequest{Group: "unheard", MemberID: "m"})
		answers <- r.commit("busy", "", -1, raftmeta.CommittedOffset{})[0]
		answers <- r.coordinator().Delete(t.Context(), "", "busy")
		answers <- r.coordinator().Fetch(FetchRequest{Group: "busy"}).Err
		// "busy" reached its round's end when the other member left, so that join was answered with 0.
		got := map[Code]int{}
		r.store.delay = 0
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for len(answers) > 0 {
			got[<-answers]++
		}
		if diff := cmp.Diff(map[Code]int{0: 2, kerr.CoordinatorNotAvailable.Code: 7}, got); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if list := r.coordinator().List("", ListFilter{}); list != nil {
			t.Errorf("listed after the end: %v", list)
		}
	})
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		c := r.coordinator()
		valid := JoinRequest{Group: "g", SessionTimeout: 6000, ProtocolType: "consumer", Protocols: []raftmeta.GroupProtocol{{Name: "range"}}}
		join := func(change func(*JoinRequest)) Code {
			req := valid
			change(&req)
			return r.join(req).Err
		}
		got := map[string]Code{
			"join without group":      join(func(r *JoinRequest) { r.Group = "" }),
			"join, session too short": join(func(r *JoinRequest) { r.SessionTimeout-- }),
			"join, session too long":  join(func(r *JoinRequest) { r.SessionTimeout = 1_800_001 }),
			"join, negative session":  join(func(r *JoinRequest) { r.SessionTimeout = -6000 }),
			"join, unknown member":    join(func(r *JoinRequest) { r.MemberID = "m" }),
			"join without protocols":  join(func(r *JoinRequest) { r.Protocols = nil }),
			"sync without group":      r.sync(SyncRequest{}).Err,
			"sync, unknown group":     r.sync(SyncRequest{Group: "g", MemberID: "m"}).Err,
			"heartbeat without group": c.Heartbeat(HeartbeatRequest{}),
			"heartbeat, unknown":      c.Heartbeat(HeartbeatRequest{Group: "g"}),
			"leave without group":     c.Leave(t.Context(), LeaveRequest{}).Err,
			"leave v3, unknown":       c.Leave(t.Context(), LeaveRequest{Group: "g", Version: 3, Members: []LeaveMember{{MemberID: "m"}}}).Err,
			"leave v2, unknown":       c.Leave(t.Context(), LeaveRequest{Group: "g", Version: 2, Members: []LeaveMember{{MemberID: "m"}}}).Err,
			"delete, unknown":         c.Delete(t.Context(), "", "g"),
			"describe v5, unknown":    c.Describe(DescribeRequest{Group: "g", Version: 5}).Err,
			"describe v6, unknown":    c.Describe(DescribeRequest{Group: "g", Version: 6}).Err,
		}
		got["delete offsets, unknown"], _ = c.DeleteOffsets(t.Context(), "", "g", nil)
		for _, v := range []int16{8, 9} {
			reply := c.Commit(t.Context(), CommitRequest{Group: "g", Version: v, Generation: 1, MemberID: "m", Offsets: make([]raftmeta.CommittedOffset, 1)})
			got[fmt.Sprintf("commit v%d, unknown", v)] = reply.Codes[0]
		}
		want := map[string]Code{
			"join without group": 24, "join, session too short": 26, "join, session too long": 26, "join, negative session": 26,
			"join, unknown member": 25, "join without protocols": 23,
			"sync without group": 24, "sync, unknown group": 25, "heartbeat without group": 24, "heartbeat, unknown": 25,
			"leave without group": 24, "leave v3, unknown": 0, "leave v2, unknown": 25,
			"delete, unknown": 69, "delete offsets, unknown": 69, "describe v5, unknown": 0, "describe v6, unknown": 69,
			"commit v8, unknown": 22, "commit v9, unknown": 69,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("codes (-want +got):\n%s", diff)
		}
		if n := len(c.loaded()); n != 0 {
			t.Errorf("%d groups are left of refused requests", n)
		}
	})
}

func TestListAndDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		c := r.coordinator()
		r.loner(t, "stable")
		r.commit("simple", "", -1, raftmeta.CommittedOffset{TopicID: logsTopic})
		r.store.put(raftmeta.Group{ID: "old", Generation: 4, ProtocolType: "connect", EmptySince: 1})
		r.store.put(raftmeta.Group{Tenant: "acme", ID: "other"})
		all := []Listing{{"old", "connect", Empty, "classic"}, {"simple", "", Empty, "classic"}, {"stable", "consumer", Stable, "classic"}}
		if diff := cmp.Diff(all, c.List("", ListFilter{Types: []string{"Consumer", "Classic"}})); diff != "" {
			t.Errorf("all groups (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(all[2:], c.List("", ListFilter{States: []string{"stable", "Dead"}})); diff != "" {
			t.Errorf("stable groups (-want +got):\n%s", diff)
		}
		if got := c.List("", ListFilter{Types: []string{"share"}}); len(got) != 0 {
			t.Errorf("share groups: %v", got)
		}
		if d := c.Describe(DescribeRequest{Group: "old", Version: 6}); d.Err != 0 || d.State != Empty || d.ProtocolType != "connect" {
			t.Errorf("group that is only saved: %+v", d)
		}
		if got := c.Delete(t.Context(), "", "stable"); got != kerr.NonEmptyGroup.Code {
			t.Errorf("delete of a group with members: %v", got)
		}
		if got := c.Delete(t.Context(), "", "simple"); got != 0 {
			t.Errorf("delete: %v", got)
		}
		if got := c.Delete(t.Context(), "", "simple"); got != kerr.GroupIDNotFound.Code {
			t.Errorf("delete again: %v", got)
		}
		if got := c.Fetch(FetchRequest{Group: "simple", All: true}); len(got.Offsets) != 0 {
			t.Errorf("offsets outlive their group: %v", got)
		}
	})
}

// TestRequestBuffersMayBeReused: what came with a request is copied.
func TestRequestBuffersMayBeReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		buf := []byte("metadata")
		j := r.join(JoinRequest{
			Group: "g", Version: 3, SessionTimeout: 10_000, RebalanceTimeout: 60_000, ProtocolType: "consumer",
			Protocols: []raftmeta.GroupProtocol{{Name: "range", Metadata: buf}},
		})
		copy(buf, "ASSIGNED")
		r.sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: 1, Assignments: []MemberAssignment{{j.MemberID, buf}}})
		clear(buf)
		m := r.coordinator().Describe(DescribeRequest{Group: "g"}).Members[0]
		if string(m.Metadata) != "metadata" || string(m.Assignment) != "ASSIGNED" {
			t.Errorf("metadata %q, assignment %q", m.Metadata, m.Assignment)
		}
	})
}

func TestOptions(t *testing.T) {
	if _, err := New(Options{SaveTimeout: -1, MaxConcurrentSaves: -1}); err == nil {
		t.Error("nonsense is accepted")
	}
	reg := prometheus.NewRegistry()
	if _, err := New(Options{Store: newMemStore(), TopicName: topicName, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	found, err := reg.Gather()
	if err != nil || len(found) == 0 {
		t.Errorf("metrics: %d, %v", len(found), err)
	}
	if a, b := randomMemberID("c"), randomMemberID("c"); a == b || len(a) != len("c-")+36 {
		t.Errorf("member ids %q and %q", a, b)
	}
}
