package exec

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// collector brings documents into the states of one aggregation. Those of the same aggregation inside many buckets
// share it. Documents come in the order of their numbers, each as often as it falls into buckets.
type collector interface {
	collect(doc uint64, s *state) error
}

// collectors opens those of plans.
func (r *run) collectors(plans []aggPlan) ([]collector, error) {
	all := make([]collector, len(plans))
	for i := range plans {
		c, err := r.collector(&plans[i])
		if err != nil {
			return nil, err
		}
		all[i] = c
	}
	return all, nil
}

func (r *run) collector(p *aggPlan) (collector, error) {
	var values fieldValues
	if p.missing != nil {
		values.missing = [][]byte{p.missing}
	}
	if p.known {
		var err error
		if values.column, err = r.column(p.field); err != nil {
			return nil, err
		}
	}
	switch a := p.agg.(type) {
	case dsl.MetricAgg:
		return &figureCollector{values, p.field, a.Op == dsl.ValueCount}, nil
	case dsl.CardinalityAgg:
		return &sketchCollector{values, p.field}, nil
	case dsl.PercentilesAgg:
		return &digestCollector{values, p.field}, nil
	}
	inner, err := r.collectors(p.subs)
	if err != nil {
		return nil, err
	}
	b := &bucketCollector{plan: p, inner: inner, left: &r.bucketsLeft, limits: r.limits}
	b.keys, err = r.bucketKeys(p, values)
	return b, err
}

// bucketKeys says how an aggregation sorts documents into buckets.
func (r *run) bucketKeys(p *aggPlan, values fieldValues) (keyer, error) {
	switch a := p.agg.(type) {
	case dsl.TermsAgg:
		return termKeys{values, byte(p.field.Kind)}, nil
	case dsl.HistogramAgg:
		return numberKeys{values, p.field, histogramKeys(a)}, nil
	case dsl.DateHistogramAgg:
		return numberKeys{values, p.field, dateHistogramKeys(a)}, nil
	case dsl.RangeAgg:
		return numberKeys{values, p.field, rangeKeys(a)}, nil
	case dsl.DateRangeAgg:
		return numberKeys{values, p.field, dateRangeKeys(a)}, nil
	case dsl.FiltersAgg:
		return r.filterKeys(p.filters, a.Other)
	}
	return r.filterKeys(p.filters, false)
}

// fieldValues are the values of a document, or what stands for them where it has none.
type fieldValues struct {
	column  *column // nil: no document has the field
	missing [][]byte
}

func (v fieldValues) terms(doc uint64) (terms [][]byte, err error) {
	if v.column != nil {
		if terms, err = v.column.terms(doc); err != nil {
			return nil, err
		}
	}
	if len(terms) == 0 {
		return v.missing, nil
	}
	return terms, nil
}

type figureCollector struct {
	fieldValues
	field     schema.Field
	justCount bool // values need not be numbers
}

func (c *figureCollector) collect(doc uint64, s *state) error {
	terms, err := c.terms(doc)
	for _, term := range terms {
		v, ok := c.field.Number(term)
		if ok || c.justCount {
			s.figures.add(v)
		}
	}
	return err
}

type sketchCollector struct {
	fieldValues
	field schema.Field
}

func (c *sketchCollector) collect(doc uint64, s *state) error {
	terms, err := c.terms(doc)
	for _, term := range terms {
		s.sketch.add(hashOf(byte(c.field.Kind), term))
	}
	return err
}

type digestCollector struct {
	fieldValues
	field schema.Field
}

func (c *digestCollector) collect(doc uint64, s *state) error {
	terms, err := c.terms(doc)
	for _, term := range terms {
		if v, ok := c.field.Number(term); ok {
			s.digest.add(v, 1)
		}
	}
	return err
}

// keyer lists the keys of the buckets that a document falls into, perhaps one of them more than once.
type keyer interface {
	keys(doc uint64, to *keyList) error
}

// keyList is keys, in memory that the next document uses again.
type keyList struct {
	buf  []byte
	keys [][]byte
}

func (l *keyList) reset() { l.buf, l.keys = l.buf[:0], l.keys[:0] }

func (l *keyList) add(kind byte, term []byte) {
	start := len(l.buf)
	l.buf = append(append(l.buf, kind), term...)
	l.keys = append(l.keys, l.buf[start:])
}

func (l *keyList) addBits(bits uint64) {
	start := len(l.buf)
	l.buf = binary.BigEndian.AppendUint64(l.buf, bits)
	l.keys = append(l.keys, l.buf[start:])
}

