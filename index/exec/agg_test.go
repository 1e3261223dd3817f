package exec

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/index/dsl"
)

// aggregate is what the aggregations of a body come to, as text.
func aggregate(t *testing.T, body string, chunks ...*Chunk) string {
	t.Helper()
	s := parse(t, body)
	_, found := search(t, s, testMapping(t, testFields), chunks...)
	results, err := Aggregations(s, DefaultLimits(), found)
	if err != nil {
		t.Fatal(err)
	}
	return showFull(results)
}

// showFull shows what a client sees of results.
func showFull(results []AggResult) string {
	var out strings.Builder
	for _, r := range results {
		fmt.Fprintf(&out, "%s#%s", r.Type, r.Name)
		for _, b := range r.Buckets {
			fmt.Fprintf(&out, " [%v %q %d", b.Key, b.KeyText, b.DocCount)
			if b.ShowErr {
				fmt.Fprintf(&out, " err %d", b.ErrorMax)
			}
			if b.From != nil {
				fmt.Fprintf(&out, " from %v %s", b.From.Value, b.From.Text)
			}
			if len(b.Aggs) > 0 {
				out.WriteString(" " + showFull(b.Aggs))
			}
			out.WriteString("]")
		}
		switch {
		case strings.HasSuffix(r.Type, "terms"):
			fmt.Fprintf(&out, " error %d other %d", r.DocCountErrorUpperBound, r.SumOtherDocCount)
		case r.Buckets == nil:
			fmt.Fprintf(&out, " %v %s", r.Value.Value, r.Value.Text)
		}
	}
	return out.String()
}

func TestAggregationsAsShown(t *testing.T) {
	m := testMapping(t, testFields)
	berlin := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC).UnixMilli() // an hour before the clocks are set
	records := []*record{
		{offset: 0, timestamp: berlin, doc: doc{Level: []string{"warn"}, N: []int64{5}, OK: []bool{true}, At: []int64{berlin}, IP: []string{"10.0.0.1"}}},
		{offset: 1, timestamp: berlin + 3_600_000, doc: doc{Level: []string{"warn"}, N: []int64{25}, OK: []bool{false}}},
		{offset: 2, timestamp: berlin + 86_400_000, doc: doc{Level: []string{"error"}, N: []int64{100}, OK: []bool{true}}},
	}
	c := openChunk(t, m, Info{Topic: "t", Base: 0, End: 3}, records, nil)
	for body, want := range map[string]string{
		`{"a":{"terms":{"field":"level"}}}`:            `sterms#a [warn "" 2] [error "" 1] error 0 other 0`,
		`{"a":{"terms":{"field":"level","size":1}}}`:   `sterms#a [warn "" 2] error 0 other 1`,
		`{"a":{"terms":{"field":"ok"}}}`:               `lterms#a [1 "true" 2] [0 "false" 1] error 0 other 0`,
		`{"a":{"terms":{"field":"at"}}}`:               `lterms#a [1774744200000 "2026-03-29T00:30:00.000Z" 1] error 0 other 0`,
		`{"a":{"terms":{"field":"ip"}}}`:               `sterms#a [10.0.0.1 "" 1] error 0 other 0`,
		`{"a":{"terms":{"field":"none","missing":7}}}`: `sterms#a [7 "" 3] error 0 other 0`,
		`{"a":{"terms":{"field":"level","order":{"m":"desc"}},"aggs":{"m":{"max":{"field":"n"}}}}}`:                                                     `sterms#a [error "" 1 max#m 100 ] [warn "" 2 max#m 25 ] error 0 other 0`,
		`{"a":{"terms":{"field":"level","order":{"f>s.avg":"asc"}},"aggs":{"f":{"filter":{"term":{"ok":true}},"aggs":{"s":{"stats":{"field":"n"}}}}}}}`: `sterms#a [warn "" 2 filter#f 0 ] [error "" 1 filter#f 0 ] error 0 other 0`,
		`{"a":{"max":{"field":"at"}}}`:   `max#a 1.7747442e+12 2026-03-29T00:30:00.000Z`,
		`{"a":{"min":{"field":"none"}}}`: `min#a NaN `,
		`{"a":{"date_histogram":{"field":"@timestamp","calendar_interval":"day","time_zone":"Europe/Berlin","format":"yyyy-MM-dd HH:mm XXX"}}}`: `date_histogram#a [1774738800000 "2026-03-29 00:00 +01:00" 2] [1774821600000 "2026-03-30 00:00 +02:00" 1]`,
		`{"a":{"date_histogram":{"field":"@timestamp","fixed_interval":"12h","extended_bounds":{"min":1774699200000}}}}`:                        `date_histogram#a [1774699200000 "2026-03-28T12:00:00.000Z" 0] [1774742400000 "2026-03-29T00:00:00.000Z" 2] [1774785600000 "2026-03-29T12:00:00.000Z" 0] [1774828800000 "2026-03-30T00:00:00.000Z" 1]`,
		`{"a":{"date_histogram":{"field":"@timestamp","calendar_interval":"month","order":{"_key":"desc"}}}}`:                                   `date_histogram#a [1772323200000 "2026-03-01T00:00:00.000Z" 3]`,
		`{"a":{"histogram":{"field":"n","interval":50,"keyed":true}}}`:                                                                          `histogram#a [0 "0.0" 2] [50 "50.0" 0] [100 "100.0" 1]`,
		`{"a":{"range":{"field":"n","ranges":[{"from":25},{"to":25,"key":"low"}]}}}`:                                                            `range#a [low "low" 1] [25.0-* "25.0-*" 2 from 25 ]`,
		`{"a":{"date_range":{"field":"@timestamp","format":"yyyy-MM","ranges":[{"from":"2026-03","to":"2026-04"}]}}}`:                           `date_range#a [2026-03-2026-04 "2026-03-2026-04" 3 from 1.7723232e+12 2026-03]`,
		`{"a":{"filters":{"filters":[{"term":{"level":"warn"}}],"other_bucket":true}}}`:                                                         `filters#a [<nil> "" 2] [_other_ "_other_" 1]`,
		`{"a":{"cardinality":{"field":"level"}}}`:                                                                                               `cardinality#a 2 `,
	} {
		if got := aggregate(t, `{"size":0,"aggs":`+body+`}`, c); got != want {
			t.Errorf("%s:\n%s, not\n%s", body, got, want)
		}
	}
}

