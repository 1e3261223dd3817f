package groups

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

func TestCommitsOfAnOldGenerationAreFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		j := r.loner(t, "g")
		at := func(offset int64) raftmeta.CommittedOffset {
			return raftmeta.CommittedOffset{TopicID: logsTopic, Offset: offset, LeaderEpoch: 7, Metadata: "m"}
		}
		if got := r.commit("g", j.MemberID, 1, at(10), raftmeta.CommittedOffset{TopicID: goneTopic}); !slices.Equal(got, []Code{0, 3}) {
			t.Fatalf("commit: %v", got)
		}

		// The commit is on its way to the store while the member leaves and another one takes over.
		r.store.delay = time.Second
		late := make(chan []Code, 1)
		r.store.fail = func(cmd raftmeta.Command) error {
			if _, ok := cmd.(*raftmeta.CommitOffsets); ok {
				r.store.fail = nil
				r.coordinator().Leave(t.Context(), LeaveRequest{Group: "g", Version: 3, Members: []LeaveMember{{MemberID: j.MemberID}}})
				r.loner(t, "g")
			}
			return nil
		}
		go func() { late <- r.commit("g", j.MemberID, 1, at(11)) }()
		if got := <-late; !slices.Equal(got, []Code{kerr.UnknownMemberID.Code}) {
			t.Errorf("late commit: %v, want UNKNOWN_MEMBER_ID", got)
		}
		if got := r.commit("g", j.MemberID, 1, at(12)); !slices.Equal(got, []Code{kerr.UnknownMemberID.Code}) {
			t.Errorf("later commit: %v, want UNKNOWN_MEMBER_ID", got)
		}
		want := at(10)
		got := r.coordinator().Fetch(FetchRequest{Group: "g", Keys: []OffsetKey{{logsTopic, 0}, {logsTopic, 1}}}).Offsets
		want.CommittedAt = got[0].CommittedAt
		none := raftmeta.CommittedOffset{TopicID: logsTopic, Partition: 1, Offset: -1, LeaderEpoch: -1}
		if diff := cmp.Diff([]raftmeta.CommittedOffset{want, none}, got); diff != "" {
			t.Errorf("fetched (-want +got):\n%s", diff)
		}
	})
}

// TestLateCommitOfAReplacedMember: between its admission and the store a static member is replaced. The
// store only knows that the member is unknown; the group knows that it is fenced.
func TestLateCommitOfAReplacedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		a := r.consume("a", "ia")
		time.Sleep(5 * time.Second)
		id, generation := a.member()
		r.store.fail = func(cmd raftmeta.Command) error {
			if _, ok := cmd.(*raftmeta.CommitOffsets); ok {
				a.kill()
				r.consume("a", "ia")
				time.Sleep(time.Second)
			}
			return nil
		}
		got := r.coordinator().Commit(t.Context(), CommitRequest{
			Group: "g", MemberID: id, InstanceID: "ia", Generation: generation, Retention: -1, Offsets: bothTopics,
		})
		if !slices.Equal(got.Codes, []Code{kerr.FencedInstanceID.Code, kerr.FencedInstanceID.Code}) {
			t.Errorf("late commit: %v, want FENCED_INSTANCE_ID", got.Codes)
		}
		r.store.fail = func(raftmeta.Command) error { return errors.New("disk on fire") }
		if got := r.commit("simple", "", -1, bothTopics...); !slices.Equal(got, []Code{15, 15}) {
			t.Errorf("failed commit: %v", got)
		}
		if e := r.coordinator().inMemory(groupKey{"", "simple"}); e != nil {
			t.Error("a group that could not be created is still there")
		}
	})
}

func TestCommitLimitsAndRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore(), func(c *Config) { c.OffsetMetadataMaxBytes = 4 })
		now := time.Now().UnixMilli()
		got := r.coordinator().Commit(t.Context(), CommitRequest{Generation: -1, Retention: 5000, Offsets: []raftmeta.CommittedOffset{
			{TopicID: logsTopic, Offset: 1, Metadata: "12345"}, {TopicID: logsTopic, Partition: 1, Offset: 2, Metadata: "1234"},
		}})
		if !slices.Equal(got.Codes, []Code{kerr.OffsetMetadataTooLarge.Code, 0}) {
			t.Errorf("codes: %v", got.Codes)
		}
		want := []raftmeta.CommittedOffset{{
			TopicID: logsTopic, Partition: 1, Offset: 2, Metadata: "1234", CommittedAt: now, ExpiresAt: now + 5000,
		}}
		if diff := cmp.Diff(want, r.coordinator().Fetch(FetchRequest{All: true}).Offsets); diff != "" {
			t.Errorf("offsets of the group without a name (-want +got):\n%s", diff)
		}
	})
}

// TestAbandonedCommit gives up on a commit while its group is being deleted.
func TestAbandonedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		r.commit("g", "", -1, raftmeta.CommittedOffset{TopicID: logsTopic})
		r.store.delay = 5 * time.Second
		r.store.fail = func(cmd raftmeta.Command) error {
			if _, ok := cmd.(*raftmeta.DeleteGroup); ok {
				return errors.New("disk on fire")
			}
			return nil
		}
		deleted := make(chan Code, 1)
		go func() { deleted <- r.coordinator().Delete(context.Background(), "", "g") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got := r.coordinator().Commit(ctx, CommitRequest{Group: "g", Generation: -1, Offsets: make([]raftmeta.CommittedOffset, 1)})
		if !slices.Equal(got.Codes, []Code{kerr.CoordinatorNotAvailable.Code}) {
			t.Errorf("abandoned commit: %v", got.Codes)
		}
		if code := <-deleted; code != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("failed delete: %v", code)
		}
		r.store.fail = nil
		if code := r.coordinator().Delete(t.Context(), "", "g"); code != 0 {
			t.Errorf("the abandoned commit still counts: delete says %v", code)
		}
	})
}

// TestAbandonedTooLate gives up on commits when the answer is on its way already: a grant is returned,
// and the entry of a group that was deleted does no harm to its successor.
func TestAbandonedTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemStore())
		c, key := r.coordinator(), groupKey{"", "g"}
		r.commit("g", "", -1, bothTopics...)
		e, _ := c.lock(key, false)
		ev := &commitEvent{generation: -1, reply: func(Code) {}}
		e.g.handle(time.Now(), ev, &effects{})
		e.mu.Unlock()
		if code := c.Delete(t.Context(), "", "g"); code != kerr.NonEmptyGroup.Code {
			t.Errorf("delete during a commit: %v", code)
		}
		c.abandonCommit(e, ev)
		if code := c.Delete(t.Context(), "", "g"); code != 0 {
			t.Errorf("delete after the commit was given up: %v", code)
		}
		r.commit("g", "", -1, bothTopics...)
		successor := c.inMemory(key)
		c.abandonCommit(e, &commitEvent{generation: -1})
		if successor == nil || successor == e || c.inMemory(key) != successor {
			t.Error("the deleted group took its successor away")
		}
	})
}
