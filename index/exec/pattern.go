package exec

import (
	"regexp"
	"strings"
	"unicode/utf8"

	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/dsl"
)

// pattern is the terms that have something in common.
type pattern interface {
	// score is what a term scores, 0 if it does not match.
	score(term string) float64

	// candidates lists the terms of a dictionary that match, and perhaps others.
	candidates(r index.IndexReader, field string) (index.FieldDict, error)

	// anchored says that terms that match have a fixed beginning, so that not all of a dictionary is looked at.
	anchored() bool
}

type prefixPattern string

func (p prefixPattern) anchored() bool { return p != "" }

func (p prefixPattern) score(term string) float64 { return oneIf(strings.HasPrefix(term, string(p))) }

func (p prefixPattern) candidates(r index.IndexReader, field string) (index.FieldDict, error) {
	return r.FieldDictPrefix(field, []byte(p))
}

// maxPattern is the bytes of a pattern. A term has at most 1 KiB.
const maxPattern = 2 << 10

// maxFuzzy is the bytes of a fuzzy term.
const maxFuzzy = 256

func checkPattern(text string) error {
	if len(text) > maxPattern {
		return refusef(dsl.IllegalArgument, "a pattern may be %d bytes long, found [%d]", maxPattern, len(text))
	}
	return nil
}

// beginning lists the terms that begin with prefix. Bleve could run a whole expression over its dictionary, but the
// automaton for that may take minutes to build (10,000 states of .*1.{20} and the like), which no deadline ends.
// This one is small, and spares the counts that FieldDictPrefix looks up for each term.
func beginning(r index.IndexReader, field, prefix string) (index.FieldDict, error) {
	by, ok := r.(index.IndexReaderRegexp)
	if !ok {
		return r.FieldDictPrefix(field, []byte(prefix))
	}
	return by.FieldDictRegexp(field, "(?s:"+regexp.QuoteMeta(prefix)+".*)")
}

// expression is a regular expression that whole terms match. Go's take time linear in a term.
type expression struct {
	re     *regexp.Regexp
	prefix string // how all terms begin that match
}

func newExpression(text string) (pattern, error) {
	alone, err := regexp.Compile(text) // a parenthesis too many must not close ours
	if err == nil {
		prefix, _ := alone.LiteralPrefix()
		e := expression{prefix: prefix}
		if e.re, err = regexp.Compile(`^(?s:` + text + `)$`); err == nil {
			return e, nil
		}
	}
	return nil, refusef(dsl.IllegalArgument, "failed to parse regexp [%s]: %v", text, err)
}

func (e expression) score(term string) float64 { return oneIf(e.re.MatchString(term)) }

func (e expression) anchored() bool { return e.prefix != "" }

func (e expression) candidates(r index.IndexReader, field string) (index.FieldDict, error) {
	return beginning(r, field, e.prefix)
}

// wildcard is characters, of which two stand for others.
type wildcard struct {
	runes  []rune
	fold   bool   // ASCII letters match in any case
	prefix string // how all terms begin that match
}

const (
	anyText = -1
	anyRune = -2
)

func newWildcardOf(runes []rune, fold bool) pattern {
	w := wildcard{runes: runes, fold: fold}
	for _, c := range runes {
		if c < 0 || fold && isLetter(c) {
			break
		}
		w.prefix += string(c)
	}
	return w
}

func isLetter(c rune) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func foldRune(c rune) rune {
	if isLetter(c) {
		return c | 0x20
	}
	return c
}

// newWildcard takes '*' for any text, '?' for one character, and what follows '\' as it is.
func newWildcard(text string, fold bool) (pattern, error) {
	var runes []rune
	escaped := false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
			continue
		case c == '*':
			c = anyText
		case c == '?':
			c = anyRune
		}
		runes = append(runes, c)
	}
	if escaped {
		runes = append(runes, '\\')
	}
	return newWildcardOf(runes, fold), checkPattern(text)
}

// newPrefix is the terms that begin with text, newFoldedTerm those that are it, in any case of ASCII letters.
func newPrefix(text string, fold bool) (pattern, error) {
	if fold {
		return newWildcardOf(append([]rune(text), anyText), true), checkPattern(text)
	}
	return prefixPattern(text), nil
}

func newFoldedTerm(text string) (pattern, error) {
	return newWildcardOf([]rune(text), true), checkPattern(text)
}

func (w wildcard) anchored() bool { return w.prefix != "" }

func (w wildcard) candidates(r index.IndexReader, field string) (index.FieldDict, error) {
	return beginning(r, field, w.prefix)
}

// score goes through term once. Where it fails it goes back to the last '*', which then takes one character more:
// those before need not be tried again.
func (w wildcard) score(term string) float64 {
	at, in := 0, 0 // in runes, in term
	star, from := -1, 0
	for in < len(term) {
		c, size := utf8.DecodeRuneInString(term[in:])
		switch {
		case at < len(w.runes) && w.runes[at] == anyText:
			star, from = at, in
			at++
			continue
		case at < len(w.runes) && w.same(w.runes[at], c):
			at, in = at+1, in+size
			continue
		case star < 0:
			return 0
		}
		_, size = utf8.DecodeRuneInString(term[from:])
		from += size
		at, in = star+1, from
	}
	for at < len(w.runes) && w.runes[at] == anyText {
		at++
	}
	return oneIf(at == len(w.runes))
}

func (w wildcard) same(wanted, c rune) bool {
	return wanted == c || wanted == anyRune || w.fold && wanted >= 0 && foldRune(wanted) == foldRune(c)
}

// fuzzyPattern is the terms within some edits of text: a character more, less, other, or two swapped.
type fuzzyPattern struct {
	text   string
	prefix string
	edits  int
	runes  []rune
}

func newFuzzy(text string, edits, prefixLength int) (pattern, error) {
	if len(text) > maxFuzzy {
		return nil, refusef(dsl.IllegalArgument, "a fuzzy term may have %d bytes, found [%d]", maxFuzzy, len(text))
	}
	runes := []rune(text)
	return fuzzyPattern{text: text, prefix: string(runes[:min(prefixLength, len(runes))]), edits: edits, runes: runes}, nil
}

func (p fuzzyPattern) anchored() bool { return p.prefix != "" }

func (p fuzzyPattern) score(term string) float64 {
	if !strings.HasPrefix(term, p.prefix) {
		return 0
	}
	if d := editDistance(p.runes, []rune(term), p.edits); d <= p.edits {
		return 1 / float64(1+d)
	}
	return 0
}

func (p fuzzyPattern) candidates(r index.IndexReader, field string) (index.FieldDict, error) {
	if by, ok := r.(index.IndexReaderFuzzy); ok {
		return by.FieldDictFuzzy(field, p.text, p.edits, p.prefix)
	}
	return r.FieldDictPrefix(field, []byte(p.prefix))
}

// editDistance counts edits, none of them inside another (optimal string alignment); more than limit is limit + 1.
func editDistance(a, b []rune, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		best := row[0]
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
			best = min(best, row[j+1])
		}
		if best > limit {
			return limit + 1
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
