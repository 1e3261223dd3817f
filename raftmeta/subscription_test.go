package raftmeta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// feedTest drives an fsm without a Raft library.
type feedTest struct {
	*testing.T
	fsm   *fsm
	index uint64
}

func (f *feedTest) apply(commands ...Command) {
	f.Helper()
	entry := beginEntry(stamp{})
	for _, cmd := range commands {
		b, err := appendCommand(nil, cmd)
		if err != nil {
			f.Fatal(err)
		}
		entry = appendToEntry(entry, b)
	}
	f.index++
	outcomes, ok := f.fsm.Apply(&raft.Log{Index: f.index, Term: 1, Data: entry}).([]outcome)
	if !ok || len(outcomes) != len(commands) {
		f.Fatalf("%d commands came to %v", len(commands), outcomes)
	}
}

func newFeedTest(t *testing.T) *feedTest {
	f := &feedTest{T: t, fsm: newTestFSM(t)}
	for _, cmd := range firstCommands() {
		f.apply(cmd)
	}
	return f
}

func (f *feedTest) wait(s *Subscription) Changes {
	f.Helper()
	changes, im, err := s.Wait(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if im != f.fsm.feed.image.Load() {
		f.Error("the image is not the current one")
	}
	return changes
}

func TestSubscriptionAddsUpChanges(t *testing.T) {
	f := newFeedTest(t)
	s := f.fsm.feed.subscribe()
	defer s.Close()
	if got := f.wait(s); !got.All {
		t.Errorf("first: %+v, want all", got)
	}
	f.apply(&CreateTopic{ID: testID(9), Name: "new", Assignments: [][]int32{{1}}}, &DeleteTopic{testID(2)})
	f.apply(&PutGroup{CoordEpoch: firstOwner, Group: Group{ID: "g", Generation: 2}}, &PutGroup{CoordEpoch: firstOwner, Group: Group{Tenant: "acme", ID: "a"}})
	f.apply(&SetConfig{GroupResource, "g", ConfigChange{Ops: []ConfigOp{{Key: "x"}}}}, &FenceBroker{3, 5})
	f.apply(&CommitOffsets{CoordEpoch: firstOwner, Group: "g", Generation: -1}) // rejected or not, offsets are no news
	want := Changes{
		Brokers: true,
		Topics:  []uuid.ID{testID(1), testID(2), testID(9)},
		Configs: []ConfigKey{{GroupResource, "g"}},
		Groups:  []GroupKey{{"", "g"}, {"acme", "a"}},
	}
	if diff := cmp.Diff(want, f.wait(s)); diff != "" {
		t.Error(diff)
	}
	f.apply(&ConfirmDeletion{testID(2), 1})
	if diff := cmp.Diff(Changes{Topics: []uuid.ID{testID(2)}}, f.wait(s)); diff != "" {
		t.Error(diff)
	}
	f.apply(&MoveShard{0, firstOwner, 2})
	f.apply(&MoveShard{0, firstOwner, 1}) // rejected
	if diff := cmp.Diff(Changes{Shards: true}, f.wait(s)); diff != "" {
		t.Error(diff)
	}
}

func TestSubscriptionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeedTest(t)
		s := f.fsm.feed.subscribe()
		f.wait(s)
		f.apply(&DeleteTopic{testID(77)}, commitOf("h", testID(1), 3)) // rejected; creates a group
		f.wait(s)
		ctx, cancel := context.WithCancel(t.Context())
		woken := make(chan error)
		go func() {
			_, _, err := s.Wait(ctx)
			woken <- err
		}()
		f.apply(&DeleteTopic{testID(77)}, commitOf("h", testID(1), 4)) // nothing that anyone reconciles by
		synctest.Wait()
		select {
		case err := <-woken:
			t.Fatalf("woken by nothing: %v", err)
		default:
		}
		cancel()
		if err := <-woken; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		go func() {
			_, _, err := s.Wait(t.Context())
			woken <- err
		}()
		synctest.Wait()
		s.Close()
		s.Close()
		if err := <-woken; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		f.fsm.feed.close()
		if _, _, err := f.fsm.feed.subscribe().Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("subscribed after the end: %v", err)
		}
	})
}

func TestRestoreMeansAll(t *testing.T) {
	f := newFeedTest(t)
	s := f.fsm.feed.subscribe()
	defer s.Close()
	f.wait(s)
	f.apply(&DeleteTopic{testID(1)})
	data := snapshotOf(t, f.fsm.feed.image.Load())
	if err := f.fsm.Restore(io.NopCloser(bytes.NewReader(data))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Changes{All: true}, f.wait(s)); diff != "" {
		t.Error(diff)
	}
	before := f.fsm.feed.image.Load()
	if err := f.fsm.Restore(io.NopCloser(bytes.NewReader(data[:30]))); err == nil || f.fsm.feed.image.Load() != before {
		t.Errorf("half a snapshot: %v", err)
	}
}

func TestTooManyNamesMeanAll(t *testing.T) {
	f := newFeedTest(t)
	s := f.fsm.feed.subscribe()
	defer s.Close()
	f.wait(s)
	for i := range maxDirty {
		f.apply(&PutGroup{CoordEpoch: firstOwner, Group: Group{ID: fmt.Sprint(i)}})
	}
	if got := f.wait(s); got.All || len(got.Groups) != maxDirty {
		t.Errorf("all %v, %d groups", got.All, len(got.Groups))
	}
	for i := range maxDirty + 1 {
		f.apply(&PutGroup{CoordEpoch: firstOwner, Group: Group{ID: fmt.Sprint(i)}})
	}
	f.apply(&PutGroup{CoordEpoch: firstOwner, Group: Group{ID: "more"}})
	if diff := cmp.Diff(Changes{All: true}, f.wait(s)); diff != "" {
		t.Error(diff)
	}
}
