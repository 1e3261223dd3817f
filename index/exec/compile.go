package exec

import (
	"errors"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// compiler turns a dsl tree into nodes for one mapping.
type compiler struct {
	mapping *schema.Mapping
	search  *dsl.Search
	limits  Limits

	// chunk says that this is for one chunk. What it learned may differ from what the topic's others did: then a
	// value that does not fit is in none of its records, and a field that cannot be aggregated has no values.
	chunk bool
}

// query is the nodes of q, whose fields may still be patterns.
func (c *compiler) query(q dsl.Query) (node, error) {
	if q == nil {
		return allNode{}, nil
	}
	return c.node(dsl.ExpandFields(q, c.mapping.Expand))
}

func (c *compiler) node(q dsl.Query) (node, error) {
	switch q := q.(type) {
	case dsl.MatchAll:
		return allNode{}, nil
	case dsl.MatchNone:
		return noneNode{}, nil
	case dsl.IDs:
		return c.ids(q), nil
	case dsl.Exists:
		return c.exists(q), nil
	case dsl.Bool:
		return c.boolean(q)
	case dsl.DisMax:
		nodes, err := c.nodes(q.Queries)
		return disMaxNode{nodes, q.TieBreaker}, err
	case dsl.ConstantScore:
		inner, err := c.node(q.Query)
		return constantNode{inner}, err
	case dsl.Boosted:
		inner, err := c.node(q.Query)
		return boostNode{inner, q.Boost}, err
	case dsl.Lenient:
		return c.lenient(q)
	}
	n, err := c.leaf(q)
	var misfit *misfitError
	if c.chunk && errors.As(err, &misfit) {
		return noneNode{}, nil
	}
	return n, err
}

func (c *compiler) nodes(queries []dsl.Query) ([]node, error) {
	nodes := make([]node, len(queries))
	for i, q := range queries {
		n, err := c.node(q)
		if err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

func (c *compiler) boolean(q dsl.Bool) (node, error) {
	b := boolNode{atLeast: q.Required()}
	for _, part := range []struct {
		from []dsl.Query
		to   *[]node
	}{{q.Must, &b.must}, {q.Should, &b.should}, {q.MustNot, &b.mustNot}, {q.Filter, &b.filter}} {
		nodes, err := c.nodes(part.from)
		if err != nil {
			return nil, err
		}
		*part.to = nodes
	}
	return b, nil
}

// lenient is what q.Query means, but nothing where a value does not fit. A limit that is passed stays an error.
func (c *compiler) lenient(q dsl.Lenient) (node, error) {
	if inner := leniently(q.Query); inner != nil {
		return c.node(inner)
	}
	n, err := c.node(q.Query)
	var misfit *misfitError
	if errors.As(err, &misfit) {
		return noneNode{}, nil
	}
	return n, err
}

// leniently pushes Lenient down to the leaves, so that of several fields only those do not match that cannot.
// It is nil for a leaf.
func leniently(q dsl.Query) dsl.Query {
	each := func(queries []dsl.Query) []dsl.Query {
		all := make([]dsl.Query, len(queries))
		for i, inner := range queries {
			all[i] = dsl.Lenient{Query: inner}
		}
		return all
	}
	switch q := q.(type) {
	case dsl.Bool:
		return dsl.Bool{Must: each(q.Must), Should: each(q.Should), MustNot: each(q.MustNot), Filter: each(q.Filter), MinimumShouldMatch: q.MinimumShouldMatch}
	case dsl.DisMax:
		return dsl.DisMax{Queries: each(q.Queries), TieBreaker: q.TieBreaker}
	case dsl.ConstantScore:
		return dsl.ConstantScore{Query: dsl.Lenient(q)}
	case dsl.Boosted:
		return dsl.Boosted{Query: dsl.Lenient{Query: q.Query}, Boost: q.Boost}
	case dsl.Lenient:
		return q
	}
	return nil
}

// misfitError says that a value does not fit its field.
type misfitError struct{ refusal *dsl.Error }

func (e *misfitError) Error() string { return e.refusal.Error() }
func (e *misfitError) Unwrap() error { return e.refusal }

func misfit(err error) error {
	if err == nil {
		return nil
	}
	var known *dsl.Error
	if !errors.As(err, &known) {
		known = &dsl.Error{Type: dsl.IllegalArgument, Reason: err.Error()}
	}
	return &misfitError{known}
}

// Names of what every record has beside its fields.
const (
	offsetField    = "_offset"
	partitionField = "_partition"
	indexField     = "_index"
)

// exists also asks for the fields below an object.
func (c *compiler) exists(q dsl.Exists) node {
	switch q.Field {
	case schema.IDField, offsetField, partitionField, indexField:
		return allNode{}
	}
	var n existsNode
	if f, ok := c.mapping.Field(q.Field); ok {
		n.fields = append(n.fields, f)
	}
	for _, path := range c.mapping.Expand(q.Field + ".*") {
		if f, ok := c.mapping.Field(path); ok {
			n.fields = append(n.fields, f)
		}
	}
	if len(n.fields) == 0 {
		return noneNode{}
	}
	return n
}

func (c *compiler) ids(q dsl.IDs) node {
	n := idsNode{offsets: map[int32][]int64{}}
	for _, id := range q.Values {
		n.offsets[id.Partition] = append(n.offsets[id.Partition], id.Offset)
	}
	for _, offsets := range n.offsets {
		slices.Sort(offsets)
	}
	return n
}

// field is the field of a leaf. One that the topic does not have matches nothing, as in Elasticsearch. What every
// record has and the index does not hold is refused instead: nothing would be the wrong answer.
func (c *compiler) field(path string) (f schema.Field, known bool, err error) {
	switch path {
	case schema.IDField, offsetField, partitionField, indexField:
		return f, false, refusef(dsl.IllegalArgument, "field [%s] cannot be searched by this query", path)
	}
	f, known = c.mapping.Field(path)
	return f, known, nil
}

// leaf is a query on one field.
func (c *compiler) leaf(q dsl.Query) (node, error) {
	path := leafField(q)
	f, known, err := c.field(path)
	if err != nil || !known {
		return noneNode{}, err
	}
	switch q := q.(type) {
	case dsl.Term:
		return c.term(f, q)
	case dsl.Terms:
		return c.terms(f, q)
	case dsl.Range:
		return c.rangeOf(f, q)
	case dsl.Prefix:
		p, err := newPrefix(folded(f, q.Value, q.Folded), q.CaseInsensitive)
		return spelled(f, p, err)
	case dsl.Wildcard:
		p, err := newWildcard(folded(f, q.Pattern, q.Folded), q.CaseInsensitive)
		return spelled(f, p, err)
	case dsl.Regexp:
		p, err := newRegexp(folded(f, q.Pattern, q.Folded), q.CaseInsensitive)
		return spelled(f, p, err)
	case dsl.Fuzzy:
		return c.fuzzy(f, folded(f, q.Value, q.Folded), q.Fuzziness, q.PrefixLength)
	case dsl.Match:
		return c.match(f, q)
	case dsl.MatchPhrase:
		return c.phrase(f, q.Text, q.Analyzer, q.ZeroTermsAll, false)
	case dsl.MatchPhrasePrefix:
		return c.phrase(f, q.Text, q.Analyzer, q.ZeroTermsAll, true)
	}
	return nil, refusef(dsl.ParsingException, "query %T is not known", q)
}

func leafField(q dsl.Query) string {
	switch q := q.(type) {
	case dsl.Term:
		return q.Field
	case dsl.Terms:
		return q.Field
	case dsl.Range:
		return q.Field
	case dsl.Prefix:
		return q.Field
	case dsl.Wildcard:
		return q.Field
	case dsl.Regexp:
		return q.Field
	case dsl.Fuzzy:
		return q.Field
	case dsl.Match:
		return q.Field
	case dsl.MatchPhrase:
		return q.Field
	case dsl.MatchPhrasePrefix:
		return q.Field
	}
	return ""
}

// spelled is the terms of f that a pattern matches. Only terms that are text have a spelling to match.
func spelled(f schema.Field, p pattern, err error) (node, error) {
	if err == nil && !hasSpelling(f) {
		err = misfit(refusef(dsl.IllegalArgument, "field [%s] of kind [%s] has no text for a pattern to match", f.Path, f.Kind))
	}
	return patternNode{f, p}, err
}

func hasSpelling(f schema.Field) bool { return f.Kind == schema.Text || f.Kind == schema.Keyword }

func folded(f schema.Field, text string, fold bool) string {
	if fold {
		return f.Fold(text)
	}
	return text
}

func (c *compiler) term(f schema.Field, q dsl.Term) (node, error) {
	if q.CaseInsensitive && hasSpelling(f) {
		p, err := newFoldedTerm(q.Value.Text)
		return patternNode{f, p}, err
	}
	return c.exact(f, q.Value.Text)
}

// exact is the documents that hold text in f. An address may be a network.
func (c *compiler) exact(f schema.Field, text string) (node, error) {
	if f.Kind == schema.IP && strings.Contains(text, "/") {
		if network, ok := schema.PrefixRange(text); ok {
			return rangeNode{f, network}, nil
		}
	}
	if f.Kind == schema.Boolean && text == "" {
		text = "false" // as in Elasticsearch
	}
	term, some, err := f.Term(text)
	switch {
	case err != nil:
		return nil, misfit(err)
	case !some:
		return noneNode{}, nil
	}
	return termNode{f, term}, nil
}

func (c *compiler) terms(f schema.Field, q dsl.Terms) (node, error) {
	any := anyTermNode{field: f}
	var networks []node
	for _, v := range q.Values {
		n, err := c.exact(f, v.Text)
		if err != nil {
			return nil, err
		}
		switch n := n.(type) {
		case termNode:
			any.terms = append(any.terms, n.term)
		case rangeNode:
			networks = append(networks, n)
		}
	}
	slices.Sort(any.terms)
	any.terms = slices.Compact(any.terms)
	switch {
	case len(networks) > 0:
		return constantNode{disMaxNode{nodes: append(networks, any)}}, nil
	case len(any.terms) == 0:
		return noneNode{}, nil
	}
	return any, nil
}

func (c *compiler) rangeOf(f schema.Field, q dsl.Range) (node, error) {
	var interval schema.Interval
	if f.Kind == schema.Date || f.Kind == schema.Timestamp {
		low, high, err := q.Dates(c.search.Now)
		if err != nil {
			return nil, misfit(err)
		}
		interval = f.DateRange(low, high)
	} else {
		var err error
		low, high := rangeBound(f, q.GT, q.GTE, q.Folded), rangeBound(f, q.LT, q.LTE, q.Folded)
		if interval, err = f.Range(low, high); err != nil {
			return nil, misfit(err)
		}
	}
	if interval.Empty() {
		return noneNode{}, nil
	}
	return rangeNode{f, interval}, nil
}

func rangeBound(f schema.Field, open, closed dsl.Value, fold bool) *schema.Bound {
	switch {
	case open.Kind != dsl.None:
		return &schema.Bound{Text: folded(f, open.Text, fold), Exclusive: true}
	case closed.Kind != dsl.None:
		return &schema.Bound{Text: folded(f, closed.Text, fold)}
	}
	return nil
}
