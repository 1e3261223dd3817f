package exec

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/index/dsl"
)

var berlin = func() *time.Location {
	zone, _ := dsl.Zone("Europe/Berlin")
	return zone
}()

// aggs draws some aggregations, with others inside down to a depth.
func (d drawer) aggs(depth int) (aggs []dsl.NamedAgg) {
	for i := range d.n(1, 2) {
		named := dsl.NamedAgg{Name: fmt.Sprint("a", i), Agg: d.agg()}
		switch named.Agg.(type) {
		case dsl.MetricAgg, dsl.CardinalityAgg, dsl.PercentilesAgg:
		default:
			if depth > 0 && d.chance(60) {
				named.Aggs = d.aggs(depth - 1)
			}
		}
		aggs = append(aggs, named)
	}
	return aggs
}

func (d drawer) agg() dsl.Agg {
	number := d.of([]string{"n", "d", "at", "_timestamp", "ok"})
	any := d.of([]string{"level", "n", "d", "ok", "at", "_timestamp", "_key", "nothing"})
	minimum := d.n(0, 2)
	byKey := []dsl.BucketOrder{{Path: []string{"_key"}, Desc: d.chance(30)}}
	switch d.n(0, 9) {
	case 0, 1:
		a := dsl.TermsAgg{Field: any, Size: d.n(1, 12), MinDocCount: max(1, minimum), Order: []dsl.BucketOrder{{Path: []string{"_count"}, Desc: d.chance(70)}, {Path: []string{"_key"}}}}
		if d.chance(30) {
			a.Order = byKey
		}
		if d.chance(30) && any == "level" {
			a.Missing = str("none")
		}
		return a
	case 2:
		a := dsl.HistogramAgg{Field: d.of([]string{"d", "ok"}), Interval: 1.5, Offset: 0.5, MinDocCount: max(1, minimum), Order: byKey}
		if d.chance(50) {
			a.Field, a.Interval, a.MinDocCount = "n", 1<<33, 0
		}
		if d.chance(30) {
			low, high := -1.0, 1<<35+0.0
			a.ExtendedBounds, a.HardBounds = &dsl.Bounds{Max: &high}, &dsl.Bounds{Min: &low}
		}
		if d.chance(30) && a.Field != "ok" {
			a.Missing = num(3)
		}
		return a
	case 3, 4:
		a := dsl.DateHistogramAgg{Field: d.of([]string{"at", "_timestamp"}), TimeZone: time.UTC, MinDocCount: max(1, minimum), Order: byKey}
		if d.chance(50) {
			a.TimeZone = berlin
		}
		if d.chance(50) {
			a.Fixed = rapid.SampledFrom([]time.Duration{time.Second, 12 * time.Hour, 24 * time.Hour}).Draw(d.t, "fixed")
			a.Offset = time.Duration(d.n(-1, 1)) * 250 * time.Millisecond
			return a
		}
		a.Calendar = rapid.SampledFrom([]dsl.CalendarUnit{dsl.Minute, dsl.Hour, dsl.Day, dsl.Week, dsl.Month, dsl.Quarter, dsl.Year}).Draw(d.t, "unit")
		if a.Calendar == dsl.Year || a.Calendar == dsl.Quarter {
			a.MinDocCount = 0
		}
		return a
	case 5:
		low, high := 0.0, 257.0
		return dsl.RangeAgg{Field: number, Ranges: []dsl.NumberRange{{To: &low}, {From: &low, To: &high}, {From: &high, Key: "many"}}}
	case 6:
		low, high := stamps[3], stamps[6]
		return dsl.DateRangeAgg{Field: "at", TimeZone: time.UTC, Ranges: []dsl.MillisRange{{To: &low}, {From: &low, To: &high}, {From: &low}}}
	case 7:
		if d.chance(40) {
			return dsl.FilterAgg{Query: d.query(1, false)}
		}
		return dsl.FiltersAgg{Filters: []dsl.NamedFilter{{Name: "x", Query: d.query(1, false)}, {Name: "y", Query: d.query(0, false)}}, Other: d.chance(50), OtherKey: "rest"}
	case 8:
		op := rapid.SampledFrom([]dsl.MetricOp{dsl.Min, dsl.Max, dsl.Sum, dsl.Avg, dsl.ValueCount, dsl.Stats}).Draw(d.t, "op")
		a := dsl.MetricAgg{Op: op, Field: number}
		if d.chance(30) && number == "d" {
			a.Missing = num(1.25)
		}
		return a
	}
	if d.chance(50) {
		return dsl.CardinalityAgg{Field: any, PrecisionThreshold: 3000}
	}
	return dsl.PercentilesAgg{Field: number, Percents: []float64{0, 10, 50, 99, 100}, Compression: 200}
}

