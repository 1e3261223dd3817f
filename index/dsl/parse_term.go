package dsl

import (
	"strconv"
	"strings"
)

// idField is the field of a record's id, "partition-offset".
const idField = "_id"

func (p *parser) matchAll(clause string, n node) Query {
	f := newFrame()
	p.leaf(n.at)
	for _, o := range p.options(clause, n) {
		p.common(&f, o)
	}
	return f.around(MatchAll{})
}

func (p *parser) matchNone(clause string, n node) Query {
	f := newFrame()
	p.leaf(n.at)
	for _, o := range p.options(clause, n) {
		p.common(&f, o)
	}
	return MatchNone{}
}

func (p *parser) term(clause string, n node) Query {
	f, q := newFrame(), Term{}
	field, options := p.fieldClause(clause, n, "value")
	q.Field = field
	for _, o := range options {
		switch o.name {
		case "value":
			q.Value = p.value(o)
		case "case_insensitive":
			q.CaseInsensitive = p.boolean(o)
		default:
			p.common(&f, o)
		}
	}
	return f.around(unlessID(field, q.Value.Text, q))
}

// terms is {"field": [values]}, its options standing beside the field.
func (p *parser) terms(clause string, n node) Query {
	f, q := newFrame(), Terms{}
	p.leaf(n.at)
	for _, o := range p.options(clause, n) {
		switch {
		case o.kind == '{':
			p.unsupported(o, "values are not looked up in another document")
		case o.kind != '[':
			p.common(&f, o)
		case q.Field != "":
			p.fail(o.at, ParsingException, "[%s] query does not support multiple fields, found [%s] and [%s]", clause, q.Field, o.name)
		default:
			q.Field = p.fieldName(clause, o.name, o.at)
			q.Values = p.values(o)
		}
	}
	if q.Field == "" {
		p.fail(n.at, ParsingException, "[%s] query requires a field name, followed by an array of terms", clause)
	}
	if q.Field == idField {
		return f.around(idsOf(q.Values))
	}
	return f.around(q)
}

func (p *parser) values(o option) []Value {
	items := p.list(o)
	if len(items) > p.limits.MaxTerms {
		p.fail(o.at, IllegalArgument, "[%s] %s may list %d values at most [search.max.terms], found [%d]", o.clause, o.name, p.limits.MaxTerms, len(items))
		return nil
	}
	values := make([]Value, len(items))
	for i, item := range items {
		values[i] = p.value(item)
	}
	return values
}

// rangeClause also reads from, to, include_lower and include_upper, which older clients send.
func (p *parser) rangeClause(clause string, n node) Query {
	f, q := newFrame(), Range{}
	var from, to Value
	openFrom, openTo := false, false
	field, options := p.fieldClause(clause, n)
	q.Field = field
	for _, o := range options {
		switch o.name {
		case "gt":
			q.GT = p.bound(o)
		case "gte", "ge":
			q.GTE = p.bound(o)
		case "lt":
			q.LT = p.bound(o)
		case "lte", "le":
			q.LTE = p.bound(o)
		case "from":
			from = p.bound(o)
		case "to":
			to = p.bound(o)
		case "include_lower":
			openFrom = !p.boolean(o)
		case "include_upper":
			openTo = !p.boolean(o)
		case "format":
			q.Format = p.dateFormat(o)
		case "time_zone":
			q.TimeZone = p.timeZone(o)
		case "relation":
			p.only(o, "intersects")
		default:
			p.common(&f, o)
		}
	}
	p.legacyBound(n, from, openFrom, &q.GT, &q.GTE)
	p.legacyBound(n, to, openTo, &q.LT, &q.LTE)
	if (q.GT.Kind != None && q.GTE.Kind != None) || (q.LT.Kind != None && q.LTE.Kind != None) {
		p.fail(n.at, ParsingException, "[%s] has two bounds on the same side for field [%s]", clause, field)
	}
	if q.open() {
		return f.around(Exists{Field: field})
	}
	return f.around(q)
}

// bound reads a bound; null is an absent one.
func (p *parser) bound(o option) Value {
	if o.kind == 'n' {
		return Value{}
	}
	return p.value(o)
}

// legacyBound makes of from or to what gt and gte, or lt and lte, would say.
func (p *parser) legacyBound(n node, bound Value, open bool, opened, closed *Value) {
	switch {
	case bound.Kind == None && open && closed.Kind != None: // {"gte": 1, "include_lower": false}
		*opened, *closed = *closed, Value{}
	case bound.Kind == None:
	case opened.Kind != None || closed.Kind != None:
		p.fail(n.at, ParsingException, "[range] has two bounds on the same side")
	case open:
		*opened = bound
	default:
		*closed = bound
	}
}

