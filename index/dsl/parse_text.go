package dsl

import (
	"strconv"
	"strings"
)

func (p *parser) match(clause string, n node) Query {
	f, t := newFrame(), p.textClause()
	field, options := p.fieldClause(clause, n, "query")
	for _, o := range options {
		if !p.matchOption(&t, o) {
			p.common(&f, o)
		}
	}
	return f.around(lenient(t.on(field, "best_fields"), t.lenient))
}

// textClause is what match and multi_match have in common.
type textClause struct {
	match        Match // without Field and PrefixLength
	prefixLength int
	lenient      bool
}

func (p *parser) textClause() textClause { return textClause{prefixLength: p.limits.MinPrefixLength} }

// matchOption reads an option of match, and says whether it was one.
func (p *parser) matchOption(t *textClause, o option) bool {
	switch o.name {
	case "query":
		t.match.Text = p.text(o)
	case "operator":
		t.match.Operator = p.operator(o)
	case "minimum_should_match":
		t.match.MinimumShouldMatch = p.minimumShouldMatch(o)
	case "fuzziness":
		t.match.Fuzziness = p.fuzziness(o)
	case "prefix_length":
		t.prefixLength = p.prefixLength(o)
	case "analyzer":
		t.match.Analyzer = p.string(o)
	case "zero_terms_query":
		t.match.ZeroTermsAll = p.oneOf(o, "none", "all") == "all"
	case "lenient":
		t.lenient = p.boolean(o)
	case "max_expansions":
		p.only(o, "50") // Elasticsearch's default: the client asks for nothing special
	case "fuzzy_transpositions":
		p.only(o, "true")
	case "fuzzy_rewrite":
		p.constantRewrite(o)
	case "auto_generate_synonyms_phrase_query":
		p.boolean(o) // there are no synonyms
	default:
		return false
	}
	return true
}

func (p *parser) matchPhrase(clause string, n node) Query {
	f, q := newFrame(), MatchPhrase{}
	q.Field, q.Text, q.Analyzer, q.ZeroTermsAll = p.phrase(&f, clause, n)
	return f.around(unlessID(q.Field, q.Text, q))
}

func (p *parser) matchPhrasePrefix(clause string, n node) Query {
	f, q := newFrame(), MatchPhrasePrefix{}
	q.Field, q.Text, q.Analyzer, q.ZeroTermsAll = p.phrase(&f, clause, n)
	return f.around(q)
}

func (p *parser) phrase(f *frame, clause string, n node) (field, text, analyzer string, zeroTermsAll bool) {
	field, options := p.fieldClause(clause, n, "query")
	for _, o := range options {
		switch {
		case o.name == "query":
			text = p.text(o)
		case o.name == "analyzer":
			analyzer = p.string(o)
		case o.name == "zero_terms_query":
			zeroTermsAll = p.oneOf(o, "none", "all") == "all"
		case o.name == "slop":
			p.slop(o)
		case o.name == "max_expansions" && clause == "match_phrase_prefix":
			p.only(o, "50")
		default:
			p.common(f, o)
		}
	}
	return field, text, analyzer, zeroTermsAll
}

func (p *parser) slop(o option) { p.only(o, "0") }

// multiMatch becomes a DisMax of one query per field.
func (p *parser) multiMatch(clause string, n node) Query {
	f, t := newFrame(), p.textClause()
	var fields []fieldBoost
	kind, tie, found := "best_fields", -1.0, false
	for _, o := range p.options(clause, n) {
		switch o.name {
		case "fields":
			fields = p.fieldBoosts(o)
		case "type":
			kind = p.multiMatchType(o)
		case "tie_breaker":
			tie = p.number(o)
		case "slop":
			p.slop(o)
		default:
			if !p.matchOption(&t, o) {
				p.common(&f, o)
			}
		}
		found = found || o.name == "query"
	}
	if !found {
		p.fail(n.at, ParsingException, "[%s] requires a [query]", clause)
	}
	if len(fields) == 0 {
		fields = allFields()
	}
	if kind == "phrase" || kind == "phrase_prefix" {
		p.phraseHasNo(n, clause, kind, t.match)
	}
	q := p.overFields(n.at, fields, tieBreaker(kind, tie), func(field string) Query { return t.on(field, kind) })
	return f.around(lenient(q, t.lenient || isAll(fields)))
}

