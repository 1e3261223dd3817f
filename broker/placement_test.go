package broker

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// emptySites is a placer over an empty cluster: one entry for each broker, its rack.
func emptySites(racks []string) *placer {
	p := &placer{together: map[[2]int32]int{}}
	byName := map[string]*rack{}
	for i, name := range racks {
		if byName[name] == nil {
			byName[name] = &rack{}
		}
		byName[name].sites++
		p.sites = append(p.sites, &site{id: int32(i + 1), rack: byName[name]})
	}
	return p
}

func spreadOf(counts map[int32]int, brokers int) int {
	for id := range brokers {
		counts[int32(id+1)] += 0
	}
	values := slices.Collect(maps.Values(counts))
	return slices.Max(values) - slices.Min(values)
}

// TestPlacementIsEven: in an empty cluster whose racks are equally large, leaders and replicas differ by one
// at most between brokers (leaders by two after a second topic), and replicas are in as many racks as there are.
func TestPlacementIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks, perRack := rapid.IntRange(1, 6).Draw(t, "racks"), rapid.IntRange(1, 5).Draw(t, "per rack")
		var names []string
		for i := range racks * perRack {
			names = append(names, fmt.Sprint("r", i%racks))
		}
		factor := rapid.IntRange(1, min(len(names), 6)).Draw(t, "factor")
		p, again := emptySites(names), emptySites(names)
		leaders, replicas := map[int32]int{}, map[int32]int{}
		for topic := range rapid.IntRange(1, 3).Draw(t, "topics") {
			partitions := rapid.IntRange(1, 60).Draw(t, "partitions")
			assignments := p.place(partitions, factor)
			if diff := cmp.Diff(assignments, again.place(partitions, factor)); diff != "" {
				t.Fatalf("the same place gets other replicas: %s", diff)
			}
			if len(assignments) != partitions {
				t.Fatalf("%d assignments for %d partitions", len(assignments), partitions)
			}
			for _, members := range assignments {
				checkMembers(t, members, names, factor)
				leaders[members[0]]++
				for _, id := range members {
					replicas[id]++
				}
			}
			if d := spreadOf(replicas, len(names)); d > 1 {
				t.Fatalf("replicas differ by %d: %v", d, replicas)
			}
			if d := spreadOf(leaders, len(names)); d > 1+min(topic, 1) { // the first topic's leaders stay
				t.Fatalf("leaders differ by %d: %v", d, leaders)
			}
		}
	})
}

// TestPlacementKeepsRacksApart: also where racks are not equally large.
func TestPlacementKeepsRacksApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c", "d"}), 1, 12).Draw(t, "racks of brokers")
		factor := rapid.IntRange(1, len(names)).Draw(t, "factor")
		for _, members := range emptySites(names).place(rapid.IntRange(1, 40).Draw(t, "partitions"), factor) {
			checkMembers(t, members, names, factor)
		}
	})
}

func checkMembers(t *rapid.T, members []int32, racks []string, factor int) {
	t.Helper()
	brokers, used, all := map[int32]bool{}, map[string]bool{}, map[string]bool{}
	for _, name := range racks {
		all[name] = true
	}
	for _, id := range members {
		brokers[id], used[racks[id-1]] = true, true
	}
	if len(members) != factor || len(brokers) != factor {
		t.Fatalf("%v: want %d distinct replicas", members, factor)
	}
	if want := min(factor, len(all)); len(used) != want {
		t.Fatalf("%v is in %d racks of %v, want %d", members, len(used), racks, want)
	}
}

// TestPlacementVariesFollowers: a failed broker's partitions are taken over by several others.
func TestPlacementVariesFollowers(t *testing.T) {
	second := map[int32]map[int32]bool{}
	for _, members := range emptySites(make([]string, 6)).place(60, 3) {
		if second[members[0]] == nil {
			second[members[0]] = map[int32]bool{}
		}
		second[members[0]][members[1]] = true
	}
	for leader, next := range second {
		if len(next) < 3 {
			t.Errorf("after broker %d only %v would lead", leader, next)
		}
	}
}

// TestPlacementFillsWhatIsEmpty: what brokers hold already counts, and those that drain are left out while
// there are others.
func TestPlacementFillsWhatIsEmpty(t *testing.T) {
	p := emptySites(make([]string, 4))
	for range 10 {
		p.sites[0].take(true)
		p.sites[1].take(false)
	}
	p.sites[2].draining = true
	for i, members := range p.place(6, 1) {
		if members[0] != 4 {
			t.Errorf("partition %d went to %v, broker 4 holds nothing", i, members)
		}
	}
	for _, members := range p.place(8, 3) {
		if slices.Contains(members, 3) {
			t.Errorf("%v includes the broker that drains", members)
		}
	}
	for _, members := range p.place(8, 4) {
		if !slices.Contains(members, 3) || members[0] == 3 {
			t.Errorf("%v: the broker that drains holds a replica that nobody else can, and leads nothing", members)
		}
	}
}

// TestPlacementLeavesFencedBrokersForLast: a broker that is down gets replicas only where no other is left, and
// leads nowhere.
func TestPlacementLeavesFencedBrokersForLast(t *testing.T) {
	racks := []string{"a", "b", "c", "d"}
	for factor := 1; factor <= len(racks); factor++ {
		p := emptySites(racks)
		p.sites[1].fenced = true
		for _, members := range p.place(20, factor) {
			if members[0] == 2 || slices.Contains(members, 2) != (factor == len(racks)) {
				t.Fatalf("with broker 2 down a partition of %d replicas is on %v", factor, members)
			}
		}
	}
}
