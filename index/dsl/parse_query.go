package dsl

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseQuery reads one clause, as it stands under "query" in a search body: {"term": {"level": "warn"}}.
func ParseQuery(body []byte, limits Limits, now time.Time) (Query, error) {
	n, err := readJSON(body)
	if err != nil {
		return nil, err
	}
	p := &parser{body: body, limits: limits, now: now}
	q := p.query(n)
	if p.err != nil {
		return nil, p.err
	}
	return q, nil
}

// clauses are the queries that a client may write. An init fills it, as compound clauses lead back to it.
var clauses map[string]func(*parser, string, node) Query

func init() {
	clauses = map[string]func(*parser, string, node) Query{
		"match_all":           (*parser).matchAll,
		"match_none":          (*parser).matchNone,
		"term":                (*parser).term,
		"terms":               (*parser).terms,
		"range":               (*parser).rangeClause,
		"prefix":              (*parser).prefix,
		"wildcard":            (*parser).wildcard,
		"regexp":              (*parser).regexp,
		"fuzzy":               (*parser).fuzzy,
		"exists":              (*parser).exists,
		"ids":                 (*parser).ids,
		"match":               (*parser).match,
		"match_phrase":        (*parser).matchPhrase,
		"match_phrase_prefix": (*parser).matchPhrasePrefix,
		"multi_match":         (*parser).multiMatch,
		"bool":                (*parser).boolClause,
		"constant_score":      (*parser).constantScore,
		"query_string":        (*parser).queryString,
		"simple_query_string": (*parser).simpleQueryString,
	}
}

// query reads {"name": {…}}. It is never nil, so that a failed parse is still a tree.
func (p *parser) query(n node) Query {
	switch {
	case p.err != nil:
		return MatchNone{}
	case n.kind != '{':
		p.fail(n.at, ParsingException, "a query must be an object, found [%s]", n.describe())
		return MatchNone{}
	case len(n.members) == 0:
		p.fail(n.at, IllegalArgument, "query malformed, empty clause found")
		return MatchNone{}
	case len(n.members) > 1:
		second := n.members[1]
		p.fail(second.at, ParsingException, "[%s] malformed query, a second one found beside it: [%s]", n.members[0].name, second.name)
		return MatchNone{}
	}
	name, clause := n.members[0].name, n.members[0].node
	parse, known := clauses[name]
	if !known {
		p.fail(n.members[0].at, ParsingException, "unknown query [%s]", name)
		return MatchNone{}
	}
	return parse(p, name, clause)
}

// leaf counts a clause that looks into the index.
func (p *parser) leaf(at int) {
	if p.leaves++; p.leaves > p.limits.MaxClauses {
		p.fail(at, TooManyClauses, "the queries of a request may have %d clauses at most [search.max.clauses]", p.limits.MaxClauses)
	}
}

// enter goes one clause deeper; the caller leaves again.
func (p *parser) enter(at int) bool {
	if p.depth++; p.depth > p.limits.MaxBoolDepth {
		p.fail(at, IllegalArgument, "queries may be nested %d deep at most [search.max.bool.depth]", p.limits.MaxBoolDepth)
	}
	return p.err == nil
}

func (p *parser) leave() { p.depth-- }

// frame collects what every clause may have.
type frame struct{ boost float64 }

func newFrame() frame { return frame{boost: 1} }

// common reads the options that every clause has, and refuses what is no option at all.
func (p *parser) common(f *frame, o option) {
	switch o.name {
	case "boost":
		if f.boost = p.number(o); f.boost < 0 {
			p.fail(o.at, IllegalArgument, "[%s] negative boost [%s] is not allowed", o.clause, o.text)
		}
	case "_name":
		p.unsupported(o, "hits do not list the names of the clauses they match")
	default:
		p.unknown(o)
	}
}

func (f frame) around(q Query) Query { return boosted(q, f.boost) }

func boosted(q Query, boost float64) Query {
	if boost == 1 {
		return q
	}
	return Boosted{Query: q, Boost: boost}
}

func lenient(q Query, is bool) Query {
	if !is {
		return q
	}
	return Lenient{Query: q}
}

