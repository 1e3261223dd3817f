package exec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	index "github.com/blevesearch/bleve_index_api"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

func TestQueriesFindRecords(t *testing.T) {
	m := testMapping(t, testFields)
	var records []*record
	for i := range int64(12) {
		records = append(records, &record{offset: i, timestamp: 1000 * i, key: fmt.Sprint("k", i%3), doc: doc{
			Level: []string{[]string{"warn", "error", ""}[i%3]}, Msg: []string{fmt.Sprint("disk ", i, " is full full")}, Said: []string{"alpha beta", "gamma delta"},
			N: []int64{i * 100}, OK: []bool{i%2 == 0},
		}})
	}
	c := openChunk(t, m, Info{Topic: "t", Base: 0, End: 12}, records, nil)
	for body, want := range map[string]string{
		`{"query":{"match_all":{}}}`:                                                 "[0 1 2 3 4 5 6 7 8 9]",
		`{"query":{"term":{"level":"error"}}}`:                                       "[1 4 7 10]",
		`{"query":{"term":{"level":""}}}`:                                            "[2 5 8 11]",
		`{"query":{"range":{"n":{"gte":250,"lt":600}}}}`:                             "[3 4 5]",
		`{"query":{"range":{"@timestamp":{"gt":9000,"format":"epoch_millis"}}}}`:     "[10 11]",
		`{"query":{"match_phrase":{"said":"beta gamma"}}}`:                           "[]",
		`{"query":{"match_phrase":{"said":"alpha beta"}},"size":2}`:                  "[0 1]",
		`{"query":{"ids":{"values":["0-3","0-5","1-2"]}}}`:                           "[3 5]",
		`{"query":{"match_all":{}},"sort":[{"level":"desc"},{"n":"desc"}],"size":4}`: "[9 6 3 0]",
		`{"query":{"match_all":{}},"sort":[{"_timestamp":"desc"}],"size":3}`:         "[11 10 9]",
		`{"query":{"wildcard":{"level":"*r?o*"}}}`:                                   "[1 4 7 10]",
		`{"query":{"regexp":{"level":"(war|err)n?or?"}}}`:                            "[1 4 7 10]",
		`{"query":{"fuzzy":{"level":"wran"}}}`:                                       "[0 3 6 9]",
	} {
		_, found := search(t, parse(t, body), m, c)
		got := []int64{}
		for _, h := range found.Hits {
			got = append(got, h.Offset)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, not %s", body, got, want)
		}
	}
}

// logLines are n records of a partition, a second apart, every third one an error.
func logLines(partition int32, base int64, n int) (records []*record) {
	for i := base; i < base+int64(n); i++ {
		records = append(records, &record{partition: partition, offset: i, timestamp: 1_000_000 + 1000*i, doc: doc{
			Level: []string{[]string{"error", "warn", "info"}[i%3]}, Msg: []string{fmt.Sprintf("request %d took %d ms", i, i*7%100)}, N: []int64{i * 7 % 100},
		}})
	}
	return records
}

// logChunks are chunks of size records each, the oldest first.
func logChunks(t cleanTB, m *schema.Mapping, chunks, size int) (all []*Chunk, records []*record) {
	for i := range chunks {
		lines := logLines(0, int64(i*size), size)
		info := Info{Topic: "t", Base: int64(i * size), End: int64((i + 1) * size)}
		all = append(all, openChunk(t, m, info, lines, nil))
		records = append(records, lines...)
	}
	return all, records
}

func offsets(p *Partial) (offsets []int64) {
	for _, h := range p.Hits {
		offsets = append(offsets, h.Offset)
	}
	return offsets
}

