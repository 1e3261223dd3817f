package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// electorate is a Raft group in words: "1v+ 2v- 3n+ 3b+" are server 1 with a vote and well, 2 with a vote and
// not well, 3 without a vote, and node 3 again on another directory; "4vr-" is a server whose broker was removed.
type electorate struct {
	members []raftmeta.Member
	well    map[string]bool
	removed map[int32]bool
}

func parseElectorate(text string) electorate {
	e := electorate{well: map[string]bool{}, removed: map[int32]bool{}}
	for _, word := range strings.Fields(text) {
		directory := uuid.ID{1}
		if strings.Contains(word, "b") {
			directory = uuid.ID{2}
		}
		id := ServerID(int32(word[0]-'0'), directory)
		e.members = append(e.members, raftmeta.Member{Server: raftmeta.Server{ID: id}, Voter: strings.Contains(word, "v")})
		e.well[id] = strings.HasSuffix(word, "+")
		e.removed[int32(word[0]-'0')] = strings.Contains(word, "r")
	}
	return e
}

func TestSeats(t *testing.T) {
	const long, short = 11 * time.Second, 9 * time.Second
	for _, c := range []struct {
		group string
		lasts time.Duration // how long it has been so
		want  string
	}{
		{"1v+", long, ""},
		{"1v+ 2n+", long, ""},              // two votes survive no more than one
		{"1v+ 2n+ 3n+", short, ""},         // not yet
		{"1v+ 2n+ 3n+", long, "promote 2"}, // one at a time
		{"1v+ 2v+ 3n+", long, "promote 3"},
		{"1v+ 2v+ 3n-", long, ""},
		{"1v+ 2v+ 3v+ 4n+", long, ""},
		{"1v+ 2v+ 3v+ 4n+ 5n+", long, "promote 4"},
		{"1v+ 2v+ 3v+ 4v+ 5v+ 6n+ 7n+", long, ""}, // five are enough
		{"1v+ 2v+ 3v-", long, ""},
		{"1v+ 2v+ 3v-", 71 * time.Hour, ""},
		{"1v+ 2v+ 3v-", 73 * time.Hour, "remove 3"},
		{"1v+ 2v+ 3n-", 73 * time.Hour, "remove 3"},
		{"1v+ 2v- 3v-", 73 * time.Hour, ""}, // most of the remaining voters would not answer
		{"1v+ 2v+ 3v- 4v-", 73 * time.Hour, "remove 3"},
		{"1v+ 2v+ 3vr-", long, ""},
		{"1v+ 2v+ 3vr-", time.Minute, "remove 3"},
		{"1v+ 2v- 3vr-", time.Minute, ""},     // one of the two remaining voters does not answer
		{"1v+ 2v+ 3v+ 4nr+", time.Minute, ""}, // joins, and is about to register
		{"1v+ 2v+ 3v- 3bn+", short, ""},
		{"1v+ 2v+ 3v- 3bn+", long, "remove 3"},
		{"1v+ 2v+ 3bn+", long, "promote 3b"},
		{"1v+ 2v+ 3n- 3bn+", long, "remove 3"},
		{"1v+ 2v- 3v- 3bn+", long, ""}, // two of the remaining voters are needed, and one answers
	} {
		group := parseElectorate(c.group)
		s := newSeats(group.members[0].ID, 5, 10*time.Second)
		s.registered = func(broker int32) bool { return !group.removed[broker] }
		start := time.Now()
		s.observe(group.members, group.well, start)
		s.observe(group.members, group.well, start.Add(c.lasts))
		got := ""
		if change, ok := s.next(); ok {
			got = "promote"
			if change.remove {
				got = "remove"
			}
			id, err := parseServerID(change.server.ID)
			if err != nil {
				t.Fatal(err)
			}
			got += fmt.Sprintf(" %d%s", id.node, map[byte]string{1: "", 2: "b"}[id.directory[0]])
		}
		if got != c.want {
			t.Errorf("%s for %v: %q, want %q", c.group, c.lasts, got, c.want)
		}
	}
}

func TestServerThatFaltersStartsAnew(t *testing.T) {
	group := parseElectorate("1v+ 2n+ 3n+")
	s := newSeats(group.members[0].ID, 5, 10*time.Second)
	start := time.Now()
	s.observe(group.members, group.well, start)
	faltering := parseElectorate("1v+ 2n- 3n-")
	s.observe(faltering.members, faltering.well, start.Add(9*time.Second))
	s.observe(group.members, group.well, start.Add(10*time.Second))
	s.observe(group.members, group.well, start.Add(12*time.Second))
	if change, ok := s.next(); ok {
		t.Errorf("change %+v", change)
	}
}

// TestSeatsKeepAMajority: whatever happens, no change leaves most voters unwell that were not before, there
// are never more voters than allowed, and with everybody well it comes to rest with an odd number of votes.
func TestSeatsKeepAMajority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "servers")
		limit := rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "limit")
		var group electorate
		group.well = map[string]bool{}
		for i := range n {
			id := ServerID(int32(i+1), uuid.ID{1})
			group.members = append(group.members, raftmeta.Member{Server: raftmeta.Server{ID: id}, Voter: i == 0})
			group.well[id] = true
		}
		s := newSeats(group.members[0].ID, limit, 10*time.Second)
		now := time.Now()
		round := func() bool {
			now = now.Add(11 * time.Second)
			s.observe(group.members, group.well, now)
			change, ok := s.next()
			if !ok {
				return false
			}
			var rest []raftmeta.Member
			for _, m := range group.members {
				switch {
				case m.ID != change.server.ID:
					rest = append(rest, m)
				case !change.remove:
					rest = append(rest, raftmeta.Member{Server: m.Server, Voter: true})
				}
			}
			group.members = rest
			return true
		}
		for range rapid.IntRange(0, 40).Draw(t, "rounds") {
			for _, m := range group.members[1:] {
				group.well[m.ID] = rapid.IntRange(0, 3).Draw(t, "well") > 0
			}
			before := safeWithout(group.members, group.well, "")
			changed := round()
			if changed && before && !safeWithout(group.members, group.well, "") {
				t.Fatalf("the majority is lost: %v", group)
			}
		}
		for _, m := range group.members {
			group.well[m.ID] = true
		}
		for i := 0; i < 30 && (round() || i < 3); i++ {
		}
		votes := 0
		for _, m := range group.members {
			if m.Voter {
				votes++
			}
		}
		if votes > limit || votes%2 == 0 || votes != odd(min(limit, len(group.members))) {
			t.Fatalf("%d of %d servers vote, %d may", votes, len(group.members), limit)
		}
	})
}
