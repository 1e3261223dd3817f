package groups

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// cluster is several brokers on one metadata log.
type cluster struct {
	*table
	brokers []*rig // by id, from 1 on
	front   *rig   // whose requests go to the owner of group "g"
}

func newCluster(t *testing.T) *cluster {
	cl := &cluster{table: newTable()}
	for id := range int32(testBrokers) {
		cl.brokers = append(cl.brokers, newBroker(t, &memStore{table: cl.table}, id+1))
	}
	cl.front = &rig{t: t, route: func() *Coordinator { return cl.owner("g").c }}
	return cl
}

func (cl *cluster) owner(group string) *rig {
	return cl.brokers[cl.latest().Shard(raftmeta.ShardOf("", group)).Owner-1]
}

// handOver moves the shard of a group, and both brokers notice.
func (cl *cluster) handOver(group string, to int32) {
	from := cl.owner(group)
	cl.move(group, to)
	from.catchUp()
	cl.brokers[to-1].catchUp()
	synctest.Wait()
}

// answers collects codes by what was asked.
type answers struct{ codes chan string }

func newAnswers() answers { return answers{make(chan string, 100)} }

func (a answers) add(what string, code Code) { a.codes <- what + ": " + codeName(code) }

// take returns what came, in order of the names.
func (a answers) take() []string {
	synctest.Wait()
	var got []string
	for len(a.codes) > 0 {
		got = append(got, <-a.codes)
	}
	slices.Sort(got)
	return got
}

func consumerJoin(group, member, instance string) JoinRequest {
	return JoinRequest{
		Group: group, Version: 3, MemberID: member, InstanceID: instance, ClientID: "c", SessionTimeout: 10_000, RebalanceTimeout: 60_000,
		ProtocolType: "consumer", Protocols: []raftmeta.GroupProtocol{{Name: "range", Metadata: subscriptionOf("logs")}},
	}
}

// pair joins two members to a group, which comes to CompletingRebalance.
func (r *rig) pair(t *testing.T, group string) (leader, follower JoinReply) {
	t.Helper()
	got := make(chan JoinReply, 2)
	for range 2 {
		r.coordinator().Join(consumerJoin(group, "", ""), func(reply JoinReply) { got <- reply })
	}
	leader, follower = <-got, <-got
	if leader.MemberID != leader.Leader {
		leader, follower = follower, leader
	}
	if leader.Err != 0 || follower.Err != 0 {
		t.Fatalf("joins: %+v, %+v", leader, follower)
	}
	return leader, follower
}

// assign is the leader's sync for the two of pair.
func assign(group string, leader, follower JoinReply) SyncRequest {
	return SyncRequest{Group: group, MemberID: leader.MemberID, Generation: leader.Generation, Assignments: []MemberAssignment{
		{leader.MemberID, []byte("L")}, {follower.MemberID, []byte("F")},
	}}
}

// TestLostShardAnswersAtOnce: whoever waits in a group learns at once that it has moved, whatever it waits
// for, and nothing that was under way has an effect.
func TestLostShardAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t)
		r := cl.brokers[0]
		leader, follower := r.pair(t, "g")
		r.store.delay = time.Hour
		a := newAnswers()
		sync := func(what string, req SyncRequest) {
			r.c.Sync(req, func(reply SyncReply) { a.add(what, reply.Err) })
		}
		sync("sync of a follower", SyncRequest{Group: "g", MemberID: follower.MemberID, Generation: 1})
		sync("sync of the leader", assign("g", leader, follower))
		r.c.Join(consumerJoin("g", "", "ia"), func(reply JoinReply) { a.add("queued join", reply.Err) })
		go func() {
			a.add("leave", r.c.Leave(t.Context(), LeaveRequest{Group: "g", Version: 3, Members: []LeaveMember{{MemberID: "m"}}}).Err)
		}()
		r.c.Join(consumerJoin(sibling("g"), "", ""), func(reply JoinReply) { a.add("join of a round", reply.Err) })
		go func() {
			a.add("commit", r.commit(sibling(sibling("g")), "", -1, raftmeta.CommittedOffset{TopicID: logsTopic})[0])
		}()
		if got := a.take(); got != nil {
			t.Fatalf("answered too early: %q", got)
		}
		began := time.Now()
		cl.handOver("g", 2)
		want := []string{
			"commit: NOT_COORDINATOR", "join of a round: NOT_COORDINATOR", "leave: NOT_COORDINATOR", "queued join: NOT_COORDINATOR",
			"sync of a follower: NOT_COORDINATOR", "sync of the leader: NOT_COORDINATOR",
		}
		if diff := cmp.Diff(want, a.take()); diff != "" || time.Since(began) != 0 {
			t.Errorf("after %v (-want +got):\n%s", time.Since(began), diff)
		}
		if n := len(r.c.loaded()); n != 0 {
			t.Errorf("%d groups are still in memory", n)
		}
		time.Sleep(2 * time.Hour)
		if g, ok := cl.latest().Group("", "g"); ok {
			t.Errorf("a former owner saved %+v", g)
		}
	})
}