// Terms that some chunks dropped are counted with a bound on what is missing, and the bound holds.
func TestTermsErrorBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := testMapping(t, testFields)
		counts := map[int64]int64{}
		var chunks []*Chunk
		for i := range 3 {
			var lines []*record
			for offset := int64(15 * i); offset < int64(15*i+15); offset++ {
				n := rapid.Int64Range(0, 14).Draw(t, "n")
				counts[n]++
				lines = append(lines, &record{offset: offset, doc: doc{N: []int64{n}}})
			}
			chunks = append(chunks, openChunk(t, m, Info{Topic: "t", Base: int64(15 * i), End: int64(15*i + 15)}, lines, nil))
		}
		s := parse(t, `{"size":0,"aggs":{"a":{"terms":{"field":"n","size":4,"shard_size":5,"show_term_doc_count_error":true}}}}`)
		_, found := search(t, s, m, chunks...)
		results, err := Aggregations(s, DefaultLimits(), found)
		if err != nil {
			t.Fatal(err)
		}
		r, shown := results[0], int64(0)
		for _, b := range r.Buckets {
			n := b.Key.(int64)
			if b.DocCount > counts[n] || b.DocCount+b.ErrorMax < counts[n] || b.ErrorMax > r.DocCountErrorUpperBound {
				t.Fatalf("%d: %d documents and %d unknown, in truth %d, bound %d", n, b.DocCount, b.ErrorMax, counts[n], r.DocCountErrorUpperBound)
			}
			shown += b.DocCount
		}
		if shown+r.SumOtherDocCount != 45 || len(r.Buckets) > 4 {
			t.Fatalf("%d shown in %d buckets, %d others", shown, len(r.Buckets), r.SumOtherDocCount)
		}
	})
}