// Newest first, one chunk fills the page and the others are never opened, unless somebody wants to know how many
// hits there are.
func TestNewestFirstStopsEarly(t *testing.T) {
	m := testMapping(t, testFields)
	chunks, _ := logChunks(t, m, 4, 20)
	slices.Reverse(chunks)
	for body, want := range map[string]int{
		`{"size":5,"sort":[{"_timestamp":"desc"}]}`:                                    1,
		`{"size":5,"sort":["_timestamp"]}`:                                             4,
		`{"size":5,"sort":[{"_offset":"desc"}]}`:                                       1,
		`{"size":5,"sort":[{"_doc":"desc"}],"query":{"term":{"level":"error"}}}`:       1,
		`{"size":9,"sort":[{"_doc":"desc"}],"query":{"term":{"level":"error"}}}`:       2,
		`{"size":5,"sort":[{"_timestamp":"desc"}],"track_total_hits":true}`:            4,
		`{"size":5,"sort":[{"_timestamp":"desc"}],"track_total_hits":30}`:              2,
		`{"size":5,"sort":[{"_timestamp":"desc"}],"track_total_hits":false}`:           1,
		`{"size":5,"sort":[{"n":"desc"}]}`:                                             4,
		`{"size":0,"track_total_hits":10}`:                                             1,
		`{"size":0}`:                                                                   4,
		`{"size":5}`:                                                                   4,
		`{"size":5,"sort":[{"_timestamp":"desc"}],"aggs":{"x":{"max":{"field":"n"}}}}`: 4,
	} {
		s := parse(t, body)
		plan, err := NewPlan(s, "t", m, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		found, visited := plan.Nothing(), 0
		for _, c := range chunks {
			if plan.Done(found, c.Info) {
				found.Stop()
				break
			}
			visited++
			part, err := plan.Run(context.Background(), c, nil)
			if err != nil {
				t.Fatal(err)
			}
			if found, err = Merge(s, DefaultLimits(), found, part); err != nil {
				t.Fatal(err)
			}
		}
		_, all := search(t, s, m, chunks...)
		if visited != want || fmt.Sprint(offsets(found)) != fmt.Sprint(offsets(all)) {
			t.Errorf("%s: %d chunks visited, not %d; found %v of %v", body, visited, want, offsets(found), offsets(all))
		}
		if total, atLeast, counted := found.Tracked(s); visited < 4 && counted && !atLeast || counted && total == 0 {
			t.Errorf("%s: total %d, at least %t, counted %t", body, total, atLeast, counted)
		}
	}
}

// Chunks that cannot have a hit are told by what is known of them.
func TestChunksArePruned(t *testing.T) {
	m := testMapping(t, testFields)
	info := Info{Topic: "t", Partition: 3, Base: 100, End: 200, MinTimestamp: 1000_000, MaxTimestamp: 2000_000}
	for body, want := range map[string]bool{
		`{}`: false,
		`{"query":{"range":{"_timestamp":{"lt":1000000,"format":"epoch_millis"}}}}`:                                                    true,
		`{"query":{"range":{"_timestamp":{"lte":1000000,"format":"epoch_millis"}}}}`:                                                   false,
		`{"query":{"bool":{"filter":[{"range":{"@timestamp":{"gt":2000000,"format":"epoch_millis"}}}]}}}`:                              true,
		`{"query":{"bool":{"must_not":[{"range":{"@timestamp":{"gt":2000000,"format":"epoch_millis"}}}]}}}`:                            false,
		`{"query":{"bool":{"should":[{"range":{"@timestamp":{"gt":2000000,"format":"epoch_millis"}}},{"term":{"level":"x"}}]}}}`:       false,
		`{"query":{"bool":{"should":[{"range":{"@timestamp":{"gt":2000000,"format":"epoch_millis"}}},{"ids":{"values":["3-200"]}}]}}}`: true,
		`{"query":{"ids":{"values":["3-99","2-150"]}}}`:                                                                                true,
		`{"query":{"ids":{"values":["3-99","3-150"]}}}`:                                                                                false,
		`{"query":{"term":{"no.such.field":"x"}}}`:                                                                                     true,
		`{"max_offset":{"3":100}}`: true,
		`{"max_offset":{"3":101}}`: false,
	} {
		plan, err := NewPlan(parse(t, body), "t", m, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Prune(info); got != want {
			t.Errorf("%s: pruned is %t", body, got)
		}
	}
	gone := info
	gone.LogStart = 200
	plan, _ := NewPlan(parse(t, `{}`), "t", m, DefaultLimits())
	if !plan.Prune(gone) {
		t.Error("a chunk below the log start is searched")
	}
}

// A chunk whose records all lie in a time range is not asked for it.
func TestTimesOfChunks(t *testing.T) {
	timed := Info{MinTimestamp: 1000, MaxTimestamp: 2000}
	untimed := timed
	untimed.Untimed = true
	f := schema.Field{Path: schema.TimestampField, Kind: schema.Timestamp}
	for _, c := range []struct {
		info      Info
		low, high int64
		want      share
	}{
		{timed, 1000, 2000, allOfThem}, {timed, 1001, 2000, someOfThem}, {timed, 1000, 1999, someOfThem}, {timed, 2001, 3000, noneOfThem},
		{timed, 0, 999, noneOfThem}, {untimed, 0, 5000, someOfThem}, {Info{MinTimestamp: 1, MaxTimestamp: 0, Untimed: true}, 0, 5000, noneOfThem},
	} {
		if got := c.info.times(f.DateRange(c.low, c.high)); got != c.want {
			t.Errorf("%+v in [%d, %d]: %d, not %d", c.info, c.low, c.high, got, c.want)
		}
	}
}

// Pages by search_after, over the wire of JSON, bring what one large page does.
func TestSearchAfterPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, d := drawWorld(t, 5), drawer{t}
		s := &dsl.Search{Now: now, Query: dsl.MatchAll{}, Size: 100, Sort: append(d.sorts(), dsl.Sort{Field: "_offset", Desc: d.chance(50)})}
		_, all := search(t, s, w.mapping, w.chunks...)
		var paged []int64
		page := *s
		for page.Size = 7; ; {
			_, found := search(t, &page, w.mapping, w.chunks...)
			paged = append(paged, offsets(found)...)
			if len(found.Hits) == 0 {
				break
			}
			values, err := SortValues(s, &found.Hits[len(found.Hits)-1])
			if err != nil {
				t.Fatal(err)
			}
			page.SearchAfter = nil
			for _, v := range values {
				page.SearchAfter = append(page.SearchAfter, asValue(v))
			}
		}
		if !slices.Equal(paged, offsets(all)) {
			t.Fatalf("%s: %v, not %v", show(s), paged, offsets(all))
		}
	})
}

