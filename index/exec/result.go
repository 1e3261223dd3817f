package exec

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// AggResult is what an aggregation comes to. Which parts are in use its Type tells.
type AggResult struct {
	Name string
	Type string // as in the answer's typed keys: sterms, lterms, dterms, date_histogram, filter, avg, …
	Meta json.RawMessage

	Value       Number       // of min, max, sum, avg, value_count, cardinality
	Stats       *StatsResult // of stats
	Percentiles []Percentile
	Keyed       bool // Buckets or Percentiles are to be shown as an object

	Buckets                 []Bucket
	DocCountErrorUpperBound int64 // of terms; -1: not known
	SumOtherDocCount        int64 // of terms

	DocCount int64       // of filter
	Aggs     []AggResult // inside filter
}

// Number is a figure. NaN stands for none, which JSON shows as null.
type Number struct {
	Value float64
	Text  string // as value_as_string; empty: not to be shown
}

// StatsResult is the figures of stats; all but Count and Sum may be none.
type StatsResult struct {
	Count              int64
	Min, Max, Avg, Sum Number
}

// Percentile is the number below which Percent of all lie.
type Percentile struct {
	Percent float64
	Number
}

// Bucket is one of a bucket aggregation's.
type Bucket struct {
	Key      any    // string, int64 or float64; nil: the filter has no name
	KeyText  string // as key_as_string, and the name where Keyed; empty: none
	DocCount int64
	ErrorMax int64 // of terms: how many more there may be
	ShowErr  bool
	From, To *Number // of ranges
	Aggs     []AggResult
}

// Aggregations is what the aggregations of a search come to. The error is a *dsl.Error.
func Aggregations(s *dsl.Search, limits Limits, p *Partial) ([]AggResult, error) {
	f := finisher{limits: limits, left: limits.MaxBuckets}
	results := f.all(s.Aggs, p.aggs, p.kinds)
	if f.left < 0 {
		return nil, tooManyBuckets(limits)
	}
	return results, nil
}

// finisher makes results, as long as buckets are left.
type finisher struct {
	limits Limits
	left   int
}

func (f *finisher) all(aggs []dsl.NamedAgg, states []*state, kinds []shown) []AggResult {
	if len(aggs) == 0 {
		return nil
	}
	results := make([]AggResult, len(aggs))
	for i, a := range aggs {
		s := newState(a.Agg)
		if i < len(states) {
			s = states[i]
		}
		results[i] = f.one(part{a, s, kinds[i]})
	}
	return results
}

// part is an aggregation to be shown.
type part struct {
	named dsl.NamedAgg
	*state
	shown
}

func (f *finisher) one(p part) AggResult {
	named, s := p.named, p.state
	r := AggResult{Name: named.Name, Type: named.Agg.Type(), Meta: named.Meta}
	switch a := named.Agg.(type) {
	case dsl.MetricAgg:
		f.metric(&r, p, a)
	case dsl.CardinalityAgg:
		r.Value = Number{Value: float64(s.sketch.estimate())}
	case dsl.PercentilesAgg:
		r.Keyed, r.Type = a.Keyed, "tdigest_percentiles"
		for _, percent := range a.Percents {
			r.Percentiles = append(r.Percentiles, Percentile{percent, numberOf(s.digest.quantile(percent/100), p.kind, a.Format)})
		}
	case dsl.FilterAgg:
		b := s.buckets[string(numberKey(0))]
		if b == nil {
			b = &bucket{}
		}
		f.left--
		r.DocCount, r.Aggs = b.docs, f.all(named.Aggs, b.subs, p.inside)
	case dsl.FiltersAgg:
		f.filters(&r, p, a)
	case dsl.TermsAgg:
		f.terms(&r, p, a)
	case dsl.RangeAgg:
		f.ranges(&r, p, a)
	case dsl.DateRangeAgg:
		f.dateRanges(&r, p, a)
	case dsl.HistogramAgg:
		f.histogram(&r, p, a)
	case dsl.DateHistogramAgg:
		f.dateHistogram(&r, p, a)
	}
	return r
}