// checkAggs compares both results as text.
func (w *world) checkAggs(t *rapid.T, s *dsl.Search, found *Partial, records []*record) {
	t.Helper()
	if len(s.Aggs) == 0 {
		return
	}
	results, err := Aggregations(s, DefaultLimits(), found)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := showResults(results, ""), w.aggsOf(s.Aggs, records, ""); got != want {
		a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
		at := 0
		for a[at] == b[at] {
			at++
		}
		t.Fatalf("%+v:\nafter %q\ngot   %q\nwanted %q", s.Aggs, a[max(0, at-4):at], a[at:min(len(a), at+3)], b[at:min(len(b), at+3)])
	}
}

func figure(v float64) string {
	if math.IsNaN(v) {
		return "null"
	}
	return fmt.Sprintf("%.6g", v)
}

func showResults(results []AggResult, indent string) string {
	var out strings.Builder
	for _, r := range results {
		fmt.Fprintf(&out, "%s%s", indent, r.Name)
		switch {
		case r.Stats != nil:
			fmt.Fprintf(&out, " %d %s %s %s %s", r.Stats.Count, figure(r.Stats.Min.Value), figure(r.Stats.Max.Value), figure(r.Stats.Avg.Value), figure(r.Stats.Sum.Value))
		case r.Percentiles != nil:
			for _, p := range r.Percentiles {
				fmt.Fprintf(&out, " %s", figure(p.Value))
			}
		case r.Type == "filter":
			fmt.Fprintf(&out, " %d\n%s", r.DocCount, showResults(r.Aggs, indent+"  "))
			continue
		case r.Type == "filters" || strings.HasSuffix(r.Type, "terms") || strings.Contains(r.Type, "histogram") || strings.Contains(r.Type, "range"):
			fmt.Fprintf(&out, " other %d\n", r.SumOtherDocCount)
			for _, b := range r.Buckets {
				fmt.Fprintf(&out, "%s %v %d\n%s", indent, keyText(b.Key), b.DocCount, showResults(b.Aggs, indent+"  "))
			}
			continue
		default:
			fmt.Fprintf(&out, " %s", figure(r.Value.Value))
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func keyText(key any) string {
	switch key := key.(type) {
	case float64:
		return figure(key)
	case string:
		return fmt.Sprintf("%q", key)
	}
	return fmt.Sprint(key)
}

// group is a bucket of the model.
type group struct {
	key     string // as shown
	number  float64
	records []*record
}

func (w *world) aggsOf(aggs []dsl.NamedAgg, records []*record, indent string) string {
	var out strings.Builder
	for _, a := range aggs {
		fmt.Fprintf(&out, "%s%s%s", indent, a.Name, w.aggOf(a, records, indent))
	}
	return out.String()
}

func (w *world) aggOf(named dsl.NamedAgg, records []*record, indent string) string {
	switch a := named.Agg.(type) {
	case dsl.MetricAgg:
		return " " + metricOf(a, records) + "\n"
	case dsl.CardinalityAgg:
		different := map[string]bool{}
		for _, r := range records {
			for _, v := range r.keys(a.Field) {
				different[v.key] = true
			}
		}
		return fmt.Sprintf(" %d\n", len(different))
	case dsl.PercentilesAgg:
		values := numbersOf(records, a.Field, nil)
		out := ""
		for _, p := range a.Percents {
			out += " " + figure(percentile(values, p))
		}
		return out + "\n"
	case dsl.FilterAgg:
		inside := w.matching(records, a.Query)
		return fmt.Sprintf(" %d\n%s", len(inside), w.aggsOf(named.Aggs, inside, indent+"  "))
	}
	groups, other := w.groups(named.Agg, records)
	out := fmt.Sprintf(" other %d\n", other)
	for _, g := range groups {
		out += fmt.Sprintf("%s %s %d\n%s", indent, g.key, len(g.records), w.aggsOf(named.Aggs, g.records, indent+"  "))
	}
	return out
}

func (w *world) matching(records []*record, q dsl.Query) (inside []*record) {
	for _, r := range records {
		if ok, _ := w.match(q, r); ok {
			inside = append(inside, r)
		}
	}
	return inside
}

func numbersOf(records []*record, field string, missing *float64) (values []float64) {
	for _, r := range records {
		found := slices.Compact(slices.Sorted(slices.Values(r.numbers(field))))
		if len(found) == 0 && missing != nil {
			found = []float64{*missing}
		}
		values = append(values, found...)
	}
	sort.Float64s(values)
	return values
}

func metricOf(a dsl.MetricAgg, records []*record) string {
	var missing *float64
	if a.Missing.Kind != dsl.None {
		missing = new(float64)
		fmt.Sscan(a.Missing.Text, missing)
	}
	values := numbersOf(records, a.Field, missing)
	sum, least, most, avg := 0.0, math.NaN(), math.NaN(), math.NaN()
	for _, v := range values {
		sum += v
	}
	if len(values) > 0 {
		least, most, avg = values[0], values[len(values)-1], sum/float64(len(values))
	}
	all := map[dsl.MetricOp]float64{dsl.Min: least, dsl.Max: most, dsl.Avg: avg, dsl.Sum: sum, dsl.ValueCount: float64(len(values))}
	if a.Op == dsl.Stats {
		return fmt.Sprintf("%d %s %s %s %s", len(values), figure(least), figure(most), figure(avg), figure(sum))
	}
	return figure(all[a.Op])
}

// percentile lies between the two values around rank p, each of which stands in the middle of its own place.
func percentile(sorted []float64, p float64) float64 {
	n := float64(len(sorted))
	switch rank := p / 100 * n; {
	case n == 0:
		return math.NaN()
	case rank <= 0.5 || n == 1:
		return sorted[0]
	case rank >= n-0.5:
		return sorted[len(sorted)-1]
	default:
		i := int(rank - 0.5)
		part := rank - 0.5 - float64(i)
		if part == 0 {
			return sorted[i]
		}
		return sorted[i]*(1-part) + sorted[i+1]*part
	}
}

// keys are the buckets of terms that r falls into.
func (r *record) keys(field string) (groups []group) {
	add := func(key string, number float64) {
		if !slices.ContainsFunc(groups, func(g group) bool { return g.key == key }) {
			groups = append(groups, group{key: key, number: number})
		}
	}
	for _, v := range r.numbers(field) {
		if field == "d" {
			add(figure(v), v)
		} else {
			add(fmt.Sprint(int64(v)), v)
		}
	}
	if field != "ok" {
		for _, v := range r.strings(field) {
			add(fmt.Sprintf("%q", v), 0)
		}
	}
	return groups
}

// groups are the buckets to be shown, in order.
func (w *world) groups(agg dsl.Agg, records []*record) (groups []group, other int) {
	collect := func(keys func(*record) []group) {
		for _, r := range records {
			for _, k := range keys(r) {
				at := slices.IndexFunc(groups, func(g group) bool { return g.key == k.key })
				if at < 0 {
					at = len(groups)
					groups = append(groups, k)
				}
				if !slices.Contains(groups[at].records, r) {
					groups[at].records = append(groups[at].records, r)
				}
			}
		}
	}
	switch a := agg.(type) {
	case dsl.TermsAgg:
		collect(func(r *record) []group {
			keys := r.keys(a.Field)
			if len(keys) == 0 && a.Missing.Kind != dsl.None {
				keys = []group{{key: fmt.Sprintf("%q", a.Missing.Text)}}
			}
			return keys
		})
		groups = atLeast(groups, a.MinDocCount)
		sortGroups(groups, a.Order)
		for len(groups) > a.Size {
			other += len(groups[len(groups)-1].records)
			groups = groups[:len(groups)-1]
		}
		return groups, other
	case dsl.HistogramAgg:
		collect(func(r *record) (keys []group) {
			values := r.numbers(a.Field)
			if len(values) == 0 && a.Missing.Kind != dsl.None {
				values = []float64{3}
			}
			for _, v := range values {
				start := math.Floor((v-a.Offset)/a.Interval)*a.Interval + a.Offset
				if a.HardBounds == nil || start >= *a.HardBounds.Min {
					keys = append(keys, group{key: figure(start), number: start})
				}
			}
			return keys
		})
		groups = fillHistogram(a, groups)
		sortGroups(groups, a.Order)
		return atLeast(groups, a.MinDocCount), 0
	case dsl.DateHistogramAgg:
		collect(func(r *record) (keys []group) {
			for _, v := range r.numbers(a.Field) {
				start := bruteRound(a, int64(v))
				keys = append(keys, group{key: fmt.Sprint(start), number: float64(start)})
			}
			return keys
		})
		groups = fillDates(a, groups)
		sortGroups(groups, a.Order)
		return atLeast(groups, a.MinDocCount), 0
	case dsl.RangeAgg:
		for i, r := range a.Ranges {
			groups = append(groups, group{key: []string{`"*-0.0"`, `"0.0-257.0"`, `"many"`}[i], records: inBounds(records, a.Field, r.From, r.To)})
			if isNumber(a.Field) && a.Field != "n" && a.Field != "d" && i < 2 {
				groups[i].key = []string{`"*-1970-01-01T00:00:00.000Z"`, `"1970-01-01T00:00:00.000Z-1970-01-01T00:00:00.257Z"`}[i]
			}
		}
	case dsl.DateRangeAgg:
		float := func(ms *int64) *float64 {
			if ms == nil {
				return nil
			}
			f := float64(*ms)
			return &f
		}
		names := []string{`"*-2026-01-01T00:00:00.000Z"`, `"2026-01-01T00:00:00.000Z-2026-01-02T00:00:00.000Z"`, `"2026-01-01T00:00:00.000Z-*"`}
		for i, r := range a.Ranges {
			groups = append(groups, group{key: names[i], records: inBounds(records, a.Field, float(r.From), float(r.To))})
		}
	case dsl.FiltersAgg:
		rest := slices.Clone(records)
		for _, f := range a.Filters {
			inside := w.matching(records, f.Query)
			rest = slices.DeleteFunc(rest, func(r *record) bool { return slices.Contains(inside, r) })
			groups = append(groups, group{key: fmt.Sprintf("%q", f.Name), records: inside})
		}
		if a.Other {
			groups = append(groups, group{key: `"rest"`, records: rest})
		}
	}
	return groups, 0
}

func inBounds(records []*record, field string, from, to *float64) (inside []*record) {
	for _, r := range records {
		if slices.ContainsFunc(r.numbers(field), func(v float64) bool { return (from == nil || v >= *from) && (to == nil || v < *to) }) {
			inside = append(inside, r)
		}
	}
	return inside
}

func atLeast(groups []group, n int) []group {
	return slices.DeleteFunc(groups, func(g group) bool { return len(g.records) < n })
}

func sortGroups(groups []group, orders []dsl.BucketOrder) {
	slices.SortFunc(groups, func(a, b group) int {
		for _, o := range orders {
			c := cmp.Compare(len(a.records), len(b.records))
			if o.Path[0] == "_key" {
				c = cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.key, b.key))
			}
			if o.Desc {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

func fillHistogram(a dsl.HistogramAgg, groups []group) []group {
	if a.MinDocCount > 0 {
		return groups
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, g := range groups {
		low, high = min(low, g.number), max(high, g.number)
	}
	if a.ExtendedBounds != nil {
		high = max(high, math.Floor((*a.ExtendedBounds.Max-a.Offset)/a.Interval)*a.Interval+a.Offset)
		low = min(low, high)
	}
	for at := low; at <= high; at += a.Interval {
		if !slices.ContainsFunc(groups, func(g group) bool { return math.Abs(g.number-at) < a.Interval/2 }) {
			groups = append(groups, group{key: figure(at), number: at})
		}
	}
	return groups
}

// bruteRound steps back, millisecond by millisecond or in larger steps, to where a bucket begins.
func bruteRound(a dsl.DateHistogramAgg, ms int64) int64 {
	t := time.UnixMilli(ms - a.Offset.Milliseconds()).In(a.TimeZone)
	start := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, a.TimeZone)
	switch {
	case a.Fixed == 24*time.Hour: // no clock is set at the stamps of this test
	case a.Fixed > 0:
		start = start.Add(t.Sub(start) / a.Fixed * a.Fixed)
	case a.Calendar == dsl.Minute:
		start = t.Truncate(time.Minute)
	case a.Calendar == dsl.Hour:
		start = t.Truncate(time.Hour)
	default:
		for !beginsUnit(a.Calendar, start) {
			start = start.AddDate(0, 0, -1)
		}
	}
	return start.UnixMilli() + a.Offset.Milliseconds()
}

func beginsUnit(unit dsl.CalendarUnit, day time.Time) bool {
	switch unit {
	case dsl.Week:
		return day.Weekday() == time.Monday
	case dsl.Month:
		return day.Day() == 1
	case dsl.Quarter:
		return day.Day() == 1 && strings.Contains("January April July October", day.Month().String())
	case dsl.Year:
		return day.YearDay() == 1
	}
	return true
}

func fillDates(a dsl.DateHistogramAgg, groups []group) []group {
	if a.MinDocCount > 0 || len(groups) == 0 {
		return groups
	}
	low := slices.MinFunc(groups, func(a, b group) int { return cmp.Compare(a.number, b.number) }).number
	high := slices.MaxFunc(groups, func(a, b group) int { return cmp.Compare(a.number, b.number) }).number
	for day := time.UnixMilli(int64(low)).In(a.TimeZone); float64(day.UnixMilli()) <= high; day = day.AddDate(0, 0, 1) {
		at := float64(day.UnixMilli())
		if beginsUnit(a.Calendar, day) && !slices.ContainsFunc(groups, func(g group) bool { return g.number == at }) {
			groups = append(groups, group{key: fmt.Sprint(day.UnixMilli()), number: at})
		}
	}
	return groups
}
