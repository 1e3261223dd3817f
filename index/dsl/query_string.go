package dsl

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// QueryStringOptions are what a query string leaves open.
type QueryStringOptions struct {
	Fields   []string // where words without a field are looked for, perhaps with ^boost; none: AllFields
	Operator Operator // joins clauses that nothing joins
}

// ParseQueryString reads Lucene's classic syntax:
//
//	error warn  "a phrase"  level:warn  level:(warn OR fatal)  +must -not  NOT a  a AND b  a && b  a || b  !a
//	size:[1 TO 5}  size:>=10  host:web*  h?st  /regexp?/  eror~  eror~1  word^2.5  (a b)^2  _exists_:host  \*
//
// Like Lucene it has no precedence among AND, OR and NOT: AND makes both its neighbours required, NOT the
// next one prohibited, OR leaves them as they are. So "a AND b OR c" requires a and b, and c only adds to
// the score; parentheses say what else is meant. Words side by side are one text to the field's analyzer.
// An empty text matches nothing.
func ParseQueryString(text string, options QueryStringOptions, limits Limits) (Query, error) {
	p := &parser{limits: limits}
	o := p.stringOptions()
	o.operator = options.Operator
	if len(options.Fields) > 0 {
		o.fields = p.fieldBoosts(listOption("fields", options.Fields))
	}
	q := p.parseQueryString(0, text, o)
	if p.err != nil {
		p.err.Line, p.err.Col = 0, 0 // the text is no body
		return nil, p.err
	}
	return q, nil
}

// queryStringSpecials start no word, and '+' and '-' apart are in none; the escape character excepted.
const queryStringSpecials = " \t\n\r+-!():^[]\"{}~*?/"

// stringParser descends through one query string.
type stringParser struct {
	stringLeaves
	text string
	pos  int
}

func (p *parser) parseQueryString(at int, text string, o stringOptions) Query {
	if !p.readable(at, text) {
		return MatchNone{}
	}
	if o.escape {
		text = escapeQueryString(text)
	}
	s := &stringParser{stringLeaves: stringLeaves{p: p, at: at, o: o}, text: text}
	s.space()
	if s.rest() == "" {
		return MatchNone{}
	}
	q := s.clauses(scope{fields: o.fields})
	if s.rest() != "" {
		s.fail("unexpected [%c]", s.text[s.pos])
	}
	return s.finish(q)
}

