package exec

import (
	"slices"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// aggPlan is an aggregation for one mapping.
type aggPlan struct {
	agg     dsl.Agg
	field   schema.Field
	known   bool   // the mapping has the field
	missing []byte // the term of records without it; nil: they have no value
	filters []node // of filter and filters
	subs    []aggPlan
}

func (c *compiler) aggs(named []dsl.NamedAgg) ([]aggPlan, error) {
	plans := make([]aggPlan, len(named))
	for i, n := range named {
		p, err := c.agg(n)
		if err != nil {
			return nil, err
		}
		plans[i] = p
	}
	return plans, nil
}

func (c *compiler) agg(n dsl.NamedAgg) (p aggPlan, err error) {
	p.agg = n.Agg
	switch a := n.Agg.(type) {
	case dsl.TermsAgg:
		err = c.aggField(&p, n.Name, a.Field, a.Missing, anyKind)
	case dsl.DateHistogramAgg:
		err = c.aggField(&p, n.Name, a.Field, a.Missing, dateKind)
	case dsl.DateRangeAgg:
		err = c.aggField(&p, n.Name, a.Field, a.Missing, dateKind)
	case dsl.HistogramAgg:
		err = c.aggField(&p, n.Name, a.Field, a.Missing, numberKind)
	case dsl.RangeAgg:
		err = c.aggField(&p, n.Name, a.Field, a.Missing, numberKind)
	case dsl.PercentilesAgg:
		err = c.aggField(&p, n.Name, a.Field, a.Missing, numberKind)
	case dsl.CardinalityAgg:
		err = c.aggField(&p, n.Name, a.Field, a.Missing, anyKind)
	case dsl.MetricAgg:
		want := numberKind
		if a.Op == dsl.ValueCount {
			want = anyKind
		}
		err = c.aggField(&p, n.Name, a.Field, a.Missing, want)
	case dsl.FilterAgg:
		p.filters, err = c.aggFilters([]dsl.NamedFilter{{Query: a.Query}})
	case dsl.FiltersAgg:
		p.filters, err = c.aggFilters(a.Filters)
	default:
		err = refusef(dsl.ParsingException, "aggregation %T is not known", a)
	}
	if err != nil {
		return p, err
	}
	p.subs, err = c.aggs(n.Aggs)
	return p, err
}

func (c *compiler) aggFilters(filters []dsl.NamedFilter) ([]node, error) {
	nodes := make([]node, len(filters))
	for i, f := range filters {
		n, err := c.query(f.Query)
		if err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

// Which kinds of fields an aggregation takes.
func anyKind(schema.Kind) bool { return true }

func dateKind(k schema.Kind) bool {
	return k == schema.Date || k == schema.Timestamp || k == schema.Long
}

func numberKind(k schema.Kind) bool {
	return dateKind(k) || k == schema.Double || k == schema.Boolean
}

// aggField finds the field of an aggregation. One that the topic does not have has no values.
func (c *compiler) aggField(p *aggPlan, name, path string, missing dsl.Value, takes func(schema.Kind) bool) error {
	p.field, p.known = c.mapping.Field(path)
	if p.known && c.chunk && !takes(p.field.Kind) {
		p.known = false
	}
	switch {
	case !p.known:
		p.field = schema.Field{Path: path, Kind: schema.Keyword}
		if missing.Kind == dsl.Number || !takes(schema.Keyword) {
			p.field.Kind = schema.Double
		}
	case !p.field.DocValues():
		return refusef(dsl.IllegalArgument, "field [%s] of kind [%s] cannot be aggregated by [%s]: map it as a keyword, number or date", path, p.field.Kind, name)
	case !takes(p.field.Kind):
		return refusef(dsl.IllegalArgument, "field [%s] of kind [%s] is not supported for aggregation [%s] of type [%s]", path, p.field.Kind, name, p.agg.Type())
	}
	if missing.Kind == dsl.None {
		return nil
	}
	term, some, err := p.field.Term(missing.Text)
	if err != nil || !some {
		return refusef(dsl.IllegalArgument, "[missing] of aggregation [%s]: [%s] is no value of field [%s]", name, missing.Text, path)
	}
	p.missing = []byte(term)
	return nil
}

func unsureAggs(aggs []aggPlan) bool {
	return slices.ContainsFunc(aggs, func(p aggPlan) bool { return slices.ContainsFunc(p.filters, unsure) || unsureAggs(p.subs) })
}