// asValue is a sort value as a client sends it back.
func asValue(v any) dsl.Value {
	switch v := v.(type) {
	case nil:
		return dsl.Value{}
	case string:
		return str(v)
	case bool:
		return dsl.Value{Kind: dsl.Boolean, Text: fmt.Sprint(v)}
	}
	return num(v)
}

// Many small chunks score as one large index does.
func TestScoresDoNotDependOnChunks(t *testing.T) {
	m := testMapping(t, testFields)
	chunks, records := logChunks(t, m, 5, 12)
	whole := openChunk(t, m, Info{Topic: "t", Base: 0, End: 60}, records, nil)
	for _, query := range []string{
		`{"match":{"msg":"request 7 took 49"}}`, `{"bool":{"should":[{"match":{"msg":"took 14"}},{"term":{"level":"error"}}]}}`,
		`{"multi_match":{"query":"error 21","fields":["msg^3","_value"],"tie_breaker":0.2}}`, `{"match_phrase_prefix":{"_value":"took 2"}}`,
	} {
		s := parse(t, `{"size":60,"query":`+query+`}`)
		_, parts := search(t, s, m, chunks...)
		_, one := search(t, s, m, whole)
		if len(parts.Hits) == 0 || fmt.Sprint(offsets(parts)) != fmt.Sprint(offsets(one)) {
			t.Errorf("%s: %v, not %v", query, offsets(parts), offsets(one))
		}
		for i := range parts.Hits {
			if a, b := parts.Hits[i].Score, one.Hits[i].Score; a < b*(1-1e-6) || a > b*(1+1e-6) {
				t.Errorf("%s: %d scores %v, not %v", query, parts.Hits[i].Offset, a, b)
			}
		}
		local := *s
		local.Options.LocalStatistics = true
		if plan, _ := NewPlan(&local, "t", m, DefaultLimits()); plan.NeedsStatistics() {
			t.Error("statistics are gathered though the client wants none")
		}
	}
}