// escapeQueryString takes every special character literally. AND, OR and NOT stay words of the syntax.
func escapeQueryString(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r > ' ' && r < utf8.RuneSelf && strings.ContainsRune(queryStringSpecials+`\&|`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (s *stringParser) fail(format string, args ...any) {
	shown := s.text
	if len(shown) > 100 {
		shown = shown[:100] + "…"
	}
	shown = strings.ToValidUTF8(shown, "")
	s.p.fail(s.at, ParsingException, "failed to parse query [%s] at character %d: %s", shown, utf8.RuneCountInString(s.text[:s.pos])+1, fmt.Sprintf(format, args...))
	s.pos = len(s.text)
}

func (s *stringParser) rest() string { return s.text[s.pos:] }

func (s *stringParser) space() {
	s.pos = len(s.text) - len(strings.TrimLeft(s.rest(), " \t\n\r\u3000"))
}

// next consumes c, perhaps after space.
func (s *stringParser) next(c byte) bool {
	if !strings.HasPrefix(s.rest(), string(c)) {
		return false
	}
	s.pos++
	return true
}

// inWord says whether a word that reaches i goes on there.
func (s *stringParser) inWord(i int) bool {
	if i >= len(s.text) || strings.HasPrefix(s.text[i:], "\u3000") {
		return false
	}
	c := s.text[i]
	return c == '+' || c == '-' || strings.IndexByte(queryStringSpecials, c) < 0
}

// keyword consumes one of the words if it stands alone.
func (s *stringParser) keyword(words ...string) bool {
	for _, word := range words {
		if strings.HasPrefix(s.rest(), word) && !s.inWord(s.pos+len(word)) {
			s.pos += len(word)
			return true
		}
	}
	return false
}

// conjunction and modifier are what stands before a clause.
type (
	conjunction uint8
	modifier    uint8
)

const (
	noConjunction conjunction = iota
	andConjunction
	orConjunction
)

const (
	noModifier modifier = iota
	required
	prohibited
)

// clauses reads up to the end or a closing parenthesis.
func (s *stringParser) clauses(in scope) Query {
	var list clauseList
	for {
		s.space()
		if s.rest() == "" || s.rest()[0] == ')' {
			break
		}
		conjunction := s.conjunction(len(list.queries) > 0)
		modifier := s.modifier()
		if s.rest() == "" || s.rest()[0] == ')' {
			s.fail("a clause is missing")
			break
		}
		list.add(conjunction, modifier, s.clause(in, conjunction == noConjunction && modifier == noModifier), s.o.operator)
	}
	if len(list.queries) == 0 {
		s.fail("a clause is missing")
	}
	return list.query()
}

func (s *stringParser) conjunction(allowed bool) conjunction {
	c, before := noConjunction, s.pos
	switch {
	case s.keyword("AND", "&&"):
		c = andConjunction
	case s.keyword("OR", "||"):
		c = orConjunction
	}
	if c != noConjunction && !allowed {
		s.pos = before
		s.fail("nothing stands before AND or OR")
	}
	s.space()
	return c
}

func (s *stringParser) modifier() modifier {
	m := noModifier
	switch {
	case s.next('+'):
		m = required
	case s.next('-'), s.next('!'), s.keyword("NOT"):
		m = prohibited
	}
	s.space()
	return m
}

// clause is a group or a term, perhaps with a field. Words side by side are one clause where nothing
// joins it to the one before (together).
func (s *stringParser) clause(in scope, together bool) Query {
	if field, ok := s.field(); ok {
		if field == "_exists_" {
			return s.boosted(s.exists())
		}
		in, together = scope{fields: []fieldBoost{{field: field, boost: 1}}, explicit: true}, false
	}
	if s.keyword("AND", "OR", "NOT", "&&", "||") {
		s.fail("a clause is missing")
		return MatchNone{}
	}
	if s.next('(') {
		return s.boosted(s.group(in))
	}
	return s.term(in, together && s.o.minimumShouldMatch == "")
}

func (s *stringParser) group(in scope) Query {
	defer s.p.leave()
	if !s.p.enter(s.at) {
		s.pos = len(s.text)
		return MatchNone{}
	}
	q := s.clauses(in)
	if !s.next(')') {
		s.fail("a closing parenthesis is missing")
	}
	return q
}

// field consumes a name and a colon, if that is what comes.
func (s *stringParser) field() (name string, ok bool) {
	before := s.pos
	w := s.word()
	s.space()
	if w.raw == "" || !s.next(':') {
		s.pos = before
		return "", false
	}
	if strings.Contains(w.pattern, "?") {
		s.fail("a field's name has no [?]")
	}
	s.space()
	return w.text, true
}

func (s *stringParser) exists() Query {
	var name string
	if s.next('"') {
		name = s.quoted('"')
	} else {
		name = s.word().text
	}
	if name == "" {
		s.fail("_exists_ needs the name of a field")
	}
	s.p.leaf(s.at)
	return Exists{Field: name}
}

// boosted reads ^2.5 behind q.
func (s *stringParser) boosted(q Query) Query {
	if !s.next('^') {
		return q
	}
	digits := s.number()
	boost, ok := parseBoost(digits)
	if !ok {
		s.fail("a boost is a number, as in word^2.5")
	}
	return boosted(q, boost)
}

// number consumes digits with perhaps a point, which no word may follow.
func (s *stringParser) number() string {
	rest := s.rest()
	n := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
	s.pos += n
	if s.inWord(s.pos) {
		s.fail("unexpected [%c] after a number", s.text[s.pos])
	}
	return rest[:n]
}

// clauseList gathers the clauses of one level as Lucene's classic parser does.
type clauseList struct {
	queries []Query
	occurs  []modifier
}

// add may change how the clause before counts: AND requires it too, and OR frees it where AND is the default.
func (l *clauseList) add(c conjunction, m modifier, q Query, operator Operator) {
	if last := len(l.occurs) - 1; last >= 0 && l.occurs[last] != prohibited {
		switch {
		case c == andConjunction:
			l.occurs[last] = required
		case c == orConjunction && operator == And:
			l.occurs[last] = noModifier
		}
	}
	if m == noModifier && (c == andConjunction || (operator == And && c != orConjunction)) {
		m = required
	}
	l.queries = append(l.queries, q)
	l.occurs = append(l.occurs, m)
}

func (l *clauseList) query() Query {
	if len(l.queries) == 1 && l.occurs[0] != prohibited {
		return l.queries[0]
	}
	var b Bool
	for i, q := range l.queries {
		switch l.occurs[i] {
		case required:
			b.Must = append(b.Must, q)
		case prohibited:
			b.MustNot = append(b.MustNot, q)
		default:
			b.Should = append(b.Should, q)
		}
	}
	return b
}

// escaped reads what stands behind a backslash: one character, or u and four hex digits.
func (s *stringParser) escaped() string {
	rest := s.rest()
	if rest == "" {
		s.fail("a backslash takes the next character literally, and there is none")
		return ""
	}
	if rest[0] == 'u' {
		code, err := strconv.ParseUint(rest[1:min(5, len(rest))], 16, 16)
		if err != nil || len(rest) < 5 {
			s.fail("\\u needs four hexadecimal digits")
			return ""
		}
		s.pos += 5
		return string(rune(code))
	}
	_, size := utf8.DecodeRuneInString(rest)
	s.pos += size
	return rest[:size]
}
