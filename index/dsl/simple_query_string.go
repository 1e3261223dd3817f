package dsl

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// simpleFlags are the parts of the syntax that the client leaves switched on.
type simpleFlags uint16

const (
	flagAnd simpleFlags = 1 << iota
	flagEscape
	flagFuzzy
	flagNear
	flagNot
	flagOr
	flagPhrase
	flagPrecedence
	flagPrefix
	flagWhitespace

	allSimpleFlags simpleFlags = 1<<iota - 1
)

var simpleFlagNames = map[string]simpleFlags{
	"ALL": allSimpleFlags, "NONE": 0, "AND": flagAnd, "ESCAPE": flagEscape, "FUZZY": flagFuzzy, "NEAR": flagNear, "SLOP": flagNear,
	"NOT": flagNot, "OR": flagOr, "PHRASE": flagPhrase, "PRECEDENCE": flagPrecedence, "PREFIX": flagPrefix, "WHITESPACE": flagWhitespace,
}

// simpleFlags reads OR|AND|PREFIX, or their number.
func (p *parser) simpleFlags(o option) simpleFlags {
	if o.kind == '0' {
		if p.only(o, "-1"); o.text == "-1" {
			return allSimpleFlags
		}
		return 0
	}
	var flags simpleFlags
	for name := range strings.SplitSeq(p.string(o), "|") {
		flag, known := simpleFlagNames[strings.ToUpper(strings.TrimSpace(name))]
		if !known {
			p.bad(o, "unknown flag [%s]", name)
		}
		flags |= flag
	}
	return flags
}

// simpleParser reads the syntax of simple_query_string:
//
//	error +warn | fatal  -debug  "a phrase"  err*  eror~1  (a | b) c
//
// No text fails for its syntax: an operator that makes no sense where it stands is left out. Clauses join
// from left to right, as in Lucene: "a + b | c" is (a and b) or c.
type simpleParser struct {
	stringLeaves
	text    string
	pos     int
	closing map[int]int // where each parenthesis that is closed is closed
}

// simpleState is one level of parentheses.
type simpleState struct {
	top           Query
	current, last operation
	negations     int
	end           int
}

type operation uint8

const (
	noOperation operation = iota
	orOperation
	andOperation
)

func (p *parser) parseSimpleQueryString(at int, text string, o stringOptions) Query {
	if !p.readable(at, text) {
		return MatchNone{}
	}
	s := &simpleParser{stringLeaves: stringLeaves{p: p, at: at, o: o}, text: text}
	s.findParentheses()
	q := s.level(len(text))
	if q == nil {
		return MatchNone{}
	}
	return s.finish(q)
}

func (s *simpleParser) has(flag simpleFlags) bool { return s.o.flags&flag != 0 }

// findParentheses pairs them in one pass, escaped ones left out.
func (s *simpleParser) findParentheses() {
	s.closing = map[int]int{}
	var open []int
	for i := 0; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			if s.has(flagEscape) {
				i++
			}
		case '(':
			open = append(open, i)
		case ')':
			if len(open) > 0 {
				s.closing[open[len(open)-1]] = i
				open = open[:len(open)-1]
			}
		}
	}
}

// level reads up to end. Nil: nothing was there.
func (s *simpleParser) level(end int) Query {
	state := &simpleState{end: end}
	for s.pos < end && s.p.err == nil {
		rest := s.text[s.pos:end]
		switch c := rest[0]; {
		case c == '(' && s.has(flagPrecedence):
			s.sub(state)
		case c == ')' && s.has(flagPrecedence):
			s.pos++ // closes nothing
		case c == '"' && s.has(flagPhrase):
			s.phraseToken(state)
		case c == '+' && s.has(flagAnd):
			state.operate(andOperation)
			s.pos++
		case c == '|' && s.has(flagOr):
			state.operate(orOperation)
			s.pos++
		case c == '-' && s.has(flagNot):
			state.negations++
			s.pos++
		case s.blank(s.pos) > 0:
			s.pos += s.blank(s.pos)
		default:
			s.token(state)
		}
	}
	s.pos = end
	return state.top
}

// operate takes the first operator between two clauses; the others are left out.
func (state *simpleState) operate(op operation) {
	if state.current == noOperation && state.top != nil {
		state.current = op
	}
}

// blank is the length of the white space at i.
func (s *simpleParser) blank(i int) int {
	switch {
	case !s.has(flagWhitespace):
		return 0
	case strings.IndexByte(" \t\n\r", s.text[i]) >= 0:
		return 1
	}
	return 0
}