// sibling is a group of the same shard.
func sibling(group string) string {
	for i := 0; ; i++ {
		if s := fmt.Sprintf("%s-%d", group, i); raftmeta.ShardOf("", s) == raftmeta.ShardOf("", group) {
			return s
		}
	}
}

// TestNotCoordinator is the answer to everything about a group of another broker, and leaves no trace.
func TestNotCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t)
		j := cl.brokers[0].loner(t, "g")
		cl.brokers[0].commit("g", j.MemberID, 1, bothTopics...)
		r := cl.brokers[1]
		c, a := r.c, newAnswers()
		a.add("commit", r.commit("g", j.MemberID, 1, bothTopics...)[0])
		a.add("commit from outside", r.commit("g", "", -1, bothTopics...)[0])
		a.add("delete", c.Delete(t.Context(), "", "g"))
		code, _ := c.DeleteOffsets(t.Context(), "", "g", []DeleteOffset{{Topic: "news", TopicID: newsTopic}})
		a.add("delete offsets", code)
		a.add("describe", c.Describe(DescribeRequest{Group: "g", Version: 6}).Err)
		fetched := c.Fetch(FetchRequest{Group: "g", Keys: []OffsetKey{{logsTopic, 0}}})
		a.add("fetch", fetched.Err)
		a.add("fetch all", c.Fetch(FetchRequest{Group: "g", All: true}).Err)
		a.add("heartbeat", c.Heartbeat(HeartbeatRequest{Group: "g", MemberID: j.MemberID, Generation: 1}))
		a.add("join", r.join(consumerJoin("g", "", "")).Err)
		a.add("leave", c.Leave(t.Context(), LeaveRequest{Group: "g", Version: 3, Members: []LeaveMember{{MemberID: j.MemberID}}}).Err)
		a.add("rejoin", r.join(consumerJoin("g", j.MemberID, "")).Err)
		a.add("sync", r.sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: 1}).Err)
		got := a.take()
		for _, line := range got {
			if !strings.HasSuffix(line, ": NOT_COORDINATOR") {
				t.Error(line)
			}
		}
		if len(got) != 12 || len(fetched.Offsets) != 0 {
			t.Errorf("answers: %q, offsets %v", got, fetched.Offsets)
		}
		if n := len(c.loaded()) + len(c.List("", ListFilter{})); n != 0 {
			t.Errorf("%d groups of another broker are known", n)
		}
		if list := cl.brokers[0].c.List("", ListFilter{}); len(list) != 1 {
			t.Errorf("the owner lists %v", list)
		}
	})
}

// TestStableGroupMoves: members keep ids, generation and assignments, and have a full session from when
// the new owner took over.
func TestStableGroupMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t)
		a, b := cl.front.consume("a", ""), cl.front.consume("b", "ib")
		time.Sleep(20 * time.Second)
		for _, to := range []int32{2, 3, 1, 2, 1, 3} {
			cl.handOver("g", to)
			if d := cl.front.coordinator().Describe(DescribeRequest{Group: "g"}); d.State != Stable || len(d.Members) != 2 {
				t.Fatalf("at broker %d: %+v", to, d)
			}
			time.Sleep(testSession - time.Second)
		}
		owners(t, a, b)
		if g, _ := cl.latest().Group("", "g"); g.Generation != 1 || cl.saved("g") != 1 {
			t.Errorf("generation %d, saved %d times; want 1, once", g.Generation, cl.saved("g"))
		}
		// Both die just before the group moves. The new owner cannot know, and gives them a session.
		a.kill()
		b.kill()
		time.Sleep(testSession - testHeartbeat - time.Second)
		cl.handOver("g", 1)
		time.Sleep(testSession - time.Millisecond)
		if g, _ := cl.latest().Group("", "g"); len(g.Members) != 2 {
			t.Errorf("too early: %+v", g)
		}
		time.Sleep(time.Second)
		if g, _ := cl.latest().Group("", "g"); len(g.Members) != 0 || g.Generation != 2 {
			t.Errorf("after everybody fell silent: %+v", g)
		}
	})
}