func TestSketchEstimates(t *testing.T) {
	for _, n := range []int{0, 1, 3000, 3001, 30_000, 150_000} {
		a, b := newSketch(3000), newSketch(3000)
		for i := range n {
			hash := hashOf(1, fmt.Append(nil, i))
			[]*sketch{a, b}[i%2].add(hash)
			a.add(hash)
		}
		a.merge(b)
		got := float64(a.estimate())
		if exact := n <= 3000; exact && got != float64(n) || math.Abs(got-float64(n)) > 0.025*float64(n) {
			t.Errorf("%d different values are estimated as %v", n, got)
		}
	}
}

func TestDigestEstimates(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	parts := []*digest{newDigest(100), newDigest(100), newDigest(100)}
	var values []float64
	for i := range 60_000 {
		v := math.Exp(2 * random.NormFloat64()) // a long tail, as latencies have
		values = append(values, v)
		parts[i%3].add(v, 1)
	}
	parts[0].merge(parts[1])
	parts[0].merge(parts[2])
	slices.Sort(values)
	for _, q := range []float64{0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		estimate := parts[0].quantile(q)
		at, _ := slices.BinarySearch(values, estimate)
		if off := math.Abs(float64(at)/float64(len(values)) - q); off > 0.01*math.Sqrt(q*(1-q))+2e-4 {
			t.Errorf("the estimate of quantile %v, %v, is at %v", q, estimate, float64(at)/float64(len(values)))
		}
	}
	if n := len(parts[0].clusters); n > 200 {
		t.Errorf("%d clusters", n)
	}
}

// Every moment lies in the bucket that begins before it and ends behind it, and the buckets follow each other, also
// where clocks are set.
func TestRoundingCutsTime(t *testing.T) {
	zones := []string{"", "+05:45", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/New_York"}
	units := []dsl.CalendarUnit{dsl.Minute, dsl.Hour, dsl.Day, dsl.Week, dsl.Month, dsl.Quarter, dsl.Year, ""}
	rapid.Check(t, func(t *rapid.T) {
		zone, _ := dsl.Zone(rapid.SampledFrom(zones).Draw(t, "zone"))
		a := dsl.DateHistogramAgg{TimeZone: zone, Calendar: rapid.SampledFrom(units).Draw(t, "unit"), Offset: time.Duration(rapid.IntRange(-5, 5).Draw(t, "offset")) * time.Hour}
		if a.Calendar == "" {
			a.Fixed = rapid.SampledFrom([]time.Duration{time.Millisecond, 7 * time.Second, time.Hour, 12 * time.Hour, 100 * time.Hour}).Draw(t, "fixed")
		}
		ms := rapid.Int64Range(1_500_000_000_000, 1_560_000_000_000).Draw(t, "ms")
		start := newRounding(a).down(ms)
		next := newRounding(a).next(start)
		if start > ms || next <= ms {
			t.Fatalf("%d lies in [%d, %d)", ms, start, next)
		}
		for _, at := range []int64{start, next - 1} {
			if got := newRounding(a).down(at); got != start {
				t.Fatalf("%d begins at %d and %d, of the same bucket, at %d", ms, start, at, got)
			}
		}
		if got := newRounding(a).down(next); got != next {
			t.Fatalf("the bucket behind [%d, %d) begins at %d", start, next, got)
		}
	})
}

func TestPercentilesOrderBuckets(t *testing.T) {
	c := openChunk(t, testMapping(t, testFields), Info{Topic: "t", Base: 0, End: 60}, logLines(0, 0, 60), nil)
	s := parse(t, `{"size":0,"aggs":{"a":{"terms":{"field":"level","order":{"p.50":"desc"}},"aggs":{"p":{"percentiles":{"field":"n","percents":[50]}}}}}}`)
	plan, err := NewPlan(s, "t", testMapping(t, testFields), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	found, err := plan.Run(context.Background(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	results, err := Aggregations(s, DefaultLimits(), found)
	if err != nil {
		t.Fatal(err)
	}
	last := math.Inf(1)
	for _, b := range results[0].Buckets {
		p := b.Aggs[0].Percentiles[0].Value
		if p > last {
			t.Errorf("%v comes behind %v", p, last)
		}
		last = p
	}
	if len(results[0].Buckets) != 3 {
		t.Error(results[0].Buckets)
	}
}
