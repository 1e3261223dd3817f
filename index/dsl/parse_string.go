package dsl

import (
	"strings"
	"unicode/utf8"
)

// stringOptions are what query_string and simple_query_string say beside their text.
type stringOptions struct {
	fields             []fieldBoost // never empty
	operator           Operator
	kind               string  // of multiMatchType
	tie                float64 // negative: not given
	analyzer           string
	timeZone           string
	minimumShouldMatch MinimumShouldMatch
	fuzziness          Fuzziness
	prefixLength       int
	lenient            bool
	noLeadingWildcard  bool
	escape             bool
	flags              simpleFlags // of simple_query_string
}

func (p *parser) stringOptions() stringOptions {
	return stringOptions{
		fields: allFields(), kind: "best_fields", tie: -1, fuzziness: AutoFuzziness, prefixLength: p.limits.MinPrefixLength, flags: allSimpleFlags,
	}
}

func (p *parser) queryString(clause string, n node) Query {
	f, o, text := newFrame(), p.stringOptions(), (*option)(nil)
	for _, given := range p.options(clause, n) {
		switch given.name {
		case "query":
			text = &given
		case "default_field":
			o.fields = []fieldBoost{{field: p.string(given), boost: 1}}
		case "allow_leading_wildcard":
			o.noLeadingWildcard = !p.boolean(given)
		case "escape":
			o.escape = p.boolean(given)
		case "fuzziness":
			o.fuzziness = p.fuzziness(given)
		case "time_zone":
			o.timeZone = p.timeZone(given)
		case "type":
			o.kind = p.multiMatchType(given)
		case "tie_breaker":
			o.tie = p.number(given)
		case "phrase_slop":
			p.slop(given)
		case "enable_position_increments":
			p.only(given, "true")
		case "max_determinized_states":
			p.integer(given, 1, 1<<30) // see regexp
		case "rewrite", "fuzzy_rewrite":
			p.constantRewrite(given)
		default:
			p.stringOption(&f, &o, given)
		}
	}
	if strings.HasPrefix(o.kind, "phrase") {
		p.fail(n.at, IllegalArgument, "[%s] type [%s] is not supported: best_fields and most_fields are", clause, o.kind)
	}
	if text == nil {
		p.fail(n.at, ParsingException, "[%s] must be provided with a [query]", clause)
		return MatchNone{}
	}
	return f.around(p.parseQueryString(text.at, p.text(*text), o))
}

func (p *parser) simpleQueryString(clause string, n node) Query {
	f, o, text := newFrame(), p.stringOptions(), (*option)(nil)
	o.tie = 1 // the fields of a word add up
	for _, given := range p.options(clause, n) {
		switch given.name {
		case "query":
			text = &given
		case "flags":
			o.flags = p.simpleFlags(given)
		default:
			p.stringOption(&f, &o, given)
		}
	}
	if text == nil {
		p.fail(n.at, ParsingException, "[%s] must be provided with a [query]", clause)
		return MatchNone{}
	}
	return f.around(p.parseSimpleQueryString(text.at, p.text(*text), o))
}

// stringOption reads what both clauses know.
func (p *parser) stringOption(f *frame, o *stringOptions, given option) {
	switch given.name {
	case "fields":
		if fields := p.fieldBoosts(given); len(fields) > 0 {
			o.fields = fields
		}
	case "default_operator":
		o.operator = p.operator(given)
	case "analyzer":
		o.analyzer = p.string(given)
	case "minimum_should_match":
		o.minimumShouldMatch = p.minimumShouldMatch(given)
	case "fuzzy_prefix_length":
		o.prefixLength = p.prefixLength(given)
	case "lenient":
		o.lenient = p.boolean(given)
	case "analyze_wildcard":
		p.boolean(given) // words with wildcards are folded either way, and never split
	case "fuzzy_max_expansions":
		p.only(given, "50") // Elasticsearch's default: the client asks for nothing special
	case "fuzzy_transpositions":
		p.only(given, "true")
	case "auto_generate_synonyms_phrase_query":
		p.boolean(given) // there are no synonyms
	default:
		p.common(f, given)
	}
}

// scope is where a part of a query string looks.
type scope struct {
	fields   []fieldBoost
	explicit bool // the text names the field
}

// stringLeaves makes the leaves of both kinds of query string.
type stringLeaves struct {
	p  *parser
	at int // where the text stands in the body
	o  stringOptions
}

func (l stringLeaves) over(s scope, on func(field string) Query) Query {
	return l.p.overFields(l.at, s.fields, tieBreaker(l.o.kind, l.o.tie), on)
}

func (l stringLeaves) words(s scope, text string) Query {
	return l.over(s, func(field string) Query {
		return unlessID(field, text, Match{Field: field, Text: text, Operator: l.o.operator, Analyzer: l.o.analyzer})
	})
}

func (l stringLeaves) phrase(s scope, text string) Query {
	return l.over(s, func(field string) Query {
		return unlessID(field, text, MatchPhrase{Field: field, Text: text, Analyzer: l.o.analyzer})
	})
}

// folded refuses what an analyzer of the client's own would have to fold.
func (l stringLeaves) folded(s scope, on func(field string) Query) Query {
	if l.o.analyzer != "" {
		l.p.fail(l.at, IllegalArgument, "an [analyzer] cannot be given with a query string that has wildcards, ranges, regular expressions or fuzzy words")
	}
	return l.over(s, on)
}

func (l stringLeaves) prefix(s scope, text string) Query {
	return l.folded(s, func(field string) Query { return Prefix{Field: field, Value: text, Folded: true} })
}

func (l stringLeaves) fuzzy(s scope, text string, fuzziness Fuzziness) Query {
	return l.folded(s, func(field string) Query {
		return Fuzzy{Field: field, Value: text, Fuzziness: fuzziness, PrefixLength: l.o.prefixLength, Folded: true}
	})
}

// readable refuses what the parsers of texts rely on not to meet.
func (p *parser) readable(at int, text string) bool {
	switch {
	case len(text) > p.limits.MaxStringBytes:
		p.fail(at, IllegalArgument, "a query string may be %d bytes long at most [search.max.query.string.bytes], found [%d]", p.limits.MaxStringBytes, len(text))
	case !utf8.ValidString(text):
		p.fail(at, ParsingException, "a query string must be valid UTF-8")
	default:
		return true
	}
	return false
}

// finish makes the clause out of what the text said.
func (l stringLeaves) finish(q Query) Query {
	if l.o.minimumShouldMatch != "" {
		q = withMinimum(q, l.o.minimumShouldMatch)
	}
	return lenient(q, l.o.lenient || isAll(l.o.fields))
}

// withMinimum asks for that many of the optional clauses, or words, at the top of q.
func withMinimum(q Query, minimum MinimumShouldMatch) Query {
	switch q := q.(type) {
	case Bool:
		if len(q.Should) > 0 {
			q.MinimumShouldMatch = minimum
		}
		return q
	case Match:
		q.MinimumShouldMatch = minimum
		return q
	case Boosted:
		q.Query = withMinimum(q.Query, minimum)
		return q
	case DisMax:
		for i, inner := range q.Queries {
			q.Queries[i] = withMinimum(inner, minimum)
		}
		return q
	}
	return q
}
