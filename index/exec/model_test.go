package exec

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// world is the chunks of a topic and the records in them.
type world struct {
	brute
	mapping *schema.Mapping
	chunks  []*Chunk
	logs    [2]int64 // log starts by partition
}

// drawWorld draws three chunks of up to size records, which is at most 10.
func drawWorld(t *rapid.T, size int64) *world {
	d := drawer{t}
	w := &world{mapping: testMapping(t, testFields), brute: brute{tokens: map[string]uint64{}}}
	w.logs = [2]int64{int64(d.n(0, 4)), 100}
	for _, at := range []struct {
		partition int32
		base      int64
	}{{0, 0}, {0, 10}, {1, 100}} {
		var records []*record
		var deleted []int64
		for offset := at.base; offset < at.base+size; offset++ {
			if d.chance(15) {
				continue // a gap
			}
			r := d.record(at.partition, offset)
			records = append(records, r)
			if d.chance(8) {
				deleted = append(deleted, offset)
				continue
			}
			w.indexed = append(w.indexed, r)
		}
		info := Info{Topic: "t", Partition: at.partition, Base: at.base, End: at.base + 10, LogStart: w.logs[at.partition]}
		c := openChunk(t, w.mapping, info, records, deleted)
		if len(records) > len(deleted) { // or there is nothing left to count for
			for field, tokens := range c.Tokens {
				w.tokens[field] += tokens
			}
		}
		w.chunks = append(w.chunks, c)
	}
	return w
}

// visible are the records that a search may find.
func (w *world) visible(s *dsl.Search) (records []*record) {
	for _, r := range w.indexed {
		hidden := r.offset < w.logs[r.partition] || s.Partitions != nil && !slices.Contains(s.Partitions, r.partition)
		for _, m := range s.MaxOffset {
			hidden = hidden || m.Partition == r.partition && r.offset >= m.Offset
		}
		if !hidden {
			records = append(records, r)
		}
	}
	return records
}

// hit is a record that the model found.
type hit struct {
	*record
	score float64
}

func (w *world) hits(s *dsl.Search) (found []hit, forAggs []*record) {
	for _, r := range w.visible(s) {
		ok, score := w.match(s.Query, r)
		if !ok || s.MinScore != nil && score < *s.MinScore {
			continue
		}
		forAggs = append(forAggs, r)
		if s.PostFilter != nil {
			if ok, _ := w.match(s.PostFilter, r); !ok {
				continue
			}
		}
		found = append(found, hit{r, score})
	}
	return found, forAggs
}

// compareBy compares hits by sort keys, and then by where they are.
func compareBy(sorts []dsl.Sort, a, b hit) int {
	for _, s := range sorts {
		if c := compareByOne(s, a, b); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
}

func compareByOne(s dsl.Sort, a, b hit) int {
	sign := 1
	if s.Desc {
		sign = -1
	}
	switch s.Field {
	case "_score":
		return sign * cmp.Compare(a.score, b.score)
	case "_offset", "_doc":
		return sign * cmp.Compare(a.offset, b.offset)
	}
	if isNumber(s.Field) {
		return compareValues(s, a.numbers(s.Field), b.numbers(s.Field))
	}
	return compareValues(s, a.strings(s.Field), b.strings(s.Field))
}

func compareValues[T cmp.Ordered](s dsl.Sort, a, b []T) int {
	if len(a) == 0 || len(b) == 0 {
		c := cmp.Compare(min(len(b), 1), min(len(a), 1)) // the one that has a value comes first
		if s.MissingFirst {
			return -c
		}
		return c
	}
	if s.Desc {
		return cmp.Compare(slices.Max(b), slices.Max(a))
	}
	return cmp.Compare(slices.Min(a), slices.Min(b))
}

func (d drawer) sorts() (sorts []dsl.Sort) {
	for range d.n(0, 2) {
		field := d.of([]string{"_offset", "_timestamp", "_key", "level", "n", "d", "at", "ok"})
		sorts = append(sorts, dsl.Sort{Field: field, Desc: d.chance(50), MissingFirst: d.chance(30)})
	}
	return sorts
}

func (d drawer) search() *dsl.Search {
	aggs := d.chance(40)
	s := &dsl.Search{Now: now, Query: d.query(3, !aggs), Size: d.n(0, 12), From: d.n(0, 2), Sort: d.sorts(), TrackScores: d.chance(60)}
	if d.chance(25) {
		s.PostFilter = d.query(1, !aggs)
	}
	if d.chance(15) {
		low := 0.9
		s.MinScore = &low
	}
	if d.chance(25) {
		s.MaxOffset = []dsl.PartitionOffset{{Partition: 0, Offset: int64(d.n(0, 20))}, {Topic: "t", Partition: 1, Offset: int64(d.n(100, 110))}}
	}
	if d.chance(15) {
		s.Partitions = []int32{int32(d.n(0, 1))}
	}
	if aggs {
		s.Aggs = d.aggs(2)
	}
	if d.chance(30) {
		all := dsl.TrackAll
		s.TrackTotalHits = &all
	}
	return s
}

// show is the parts of a search that matter here.
func show(s *dsl.Search) string {
	return fmt.Sprintf("query %+v post %+v from %d size %d sort %+v offsets %v partitions %v", s.Query, s.PostFilter, s.From, s.Size, s.Sort, s.MaxOffset, s.Partitions)
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(b)) }