func (p *parser) multiMatchType(o option) string {
	switch text := p.string(o); text {
	case "best_fields", "most_fields", "phrase", "phrase_prefix":
		return text
	}
	p.unsupported(o, "best_fields, most_fields, phrase and phrase_prefix are")
	return "best_fields"
}

// phraseHasNo refuses the options that count or bend single terms.
func (p *parser) phraseHasNo(n node, clause, kind string, m Match) {
	if m.Operator != Or || m.MinimumShouldMatch != "" || m.Fuzziness != (Fuzziness{}) {
		p.fail(n.at, IllegalArgument, "[%s] operator, minimum_should_match and fuzziness are not allowed for type [%s]", clause, kind)
	}
}

func tieBreaker(kind string, given float64) float64 {
	switch {
	case given >= 0:
		return given
	case kind == "most_fields":
		return 1
	}
	return 0
}

// on is the clause for one field.
func (t textClause) on(field, kind string) Query {
	m := t.match
	switch kind {
	case "phrase":
		return unlessID(field, m.Text, MatchPhrase{Field: field, Text: m.Text, Analyzer: m.Analyzer, ZeroTermsAll: m.ZeroTermsAll})
	case "phrase_prefix":
		return MatchPhrasePrefix{Field: field, Text: m.Text, Analyzer: m.Analyzer, ZeroTermsAll: m.ZeroTermsAll}
	}
	m.Field = field
	if m.Fuzziness != (Fuzziness{}) {
		m.PrefixLength = t.prefixLength
	}
	return unlessID(field, m.Text, m)
}

// fieldBoost is a field, or a pattern, and what its score is multiplied by.
type fieldBoost struct {
	field string
	boost float64
}

func allFields() []fieldBoost { return []fieldBoost{{field: AllFields, boost: 1}} }

func isAll(fields []fieldBoost) bool { return len(fields) == 1 && fields[0].field == AllFields }

// overFields is the best of one query per field.
func (p *parser) overFields(at int, fields []fieldBoost, tie float64, on func(field string) Query) Query {
	queries := make([]Query, len(fields))
	for i, f := range fields {
		p.leaf(at)
		queries[i] = boosted(on(f.field), f.boost)
	}
	if len(queries) == 1 && (tie == 0 || !isPattern(fields[0].field)) {
		return queries[0]
	}
	return DisMax{Queries: queries, TieBreaker: tie}
}

// fieldBoosts reads names like message and title^2.
func (p *parser) fieldBoosts(o option) []fieldBoost {
	names := p.strings(o)
	if len(names) > p.limits.MaxFields {
		p.fail(o.at, IllegalArgument, "[%s] %s may list %d fields at most [search.max.request.fields], found [%d]", o.clause, o.name, p.limits.MaxFields, len(names))
		return nil
	}
	fields := make([]fieldBoost, 0, len(names))
	for _, name := range names {
		field, boost, ok := splitBoost(name)
		if !ok {
			p.bad(o, "[%s] is not a field with a boost", name)
		}
		fields = append(fields, fieldBoost{field: field, boost: boost})
	}
	return fields
}

func splitBoost(name string) (field string, boost float64, ok bool) {
	field, text, has := strings.Cut(name, "^")
	if !has {
		return field, 1, field != ""
	}
	boost, ok = parseBoost(text)
	return field, boost, ok && field != ""
}

func parseBoost(text string) (float64, bool) {
	boost, err := strconv.ParseFloat(text, 64)
	return boost, err == nil && boost >= 0 && boost <= 1e30
}