// TestStaleCoordinator is overtaken by its successor before it hears of it: the first refused write tells
// it that the whole shard has gone, whatever an older image says.
func TestStaleCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t)
		r := cl.brokers[0]
		old := cl.latest()
		leader, follower := r.pair(t, "g")
		other := r.loner(t, sibling("g"))
		a := newAnswers()
		r.c.Sync(SyncRequest{Group: "g", MemberID: follower.MemberID, Generation: 1}, func(reply SyncReply) { a.add("follower", reply.Err) })
		cl.move("g", 2)
		r.c.Sync(assign("g", leader, follower), func(reply SyncReply) { a.add("leader", reply.Err) })
		if diff := cmp.Diff([]string{"follower: NOT_COORDINATOR", "leader: NOT_COORDINATOR"}, a.take()); diff != "" {
			t.Errorf("syncs (-want +got):\n%s", diff)
		}
		beat := HeartbeatRequest{Group: sibling("g"), MemberID: other.MemberID, Generation: 1}
		r.c.SetShards(ownedBy(old, 1))
		if code := r.c.Heartbeat(beat); code != kerr.NotCoordinator.Code {
			t.Errorf("heartbeat in a shard that is lost: %v", codeName(code))
		}
		cl.handOver("g", 1)
		if code := r.c.Heartbeat(beat); code != 0 {
			t.Errorf("heartbeat in the regained shard: %v", codeName(code))
		}
		// A commit finds out as well.
		cl.move("g", 3)
		if got := r.commit(sibling("g"), other.MemberID, 1, bothTopics...); !slices.Equal(got, []Code{16, 16}) {
			t.Errorf("commit of a stale owner: %v", got)
		}
		if code := r.c.Heartbeat(beat); code != kerr.NotCoordinator.Code {
			t.Errorf("heartbeat after that: %v", codeName(code))
		}
	})
}

// TestUnknownOutcome of a save: the group is read again, so that whoever asks once more is served what
// was saved after all, without a rebalance.
func TestUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		leader, follower := r.pair(t, "g")
		r.store.fail = func(raftmeta.Command) error { return errLost }
		if s := r.sync(assign("g", leader, follower)); s.Err != kerr.CoordinatorNotAvailable.Code {
			t.Fatalf("sync: %v", codeName(s.Err))
		}
		r.store.fail = nil
		for want, m := range map[string]JoinReply{"L": leader, "F": follower} {
			if s := r.sync(SyncRequest{Group: "g", MemberID: m.MemberID, Generation: 1}); s.Err != 0 || string(s.Assignment) != want {
				t.Errorf("sync again: %v %q, want %q", codeName(s.Err), s.Assignment, want)
			}
		}
	})
}

// TestLateSave: a save arrives when the group has long gone on without it. It comes to nothing, or is
// found out by the next commit.
func TestLateSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		first := r.loner(t, "g")
		r.store.fail = func(raftmeta.Command) error { return raftmeta.ErrOutcomeUnknown }
		j := r.join(consumerJoin("g", first.MemberID, ""))
		if s := r.sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation}); s.Err != kerr.CoordinatorNotAvailable.Code {
			t.Fatalf("sync: %v", codeName(s.Err))
		}
		r.store.fail = nil
		late := &raftmeta.PutGroup{CoordEpoch: r.store.latest().Shard(raftmeta.ShardOf("", "g")).Epoch, Group: raftmeta.Group{
			ID: "g", Generation: j.Generation, ProtocolType: "consumer", Protocol: "range", Leader: j.MemberID,
			Members: []raftmeta.GroupMember{{ID: j.MemberID, SessionTimeout: 10_000, Assignment: []byte("late"), Protocols: consumerJoin("g", "", "").Protocols}},
		}}
		// What the store has is the generation before; the next one must not be confused with the lost one.
		if code := r.c.Heartbeat(HeartbeatRequest{Group: "g", MemberID: first.MemberID, Generation: first.Generation}); code != 0 {
			t.Errorf("heartbeat in the saved generation: %v", codeName(code))
		}
		j = r.join(consumerJoin("g", first.MemberID, ""))
		if j.Generation <= late.Group.Generation {
			t.Errorf("joined generation %d again", j.Generation)
		}
		r.sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation, Assignments: []MemberAssignment{{j.MemberID, []byte("new")}}})
		if _, err := r.store.apply(late); err != raftmeta.ErrIllegalGeneration {
			t.Errorf("late save: %v", err)
		}

		// Another one comes before anybody joins again.
		late.Group.Generation = j.Generation + 1
		r.store.must(late)
		if got := r.commit("g", j.MemberID, j.Generation, bothTopics...); !slices.Equal(got, []Code{22, 22}) {
			t.Errorf("commit behind the store: %v", got)
		}
		if s := r.sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: late.Group.Generation}); string(s.Assignment) != "late" {
			t.Errorf("the group was not read again: %v %q", codeName(s.Err), s.Assignment)
		}
	})
}

