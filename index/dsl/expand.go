package dsl

import "strings"

func isPattern(field string) bool { return strings.Contains(field, "*") }

// ExpandFields replaces each leaf whose Field is a pattern by the same leaf over the fields that fields names
// for it: a DisMax, or MatchNone where there are none. For AllFields that should be the fields to search by
// default. The result has no patterns left; q itself stays as it is.
func ExpandFields(q Query, fields func(pattern string) []string) Query {
	e := expander{fields: fields}
	return e.query(q)
}

type expander struct{ fields func(pattern string) []string }

func (e expander) query(q Query) Query {
	switch q := q.(type) {
	case Bool:
		return Bool{
			Must: e.queries(q.Must), Should: e.queries(q.Should), MustNot: e.queries(q.MustNot), Filter: e.queries(q.Filter),
			MinimumShouldMatch: q.MinimumShouldMatch,
		}
	case DisMax:
		return e.disMax(q)
	case ConstantScore:
		return ConstantScore{Query: e.query(q.Query)}
	case Boosted:
		return Boosted{Query: e.query(q.Query), Boost: q.Boost}
	case Lenient:
		return Lenient{Query: e.query(q.Query)}
	}
	return bestOf(e.leaf(q), 0)
}

func (e expander) queries(queries []Query) []Query {
	if queries == nil {
		return nil
	}
	expanded := make([]Query, len(queries))
	for i, q := range queries {
		expanded[i] = e.query(q)
	}
	return expanded
}

// disMax puts the fields of a pattern beside the other queries: one more level would be scored without
// TieBreaker.
func (e expander) disMax(q DisMax) Query {
	var flat []Query
	for _, inner := range q.Queries {
		b, is := inner.(Boosted)
		if !is {
			b = Boosted{Query: inner, Boost: 1}
		}
		if pattern, ok := fieldOf(b.Query); !ok || !isPattern(pattern) {
			flat = append(flat, e.query(inner))
			continue
		}
		for _, leaf := range e.leaf(b.Query) {
			flat = append(flat, boosted(leaf, b.Boost))
		}
	}
	return bestOf(flat, q.TieBreaker)
}

func bestOf(queries []Query, tie float64) Query {
	switch len(queries) {
	case 0:
		return MatchNone{}
	case 1:
		return queries[0]
	}
	return DisMax{Queries: queries, TieBreaker: tie}
}

// leaf is q once per field that its pattern means, or q alone.
func (e expander) leaf(q Query) []Query {
	pattern, ok := fieldOf(q)
	if !ok || !isPattern(pattern) {
		return []Query{q}
	}
	var leaves []Query
	for _, field := range e.fields(pattern) {
		leaves = append(leaves, withField(q, field))
	}
	return leaves
}

// fieldOf is the field of a leaf that may have a pattern for one.
func fieldOf(q Query) (field string, ok bool) {
	switch q := q.(type) {
	case Range:
		return q.Field, true
	case Prefix:
		return q.Field, true
	case Wildcard:
		return q.Field, true
	case Regexp:
		return q.Field, true
	case Fuzzy:
		return q.Field, true
	case Exists:
		return q.Field, true
	case Match:
		return q.Field, true
	case MatchPhrase:
		return q.Field, true
	case MatchPhrasePrefix:
		return q.Field, true
	}
	return "", false
}

func withField(q Query, field string) Query {
	switch q := q.(type) {
	case Range:
		q.Field = field
		return q
	case Prefix:
		q.Field = field
		return q
	case Wildcard:
		q.Field = field
		return q
	case Regexp:
		q.Field = field
		return q
	case Fuzzy:
		q.Field = field
		return q
	case Exists:
		q.Field = field
		return q
	case Match:
		q.Field = field
		return q
	case MatchPhrase:
		q.Field = field
		return q
	case MatchPhrasePrefix:
		q.Field = field
		return q
	}
	return q
}