func (l *keyList) addNumber(n int) {
	start := len(l.buf)
	l.buf = binary.BigEndian.AppendUint16(l.buf, uint16(n))
	l.keys = append(l.keys, l.buf[start:])
}

type bucketCollector struct {
	plan   *aggPlan
	keys   keyer
	inner  []collector
	left   *int // buckets that the run may still make
	limits Limits

	list keyList
	of   []*bucket // the document's
}

func (c *bucketCollector) collect(doc uint64, s *state) error {
	c.of = c.of[:0]
	c.list.reset()
	if err := c.keys.keys(doc, &c.list); err != nil {
		return err
	}
	for _, key := range c.list.keys {
		c.find(s, key)
	}
	if *c.left < 0 {
		return tooManyBuckets(c.limits)
	}
	for _, b := range c.of {
		b.docs++
		for i, inner := range c.inner {
			if err := inner.collect(doc, b.subs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *bucketCollector) find(s *state, key []byte) {
	b := s.buckets[string(key)]
	if b == nil {
		b = &bucket{subs: newStates(c.plan.subs)}
		s.buckets[string(key)] = b
		*c.left--
	}
	if !slices.Contains(c.of, b) {
		c.of = append(c.of, b)
	}
}

type termKeys struct {
	fieldValues
	kind byte
}

func (k termKeys) keys(doc uint64, to *keyList) error {
	terms, err := k.terms(doc)
	for _, term := range terms {
		to.add(k.kind, term)
	}
	return err
}

// numberKeys are of a field whose values are numbers.
type numberKeys struct {
	fieldValues
	field schema.Field
	key   func(v float64, whole int64, to *keyList)
}

func (k numberKeys) keys(doc uint64, to *keyList) error {
	terms, err := k.terms(doc)
	for _, term := range terms {
		if v, ok := k.field.Number(term); ok {
			k.key(v, wholeOf(k.field.Kind, term, v), to)
		}
	}
	return err
}

// wholeOf is the value of a term as a whole number, exactly where the kind has such.
func wholeOf(kind schema.Kind, term []byte, v float64) int64 {
	switch kind {
	case schema.Long, schema.Date:
		whole, _ := schema.ParseLong(term)
		return whole
	case schema.Timestamp:
		whole, _ := schema.ParseTimestamp(term)
		return whole
	}
	return int64(v)
}

func histogramKeys(a dsl.HistogramAgg) func(float64, int64, *keyList) {
	return func(v float64, _ int64, to *keyList) {
		start := math.Floor((v-a.Offset)/a.Interval)*a.Interval + a.Offset
		if h := a.HardBounds; h != nil && (h.Min != nil && start < *h.Min || h.Max != nil && start > *h.Max) {
			return
		}
		to.addBits(sortableBits(start))
	}
}

func dateHistogramKeys(a dsl.DateHistogramAgg) func(float64, int64, *keyList) {
	round := newRounding(a)
	return func(_ float64, ms int64, to *keyList) {
		start := round.down(ms)
		if h := a.HardBounds; h != nil && (h.Min != nil && start < *h.Min || h.Max != nil && start > *h.Max) {
			return
		}
		to.addBits(uint64(start) ^ 1<<63)
	}
}

func rangeKeys(a dsl.RangeAgg) func(float64, int64, *keyList) {
	return func(v float64, _ int64, to *keyList) {
		for i, r := range a.Ranges {
			if (r.From == nil || v >= *r.From) && (r.To == nil || v < *r.To) {
				to.addNumber(i)
			}
		}
	}
}

func dateRangeKeys(a dsl.DateRangeAgg) func(float64, int64, *keyList) {
	return func(_ float64, ms int64, to *keyList) {
		for i, r := range a.Ranges {
			if (r.From == nil || ms >= *r.From) && (r.To == nil || ms < *r.To) {
				to.addNumber(i)
			}
		}
	}
}

// filterKeys are of filters, and of what none of them matches.
type filterKeys struct {
	filters []cursor
	other   bool
}

func (r *run) filterKeys(filters []node, other bool) (keyer, error) {
	cursors, err := r.all(filters, false, maybe)
	return filterKeys{cursors, other}, err
}

func (k filterKeys) keys(doc uint64, to *keyList) error {
	matched := false
	for i, c := range k.filters {
		at, err := c.seek(doc)
		if err != nil {
			return err
		}
		if at == doc {
			matched = true
			to.addNumber(i)
		}
	}
	if !matched && k.other {
		to.addNumber(len(k.filters))
	}
	return nil
}