func (p *parser) prefix(clause string, n node) Query {
	f, q := newFrame(), Prefix{}
	field, options := p.fieldClause(clause, n, "value")
	q.Field = field
	for _, o := range options {
		switch o.name {
		case "value":
			q.Value = p.text(o)
		case "case_insensitive":
			q.CaseInsensitive = p.boolean(o)
		case "rewrite":
			p.constantRewrite(o)
		default:
			p.common(&f, o)
		}
	}
	return f.around(q)
}

// wildcard knows its pattern by two names.
func (p *parser) wildcard(clause string, n node) Query {
	f, q := newFrame(), Wildcard{}
	field, options := p.fieldClause(clause, n, "value", "wildcard")
	q.Field = field
	for _, o := range options {
		switch o.name {
		case "value", "wildcard":
			q.Pattern = p.text(o)
		case "case_insensitive":
			q.CaseInsensitive = p.boolean(o)
		case "rewrite":
			p.constantRewrite(o)
		default:
			p.common(&f, o)
		}
	}
	return f.around(q)
}

func (p *parser) regexp(clause string, n node) Query {
	f, q := newFrame(), Regexp{}
	field, options := p.fieldClause(clause, n, "value")
	q.Field = field
	for _, o := range options {
		switch o.name {
		case "value":
			q.Pattern = p.text(o)
			p.regexpSize(q.Pattern, o.at)
		case "case_insensitive":
			q.CaseInsensitive = p.boolean(o)
		case "rewrite":
			p.constantRewrite(o)
		case "flags":
			p.only(o, "ALL")
		case "max_determinized_states":
			p.integer(o, 1, 1<<30) // bounds Lucene's automaton; ours has MaxRegexpBytes
		default:
			p.common(&f, o)
		}
	}
	return f.around(q)
}

func (p *parser) regexpSize(pattern string, at int) {
	if len(pattern) > p.limits.MaxRegexpBytes {
		p.fail(at, IllegalArgument, "a regular expression may be %d bytes long at most [search.max.regexp.bytes], found [%d]", p.limits.MaxRegexpBytes, len(pattern))
	}
}

func (p *parser) fuzzy(clause string, n node) Query {
	f, q := newFrame(), Fuzzy{Fuzziness: AutoFuzziness, PrefixLength: p.limits.MinPrefixLength}
	field, options := p.fieldClause(clause, n, "value")
	q.Field = field
	for _, o := range options {
		switch o.name {
		case "value":
			q.Value = p.text(o)
		case "fuzziness":
			q.Fuzziness = p.fuzziness(o)
		case "prefix_length":
			q.PrefixLength = p.prefixLength(o)
		case "max_expansions":
			p.only(o, "50") // Elasticsearch's default: the client asks for nothing special
		case "transpositions":
			p.only(o, "true")
		case "rewrite":
			p.constantRewrite(o)
		default:
			p.common(&f, o)
		}
	}
	return f.around(q)
}

func (p *parser) exists(clause string, n node) Query {
	f, q := newFrame(), Exists{}
	p.leaf(n.at)
	for _, o := range p.options(clause, n) {
		switch o.name {
		case "field":
			q.Field = p.string(o)
		default:
			p.common(&f, o)
		}
	}
	if q.Field == "" {
		p.fail(n.at, ParsingException, "[%s] must be provided with a [field]", clause)
	}
	return f.around(q)
}

func (p *parser) ids(clause string, n node) Query {
	f := newFrame()
	var values []Value
	p.leaf(n.at)
	for _, o := range p.options(clause, n) {
		switch {
		case o.name == "values" && o.kind == '[':
			values = p.values(o)
		case o.name == "values":
			values = []Value{p.value(o)}
		default:
			p.common(&f, o)
		}
	}
	return f.around(idsOf(values))
}

// unlessID is q, a search for the text in the field, unless that is the field of ids.
func unlessID(field, text string, q Query) Query {
	if field == idField {
		return idsOf([]Value{{Kind: String, Text: text}})
	}
	return q
}

func idsOf(values []Value) Query {
	q := IDs{}
	for _, v := range values {
		if id, ok := ParseID(v.Text); ok {
			q.Values = append(q.Values, id)
		}
	}
	return q
}

// ParseID reads a record's id, "partition-offset". One way of writing each is an id: not 00-1, not +1-1.
func ParseID(text string) (ID, bool) {
	partitionText, offsetText, _ := strings.Cut(text, "-")
	partition, err := strconv.ParseInt(partitionText, 10, 32)
	offset, err2 := strconv.ParseInt(offsetText, 10, 64)
	id := ID{Partition: int32(partition), Offset: offset}
	return id, err == nil && err2 == nil && offset >= 0 && id.String() == text
}

// String is the id as the client sees it.
func (id ID) String() string {
	return strconv.Itoa(int(id.Partition)) + "-" + strconv.FormatInt(id.Offset, 10)
}
