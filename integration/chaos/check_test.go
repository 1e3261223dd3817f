package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var p0 = Partition{"t", 0}

// sound is a history of one partition in which all is as it should be: streams 0 (idempotent), 1 (acks=all, each record
// once) and 2 (acks=1), a reader, a group of two members.
func sound() *History {
	at := func(n int) time.Duration { return time.Duration(n) * time.Second }
	read := func(offset int64, stream, seq int32) Read {
		return Read{Offset: offset, ID: ID{stream, seq}, Epoch: 1, At: at(50)}
	}
	h := &History{
		Streams: []Stream{
			{Idempotent, p0, []Attempt{{at(1), at(2), 0, Acked, 0}, {at(1), at(2), 1, Acked, 0}, {at(3), at(9), 4, Acked, 0}}},
			{Once, p0, []Attempt{{at(1), at(2), 2, Acked, 0}, {at(3), at(4), 0, Refused, 19}, {at(5), at(9), 0, Unknown, 7}, {at(5), at(9), 0, Unknown, 7}}},
			{Leader, p0, []Attempt{{at(1), at(2), 3, Acked, 0}, {at(3), at(4), 4, Acked, 0}}}, // the second was lost with its leader
		},
		Final: map[Partition][]Read{p0: {read(0, 0, 0), read(1, 0, 1), read(2, 1, 0), read(3, 2, 0), read(4, 0, 2), read(5, 1, 2)}},
		Reads: map[Partition][]Read{p0: {read(0, 0, 0), read(1, 0, 1), read(4, 0, 2)}},
		// The last but one is of a leader that was cut off and does not know of its successor.
		Ends: map[Partition][]EndSeen{p0: {{2, 1, at(2), at(3)}, {4, 1, at(3), at(4)}, {3, 1, at(2), at(5)}, {6, 2, at(51), at(52)}, {4, 1, at(53), at(54)}, {6, 2, at(53), at(54)}}},
		Commits: map[string][]Commit{"g": {
			{p0, 2, "a", at(3), at(4), Acked}, {p0, 4, "a", at(5), at(9), Unknown}, {p0, 5, "b", at(12), at(13), Acked},
		}},
		Committed: map[string][]CommittedSeen{"g": {
			{p0, -1, "a", at(1), at(2), false}, {p0, 2, "a", at(5), at(6), false}, {p0, 4, "x", at(7), at(8), true},
			{p0, 4, "b", at(10), at(11), false}, {p0, 5, "a", at(14), at(15), false}, {p0, 4, "x", at(16), at(17), true},
		}},
		Assigned: map[string][]Assigned{"g": {
			{"a", 1, []Partition{p0}, at(1)}, {"a", 2, nil, at(10)}, {"b", 2, []Partition{p0}, at(10)},
		}},
	}
	return h
}

