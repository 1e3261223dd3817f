package raftmeta

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// applyAll applies commands which must all be accepted.
func applyAll(t *testing.T, im *Image, commands ...Command) *Image {
	t.Helper()
	for _, cmd := range commands {
		next, _, err := Apply(im, im.Index()+1, 1, cmd)
		if err != nil {
			t.Fatalf("%T: %v", cmd, err)
		}
		im = next
	}
	return im
}

// rejection is what a command comes to on an image, nil if it is accepted.
func rejection(t *testing.T, im *Image, cmd Command) error {
	t.Helper()
	_, _, err := Apply(im, im.Index()+1, 1, cmd)
	return err
}

// TestRejections has for each rule one command that breaks only that.
func TestRejections(t *testing.T) {
	im := applyAll(t, worldForFuzzing(),
		&InitCluster{testID(200)},
		&PutGroup{CoordEpoch: firstOwner, Group: Group{ID: "empty", Generation: 4, EmptySince: 1}},
		commitOf("simple", testID(1), 7),
		&CreateTopic{ID: testID(3), Name: "gone", Assignments: [][]int32{{1}}},
		&DeleteTopic{testID(3)},
		&CreateTopic{ID: testID(4), Name: "x.y", Assignments: [][]int32{{1}}},
		&SetDraining{3, true},
	) // group "g" is at generation 1 with member m1
	topic := func(change func(x *CreateTopic)) *CreateTopic {
		x := &CreateTopic{ID: testID(5), Name: "new", Assignments: [][]int32{{1, 2}}}
		change(x)
		return x
	}
	commit := func(group, member string, generation int32) *CommitOffsets {
		return &CommitOffsets{CoordEpoch: firstOwner, Group: group, MemberID: member, Generation: generation}
	}
	for _, test := range []struct {
		name string
		cmd  Command
		want error
	}{
		{"same cluster", &InitCluster{testID(200)}, nil},
		{"other cluster", &InitCluster{testID(201)}, ErrClusterIDMismatch},
		{"no cluster", &InitCluster{}, ErrInvalidRequest},

		{"topic", topic(func(*CreateTopic) {}), nil},
		{"its name", topic(func(x *CreateTopic) { x.Name = "a" }), ErrTopicExists},
		{"its name, other tenant", topic(func(x *CreateTopic) { x.Tenant, x.Name = "other", "a" }), nil},
		{"repeated", topic(func(x *CreateTopic) { x.ID, x.Name = testID(1), "a" }), nil},
		{"collision", topic(func(x *CreateTopic) { x.Name = "x_y" }), ErrTopicCollides},
		{"bad name", topic(func(x *CreateTopic) { x.Name = "a/b" }), ErrInvalidTopic},
		{"bad tenant", topic(func(x *CreateTopic) { x.Tenant = "a\x00b" }), ErrInvalidRequest},
		{"live id", topic(func(x *CreateTopic) { x.ID = testID(1) }), ErrTopicIDUsed},
		{"buried id", topic(func(x *CreateTopic) { x.ID = testID(3) }), ErrTopicIDUsed},
		{"buried name", topic(func(x *CreateTopic) { x.Name = "gone" }), nil},
		{"no partitions", topic(func(x *CreateTopic) { x.Assignments = nil }), ErrInvalidPartitions},
		{"no replicas", topic(func(x *CreateTopic) { x.Assignments = [][]int32{{}} }), ErrInvalidAssignment},
		{"unknown broker", topic(func(x *CreateTopic) { x.Assignments = [][]int32{{1, 9}} }), ErrInvalidAssignment},
		{"twice", topic(func(x *CreateTopic) { x.Assignments = [][]int32{{1, 1}} }), ErrInvalidAssignment},
		{"delete twice", &DeleteTopic{testID(3)}, ErrUnknownTopic},
		{"confirm a live one", &ConfirmDeletion{testID(1), 1}, ErrInvalidRequest},
		{"confirm the unknown", &ConfirmDeletion{testID(77), 1}, nil},
		{"other count", &CreatePartitions{testID(1), 2, [][]int32{{1}}}, ErrInvalidPartitions},
		{"right count", &CreatePartitions{testID(1), 3, [][]int32{{1}}}, nil},
		{"config of a topic", &SetConfig{2, "a", ConfigChange{}}, ErrInvalidRequest},

		{"stale broker", &AllocateProducerIDs{1, 2, 1}, ErrStaleBrokerEpoch},
		{"no ids", &AllocateProducerIDs{1, 1, 0}, ErrInvalidRequest},
		{"too many ids", &AllocateProducerIDs{1, 1, MaxProducerIDBlock + 1}, ErrInvalidRequest},

		{"shard of another owner", &MoveShard{0, firstOwner - 1, 2}, ErrStaleCoordinator},
		{"shard to nobody", &MoveShard{0, firstOwner, 9}, ErrUnknownBroker},
		{"no such shard", &MoveShard{GroupShards, 0, 1}, ErrInvalidRequest},
		{"shard", &MoveShard{0, firstOwner, 2}, nil},
		{"stale shutdown", &BeginShutdown{1, 2}, ErrStaleBrokerEpoch},
		{"unknown shutdown", &BeginShutdown{9, 1}, ErrUnknownBroker},

		{"shard to a draining one", &MoveShard{0, firstOwner, 3}, ErrBrokerUnavailable},
		{"drain nobody", &SetDraining{9, true}, ErrUnknownBroker},
		{"remove nobody", &RemoveBroker{9, 1}, ErrUnknownBroker},
		{"remove another run", &RemoveBroker{1, 2}, ErrStaleBrokerEpoch},
		{"remove an active one", &RemoveBroker{1, 1}, ErrBrokerInUse},
		{"reassign nothing", &Reassign{testID(9), 0, []int32{1}}, ErrUnknownTopic},
		{"recover nothing", &RecoverLeader{TopicID: testID(1), Partition: 3}, ErrUnknownPartition},

		{"lower generation", &PutGroup{CoordEpoch: firstOwner, Group: Group{ID: "empty", Generation: 3}}, ErrIllegalGeneration},
		{"same generation", &PutGroup{CoordEpoch: firstOwner, Group: Group{ID: "empty", Generation: 4}}, nil},
		{"other coordinator", &PutGroup{CoordEpoch: 2}, ErrStaleCoordinator},
		{"member", commit("g", "m1", 1), nil},
		{"older generation", commit("g", "m1", 0), ErrIllegalGeneration},
		{"newer generation", commit("g", "m1", 2), ErrIllegalGeneration},
		{"stranger", commit("g", "m2", 1), ErrUnknownMember},
		{"no membership, members", commit("g", "", -1), ErrUnknownMember},
		{"no membership, empty", commit("empty", "", -1), nil},
		{"member of the empty", commit("empty", "m1", 4), ErrUnknownMember},
		{"member of nothing", commit("none", "m1", 0), ErrIllegalGeneration},
		{"delete members", &DeleteGroup{CoordEpoch: firstOwner, ID: "g"}, ErrNonEmptyGroup},
		{"delete nothing", &DeleteGroup{CoordEpoch: firstOwner, ID: "none"}, ErrUnknownGroup},
		{"delete with offsets", &DeleteGroup{CoordEpoch: firstOwner, ID: "simple", IfNoOffsets: true}, ErrGroupHasOffsets},
		{"delete without offsets", &DeleteGroup{CoordEpoch: firstOwner, ID: "empty", IfNoOffsets: true}, nil},
		{"expire under members", &DeleteOffsets{CoordEpoch: firstOwner, Group: "g", IfEmpty: true}, ErrNonEmptyGroup},
		{"delete under members", &DeleteOffsets{CoordEpoch: firstOwner, Group: "g"}, nil},
	} {
		if err := rejection(t, im, test.cmd); err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestOffsetsAreJudgedOneByOne(t *testing.T) {
	im := worldForFuzzing()
	cmd := &CommitOffsets{CoordEpoch: firstOwner, Group: "h", Generation: -1, Offsets: []CommittedOffset{
		{TopicID: testID(1), Partition: 3, CommittedAt: 90}, {TopicID: testID(1), Partition: 2, CommittedAt: 50}, {TopicID: testID(9)},
	}}
	im, result, err := Apply(im, 100, 1, cmd)
	if want := []error{ErrUnknownPartition, nil, ErrUnknownTopic}; err != nil || !slices.Equal(want, result.OffsetErrors) {
		t.Errorf("%v, %v", err, result.OffsetErrors)
	}
	g, ok := im.Group("", "h")
	if want := (&Group{ID: "h", EmptySince: 50}); !ok || cmp.Diff(want, g) != "" {
		t.Errorf("group made by the commit: %+v", g)
	}
}

func TestExpiryKeepsNewerCommits(t *testing.T) {
	im := applyAll(t, worldForFuzzing(), &CommitOffsets{CoordEpoch: firstOwner, Group: "h", Generation: -1, Offsets: []CommittedOffset{
		{TopicID: testID(1), Partition: 0, CommittedAt: 50}, {TopicID: testID(1), Partition: 1, CommittedAt: 51},
	}})
	im = applyAll(t, im, &DeleteOffsets{CoordEpoch: firstOwner, Group: "h", Offsets: []OffsetKey{{testID(1), 0, 50}, {testID(1), 1, 50}, {testID(1), 2, 50}}})
	left := slices.Collect(im.Offsets("", "h"))
	if len(left) != 1 || left[0].Partition != 1 {
		t.Errorf("left: %+v", left)
	}
	im = applyAll(t, im, &DeleteOffsets{CoordEpoch: firstOwner, Group: "h", Offsets: []OffsetKey{{testID(1), 1, math.MaxInt64}}})
	if left := slices.Collect(im.Offsets("", "h")); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// A broker goes once nothing lies on it, and what waited for it to confirm a deletion waits no more.
func TestRemovedBroker(t *testing.T) {
	im := applyAll(t, worldForFuzzing(), &DeleteTopic{testID(2)}, &FenceBroker{3, 5}, &ConfirmDeletion{testID(2), 1})
	remove := &RemoveBroker{3, 5}
	if err := rejection(t, im, remove); err != ErrBrokerInUse {
		t.Errorf("with replicas: %v", err)
	}
	im = applyAll(t, im, &DeleteTopic{testID(1)}, &ConfirmDeletion{testID(2), 2}, remove)
	if _, ok := im.Broker(3); ok {
		t.Error("broker is still there")
	}
	if _, ok := im.Tombstone(testID(2)); ok {
		t.Error("a deleted topic waits for the removed broker")
	}
	if x, ok := im.Tombstone(testID(1)); !ok || !slices.Equal(x.Pending, []int32{1, 2}) {
		t.Errorf("tombstone: %+v", x)
	}
	if err := rejection(t, im, remove); err != ErrUnknownBroker {
		t.Errorf("removed twice: %v", err)
	}
}

// The last ids are handed out once, and then none (KAFKA-15552).
func TestProducerIDsEnd(t *testing.T) {
	e := newEdit(worldForFuzzing())
	e.base.nextProducerID = math.MaxInt64 - 5
	im := e.done()
	im, result, err := Apply(im, 100, 1, &AllocateProducerIDs{1, 1, 5})
	if want := (ProducerIDBlock{math.MaxInt64 - 5, 5}); err != nil || result.ProducerIDs != want {
		t.Errorf("%v, %v", result, err)
	}
	for range 2 {
		if im, result, err = Apply(im, im.Index()+1, 1, &AllocateProducerIDs{1, 1, 1}); !errors.Is(err, ErrProducerIDsExhausted) {
			t.Errorf("%v, %v", result, err)
		}
	}
}

func TestEveryRejectionHasText(t *testing.T) {
	seen := map[string]bool{}
	for r := Rejection(1); r < rejectionEnd; r++ {
		if r.Error() == "" || seen[r.Error()] {
			t.Errorf("rejection %d: %q", r, r.Error())
		}
		seen[r.Error()] = true
	}
}
