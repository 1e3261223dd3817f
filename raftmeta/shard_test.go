package raftmeta

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The shard of a group is part of what is on disk: every committed epoch belongs to it.
func TestShardOfNeverChanges(t *testing.T) {
	for key, want := range map[GroupKey]int32{{"", "g"}: 40, {"", "payments"}: 24, {"acme", "payments"}: 46, {"", ""}: 31} {
		if got := ShardOf(key.Tenant, key.ID); got != want {
			t.Errorf("%q: shard %d, want %d", key, got, want)
		}
		h := fnv.New32a()
		fmt.Fprintf(h, "%s\x00%s", key.Tenant, key.ID)
		if got := int32(h.Sum32() % GroupShards); got != ShardOf(key.Tenant, key.ID) {
			t.Errorf("%q: the library says %d", key, got)
		}
	}
}

// owners lists for each owner how many shards it has and what their epochs add up to.
func owners(im *Image) string {
	count, epochs := map[int32]int{}, map[int32]int32{}
	for i := range int32(GroupShards) {
		s := im.Shard(i)
		count[s.Owner]++
		epochs[s.Owner] += s.Epoch
	}
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&out, " %d:%d@%d", id, count[id], epochs[id])
	}
	return out.String()
}

func TestShardsFollowTheirOwners(t *testing.T) {
	s := &script{t: t, im: NewImage()}
	do := func(step string, cmd Command) {
		t.Helper()
		if err := s.try(cmd); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		fmt.Fprintf(&s.out, "%-16s%s\n", step, owners(s.im))
	}
	for _, id := range worldBrokers {
		do("register", s.register(id, 0, false))
	}
	do("2 is active", s.activate(2))
	do("1 is active", s.activate(1))
	do("move 0", &MoveShard{0, 1, 1})
	do("move 0 again", &MoveShard{0, 2, 1})
	do("3 is active", s.activate(3))
	do("2 stops", s.stop(2))
	do("2 is gone", s.fence(2))
	do("new run of 1", s.register(1, 1, false))
	do("3 dies", s.fence(3))
	do("1 is active", s.activate(1))
	s.want(`
	register         -1:64@0
	register         -1:64@0
	register         -1:64@0
	2 is active      2:64@64
	1 is active      2:64@64
	move 0           1:1@2 2:63@63
	move 0 again     1:1@2 2:63@63
	3 is active      1:1@2 2:63@63
	2 stops          1:32@64 3:32@64
	2 is gone        1:32@64 3:32@64
	new run of 1     3:64@160
	3 dies           -1:64@224
	1 is active      1:64@288`)
}

// What a former owner proposes has no effect, whether another owns the shard now or nobody does (I43).
func TestFormerCoordinatorIsFenced(t *testing.T) {
	im := worldForFuzzing()
	put := &PutGroup{firstOwner, Group{ID: "g", Generation: 2}}
	if err := rejection(t, im, put); err != nil {
		t.Fatal(err)
	}
	moved := applyAll(t, im, &MoveShard{ShardOf("", "g"), firstOwner, 2})
	alone := applyAll(t, im, &FenceBroker{2, 3}, &FenceBroker{3, 5}, &FenceBroker{1, 1})
	for name, im := range map[string]*Image{"moved": moved, "no owner": alone} {
		for _, cmd := range []Command{
			put, &DeleteGroup{CoordEpoch: firstOwner, ID: "g"}, &DeleteOffsets{CoordEpoch: firstOwner, Group: "g"},
			&CommitOffsets{CoordEpoch: firstOwner, Group: "g", MemberID: "m1", Generation: 1},
		} {
			if err := rejection(t, im, cmd); err != ErrStaleCoordinator {
				t.Errorf("%s: %T: %v", name, cmd, err)
			}
		}
	}
	if s := alone.Shard(ShardOf("", "g")); s != (Shard{NoLeader, firstOwner + 1}) {
		t.Errorf("shard without a broker: %+v", s)
	}
	if err := rejection(t, alone, &PutGroup{firstOwner + 1, Group{ID: "g", Generation: 2}}); err != ErrStaleCoordinator {
		t.Errorf("in the epoch of no owner: %v", err)
	}
	if err := rejection(t, moved, &PutGroup{firstOwner + 1, Group{ID: "g", Generation: 2}}); err != nil {
		t.Errorf("the new owner: %v", err)
	}
}