func (s *simpleParser) sub(state *simpleState) {
	closing, closed := s.closing[s.pos]
	if !closed || closing >= state.end {
		s.pos++ // opens nothing
		return
	}
	defer s.p.leave()
	if !s.p.enter(s.at) {
		return
	}
	s.pos++
	s.join(state, s.level(closing))
	s.pos++
}

// join adds a clause to what the level has so far.
func (s *simpleParser) join(state *simpleState, q Query) {
	negated := state.negations%2 == 1
	op := state.current
	state.negations, state.current = 0, noOperation
	switch {
	case q == nil:
		return
	case negated:
		q = Bool{MustNot: []Query{q}}
	}
	if state.top == nil {
		state.top = q
		return
	}
	if op == noOperation {
		op = orOperation
		if s.o.operator == And {
			op = andOperation
		}
	}
	top, _ := state.top.(Bool)
	if state.last != op {
		top = with(Bool{}, state.top, op)
	}
	state.top, state.last = with(top, q, op), op
}

func with(b Bool, q Query, op operation) Bool {
	if op == andOperation {
		b.Must = append(b.Must, q)
	} else {
		b.Should = append(b.Should, q)
	}
	return b
}

func (s *simpleParser) phraseToken(state *simpleState) {
	var text strings.Builder
	for i := s.pos + 1; i < state.end; i++ {
		c := s.text[i]
		switch {
		case c == '\\' && s.has(flagEscape) && i+1 < state.end:
			i++
			text.WriteByte(s.text[i])
		case c == '"':
			s.pos = i + 1
			if s.slop(state.end) > 0 {
				s.p.fail(s.at, IllegalArgument, "[simple_query_string] a phrase with slop is not supported: its words stand side by side")
			}
			s.join(state, s.phrase(scope{fields: s.o.fields}, text.String()))
			return
		default:
			text.WriteByte(c)
		}
	}
	s.pos++ // opens nothing
}

// slop reads ~2 behind a phrase.
func (s *simpleParser) slop(end int) int {
	if !s.has(flagNear) || s.pos >= end || s.text[s.pos] != '~' {
		return 0
	}
	n, _ := s.edits(end)
	return n
}

// edits reads ~2. What is no number is no distance.
func (s *simpleParser) edits(end int) (n int, given bool) {
	start := s.pos + 1
	for s.pos++; s.pos < end && !s.finished(s.pos); s.pos++ {
	}
	if start == s.pos {
		return 2, false
	}
	n, err := strconv.Atoi(s.text[start:s.pos])
	if err != nil {
		return 0, true
	}
	return max(n, 0), true
}

// finished says that no token goes on at i.
func (s *simpleParser) finished(i int) bool {
	switch s.text[i] {
	case '"':
		return s.has(flagPhrase)
	case '|':
		return s.has(flagOr)
	case '+':
		return s.has(flagAnd)
	case '(', ')':
		return s.has(flagPrecedence)
	}
	return s.blank(i) > 0
}

// token reads a word, err* or eror~1.
func (s *simpleParser) token(state *simpleState) {
	var text strings.Builder
	prefix, in := false, scope{fields: s.o.fields}
	for s.pos < state.end && !s.finished(s.pos) {
		c := s.text[s.pos]
		if c == '~' && s.has(flagFuzzy) && text.Len() > 0 && s.endsToken(state.end) {
			s.join(state, s.fuzzyToken(in, text.String(), state.end))
			return
		}
		s.pos++
		if c == '\\' && s.has(flagEscape) && s.pos < state.end {
			_, size := utf8.DecodeRuneInString(s.text[s.pos:state.end])
			text.WriteString(s.text[s.pos : s.pos+size])
			s.pos += size
			prefix = false
			continue
		}
		text.WriteByte(c)
		prefix = c == '*' && s.has(flagPrefix)
	}
	switch word := text.String(); {
	case word == "":
		return
	case prefix && len(word) > 1:
		s.join(state, s.prefix(in, strings.TrimSuffix(word, "*")))
	case prefix && isAll(s.o.fields):
		s.p.leaf(s.at)
		s.join(state, MatchAll{})
	default:
		s.join(state, s.words(in, word))
	}
}

// endsToken says that the tilde at pos is followed by nothing but digits: a~b is a word.
func (s *simpleParser) endsToken(end int) bool {
	i := s.pos + 1
	for i < end && s.text[i] >= '0' && s.text[i] <= '9' {
		i++
	}
	return i == end || s.finished(i)
}

// fuzzyToken bends too great a distance down to the limit: this syntax does not fail.
func (s *simpleParser) fuzzyToken(in scope, text string, end int) Query {
	n, given := s.edits(end)
	if given && n == 0 {
		return s.words(in, text)
	}
	return s.fuzzy(in, text, Fuzziness{Distance: min(n, s.p.limits.MaxFuzziness)})
}