// What passes a limit, or makes no sense for its field, is refused by name.
func TestRefusals(t *testing.T) {
	m := testMapping(t, testFields+",plain:text")
	c := openChunk(t, m, Info{Topic: "t", Base: 0, End: 60}, logLines(0, 0, 60), nil)
	tight := Limits{MaxExpansions: 10, MaxLeaves: 30, MaxDictionary: 40, MaxBuckets: 5}
	for body, want := range map[string]string{
		`{"query":{"prefix":{"msg":"1"}}}`:                         "search.max.expansions",
		`{"query":{"wildcard":{"msg":"1*"}}}`:                      "search.max.expansions",
		`{"query":{"regexp":{"msg":"1.?"}}}`:                       "search.max.expansions",
		`{"query":{"fuzzy":{"msg":{"value":"11","fuzziness":1}}}}`: "search.max.expansions",
		`{"query":{"range":{"msg":{"gte":"1"}}}}`:                  "search.max.expansions",
		`{"query":{"wildcard":{"msg":"*7"}}}`:                      "search.max.leading.wildcard.terms",
		`{"query":{"terms":{"n":[` + strings.Repeat("1,", 40) + `1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32]}}}`: "search.max.leaf.terms",
		`{"query":{"match":{"msg":{"query":"x","analyzer":"none"}}}}`:                                                                                        "analyzer [none]",
		`{"query":{"term":{"n":"seven"}}}`:                                                `"seven"`,
		`{"query":{"range":{"at":{"gte":"yesterday"}}}}`:                                  "yesterday",
		`{"query":{"prefix":{"n":"7"}}}`:                                                  "[n]",
		`{"query":{"range":{"_offset":{"gte":7}}}}`:                                       "_offset",
		`{"query":{"regexp":{"level":"a~b"}}}`:                                            "~",
		`{"query":{"regexp":{"level":"a)|(b"}}}`:                                          "regexp",
		`{"query":{"wildcard":{"level":"` + strings.Repeat("a?", 5000) + `"}}}`:           "2048 bytes",
		`{"query":{"fuzzy":{"level":"` + strings.Repeat("a", 300) + `"}}}`:                "256",
		`{"sort":["nowhere"]}`:                                                            "[nowhere]",
		`{"sort":["msg"]}`:                                                                "[msg]",
		`{"sort":["n"],"search_after":["x"]}`:                                             "[x]",
		`{"aggs":{"a":{"terms":{"field":"msg"}}}}`:                                        "[msg]",
		`{"aggs":{"a":{"avg":{"field":"level"}}}}`:                                        "[level]",
		`{"aggs":{"a":{"date_histogram":{"field":"d","fixed_interval":"1s"}}}}`:           "[d]",
		`{"aggs":{"a":{"terms":{"field":"n","missing":"x"}}}}`:                            "[missing]",
		`{"aggs":{"a":{"histogram":{"field":"n","interval":1}}}}`:                         "search.max.buckets",
		`{"aggs":{"a":{"date_histogram":{"field":"@timestamp","fixed_interval":"1ms"}}}}`: "search.max.buckets",
		`{"aggs":{"a":{"terms":{"field":"n","size":9}}}}`:                                 "search.max.buckets",
		`{"query":{"match_phrase":{"plain":"a b"}},"aggs":{"a":{"avg":{"field":"n"}}}}`:   "positions=true",
		`{"aggs":{"a":{"filter":{"match_phrase":{"plain":"a b"}}}}}`:                      "positions=true",
	} {
		s := parse(t, body)
		err := func() error {
			plan, err := NewPlan(s, "t", m, tight)
			if err != nil {
				return err
			}
			part, err := plan.Run(context.Background(), c, nil)
			if err != nil {
				return err
			}
			_, err = Aggregations(s, tight, part)
			return err
		}()
		var refusal *dsl.Error
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, want) {
			t.Errorf("%s: %v, not %s", body, err, want)
		}
	}
}

// Where a range stands for too many terms, values are looked at instead.
func TestRangesOverManyTerms(t *testing.T) {
	m := testMapping(t, testFields)
	c := openChunk(t, m, Info{Topic: "t", Base: 0, End: 60}, logLines(0, 0, 60), nil)
	tight := DefaultLimits()
	tight.MaxExpansions = 1
	for body, want := range map[string]int64{
		`{"query":{"range":{"level":{"gte":"error","lt":"warn"}}}}`:                               40,
		`{"query":{"range":{"_timestamp":{"gte":1010000,"lt":1050000,"format":"epoch_millis"}}}}`: 40,
		`{"query":{"range":{"n":{"lt":50}}}}`:                                                     31,
	} {
		plan, err := NewPlan(parse(t, body), "t", m, tight)
		if err != nil {
			t.Fatal(err)
		}
		found, err := plan.Run(context.Background(), c, nil)
		if err != nil || found.Total != want {
			t.Errorf("%s: %v, %v", body, found, err)
		}
	}
}

