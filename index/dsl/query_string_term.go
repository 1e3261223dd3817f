package dsl

import "strings"

// term is a phrase, a range, a regular expression or words, with what may stand behind each.
func (s *stringParser) term(in scope, together bool) Query {
	switch {
	case s.next('"'):
		return s.boosted(s.phraseTerm(in))
	case s.next('['):
		return s.boosted(s.rangeTerm(in, true))
	case s.next('{'):
		return s.boosted(s.rangeTerm(in, false))
	case s.next('/'):
		return s.boosted(s.regexpTerm(in))
	}
	w := s.word()
	switch {
	case w.raw == "":
		s.noTerm(in)
		return MatchNone{}
	case in.explicit && (w.raw[0] == '>' || w.raw[0] == '<'):
		return s.boosted(s.comparison(in, w))
	case w.wild:
		return s.boosted(s.wildTerm(in, w))
	case s.next('~'):
		return s.boosted(s.fuzzyTerm(in, w))
	case together && !strings.HasPrefix(s.rest(), "^"):
		return s.words(in, s.moreWords(w.text, in))
	}
	return s.boosted(s.words(in, w.text))
}

// noTerm fails for what stands where a term should.
func (s *stringParser) noTerm(in scope) {
	switch {
	case s.rest() == "":
		s.fail("a clause is missing")
	case in.explicit && (s.rest()[0] == '-' || s.rest()[0] == '+'):
		s.fail(`a value that begins with %[1]c is written \%[1]c`, s.rest()[0])
	default:
		s.fail("unexpected [%c]", s.rest()[0])
	}
}

// word is a run of word characters, and of wildcards.
type word struct {
	raw     string // as it stands in the text; empty: there is none here
	text    string // without escapes
	pattern string // with escapes for literal '*', '?' and '\' only
	wild    bool
}

