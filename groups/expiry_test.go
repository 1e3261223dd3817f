package groups

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// left returns the partitions of which the group has offsets, by topic name.
func (r *rig) left(group string) []string {
	names := []string{}
	for _, o := range r.coordinator().Fetch(FetchRequest{Group: group, All: true}).Offsets {
		names = append(names, topicNames[o.TopicID])
	}
	slices.Sort(names)
	return names
}

func expectLeft(t *testing.T, r *rig, when, group string, want ...string) {
	t.Helper()
	if got := r.left(group); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Errorf("%s: offsets left are of %v, want %v", when, got, want)
	}
}

var bothTopics = []raftmeta.CommittedOffset{{TopicID: logsTopic, Offset: 1}, {TopicID: newsTopic, Offset: 1}}

// keepRetention is long against the sweep's interval of 10 minutes and what the tests do meanwhile.
const keepRetention = 10 * time.Hour

func expiryRig(t *testing.T) *rig {
	return newRig(t, newMemStore(), func(c *Config) { c.OffsetsRetention = keepRetention })
}

// TestOffsetsOfAnEmptyGroupExpire: the clock starts when the last member goes, not at the commit.
func TestOffsetsOfAnEmptyGroupExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := expiryRig(t)
		a := r.consume("a", "")
		time.Sleep(5 * time.Second)
		id, generation := a.member()
		if got := r.commit("g", id, generation, bothTopics...); !slices.Equal(got, []Code{0, 0}) {
			t.Fatalf("commit: %v", got)
		}
		time.Sleep(keepRetention - time.Hour)
		a.kill()
		time.Sleep(keepRetention - 20*time.Minute)
		expectLeft(t, r, "before the end", "g", "logs", "news")
		// A commit from outside prolongs its own partition only.
		r.commit("g", "", -1, bothTopics[:1]...)
		time.Sleep(40 * time.Minute)
		expectLeft(t, r, "after the end", "g", "logs")
		time.Sleep(keepRetention)
		expectLeft(t, r, "after another end", "g")
		if _, ok := r.store.Group("", "g"); ok {
			t.Error("the empty group without offsets was not removed")
		}
	})
}

// TestUnsubscribedTopicsExpire in a Stable group, counted from the commit.
func TestUnsubscribedTopicsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := expiryRig(t)
		a := r.consume("a", "") // subscribes to logs
		time.Sleep(5 * time.Second)
		id, generation := a.member()
		r.commit("g", id, generation, bothTopics...)
		time.Sleep(keepRetention - 20*time.Minute)
		expectLeft(t, r, "before the end", "g", "logs", "news")
		time.Sleep(40 * time.Minute)
		expectLeft(t, r, "after the end", "g", "logs")
	})
}

// TestSimpleGroupExpires by its commits, and by a retention that came with one.
func TestSimpleGroupExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := expiryRig(t)
		r.commit("g", "", -1, bothTopics[0])
		r.coordinator().Commit(t.Context(), CommitRequest{Group: "g", Generation: -1, Retention: time.Hour.Milliseconds(), Offsets: bothTopics[1:]})
		time.Sleep(50 * time.Minute)
		expectLeft(t, r, "within the hour", "g", "logs", "news")
		time.Sleep(30 * time.Minute)
		expectLeft(t, r, "after the hour", "g", "logs")
		time.Sleep(keepRetention)
		expectLeft(t, r, "after the end", "g")
		time.Sleep(20 * time.Minute)
		if _, ok := r.store.Group("", "g"); ok {
			t.Error("the group was not removed")
		}
		if n := len(r.coordinator().loaded()); n != 0 {
			t.Errorf("%d groups in memory", n)
		}
	})
}

// TestNothingExpiresInARebalance, however long it takes.
func TestNothingExpiresInARebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore(), func(c *Config) { c.OffsetsRetention = time.Minute; c.OffsetsRetentionCheckInterval = time.Second })
		j := r.loner(t, "g")
		r.commit("g", j.MemberID, j.Generation, bothTopics...)
		waits := make(chan JoinReply, 1)
		r.coordinator().Join(JoinRequest{ // a round that the first member does not end
			Group: "g", Version: 3, SessionTimeout: 10_000, RebalanceTimeout: 3_600_000,
			ProtocolType: "consumer", Protocols: []raftmeta.GroupProtocol{{Name: "range", Metadata: subscriptionOf("news")}},
		}, func(reply JoinReply) { waits <- reply })
		for range 200 {
			time.Sleep(time.Second)
			if code := r.coordinator().Heartbeat(HeartbeatRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation}); code != kerr.RebalanceInProgress.Code {
				t.Fatalf("heartbeat: %v", code)
			}
		}
		expectLeft(t, r, "in the rebalance", "g", "logs", "news")
	})
}

// TestSweepMissesNoCommit lets commits race the removal of what they replace: none may be lost.
func TestSweepMissesNoCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		store.delay = 30 * time.Millisecond
		r := newRig(t, store, func(c *Config) {
			c.OffsetsRetention = time.Second
			c.OffsetsRetentionCheckInterval = 70 * time.Millisecond
		})
		for i := range int64(200) {
			o := bothTopics[0]
			o.Offset = i
			if got := r.commit("g", "", -1, o); !slices.Equal(got, []Code{0}) {
				t.Fatalf("commit %d: %v", i, got)
			}
			time.Sleep(500 * time.Millisecond) // half its life
			if got, ok := store.Offset("", "g", logsTopic, 0); !ok || got.Offset != i {
				t.Fatalf("commit %d is gone before its time: %+v, %v", i, got, ok)
			}
			time.Sleep(time.Duration(i*7%600) * time.Millisecond) // sometimes until it expires
		}
	})
}

// TestUnreadableSubscription: what a group reads is unknown, so nothing of it is removed.
func TestUnreadableSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore(), func(c *Config) { c.OffsetsRetention = time.Millisecond; c.OffsetsRetentionCheckInterval = time.Second })
		j := r.join(JoinRequest{
			Group: "g", Version: 3, SessionTimeout: 60_000, RebalanceTimeout: 60_000, ProtocolType: "consumer",
			Protocols: []raftmeta.GroupProtocol{{Name: "range", Metadata: []byte("what?")}},
		})
		r.sync(SyncRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation})
		r.commit("g", j.MemberID, j.Generation, bothTopics...)
		time.Sleep(10 * time.Second)
		expectLeft(t, r, "unreadable", "g", "logs", "news")
		code, codes := r.coordinator().DeleteOffsets(t.Context(), "", "g", []DeleteOffset{{Topic: "news", TopicID: newsTopic}})
		if code != 0 || !slices.Equal(codes, []Code{kerr.GroupSubscribedToTopic.Code}) {
			t.Errorf("delete offsets: %v %v", code, codes)
		}
	})
}

func TestDeleteOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		j := r.loner(t, "g") // subscribes to logs
		r.commit("g", j.MemberID, j.Generation, bothTopics...)
		code, codes := r.coordinator().DeleteOffsets(t.Context(), "", "g", []DeleteOffset{
			{Topic: "logs", TopicID: logsTopic}, {Topic: "news", TopicID: newsTopic}, {Topic: "news", TopicID: newsTopic, Partition: 9},
		})
		if code != 0 || !slices.Equal(codes, []Code{kerr.GroupSubscribedToTopic.Code, 0, 0}) {
			t.Errorf("delete offsets: %v %v", code, codes)
		}
		expectLeft(t, r, "deleted", "g", "logs")
	})
}