// TestRegainWithinEpoch: nobody else can have had the shard, so all goes on as it was saved, and what was
// under way when it was put down cannot be mistaken for what comes after.
func TestRegainWithinEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		j := r.loner(t, "g")
		r.store.delay = time.Second
		next := r.join(consumerJoin("g", j.MemberID, ""))
		r.c.Sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: next.Generation}, func(SyncReply) {})
		synctest.Wait()
		r.c.SetShards(nil)
		r.catchUp()
		r.store.delay = 0
		if code := r.c.Heartbeat(HeartbeatRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation}); code != 0 {
			t.Errorf("heartbeat: %v", codeName(code))
		}
		if again := r.join(consumerJoin("g", j.MemberID, "")); again.Generation != next.Generation+1 {
			t.Errorf("joined generation %d, want %d", again.Generation, next.Generation+1)
		}
	})
}

// TestExpiryKeepsToOwnedShards, and takes over with them.
func TestExpiryKeepsToOwnedShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t)
		cl.brokers[0].commit("g", "", -1, bothTopics...)
		short := func(c *Config) { c.OffsetsRetention, c.OffsetsRetentionCheckInterval = time.Minute, time.Second }
		eager := newBroker(t, &memStore{table: cl.table}, 2, short)
		time.Sleep(time.Hour)
		if _, ok := cl.latest().Group("", "g"); !ok {
			t.Fatal("a broker expired a group that it does not coordinate")
		}
		cl.move("g", 2)
		eager.catchUp()
		time.Sleep(3 * time.Second)
		if _, ok := cl.latest().Group("", "g"); ok {
			t.Error("the new owner does not expire")
		}
	})
}

// TestLateExpirySparesWhatCameAfter: an expiry of unknown outcome arrives when somebody has committed again.
func TestLateExpirySparesWhatCameAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		var late []raftmeta.Command
		store.fail = func(cmd raftmeta.Command) error {
			switch cmd.(type) {
			case *raftmeta.DeleteOffsets:
				late = append(late, cmd)
				return errLost
			case *raftmeta.DeleteGroup:
				late = append(late, cmd)
				return raftmeta.ErrOutcomeUnknown
			}
			return nil
		}
		r := newRig(t, store, func(c *Config) { c.OffsetsRetention, c.OffsetsRetentionCheckInterval = time.Hour, time.Minute })
		r.commit("g", "", -1, bothTopics[0])
		time.Sleep(63 * time.Minute)
		synctest.Wait()
		expectLeft(t, r, "after the retention", "g")
		r.commit("g", "", -1, bothTopics[0])
		for _, cmd := range late {
			_, err := r.store.apply(cmd)
			if _, group := cmd.(*raftmeta.DeleteGroup); group && err != raftmeta.ErrGroupHasOffsets {
				t.Errorf("late deletion of the group: %v", err)
			}
		}
		if expectLeft(t, r, "after a late expiry", "g", "logs"); len(late) < 2 {
			t.Errorf("only %d deletions", len(late))
		}
	})
}

// TestFetchNeedsALease (18.1, I42): a coordinator that cannot know whether others have taken over does not
// tell what was committed, while all else goes on.
func TestFetchNeedsALease(t *testing.T) {
	leased := false
	store := newMemStore()
	c, err := New(Options{Store: store, TopicName: topicName, Leased: func() bool { return leased }})
	if err != nil {
		t.Fatal(err)
	}
	c.SetShards(ownedBy(store.latest(), 1))
	for _, all := range []bool{false, true} {
		if r := c.Fetch(FetchRequest{Group: "g", All: all}); r.Err != kerr.NotCoordinator.Code || r.Offsets != nil {
			t.Errorf("without a lease: %+v", r)
		}
	}
	if d := c.Describe(DescribeRequest{Group: "g"}); d.Err != 0 {
		t.Errorf("describe: %+v", d)
	}
	leased = true
	if r := c.Fetch(FetchRequest{Group: "g", All: true}); r.Err != 0 {
		t.Errorf("with a lease: %+v", r)
	}
}
