package schema

import (
	"bytes"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/registry"
)

// maxToken is the length in bytes at which a run of letters and digits is cut into several tokens, as in
// Elasticsearch's standard tokenizer: a base64 blob is no word.
const maxToken = 255

func init() {
	err := registry.RegisterAnalyzer(DefaultAnalyzer, func(map[string]any, *registry.Cache) (analysis.Analyzer, error) {
		return &analysis.DefaultAnalyzer{Tokenizer: tokenizer{}}, nil
	})
	if err != nil {
		panic(err)
	}
}

// tokenizer makes tokens of runs of letters, digits and '_', in lower case. Text is first cut at every other
// ASCII character. Pieces of ASCII are tokens; the rest goes through Unicode's rules for words, piece by
// piece, so that what a letter with an accent does to its own word it does not do to its neighbours:
//
//	GET /café/v1.2?x_id=7   ->   get café v1 2 x_id 7
type tokenizer struct{}

// Tokenize leaves input as it is; terms may point into it.
func (tokenizer) Tokenize(input []byte) analysis.TokenStream {
	w := words{input: input}
	for w.next() {
		if !w.ascii {
			w.unicode()
			continue
		}
		for start := w.start; start < w.end; start += maxToken {
			end := min(start+maxToken, w.end)
			w.add(w.lower(start, end), start, end, analysis.AlphaNumeric)
		}
	}
	return w.tokens
}

// class says of each byte what it is to the tokenizer.
var class = func() (c [256]byte) {
	for b := range c {
		switch {
		case b >= utf8.RuneSelf:
			c[b] = notASCII
		case 'A' <= b && b <= 'Z':
			c[b] = upper
		case 'a' <= b && b <= 'z', '0' <= b && b <= '9', b == '_':
			c[b] = letter
		}
	}
	return c
}()

const (
	separator = iota
	letter
	upper
	notASCII
)

// words is the state of one Tokenize.
type words struct {
	input   []byte
	lowered []byte // input in lower case, made when the first capital is met
	tokens  analysis.TokenStream
	slab    []analysis.Token

	start, end int  // the piece that next found
	ascii      bool // it has no other characters
	capitals   bool // it has some, if it is ASCII
}

// next finds the next piece between separators.
func (w *words) next() bool {
	i := w.end
	for i < len(w.input) && class[w.input[i]] == separator {
		i++
	}
	w.start = i
	var seen [4]bool
	for i < len(w.input) && class[w.input[i]] != separator {
		seen[class[w.input[i]]] = true
		i++
	}
	w.end, w.ascii, w.capitals = i, !seen[notASCII], seen[upper]
	return w.start < w.end
}

func (w *words) lower(start, end int) []byte {
	if !w.capitals {
		return w.input[start:end:end]
	}
	if w.lowered == nil {
		w.lowered = make([]byte, len(w.input))
	}
	term := w.lowered[start:end:end]
	for i, c := range w.input[start:end] {
		if class[c] == upper {
			c += 'a' - 'A'
		}
		term[i] = c
	}
	return term
}

// unicode makes tokens of a piece that is not all ASCII. Bytes that are not UTF-8 separate too.
func (w *words) unicode() {
	for start := w.start; start < w.end; {
		end := start
		for end < w.end {
			r, size := utf8.DecodeRune(w.input[end:w.end])
			if r == utf8.RuneError && size == 1 {
				break
			}
			end += size
		}
		for _, t := range segmenter.Tokenize(w.input[start:end]) {
			w.addCut(bytes.ToLower(t.Term), start+t.Start, start+t.End, t.Type)
		}
		start = end + 1
	}
}

var segmenter = unicode.NewUnicodeTokenizer()

// addCut adds a word, in parts if it is too long; all of them stand for the whole word.
func (w *words) addCut(term []byte, start, end int, kind analysis.TokenType) {
	for len(term) > maxToken {
		cut := maxToken
		for !utf8.RuneStart(term[cut]) {
			cut--
		}
		w.add(term[:cut], start, end, kind)
		term = term[cut:]
	}
	w.add(term, start, end, kind)
}

func (w *words) add(term []byte, start, end int, kind analysis.TokenType) {
	if len(w.slab) == 0 {
		w.grow()
	}
	t := &w.slab[0]
	w.slab = w.slab[1:]
	*t = analysis.Token{Term: term, Start: start, End: end, Position: len(w.tokens) + 1, Type: kind}
	w.tokens = append(w.tokens, t)
}

// grow makes room for as many tokens as the rest of the text would have with words of six characters.
func (w *words) grow() {
	n := 1 + (len(w.input)-w.start)/7
	w.slab = make([]analysis.Token, n)
	if w.tokens == nil {
		w.tokens = make(analysis.TokenStream, 0, n)
	}
}
