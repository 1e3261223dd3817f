package exec

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/index/dsl"
)

func (f *finisher) ranges(r *AggResult, p part, a dsl.RangeAgg) {
	r.Keyed = a.Keyed
	show := func(v *float64) *Number {
		if v == nil {
			return nil
		}
		n := numberOf(*v, p.kind, a.Format)
		return &n
	}
	for i, given := range a.Ranges {
		b := f.bucket(p, p.buckets[string(numberKey(i))])
		b.From, b.To = show(given.From), show(given.To)
		rangeKey(&b, given.Key)
		r.Buckets = append(r.Buckets, b)
	}
	sortRanges(r.Buckets)
}

func (f *finisher) dateRanges(r *AggResult, p part, a dsl.DateRangeAgg) {
	r.Keyed = a.Keyed
	show := func(ms *int64) *Number {
		if ms == nil {
			return nil
		}
		return &Number{float64(*ms), dsl.FormatDate(*ms, a.Format, a.TimeZone)}
	}
	for i, given := range a.Ranges {
		b := f.bucket(p, p.buckets[string(numberKey(i))])
		b.From, b.To = show(given.From), show(given.To)
		rangeKey(&b, given.Key)
		r.Buckets = append(r.Buckets, b)
	}
	sortRanges(r.Buckets)
}

// sortRanges puts ranges in order of where they begin, and then end, as Elasticsearch shows them.
func sortRanges(buckets []Bucket) {
	bound := func(n *Number, none float64) float64 {
		if n == nil {
			return none
		}
		return n.Value
	}
	slices.SortStableFunc(buckets, func(a, b Bucket) int {
		return cmp.Or(cmp.Compare(bound(a.From, math.Inf(-1)), bound(b.From, math.Inf(-1))),
			cmp.Compare(bound(a.To, math.Inf(1)), bound(b.To, math.Inf(1))))
	})
}

// rangeKey names a range after its bounds, as in *-10.0, where the client did not name it.
func rangeKey(b *Bucket, name string) {
	if name == "" {
		name = boundText(b.From) + "-" + boundText(b.To)
	}
	b.Key, b.KeyText = name, name
}

func boundText(n *Number) string {
	switch {
	case n == nil:
		return "*"
	case n.Text != "":
		return n.Text
	}
	return decimal(n.Value)
}

// decimal is a number with a point, as Java prints it.
func decimal(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") && !math.IsInf(v, 0) {
		text += ".0"
	}
	return text
}

func (f *finisher) histogram(r *AggResult, p part, a dsl.HistogramAgg) {
	r.Keyed = a.Keyed
	if a.MinDocCount == 0 {
		low, high := math.Inf(1), math.Inf(-1)
		for key := range p.buckets {
			low, high = min(low, keyFloat(key)), max(high, keyFloat(key))
		}
		down := func(v float64) float64 { return math.Floor((v-a.Offset)/a.Interval)*a.Interval + a.Offset }
		if e := a.ExtendedBounds; e != nil {
			low, high = extend(low, high, e.Min, e.Max, down)
		}
		if (high-low)/a.Interval > float64(f.limits.MaxBuckets) {
			f.left = -1
			return
		}
		for n := 0.0; low <= high && n <= math.Round((high-low)/a.Interval); n++ {
			p.ensure(floatKey(down(low + (n+0.5)*a.Interval)))
		}
	}
	for _, e := range p.ordered(p.named, a.Order) {
		if e.bucket.docs < int64(a.MinDocCount) {
			continue
		}
		b := f.bucket(p, e.bucket)
		start := keyFloat(e.key)
		b.Key, b.KeyText = start, numberOf(start, p.kind, a.Format).Text
		if a.Keyed && b.KeyText == "" {
			b.KeyText = decimal(start)
		}
		r.Buckets = append(r.Buckets, b)
	}
}

func (s *state) ensure(key []byte) {
	if s.buckets[string(key)] == nil {
		s.buckets[string(key)] = &bucket{}
	}
}

// extend widens an interval of bucket starts to the bounds that the client gave.
func extend[T int64 | float64](low, high T, least, most *T, down func(T) T) (T, T) {
	if least != nil {
		low = min(low, down(*least))
		if most == nil {
			high = max(high, low)
		}
	}
	if most != nil {
		high = max(high, down(*most))
		if least == nil {
			low = min(low, high)
		}
	}
	return low, high
}

func (f *finisher) dateHistogram(r *AggResult, p part, a dsl.DateHistogramAgg) {
	r.Keyed = a.Keyed
	if a.MinDocCount == 0 {
		round := newRounding(a)
		low, high := int64(math.MaxInt64), int64(math.MinInt64)
		for key := range p.buckets {
			low, high = min(low, keyInt(key)), max(high, keyInt(key))
		}
		if e := a.ExtendedBounds; e != nil {
			low, high = extend(low, high, e.Min, e.Max, round.down)
		}
		for at := low; at <= high; at = round.next(at) {
			if len(p.buckets) > f.limits.MaxBuckets {
				f.left = -1
				return
			}
			p.ensure(intKey(at))
		}
	}
	for _, e := range p.ordered(p.named, a.Order) {
		if e.bucket.docs < int64(a.MinDocCount) {
			continue
		}
		b := f.bucket(p, e.bucket)
		start := keyInt(e.key)
		b.Key, b.KeyText = start, dsl.FormatDate(start, a.Format, a.TimeZone)
		r.Buckets = append(r.Buckets, b)
	}
}