func (s *stringParser) word() word {
	var w word
	var text, pattern strings.Builder
	start := s.pos
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '\\':
			s.pos++
			literal := s.escaped()
			text.WriteString(literal)
			if strings.ContainsAny(literal, `*?\`) {
				pattern.WriteByte('\\')
			}
			pattern.WriteString(literal)
			continue
		case c == '*' || c == '?':
			w.wild = true
		case !s.inWord(s.pos), (c == '+' || c == '-') && s.pos == start:
			w.raw, w.text, w.pattern = s.text[start:s.pos], text.String(), pattern.String()
			return w
		}
		text.WriteByte(s.text[s.pos])
		pattern.WriteByte(s.text[s.pos])
		s.pos++
	}
	w.raw, w.text, w.pattern = s.text[start:s.pos], text.String(), pattern.String()
	return w
}

// moreWords appends the plain words that follow, up to one that something is attached to: a field's colon, a
// boost, a fuzziness, or an operator that needs it as a clause of its own.
func (s *stringParser) moreWords(text string, in scope) string {
	var b strings.Builder
	b.WriteString(text)
	for {
		before := s.pos
		s.space()
		if s.keyword("AND", "OR", "NOT", "&&", "||") {
			s.pos = before
			return b.String()
		}
		w := s.word()
		compares := in.explicit && w.raw != "" && (w.raw[0] == '>' || w.raw[0] == '<')
		if w.raw == "" || w.wild || compares || s.attached() {
			s.pos = before
			return b.String()
		}
		b.WriteByte(' ')
		b.WriteString(w.text)
	}
}

// attached looks for what binds the word before it. It moves nothing.
func (s *stringParser) attached() bool {
	before := s.pos
	defer func() { s.pos = before }()
	s.space()
	return s.rest() != "" && (strings.IndexByte(":^~", s.rest()[0]) >= 0 || s.keyword("AND", "OR", "&&", "||"))
}

// quoted reads up to the closing mark, which is consumed, and takes escapes away.
func (s *stringParser) quoted(mark byte) string {
	var b strings.Builder
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch c {
		case mark:
			return b.String()
		case '\\':
			b.WriteString(s.escaped())
		default:
			b.WriteByte(c)
		}
	}
	s.fail("a closing %c is missing", mark)
	return ""
}

func (s *stringParser) phraseTerm(in scope) Query {
	text := s.quoted('"')
	if s.next('~') && strings.Trim(s.number(), "0") != "" {
		s.fail("a phrase with slop is not supported: its words stand side by side")
	}
	return s.phrase(in, text)
}

// regexpTerm leaves escapes to the regular expression.
func (s *stringParser) regexpTerm(in scope) Query {
	start := s.pos
	for ; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\\':
			s.pos++
		case '/':
			pattern := s.text[start:s.pos]
			s.pos++
			s.p.regexpSize(pattern, s.at)
			return s.folded(in, func(field string) Query { return Regexp{Field: field, Pattern: pattern, Folded: true} })
		}
	}
	s.pos = len(s.text)
	s.fail(`a closing / is missing; a slash that starts no regular expression is written \/`)
	return MatchNone{}
}

func (s *stringParser) rangeTerm(in scope, closed bool) Query {
	low := s.bound()
	s.space()
	if !s.keyword("TO") {
		s.fail("a range is written [a TO b]")
	}
	high := s.bound()
	s.space()
	r := Range{TimeZone: s.o.timeZone, Folded: true}
	r.GTE = low
	if !closed {
		r.GT, r.GTE = low, Value{}
	}
	switch {
	case s.next(']'):
		r.LTE = high
	case s.next('}'):
		r.LT = high
	default:
		s.fail("a range ends with ] or }")
	}
	return s.between(in, r)
}

func (s *stringParser) between(in scope, r Range) Query {
	return s.folded(in, func(field string) Query {
		if r.open() {
			return Exists{Field: field}
		}
		r.Field = field
		return r
	})
}

// bound is one side of a range: quoted, or up to a space or a bracket; '*' leaves it open.
func (s *stringParser) bound() Value {
	s.space()
	if s.next('"') {
		return Value{Kind: String, Text: s.quoted('"')}
	}
	var b strings.Builder
	start := s.pos
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n]}", s.text[s.pos]) < 0 {
		c := s.text[s.pos]
		s.pos++
		if c == '\\' {
			b.WriteString(s.escaped())
		} else {
			b.WriteByte(c)
		}
	}
	switch s.text[start:s.pos] {
	case "":
		s.fail("a range needs two bounds, * for none")
		return Value{}
	case "*":
		return Value{}
	}
	return Value{Kind: String, Text: b.String()}
}

// comparison reads >, >=, < and <=, whose value is the rest of the word or a quoted text.
func (s *stringParser) comparison(in scope, w word) Query {
	value, orEqual := strings.CutPrefix(w.text[1:], "=")
	if value == "" && s.next('"') {
		value = s.quoted('"')
	}
	if value == "" || w.wild {
		s.fail("a comparison is written field:>=10")
	}
	r, bound := Range{TimeZone: s.o.timeZone, Folded: true}, Value{Kind: String, Text: value}
	switch {
	case w.raw[0] == '>' && orEqual:
		r.GTE = bound
	case w.raw[0] == '>':
		r.GT = bound
	case orEqual:
		r.LTE = bound
	default:
		r.LT = bound
	}
	return s.between(in, r)
}

// wildTerm is field:*, which means that the field exists, or a pattern.
func (s *stringParser) wildTerm(in scope, w word) Query {
	switch {
	case strings.HasPrefix(s.rest(), "~"):
		s.fail("a word with wildcards has no fuzziness")
		return MatchNone{}
	case w.pattern == "*" && isAll(in.fields):
		s.p.leaf(s.at)
		return MatchAll{}
	case w.pattern == "*":
		return s.over(in, func(field string) Query { return Exists{Field: field} })
	case s.o.noLeadingWildcard && (w.pattern[0] == '*' || w.pattern[0] == '?'):
		s.fail("a leading [*] or [?] is not allowed")
		return MatchNone{}
	}
	if w.raw[len(w.raw)-1] == '*' && !strings.ContainsAny(w.pattern[:len(w.pattern)-1], `*?\`) {
		return s.prefix(in, w.text[:len(w.text)-1])
	}
	return s.folded(in, func(field string) Query { return Wildcard{Field: field, Pattern: w.pattern, Folded: true} })
}

func (s *stringParser) fuzzyTerm(in scope, w word) Query {
	fuzziness := s.o.fuzziness
	if digits := s.number(); digits != "" {
		var ok bool
		if fuzziness, ok = parseFuzziness(digits); !ok {
			s.fail("a fuzziness is a whole number of edits, as in word~1")
		}
		fuzziness = s.p.allowed(fuzziness, s.at, "the fuzziness of a word")
	}
	return s.fuzzy(in, w.text, fuzziness)
}
