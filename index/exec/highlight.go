package exec

import (
	"cmp"
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// maxHighlighted is how many bytes of a value are looked at.
const maxHighlighted = 1 << 20

// marking is one field to highlight.
type marking struct {
	field schema.Field
	ask   dsl.Highlight
	query node
}

// markings resolves the patterns of the highlights that a search asks for. Where several name a field the first
// one counts.
func (p *Plan) markings() ([]marking, error) {
	c := &compiler{mapping: p.mapping, search: p.search, limits: p.limits}
	var all []marking
	seen := map[string]bool{}
	for _, h := range p.search.Highlight {
		query := p.program.query
		if h.Query != nil {
			var err error
			if query, err = c.query(h.Query); err != nil {
				return nil, err
			}
		}
		for _, path := range p.highlighted(h.Field) {
			f, known := p.mapping.Field(path)
			if known && hasSpelling(f) && !seen[path] {
				seen[path] = true
				all = append(all, marking{f, h, query})
			}
		}
	}
	return all, nil
}

// highlighted are the fields that a highlight names: '*' is all of them.
func (p *Plan) highlighted(pattern string) (paths []string) {
	switch {
	case pattern == dsl.AllFields:
		for _, f := range p.mapping.Fields() {
			paths = append(paths, f.Path)
		}
		return paths
	case strings.Contains(pattern, "*"):
		return p.mapping.Expand(pattern)
	}
	return []string{pattern}
}

// Highlighter marks in records what a search looked for. One goroutine uses it.
type Highlighter struct {
	markings []marking
	record   recordReader
}

// NewHighlighter makes a Highlighter, or nil if the search asks for none.
func (p *Plan) NewHighlighter() *Highlighter {
	if len(p.marks) == 0 {
		return nil
	}
	fields := map[string]schema.Field{}
	for _, m := range p.marks {
		fields[m.field.Path] = m.field
	}
	return &Highlighter{p.marks, newRecordReader(p.mapping, fields)}
}

// Highlight gives the fragments of a hit, by field. Fields without any are left out.
func (h *Highlighter) Highlight(r *schema.Record) map[string][]string {
	h.record.read(0, r)
	all := map[string][]string{}
	for _, m := range h.markings {
		if fragments := m.fragments(h.record.of(m.field)); len(fragments) > 0 {
			all[m.field.Path] = fragments
		}
	}
	return all
}

// span is bytes of a text: of a match, a word or a fragment.
type span struct {
	start, end int
	term       string // of a match
}

// fragment is a part of a value with the matches in it.
type fragment struct {
	span
	text    string // all of the value
	matches []span
	order   int
}

func (m *marking) fragments(values []recordValue) []string {
	var found []fragment
	for _, v := range values {
		matches := m.matches(v)
		if len(matches) == 0 {
			continue
		}
		for _, f := range m.cut(v, matches) {
			f.order = len(found)
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return m.beginning(values)
	}
	if n := m.ask.NumberOfFragments; n > 0 {
		slices.SortStableFunc(found, func(a, b fragment) int { return cmp.Compare(b.worth(), a.worth()) })
		found = found[:min(n, len(found))]
		if !m.ask.ByScore {
			slices.SortFunc(found, func(a, b fragment) int { return cmp.Compare(a.order, b.order) })
		}
	}
	texts := make([]string, len(found))
	for i, f := range found {
		texts[i] = m.mark(f)
	}
	return texts
}

// worth is how many different terms a fragment has, and then how many at all.
func (f *fragment) worth() int {
	different := map[string]bool{}
	for _, s := range f.matches {
		different[s.term] = true
	}
	return len(different)<<20 + len(f.matches)
}

// matches are the parts of a value that the query looked for, in order, none inside another.
func (m *marking) matches(v recordValue) []span {
	var all []span
	add := func(start, end int, term string) {
		if 0 <= start && start < end && end <= min(len(v.text), maxHighlighted) {
			all = append(all, span{start, end, term})
		}
	}
	visit(m.query, true, func(n node) {
		fields := nodeFields(n)
		if len(fields) != 1 || fields[0].Path != m.field.Path && !m.ask.AnyField {
			return
		}
		if phrase, is := n.(phraseNode); is {
			for _, place := range phrase.occurrences(v.tokens) {
				for _, t := range place {
					add(t.Start, t.End, string(t.Term))
				}
			}
			return
		}
		wanted := wantedTerms(n)
		if m.field.Kind != schema.Text && wanted(v.text) {
			add(0, len(v.text), v.text)
		}
		for _, t := range v.tokens {
			if wanted(string(t.Term)) {
				add(t.Start, t.End, string(t.Term))
			}
		}
	})
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	kept := all[:0]
	for _, s := range all {
		if len(kept) == 0 || s.start >= kept[len(kept)-1].end {
			kept = append(kept, s)
		}
	}
	return kept
}

// wantedTerms says which terms a leaf looks for.
func wantedTerms(n node) func(term string) bool {
	switch n := n.(type) {
	case termNode:
		return func(term string) bool { return term == n.term }
	case anyTermNode:
		return func(term string) bool { _, found := slices.BinarySearch(n.terms, term); return found }
	case patternNode:
		return func(term string) bool { return n.pattern.score(term) > 0 }
	}
	return func(string) bool { return false }
}

// cut makes fragments of about FragmentSize characters, each beginning with a word, and keeps those with matches.
func (m *marking) cut(v recordValue, matches []span) (found []fragment) {
	current := fragment{text: v.text}
	finish := func(end int) {
		current.end = end
		for len(matches) > 0 && matches[0].start < end {
			current.matches = append(current.matches, matches[0])
			matches = matches[1:]
		}
		if len(current.matches) > 0 {
			found = append(found, current)
		}
		current = fragment{span: span{start: end}, text: v.text}
	}
	if m.ask.NumberOfFragments > 0 && m.ask.FragmentSize > 0 {
		size, at := 0, 0 // characters of the fragment up to at
		ahead := matches // those that do not end before the token
		for _, t := range v.tokens {
			if t.Start < at || t.End > len(v.text) || t.Start > maxHighlighted {
				continue
			}
			size, at = size+utf8.RuneCountInString(v.text[at:t.End]), t.End
			for len(ahead) > 0 && ahead[0].end <= t.Start {
				ahead = ahead[1:]
			}
			inside := len(ahead) > 0 && ahead[0].start < t.Start
			if size > m.ask.FragmentSize && t.Start > current.start && !inside {
				finish(t.Start)
				size = utf8.RuneCountInString(v.text[t.Start:t.End])
			}
		}
	}
	finish(len(v.text))
	return found
}

// mark puts tags around the matches of a fragment.
func (m *marking) mark(f fragment) string {
	var out strings.Builder
	at := f.start
	for _, s := range f.matches {
		out.WriteString(m.encode(f.text[at:s.start]))
		out.WriteString(m.ask.PreTags[0])
		out.WriteString(m.encode(f.text[s.start:s.end]))
		out.WriteString(m.ask.PostTags[0])
		at = s.end
	}
	out.WriteString(m.encode(f.text[at:max(at, f.end)]))
	return strings.TrimSpace(out.String())
}

func (m *marking) encode(text string) string {
	if m.ask.EncodeHTML {
		return html.EscapeString(text)
	}
	return text
}

// beginning is what is shown of a field in which nothing matches: its first words, as far as NoMatchSize reaches.
func (m *marking) beginning(values []recordValue) []string {
	if m.ask.NoMatchSize == 0 || len(values) == 0 {
		return nil
	}
	text := values[0].text
	cut, size := 0, 0
	for cut < len(text) && size < m.ask.NoMatchSize {
		_, n := utf8.DecodeRuneInString(text[cut:])
		cut, size = cut+n, size+1
	}
	if cut < len(text) {
		if blank := strings.LastIndexByte(text[:cut], ' '); blank > 0 && text[cut] != ' ' {
			cut = blank
		}
	}
	return []string{m.encode(strings.TrimSpace(text[:cut]))}
}
