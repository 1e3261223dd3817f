package dsl

import (
	"slices"
	"strings"
)

// orders reads {"_count": "desc"}, or a list of such. Paths are in one piece until resolveOrder has seen the
// aggregations inside.
func (p *parser) orders(o option) []BucketOrder {
	var orders []BucketOrder
	for _, item := range p.listOrOne(o) {
		for _, key := range p.options(o.clause, item.node) {
			orders = append(orders, BucketOrder{Path: []string{key.name}, Desc: p.oneOf(key, "asc", "desc") == "desc"})
		}
	}
	if len(orders) == 0 || len(orders) > p.limits.MaxFields {
		p.bad(o, "needs one order, and takes %d at most [search.max.request.fields]", p.limits.MaxFields)
	}
	return orders
}

// total is orders, or standard where there are none, made to decide between any two buckets.
func total(orders []BucketOrder, standard BucketOrder) []BucketOrder {
	if len(orders) == 0 {
		orders = []BucketOrder{standard}
	}
	isKey := func(o BucketOrder) bool { return o.Path[0] == "_key" }
	if slices.ContainsFunc(orders, isKey) {
		return orders
	}
	return append(orders, BucketOrder{Path: []string{"_key"}})
}

func ordersOf(a Agg) []BucketOrder {
	switch a := a.(type) {
	case TermsAgg:
		return a.Order
	case HistogramAgg:
		return a.Order
	case DateHistogramAgg:
		return a.Order
	}
	return nil
}

// resolveOrder follows a path like errors>latency.max or latency[95.0] to a figure: through single buckets, to
// an aggregation that has it. A name may have points itself, so that the longest one that exists is meant.
func (p *parser) resolveOrder(named option, order *BucketOrder, inside []NamedAgg) {
	text := order.Path[0]
	if text == "_count" || text == "_key" {
		return
	}
	invalid := func(why string) {
		p.fail(named.at, IllegalArgument, "invalid aggregation order path [%s] in [%s]: %s", text, named.name, why)
	}
	order.Path = strings.Split(text, ">")
	if len(order.Path) > p.limits.MaxAggDepth {
		invalid("it is longer than aggregations may be nested")
		return
	}
	for i, step := range order.Path {
		last := i == len(order.Path)-1
		agg, rest, found := findAgg(inside, step)
		switch {
		case !found:
			invalid("there is no aggregation [" + step + "]")
			return
		case last && !hasFigure(agg.Agg, rest):
			invalid("[" + agg.Name + "] has no figure [" + rest + "]")
		case !last && (agg.Agg.Type() != "filter" || rest != ""):
			invalid("[" + step + "] is not a single bucket")
		}
		order.Path[i], order.Metric = agg.Name, rest
		inside = agg.Aggs
	}
}

// findAgg is the aggregation that a step names, and what the step says behind its name.
func findAgg(aggs []NamedAgg, step string) (found NamedAgg, rest string, ok bool) {
	for _, a := range aggs {
		behind, is := strings.CutPrefix(step, a.Name)
		if !is || a.Agg == nil || (ok && len(a.Name) < len(found.Name)) {
			continue
		}
		metric, bracket := strings.CutPrefix(behind, "[")
		switch {
		case behind == "":
			found, rest, ok = a, "", true
		case bracket && strings.HasSuffix(metric, "]"):
			found, rest, ok = a, strings.TrimSuffix(metric, "]"), true
		case behind[0] == '.' && len(behind) > 1:
			found, rest, ok = a, behind[1:], true
		}
	}
	return found, rest, ok
}

func hasFigure(a Agg, metric string) bool {
	switch a := a.(type) {
	case MetricAgg:
		if a.Op == Stats {
			return slices.Contains([]string{"min", "max", "sum", "avg", "count"}, metric)
		}
		return metric == "" || metric == "value"
	case CardinalityAgg:
		return metric == "" || metric == "value"
	case PercentilesAgg:
		return a.has(metric)
	case FilterAgg:
		return metric == "" || metric == "_count" || metric == "doc_count"
	}
	return false
}