// fieldClause opens {"field": {options}}, where one option out of mains must be there, and its short form
// {"field": scalar}, which means the first of them.
func (p *parser) fieldClause(clause string, n node, mains ...string) (field string, options []option) {
	if n.kind == '{' && len(n.members) > 1 {
		p.fail(n.members[1].at, ParsingException, "[%s] query doesn't support multiple fields, found [%s] and [%s]",
			clause, n.members[0].name, n.members[1].name)
		return "", nil
	}
	if n.kind != '{' || len(n.members) == 0 {
		p.fail(n.at, ParsingException, "[%s] must be an object with one field, found [%s]", clause, n.describe())
		return "", nil
	}
	field = p.fieldName(clause, n.members[0].name, n.members[0].at)
	inside := n.members[0].node
	p.leaf(n.at)
	if inside.scalar() && len(mains) > 0 {
		return field, []option{{clause: clause, name: mains[0], node: inside}}
	}
	options = p.options(clause, inside)
	found := 0
	for _, o := range options {
		if slices.Contains(mains, o.name) {
			found++
		}
	}
	if found != 1 && len(mains) > 0 {
		p.fail(inside.at, ParsingException, "[%s] needs one [%s] for field [%s]", clause, mains[0], field)
	}
	return field, options
}

// fieldName refuses a pattern where Elasticsearch takes none: it would silently name no field there.
func (p *parser) fieldName(clause, name string, at int) string {
	if name == "" || strings.Contains(name, "*") {
		p.fail(at, ParsingException, "[%s] needs the name of one field, found [%s]", clause, name)
	}
	return name
}

// constantRewrite accepts the ways of scoring many terms that mean what is done here: all alike.
func (p *parser) constantRewrite(o option) {
	p.only(o, "constant_score", "constant_score_boolean", "constant_score_blended")
}

// fuzziness reads 0, 1, 2, AUTO and AUTO:low,high.
func (p *parser) fuzziness(o option) Fuzziness {
	f, ok := parseFuzziness(p.text(o))
	if !ok {
		p.bad(o, "must be a number of edits, AUTO or AUTO:low,high, found [%s]", o.describe())
	}
	return p.allowed(f, o.at, "["+o.clause+"] "+o.name)
}

// allowed holds a fuzziness to its limit.
func (p *parser) allowed(f Fuzziness, at int, what string) Fuzziness {
	edits := f.Distance
	if f.Auto {
		edits = 2
	}
	if edits > p.limits.MaxFuzziness {
		p.fail(at, IllegalArgument, "%s may be %d at most [search.max.fuzziness], found [%d]", what, p.limits.MaxFuzziness, edits)
	}
	return f
}

func parseFuzziness(text string) (Fuzziness, bool) {
	upper := strings.ToUpper(text)
	if upper == "AUTO" {
		return AutoFuzziness, true
	}
	if bounds, auto := strings.CutPrefix(upper, "AUTO:"); auto {
		lowText, highText, _ := strings.Cut(bounds, ",")
		low, err := strconv.Atoi(lowText)
		high, err2 := strconv.Atoi(highText)
		return Fuzziness{Auto: true, Low: low, High: high}, err == nil && err2 == nil && low >= 0 && high >= low
	}
	edits, err := strconv.ParseFloat(text, 64) // clients write 1.0 too
	if err != nil || edits != float64(int(edits)) || edits < 0 || edits > 1000 {
		return Fuzziness{}, false
	}
	return Fuzziness{Distance: int(edits)}, true
}

func (p *parser) prefixLength(o option) int {
	return p.integer(o, p.limits.MinPrefixLength, 1<<20)
}

// minimumShouldMatch reads 2, "-25%" and the rest of that notation.
func (p *parser) minimumShouldMatch(o option) MinimumShouldMatch {
	m := MinimumShouldMatch(strings.TrimSpace(p.text(o)))
	if !m.valid() {
		p.bad(o, "is not understood: [%s]", o.describe())
		return ""
	}
	return m
}

func (p *parser) operator(o option) Operator {
	if p.oneOf(o, "or", "and") == "and" {
		return And
	}
	return Or
}