// TestAgreesWithBruteForce draws records, chunks and searches, and compares with what the records alone say: ids,
// totals, scores, order, sort values and aggregations.
func TestAgreesWithBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, 10)
		d := drawer{t}
		for range 10 {
			s := d.search()
			plan, found, err := trySearch(s, w.mapping, w.chunks...)
			if err != nil {
				t.Fatalf("%v: %s", err, show(s))
			}
			want, forAggs := w.hits(s)
			got := verified(plan, found, want, w)
			checkHits(t, s, plan, found, got, want)
			w.checkAggs(t, s, found, forAggs)
		}
	})
}

// verified are the hits of found that their records confirm.
func verified(plan *Plan, found *Partial, want []hit, w *world) (hits []Hit) {
	v := plan.NewVerifier()
	for _, h := range found.Hits {
		at := slices.IndexFunc(w.indexed, func(r *record) bool { return r.partition == h.Partition && r.offset == h.Offset })
		s := w.indexed[at].schema()
		if !plan.NeedsVerify() || v.Matches(h.Partition, &s) {
			hits = append(hits, h)
		}
	}
	return hits
}

func checkHits(t *rapid.T, s *dsl.Search, plan *Plan, found *Partial, got []Hit, want []hit) {
	t.Helper()
	size := s.From + s.Size
	if s.Size == 0 {
		size = 0
	}
	verify := plan.NeedsVerify()
	if verify && size == 0 {
		return // nothing is verified, and the total is known to be a guess
	}
	if exact := !verify && !found.AtLeast; exact && found.Total != int64(len(want)) || found.Total > int64(len(want)) && !verify {
		t.Fatalf("%d hits, not %d: %s", found.Total, len(want), show(s))
	}
	for i := range want { // in the last digits of ours, so that equal is equal
		at := slices.IndexFunc(got, func(h Hit) bool { return h.Partition == want[i].partition && h.Offset == want[i].offset })
		if at < 0 || math.IsNaN(got[at].Score) {
			continue
		}
		if !verify && !near(got[at].Score, want[i].score) {
			t.Fatalf("%s scores %v, not %v: %s", want[i].id(), got[at].Score, want[i].score, show(s))
		}
		want[i].score = got[at].Score
	}
	if found.AtLeast && (s.TrackTotalHits != nil || len(got) < size) {
		t.Fatalf("%d hits are not all though all are asked for: %s", found.Total, show(s))
	}
	got = got[:min(len(got), size)]
	if len(got) != min(size, len(want)) {
		t.Fatalf("%d hits shown of %d, size %d: %s", len(got), len(want), size, show(s))
	}
	sorts := s.Sort
	if len(sorts) == 0 {
		sorts = []dsl.Sort{{Field: "_score", Desc: true}}
	}
	slices.SortFunc(want, func(a, b hit) int { return compareBy(sorts, a, b) })
	for i, h := range got {
		same := h.Partition == want[i].partition && h.Offset == want[i].offset
		if !same && len(s.Sort) == 0 && near(h.Score, want[i].score) {
			return // a tie but for the last digits
		}
		if !same {
			t.Fatalf("hit %d is %d-%d, not %s: %s", i, h.Partition, h.Offset, want[i].id(), show(s))
		}
	}
}