// brokenReader fails as damaged files do.
type brokenReader struct{ index.IndexReader }

func (brokenReader) TermFieldReader(context.Context, []byte, string, bool, bool, bool) (index.TermFieldReader, error) {
	panic("index out of range")
}

func TestPanicIsThatChunksError(t *testing.T) {
	m := testMapping(t, testFields)
	c := *openChunk(t, m, Info{Topic: "t", Base: 0, End: 9}, logLines(0, 0, 9), nil)
	c.Reader = brokenReader{c.Reader}
	plan, err := NewPlan(parse(t, `{"query":{"term":{"level":"warn"}}}`), "t", m, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var panicked *PanicError
	if _, err := plan.Run(context.Background(), &c, nil); !errors.As(err, &panicked) || len(panicked.Stack) == 0 {
		t.Error(err)
	}
	if _, err := plan.Statistics(context.Background(), &c); !errors.As(err, &panicked) {
		t.Error(err)
	}
}

// endsAfter is a context that ends when it was looked at n times.
type endsAfter struct {
	context.Context
	left *int
}

func (c endsAfter) Err() error {
	if *c.left--; *c.left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func TestDeadlineEndsASearch(t *testing.T) {
	m := testMapping(t, testFields)
	c := openChunk(t, m, Info{Topic: "t", Base: 0, End: 2100}, logLines(0, 0, 2100), nil)
	for _, body := range []string{
		`{"query":{"match_all":{}}}`, `{"query":{"bool":{"should":[{"term":{"level":"warn"}},{"term":{"level":"info"}}]}}}`,
	} {
		plan, err := NewPlan(parse(t, body), "t", m, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		for looks := range 3 {
			if _, err := plan.Run(endsAfter{context.Background(), &looks}, c, NewStatistics()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v after %d looks", body, err, looks)
			}
		}
	}
}

// Chunks that learned a field differently answer together.
func TestLearnedFields(t *testing.T) {
	config, err := schema.ParseConfig(map[string]string{schema.KeyDynamic: "true"})
	if err != nil {
		t.Fatal(err)
	}
	m := schema.NewMapping(config)
	text := openChunk(t, m, Info{Topic: "t", Base: 0, End: 10}, []*record{{offset: 0, doc: doc{Level: []string{"error"}}}, {offset: 1, doc: doc{Level: []string{"warn"}}}}, nil)
	number := openChunk(t, m, Info{Topic: "t", Base: 10, End: 20}, []*record{{offset: 10, doc: doc{N: []int64{7}}}, {offset: 11, doc: doc{N: []int64{9}, Level: []string{"error"}}}}, nil)
	topic := m.With(slices.Concat(text.Learned, number.Learned))
	clash := *number
	clash.Learned = append(slices.Clone(number.Learned), schema.Field{Path: "level", Kind: schema.Double}) // as if it had begun with numbers
	clash.Learned = slices.DeleteFunc(clash.Learned, func(f schema.Field) bool { return f.Path == "level" && f.Kind == schema.Keyword })
	if _, found := search(t, parse(t, `{"query":{"term":{"level":"error"}}}`), topic, text, &clash); fmt.Sprint(offsets(found)) != "[0]" {
		t.Error("a chunk whose field is another kind is not left out:", offsets(found))
	}
	for body, want := range map[string]string{
		`{"query":{"term":{"level":"error"}},"sort":["_offset"]}`: "[0 11]",
		`{"query":{"range":{"n":{"gt":7}}}}`:                      "[11]",
		`{"sort":[{"n":"desc"}]}`:                                 "[11 10 0 1]",
	} {
		_, found := search(t, parse(t, body), topic, text, number)
		if got := fmt.Sprint(offsets(found)); got != want {
			t.Errorf("%s: %s, not %s", body, got, want)
		}
	}
}