func TestASoundHistoryPasses(t *testing.T) {
	if found := sound().Check(); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// TestCheckSeesEveryFault breaks the sound history in one way each.
func TestCheckSeesEveryFault(t *testing.T) {
	final := func(h *History) []Read { return h.Final[p0] }
	for name, c := range map[string]struct {
		breakIt    func(h *History)
		invariant  string
		text       string
		everything string // that a row must tell
	}{
		"the last acked record is lost": {func(h *History) { h.Final[p0] = final(h)[:4] },
			"I1", "an acknowledged record is lost", "record 0/2: idempotent to t-0, sent at 3s, acked at 9s, offset 4"},
		"an acked record of a single attempt is lost": {func(h *History) { h.Streams[1].Attempts[3] = Attempt{Offset: 6, Outcome: Acked} },
			"I1", "an acknowledged record is lost", "record 1/3"},
		"the log is empty": {func(h *History) { delete(h.Final, p0) }, "I1", "an acknowledged record is lost", "record 0/0"},
		"a hole":           {func(h *History) { h.Final[p0] = slices.Delete(final(h), 3, 4) }, "I1", "hole below offset 4", "offset 4"},
		"no beginning":     {func(h *History) { h.Final[p0] = final(h)[1:] }, "I1", "hole below offset 1", "offset 1"},
		"another value at an acked offset": {func(h *History) { final(h)[4].ID = ID{1, 3} },
			"I2", "another record has the offset", "record 0/2"},
		"acked at another offset":              {func(h *History) { h.Streams[0].Attempts[2].Offset = 3 }, "I2", "another record has the offset", "record 2/0"},
		"a record of another partition":        {func(h *History) { h.Streams[1].Partition.Index = 1 }, "I2", "never sent to it", "record 1/0"},
		"a record that was never sent":         {func(h *History) { final(h)[5].ID = ID{1, 9} }, "I2", "never sent to it", "record 1/9"},
		"a record of no stream":                {func(h *History) { final(h)[5].ID = ID{9, 0} }, "I2", "never sent to it", "no such stream"},
		"a duplicate of an idempotent stream":  {func(h *History) { final(h)[5].ID = ID{0, 2} }, "I35", "twice, at offsets 4 and 5", "record 0/2"},
		"a duplicate of a record sent once":    {func(h *History) { final(h)[5].ID = ID{2, 0} }, "I35", "twice, at offsets 3 and 5", "record 2/0"},
		"a record that was refused":            {func(h *History) { final(h)[5].ID = ID{1, 1} }, "I46", "refused is in the log", "code 19"},
		"reordered":                            {func(h *History) { final(h)[0].ID, final(h)[1].ID = ID{0, 1}, ID{0, 0} }, "I35", "out of order", "record 0/1"},
		"a reader saw what vanished":           {func(h *History) { h.Reads[p0] = append(h.Reads[p0], Read{6, ID{1, 3}, 1, 0}) }, "I9", "vanished", "record 1/3"},
		"a reader saw another value":           {func(h *History) { h.Reads[p0][2].ID = ID{2, 1} }, "I2", "has changed", "record 2/1"},
		"a reader saw another epoch":           {func(h *History) { h.Reads[p0][2].Epoch = 7 }, "I2", "has changed", "leader epoch 7"},
		"the latest offset fell":               {func(h *History) { h.Ends[p0][3].Offset = 3; h.Reads = nil; h.Streams = nil }, "I8", "fell from 4 to 3", "asked at 51s"},
		"the latest offset of one leader fell": {func(h *History) { h.Ends[p0][4].Offset = 3 }, "I8", "fell from 4 to 3", "asked at 53s"},
		"the latest offset is below an ack":    {func(h *History) { h.Ends[p0][3].Offset = 4; h.Reads = nil }, "I8", "fell from 5 to 4", "record 0/2"},
		"the latest offset is below a read":    {func(h *History) { h.Ends[p0][3].Offset = 4; h.Streams = nil }, "I8", "fell from 5 to 4", "offset 4 held"},
		"a committed offset went back":         {func(h *History) { h.Committed["g"][4].Offset = 4 }, "I42", "back from 5 to 4", "commit of 5 by b"},
		"a committed offset seen went back":    {func(h *History) { h.Committed["g"][3].Offset = 2 }, "I42", "back from 4 to 2", "asked by b at 10s"},
		"a committed offset vanished":          {func(h *History) { h.Committed["g"][4].Offset = -1 }, "I42", "back from 5 to -1", "commit of 5 by b"},
		"a committed offset that nobody tried": {func(h *History) { h.Committed["g"][4].Offset = 6 }, "I42", "nobody committed", "was 6"},
		"two owners":                           {func(h *History) { h.Assigned["g"][1].Partitions = []Partition{p0} }, "I44", "two members own", "generation 2"},
		"a generation went back":               {func(h *History) { h.Assigned["g"][1].Generation = 0 }, "I44", "went back", "generation 0"},
		"an error that may not be": {func(h *History) { h.Complaints = []Complaint{{"I18", p0, "OFFSET_OUT_OF_RANGE", 5 * time.Second}} },
			"I18", "OFFSET_OUT_OF_RANGE", "at 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			h := sound()
			c.breakIt(h)
			for _, v := range h.Check() {
				if v.Invariant == c.invariant && strings.Contains(v.Text, c.text) && strings.Contains(v.String(), c.everything) {
					return
				}
			}
			t.Errorf("want %s %q with %q; found %v", c.invariant, c.text, c.everything, h.Check())
		})
	}
}

