package exec

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// state is what one aggregation has seen so far. Which parts are in use depends on the aggregation.
type state struct {
	buckets map[string]*bucket
	other   int64 // documents in the buckets that were dropped
	missed  int64 // what the count of a bucket that was dropped may be at most
	unsure  bool  // nothing is known about those
	figures figures
	sketch  *sketch
	digest  *digest
}

// bucket is one of a state's. Its key is made of bytes that sort like what they stand for:
//
//	terms           the kind, and the term
//	histogram       sortable bits of the float64 that the bucket begins with
//	date_histogram  the int64 that the bucket begins with, its sign bit flipped
//	range, filters  a number of 2 bytes, as in the request
type bucket struct {
	docs   int64
	missed int64 // how many more there may be, in parts that dropped this bucket
	subs   []*state
}

// figures are what min, max, sum, avg, value_count and stats are made of.
type figures struct {
	count    int64
	sum      float64
	min, max float64
}

func (f *figures) add(v float64) { f.merge(figures{1, v, v, v}) }

func (f *figures) merge(o figures) {
	if f.count == 0 {
		*f = o
		return
	}
	if o.count > 0 {
		*f = figures{f.count + o.count, f.sum + o.sum, min(f.min, o.min), max(f.max, o.max)}
	}
}

// value is a figure by its name.
func (f figures) value(op dsl.MetricOp) float64 {
	switch {
	case op == dsl.ValueCount || op == "count":
		return float64(f.count)
	case op == dsl.Sum:
		return f.sum
	case f.count == 0:
		return math.NaN()
	case op == dsl.Min:
		return f.min
	case op == dsl.Max:
		return f.max
	}
	return f.sum / float64(f.count)
}

func newStates(plans []aggPlan) []*state {
	states := make([]*state, len(plans))
	for i := range plans {
		states[i] = newState(plans[i].agg)
	}
	return states
}

// shown is the kind of an aggregation's field, and of those inside: dates are shown as such, even where there are
// none. The kind is 0 where no chunk knows the field.
type shown struct {
	kind   schema.Kind
	inside []shown
}

func shownKinds(plans []aggPlan) []shown {
	kinds := make([]shown, len(plans))
	for i := range plans {
		kinds[i].inside = shownKinds(plans[i].subs)
		if plans[i].known {
			kinds[i].kind = plans[i].field.Kind
		}
	}
	return kinds
}

func unknownKinds(aggs []dsl.NamedAgg) []shown {
	kinds := make([]shown, len(aggs))
	for i := range aggs {
		kinds[i].inside = unknownKinds(aggs[i].Aggs)
	}
	return kinds
}

func mergeKinds(kinds, others []shown) {
	for i := range kinds {
		if kinds[i].kind == 0 {
			kinds[i].kind = others[i].kind
		}
		mergeKinds(kinds[i].inside, others[i].inside)
	}
}

func newState(agg dsl.Agg) *state {
	s := &state{}
	switch a := agg.(type) {
	case dsl.CardinalityAgg:
		s.sketch = newSketch(a.PrecisionThreshold)
	case dsl.PercentilesAgg:
		s.digest = newDigest(a.Compression)
	case dsl.MetricAgg:
	default:
		s.buckets = map[string]*bucket{}
	}
	return s
}

// Parts of keys.

func intKey(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)^1<<63) }

func keyInt(key string) int64 { return int64(binary.BigEndian.Uint64([]byte(key)) ^ 1<<63) }

func floatKey(v float64) []byte { return binary.BigEndian.AppendUint64(nil, sortableBits(v)) }

func keyFloat(key string) float64 { return fromSortableBits(binary.BigEndian.Uint64([]byte(key))) }

