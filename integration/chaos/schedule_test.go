package chaos

import (
	"testing"
)

func TestScheduleIsReplayable(t *testing.T) {
	a, b := describe(Schedule(7, Kinds(), 100)), describe(Schedule(7, Kinds(), 100))
	if a != b {
		t.Error("one seed gave two schedules")
	}
	if a == describe(Schedule(8, Kinds(), 100)) {
		t.Error("two seeds gave one schedule")
	}
	if short := Schedule(7, Kinds(), 10); short[9].String() != Schedule(7, Kinds(), 100)[9].String() {
		t.Error("a longer schedule begins in another way")
	}
}

func TestScheduleHasEveryKindOnceInARow(t *testing.T) {
	kinds := Kinds()
	seen := map[string]int{}
	for _, s := range Schedule(7, kinds, 3*len(kinds)) {
		seen[s.Kind.Name]++
	}
	for _, k := range kinds {
		if seen[k.Name] != 3 {
			t.Errorf("%s comes %d times of %d", k.Name, seen[k.Name], 3*len(kinds))
		}
	}
}
