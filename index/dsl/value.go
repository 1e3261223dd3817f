package dsl

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is how a Value was written.
type Kind uint8

const (
	None    Kind = iota // there is no value
	String              // JSON string, or any text of a query string or URL: may well be a number to its field
	Number              // Text is the JSON number as written
	Boolean             // Text is true or false
)

// Value is a scalar as the client wrote it.
type Value struct {
	Kind Kind
	Text string
}

// Operator joins the terms of a text.
type Operator uint8

const (
	Or Operator = iota
	And
)

// Fuzziness is the edit distance allowed between a term and what it matches. The zero value is exact.
type Fuzziness struct {
	Auto      bool
	Low, High int // Auto: shorter than Low characters exact, shorter than High one edit, else two
	Distance  int // not Auto
}

// AutoFuzziness is Elasticsearch's AUTO, which is AUTO:3,6.
var AutoFuzziness = Fuzziness{Auto: true, Low: 3, High: 6}

// Edits is the distance allowed for term.
func (f Fuzziness) Edits(term string) int {
	if !f.Auto {
		return f.Distance
	}
	switch n := utf8.RuneCountInString(term); {
	case n < f.Low:
		return 0
	case n < f.High:
		return 1
	}
	return 2
}

// MinimumShouldMatch is how many of the optional clauses must match, in Elasticsearch's notation: 2, -1,
// 75%, -25%, or conditions on the number of clauses like 2<-25% 9<-3. Empty: not given. The parsers let only
// well-formed ones into a tree.
type MinimumShouldMatch string

// Count is the number for that many optional clauses, between 0 and clauses + 1: more clauses may be asked
// for than there are, and then nothing matches.
func (m MinimumShouldMatch) Count(clauses int) int {
	n, _ := m.count(clauses)
	return min(max(n, 0), clauses+1)
}

func (m MinimumShouldMatch) valid() bool {
	_, ok := m.count(1)
	return ok
}

// count checks the whole text, also the conditions after the one that decides.
func (m MinimumShouldMatch) count(clauses int) (n int, ok bool) {
	if !strings.Contains(string(m), "<") {
		return countOf(strings.TrimSpace(string(m)), clauses)
	}
	n, decided := clauses, false
	for _, condition := range strings.Fields(string(m)) {
		bound, spec, found := strings.Cut(condition, "<")
		above, err := strconv.Atoi(bound)
		here, well := countOf(spec, clauses)
		if !found || err != nil || !well {
			return 0, false
		}
		if decided = decided || clauses <= above; !decided {
			n = here
		}
	}
	return n, true
}

func countOf(spec string, clauses int) (n int, ok bool) {
	number, percent := strings.CutSuffix(spec, "%")
	n, err := strconv.Atoi(number)
	if err != nil || n > 1<<20 || n < -1<<20 {
		return 0, false
	}
	if percent {
		n = clauses * n / 100 // toward zero, so that -25% of 3 lets none go
	}
	if strings.HasPrefix(spec, "-") {
		n += clauses
	}
	return n, true
}
