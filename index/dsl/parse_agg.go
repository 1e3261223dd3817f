package dsl

import (
	"bytes"
	"strings"
)

// aggKinds are the aggregations that a client may write. An init fills it, as filters lead to queries.
var aggKinds map[string]func(*parser, string, node) Agg

func init() {
	aggKinds = map[string]func(*parser, string, node) Agg{
		"terms":          (*parser).termsAgg,
		"date_histogram": (*parser).dateHistogram,
		"histogram":      (*parser).histogram,
		"range":          (*parser).rangeAgg,
		"date_range":     (*parser).dateRange,
		"filter":         (*parser).filterAgg,
		"filters":        (*parser).filtersAgg,
		"cardinality":    (*parser).cardinality,
		"percentiles":    (*parser).percentiles,
	}
	for _, op := range []MetricOp{Min, Max, Sum, Avg, ValueCount, Stats} {
		aggKinds[string(op)] = (*parser).metric
	}
}

// aggregations reads {"name": {"terms": {…}, "aggs": {…}}, …}.
func (p *parser) aggregations(n node, depth int) []NamedAgg {
	if depth > p.limits.MaxAggDepth {
		p.fail(n.at, IllegalArgument, "aggregations may be nested %d deep at most [search.max.agg.depth]", p.limits.MaxAggDepth)
		return nil
	}
	var all []NamedAgg
	for _, o := range p.options("aggs", n) {
		if p.aggs++; p.aggs > p.limits.MaxAggs {
			p.fail(o.at, IllegalArgument, "a search may have %d aggregations at most [search.max.aggs]", p.limits.MaxAggs)
			return nil
		}
		if o.name == "" || strings.ContainsAny(o.name, "[]>") {
			p.fail(o.at, ParsingException, "invalid aggregation name [%s]: it is not empty and has none of [, ] and >", o.name)
		}
		all = append(all, p.namedAgg(o, depth))
	}
	return all
}

func (p *parser) namedAgg(named option, depth int) NamedAgg {
	agg := NamedAgg{Name: named.name}
	for _, o := range p.options(named.name, named.node) {
		switch parse, known := aggKinds[o.name]; {
		case o.name == "aggs" || o.name == "aggregations":
			if agg.Aggs != nil {
				p.bad(o, "aggregations are given twice")
			}
			agg.Aggs = p.aggregations(o.node, depth+1)
		case o.name == "meta":
			agg.Meta = p.raw(o)
		case !known:
			p.fail(o.at, ParsingException, "unknown aggregation type [%s]", o.name)
		case agg.Agg != nil:
			p.fail(o.at, ParsingException, "found two aggregation type definitions in [%s]: [%s] and [%s]", named.name, agg.Agg.Type(), o.name)
		default:
			agg.Agg = parse(p, o.name, o.node)
		}
	}
	if agg.Agg == nil {
		p.fail(named.at, ParsingException, "missing definition for aggregation [%s]", named.name)
		return agg
	}
	if len(agg.Aggs) > 0 && !isBucket(agg.Agg) {
		p.fail(named.at, IllegalArgument, "aggregation [%s] of type [%s] cannot accept sub-aggregations", named.name, agg.Agg.Type())
	}
	orders := ordersOf(agg.Agg)
	for i := range orders {
		p.resolveOrder(named, &orders[i], agg.Aggs)
	}
	return agg
}

// raw is the JSON of an object as it stands in the body, which stays the caller's.
func (p *parser) raw(o option) []byte {
	if o.kind != '{' {
		p.bad(o, "must be an object, found [%s]", o.describe())
		return nil
	}
	return bytes.Clone(p.body[o.at:o.end])
}

func isBucket(a Agg) bool {
	switch a.(type) {
	case MetricAgg, CardinalityAgg, PercentilesAgg:
		return false
	}
	return true
}

// metric is min, max, sum, avg, value_count or stats, which differ in name only.
func (p *parser) metric(kind string, n node) Agg {
	a := MetricAgg{Op: MetricOp(kind)}
	for _, o := range p.options(kind, n) {
		p.metricOption(o, &a.Field, &a.Missing, &a.Format)
	}
	p.needsField(kind, n, a.Field)
	return a
}

// metricOption reads what all aggregations over a field have. Format is nil for those that show no values.
func (p *parser) metricOption(o option, field *string, missing *Value, format *string) {
	switch {
	case o.name == "field":
		*field = p.string(o)
	case o.name == "missing":
		*missing = p.value(o)
	case o.name == "format" && format != nil:
		*format = p.valueFormat(o)
	default:
		p.unknown(o)
	}
}

// valueFormat is how figures are shown. Whether they are dates only the field tells, so it is a date's format.
func (p *parser) valueFormat(o option) string { return p.dateFormat(o) }

func (p *parser) needsField(kind string, n node, field string) {
	if field == "" {
		p.fail(n.at, IllegalArgument, "[%s] required one of fields [field], but none were specified", kind)
	}
}

const maxPrecisionThreshold = 40_000 // as in Elasticsearch, which takes more for the same

func (p *parser) cardinality(kind string, n node) Agg {
	a := CardinalityAgg{PrecisionThreshold: 3000}
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "precision_threshold":
			a.PrecisionThreshold = min(p.integer(o, 0, 1<<40), maxPrecisionThreshold)
		case "rehash":
			p.boolean(o) // how, not what
		case "execution_hint":
			p.string(o)
		default:
			p.metricOption(o, &a.Field, &a.Missing, nil)
		}
	}
	p.needsField(kind, n, a.Field)
	return a
}

func (p *parser) filterAgg(_ string, n node) Agg { return FilterAgg{Query: p.query(n)} }

func (p *parser) filtersAgg(kind string, n node) Agg {
	a := FiltersAgg{OtherKey: "_other_"}
	unkeyed := false
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "filters":
			a.Keyed = o.kind == '{'
			a.Filters = p.namedFilters(o)
		case "other_bucket":
			a.Other = p.boolean(o)
		case "other_bucket_key":
			a.Other, a.OtherKey = true, p.string(o)
		case "keyed":
			unkeyed = !p.boolean(o)
		default:
			p.unknown(o)
		}
	}
	a.Keyed = a.Keyed && !unkeyed
	if len(a.Filters) == 0 {
		p.fail(n.at, IllegalArgument, "[%s] needs at least one filter", kind)
	}
	p.bucketCount(n, kind, len(a.Filters))
	return a
}

func (p *parser) namedFilters(o option) []NamedFilter {
	var filters []NamedFilter
	if o.kind == '[' {
		for _, item := range o.items {
			filters = append(filters, NamedFilter{Query: p.query(item)})
		}
		return filters
	}
	for _, named := range p.options(o.clause, o.node) {
		filters = append(filters, NamedFilter{Name: named.name, Query: p.query(named.node)})
	}
	return filters
}

func (p *parser) bucketCount(n node, kind string, buckets int) {
	if buckets > p.limits.MaxBuckets {
		p.fail(n.at, IllegalArgument, "[%s] may have %d buckets at most [search.max.buckets], found [%d]", kind, p.limits.MaxBuckets, buckets)
	}
}