func numberKey(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

// validKey says that key is one of the aggregation's.
func validKey(agg dsl.Agg, key string) bool {
	switch a := agg.(type) {
	case dsl.TermsAgg:
		return len(key) > 0
	case dsl.HistogramAgg:
		return len(key) == 8 && !math.IsNaN(keyFloat(key))
	case dsl.DateHistogramAgg:
		return len(key) == 8
	case dsl.RangeAgg:
		return len(key) == 2 && keyNumber(key) < len(a.Ranges)
	case dsl.DateRangeAgg:
		return len(key) == 2 && keyNumber(key) < len(a.Ranges)
	case dsl.FilterAgg:
		return len(key) == 2 && keyNumber(key) == 0
	case dsl.FiltersAgg:
		return len(key) == 2 && keyNumber(key) <= len(a.Filters)
	}
	return false
}

func keyNumber(key string) int { return int(binary.BigEndian.Uint16([]byte(key))) }

// liveBuckets is how many times MaxBuckets may be held at a time: terms are counted before the first ones are chosen.
const liveBuckets = 25

func tooManyBuckets(limits Limits) error {
	return refusef(dsl.IllegalArgument, "the aggregations make too many buckets: an answer may have %d [search.max.buckets]", limits.MaxBuckets)
}

// mergeAggs merges the states of parts.
func mergeAggs(s *dsl.Search, limits Limits, parts []*Partial) ([]*state, error) {
	if len(parts) == 0 {
		states := make([]*state, len(s.Aggs))
		for i, a := range s.Aggs {
			states[i] = newState(a.Agg)
		}
		return states, nil
	}
	states := parts[0].aggs
	for _, p := range parts[1:] {
		for i := range s.Aggs {
			states[i].merge(s.Aggs[i], p.aggs[i])
		}
		if countBuckets(states) > liveBuckets*limits.MaxBuckets {
			return nil, tooManyBuckets(limits)
		}
	}
	return states, nil
}

func countBuckets(states []*state) (n int) {
	for _, s := range states {
		n += len(s.buckets)
		for _, b := range s.buckets {
			n += countBuckets(b.subs)
		}
	}
	return n
}

// merge adds what o saw to s, and takes it over.
func (s *state) merge(agg dsl.NamedAgg, o *state) {
	s.figures.merge(o.figures)
	if s.sketch != nil {
		s.sketch.merge(o.sketch)
	}
	if s.digest != nil {
		s.digest.merge(o.digest)
	}
	for key, b := range s.buckets {
		if o.buckets[key] == nil {
			b.missed += o.missed
		}
	}
	for key, theirs := range o.buckets {
		ours := s.buckets[key]
		if ours == nil {
			theirs.missed += s.missed
			s.buckets[key] = theirs
			continue
		}
		ours.docs += theirs.docs
		ours.missed += theirs.missed
		for i := range ours.subs {
			ours.subs[i].merge(agg.Aggs[i], theirs.subs[i])
		}
	}
	s.other += o.other
	s.missed += o.missed
	s.unsure = s.unsure || o.unsure
}

// truncateAggs drops all but the first buckets of terms from what a chunk has seen: half more than are asked for, so
// that those which are first in all chunks together are likely among them.
func truncateAggs(aggs []dsl.NamedAgg, limits Limits, states []*state) error {
	for i, a := range aggs {
		s := states[i]
		if terms, is := a.Agg.(dsl.TermsAgg); is {
			keep := max(terms.Size, terms.ShardSize)
			if terms.ShardSize == 0 {
				keep = terms.Size + terms.Size/2 + 10
			}
			s.truncate(a, terms, keep)
		}
		for _, b := range s.buckets {
			if err := truncateAggs(a.Aggs, limits, b.subs); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *state) truncate(named dsl.NamedAgg, a dsl.TermsAgg, keep int) {
	if len(s.buckets) <= keep {
		return
	}
	order := s.ordered(named, a.Order)
	for _, e := range order[keep:] {
		s.other += e.bucket.docs
		delete(s.buckets, e.key)
	}
	switch first := a.Order[0]; {
	case first.Path[0] == "_count" && first.Desc:
		s.missed = order[keep-1].bucket.docs
	case first.Path[0] != "_key":
		s.unsure = true
	}
}

// entry is a bucket and its key.
type entry struct {
	key    string
	bucket *bucket
	sortBy []float64 // by order, of those that are figures
}

// ordered lists the buckets in an order.
func (s *state) ordered(named dsl.NamedAgg, orders []dsl.BucketOrder) []entry {
	entries := make([]entry, 0, len(s.buckets))
	for key, b := range s.buckets {
		e := entry{key: key, bucket: b}
		for _, o := range orders {
			e.sortBy = append(e.sortBy, b.figure(named.Aggs, o))
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		for i, o := range orders {
			if c := compareEntries(&a, &b, i, o); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.key, b.key)
	})
	return entries
}

// compareEntries compares by one order. Buckets without the figure come last.
func compareEntries(a, b *entry, i int, o dsl.BucketOrder) int {
	var c int
	if o.Path[0] == "_key" {
		c = bytes.Compare([]byte(a.key), []byte(b.key))
	} else {
		x, y := a.sortBy[i], b.sortBy[i]
		if math.IsNaN(x) || math.IsNaN(y) {
			return cmp.Compare(oneIf(math.IsNaN(x)), oneIf(math.IsNaN(y)))
		}
		c = cmp.Compare(x, y)
	}
	if o.Desc {
		return -c
	}
	return c
}

// figure is what an order asks of a bucket.
func (b *bucket) figure(aggs []dsl.NamedAgg, o dsl.BucketOrder) float64 {
	switch o.Path[0] {
	case "_count":
		return float64(b.docs)
	case "_key":
		return 0
	}
	for step, name := range o.Path {
		at := slices.IndexFunc(aggs, func(a dsl.NamedAgg) bool { return a.Name == name })
		if at < 0 || at >= len(b.subs) {
			break
		}
		s, agg := b.subs[at], aggs[at]
		if _, single := agg.Agg.(dsl.FilterAgg); !single {
			return s.figure(agg.Agg, o.Metric)
		}
		inner := s.buckets[string(numberKey(0))]
		if inner == nil {
			inner = &bucket{}
		}
		if step == len(o.Path)-1 {
			return float64(inner.docs)
		}
		b, aggs = inner, agg.Aggs
	}
	return math.NaN()
}

// figure is a figure of a metric.
func (s *state) figure(agg dsl.Agg, metric string) float64 {
	switch a := agg.(type) {
	case dsl.MetricAgg:
		if a.Op == dsl.Stats {
			return s.figures.value(dsl.MetricOp(metric))
		}
		return s.figures.value(a.Op)
	case dsl.CardinalityAgg:
		return float64(s.sketch.estimate())
	case dsl.PercentilesAgg:
		return s.digest.quantile(percentOf(a, metric) / 100)
	}
	return math.NaN()
}
