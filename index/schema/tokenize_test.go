package schema

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2/analysis"
	"pgregory.net/rapid"
)

func terms(stream analysis.TokenStream) string {
	var out []string
	for _, token := range stream {
		out = append(out, string(token.Term))
	}
	return strings.Join(out, " ")
}

func TestDefaultAnalyzer(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		" \t.,":                         "",
		"GET /api/v1.2?x_id=7":          "get api v1 2 x_id 7",
		"foo.bar.Baz":                   "foo bar baz",
		"foo.bar café.bar":              "foo bar café bar",
		"ÉCOLE Straße ΣΊΣΥΦΟΣ":          "école straße σίσυφοσ",
		"東京 tower":                      "東 京 tower",
		"em—dash“quoted”":               "em dash quoted",
		"it's o’clock":                  "it s o’clock",
		"good \xff\xfe bad\xc3":         "good bad",
		"a\u0301b":                      "a\u0301b",
		strings.Repeat("x", 256) + " y": strings.Repeat("x", 255) + " x y",
		strings.Repeat("é", 200):        strings.Repeat("é", 127) + " " + strings.Repeat("é", 73),
	} {
		if got := terms(Analyze(DefaultAnalyzer, []byte(text))); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}

var anyText = rapid.Custom(func(t *rapid.T) []byte {
	parts := rapid.SliceOf(rapid.SampledFrom([]string{
		"a", "B", "7", "_", " ", ".", "'", "é", "É", "ß", "İ", "日", "本", "\u0301", "’", "—", "\xff", "\xe6\x97", "\x00", "word", "😀",
	})).Draw(t, "parts")
	return []byte(strings.Join(parts, ""))
})

// Tokens point at where their text stands, in order, and what separates two texts separates their tokens.
func TestTokensOfAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := anyText.Draw(t, "text")
		before := bytes.Clone(text)
		stream := Analyze(DefaultAnalyzer, text)
		if !bytes.Equal(text, before) {
			t.Fatalf("%q became %q", before, text)
		}
		last := 0
		for i, token := range stream {
			if token.Position != i+1 || token.Start < last || token.Start >= token.End || token.End > len(text) {
				t.Fatalf("token %d of %q: %v", i, text, token)
			}
			last = token.Start
			if want := bytes.ToLower(text[token.Start:token.End]); !bytes.Equal(token.Term, want) || !utf8.Valid(token.Term) {
				t.Fatalf("%q: %q for %q", text, token.Term, want)
			}
		}
		other := anyText.Draw(t, "other")
		joined := terms(Analyze(DefaultAnalyzer, fmt.Appendf(nil, "%s %s", text, other)))
		if apart := strings.TrimSpace(terms(stream) + " " + terms(Analyze(DefaultAnalyzer, other))); joined != apart {
			t.Fatalf("%q and %q: %q together, %q apart", text, other, joined, apart)
		}
	})
}

// Every analyzer that a config may name is linked in, and leaves its input alone.
func TestAnalyzers(t *testing.T) {
	for _, name := range Analyzers() {
		text := []byte("The Running Dogs, La Maison, Häuser, бегущие, 東京 \xff\xfe")
		before := bytes.Clone(text)
		if stream := Analyze(name, text); len(stream) == 0 {
			t.Errorf("%s finds no terms", name)
		}
		if !bytes.Equal(text, before) {
			t.Errorf("%s overwrites its input", name)
		}
	}
	for name, want := range map[string]string{
		"keyword": "The Running Dogs", "simple": "the running dogs", "standard": "running dogs", "en": "run dog",
	} {
		if got := terms(Analyze(name, []byte("The Running Dogs"))); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
}

func TestBlobsAreNoTerms(t *testing.T) {
	if got := Analyze("keyword", []byte(strings.Repeat("x", MaxKeyword+1))); len(got) != 0 {
		t.Errorf("%d terms", len(got))
	}
}