func (f *finisher) metric(r *AggResult, p part, a dsl.MetricAgg) {
	s := p.state
	if a.Op != dsl.Stats {
		kind := p.kind
		if a.Op == dsl.ValueCount {
			kind = 0
		}
		r.Value = numberOf(s.figures.value(a.Op), kind, a.Format)
		return
	}
	number := func(op dsl.MetricOp) Number { return numberOf(s.figures.value(op), p.kind, a.Format) }
	r.Stats = &StatsResult{Count: s.figures.count, Min: number(dsl.Min), Max: number(dsl.Max), Avg: number(dsl.Avg), Sum: number(dsl.Sum)}
}

// numberOf shows a figure of a field: of a date, as a date too.
func numberOf(v float64, kind schema.Kind, format string) Number {
	n := Number{Value: v}
	if (isDate(kind) || format != "") && !math.IsNaN(v) && math.Abs(v) < 1<<53 {
		n.Text = dsl.FormatDate(int64(v), format, time.UTC)
	}
	return n
}

func isDate(k schema.Kind) bool { return k == schema.Date || k == schema.Timestamp }

// bucket makes one bucket; b may be nil, which is one without documents.
func (f *finisher) bucket(p part, b *bucket) Bucket {
	f.left--
	if b == nil {
		b = &bucket{}
	}
	if f.left < 0 {
		return Bucket{DocCount: b.docs} // there will be no answer
	}
	return Bucket{DocCount: b.docs, Aggs: f.all(p.named.Aggs, b.subs, p.inside)}
}

func (f *finisher) terms(r *AggResult, p part, a dsl.TermsAgg) {
	r.Type = "sterms"
	switch p.kind {
	case schema.Long, schema.Date, schema.Timestamp, schema.Boolean:
		r.Type = "lterms"
	case schema.Double:
		r.Type = "dterms"
	}
	r.SumOtherDocCount, r.DocCountErrorUpperBound = p.other, p.missed
	if p.unsure {
		r.DocCountErrorUpperBound = -1
	}
	for _, e := range p.ordered(p.named, a.Order) {
		if e.bucket.docs < int64(a.MinDocCount) {
			continue
		}
		if len(r.Buckets) == a.Size {
			r.SumOtherDocCount += e.bucket.docs
			continue
		}
		b := f.bucket(p, e.bucket)
		b.ErrorMax, b.ShowErr = e.bucket.missed, a.ShowDocCountError
		if p.unsure {
			b.ErrorMax = -1
		}
		b.Key, b.KeyText = termOf(e.key, a.Format)
		r.Buckets = append(r.Buckets, b)
	}
}

// termOf is the term of a key: as Elasticsearch shows booleans, 0 or 1 beside their names.
func termOf(key, format string) (value any, text string) {
	kind := schema.Kind(key[0])
	switch v := (schema.Field{Kind: kind}).Value([]byte(key[1:])).(type) {
	case bool:
		return int64(oneIf(v)), strconv.FormatBool(v)
	case int64:
		if isDate(kind) {
			return v, dsl.FormatDate(v, format, time.UTC)
		}
		return v, ""
	default:
		return v, ""
	}
}

func (f *finisher) filters(r *AggResult, p part, a dsl.FiltersAgg) {
	r.Keyed = a.Keyed
	for i, filter := range a.Filters {
		b := f.bucket(p, p.buckets[string(numberKey(i))])
		if filter.Name != "" {
			b.Key, b.KeyText = filter.Name, filter.Name
		}
		r.Buckets = append(r.Buckets, b)
	}
	if a.Other {
		b := f.bucket(p, p.buckets[string(numberKey(len(a.Filters)))])
		b.Key, b.KeyText = a.OtherKey, a.OtherKey
		r.Buckets = append(r.Buckets, b)
	}
}