func TestAcksOfTheLeaderMayBeLost(t *testing.T) {
	h := sound()
	h.Final[p0] = slices.DeleteFunc(h.Final[p0], func(r Read) bool { return r.ID.Stream == 2 })
	for i := range h.Final[p0] { // as a log without it would be
		h.Final[p0][i].Offset = int64(i)
	}
	h.Streams[0].Attempts[2].Offset, h.Reads, h.Ends = 3, nil, nil
	if found := h.Check(); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

func TestViolationsAreCapped(t *testing.T) {
	h := sound()
	for range 1000 {
		h.Complaints = append(h.Complaints, Complaint{Invariant: "I18", Partition: p0, Text: "again"})
	}
	if found := h.Check(); len(found) != maxViolations {
		t.Errorf("%d violations are reported", len(found))
	}
}

func TestLedgerKeepsWhatItIsTold(t *testing.T) {
	l := NewLedger()
	s := l.Open(Once, p0)
	first, second := l.Begin(s), l.Begin(s)
	l.Settle(second, Acked, 7, 0)
	l.SawRecord(p0, Read{Offset: 7, ID: second, Epoch: 1})
	l.SawRecord(p0, Read{Offset: 7, ID: second, Epoch: 1})
	l.SawRecord(p0, Read{Offset: 7, ID: first, Epoch: 1})
	h := l.History()
	if got := h.Streams[s].Attempts; len(got) != 2 || got[0].Outcome != Pending || got[1].Outcome != Acked || got[1].Offset != 7 || got[1].End < got[1].Start {
		t.Errorf("attempts %+v", got)
	}
	if l.Acked(p0) != 1 || l.Acked(Partition{"t", 1}) != 0 {
		t.Errorf("%d and %d acknowledgements", l.Acked(p0), l.Acked(Partition{"t", 1}))
	}
	if got := h.Reads[p0]; len(got) != 2 || got[1].ID != first {
		t.Errorf("a repeated read is kept, or a different one is not: %+v", got)
	}
}

func TestLongestWaitCountsWhatIsStillWaiting(t *testing.T) {
	at := func(n int) time.Duration { return time.Duration(n) * time.Second }
	l := NewLedger()
	l.Open(Idempotent, p0)
	l.history.Streams[0].Attempts = []Attempt{
		{at(1), at(9), 0, Acked, 0}, {at(10), at(13), 1, Acked, 0}, {at(12), at(14), 2, Acked, 0}, {at(15), 0, 0, Pending, 0}, {at(30), 0, 0, Pending, 0},
	}
	if got := l.longestWait(at(10), at(14)); got != at(3) {
		t.Errorf("the longest wait of those from 10s to 14s is %v, want 3s", got)
	}
	if got := l.longestWait(at(10), at(20)); got != at(5) {
		t.Errorf("the longest wait of those from 10s to 20s is %v, want 5s", got)
	}
}

func TestValuesAreTheirOwnProof(t *testing.T) {
	for _, id := range []ID{{0, 0}, {3, 17}, {1 << 20, 1<<31 - 1}} {
		v := id.Value()
		if got, err := ParseValue(v); err != nil || got != id {
			t.Errorf("%v came back as %v, %v", id, got, err)
		}
		for i := range v {
			bad := slices.Clone(v)
			bad[i] ^= 1
			if got, err := ParseValue(bad); err == nil && got == id {
				t.Fatalf("%v with byte %d changed is taken for itself", id, i)
			}
		}
	}
	if _, err := ParseValue([]byte("junk")); err == nil {
		t.Error("junk was parsed")
	}
}
