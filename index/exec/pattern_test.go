package exec

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPatternsMatchTerms(t *testing.T) {
	for _, c := range []struct {
		make    func(string, bool) (pattern, error)
		text    string
		fold    bool
		yes, no []string
	}{
		{newWildcard, "d?sk*", false, []string{"disk", "dusk7", "dÄsk\n"}, []string{"dsk", "Disk", "disc"}},
		{newWildcard, `\*a\?*`, false, []string{"*a?", "*a?b"}, []string{"xa?", "*ab"}},
		{newWildcard, `a\`, false, []string{`a\`}, []string{"a"}},
		{newWildcard, "*ab*AB", true, []string{"abAB", "xABab", "ababab"}, []string{"ab", "abba"}},
		{newWildcard, "k", true, []string{"K", "k"}, []string{"\u212a"}}, // the Kelvin sign is no ASCII letter
		{newPrefix, "Er*", true, []string{"ER*", "er*or"}, []string{"error"}},
		{newRegexp, "d.sk|full", false, []string{"disk", "full", "d\nsk"}, []string{"disks", "xfull"}},
		{newRegexp, `a"b.c"+@`, false, []string{"ab.c", "ab.cb.cx"}, []string{"abxc"}},
		{newRegexp, `\d{2,3}[^a-c\]]`, false, []string{"12x", "123d"}, []string{"1x", "12a", "12]"}},
		{newRegexp, "^a$", false, []string{"^a$"}, []string{"a"}},
		{newRegexp, "ab?", true, []string{"AB", "a"}, []string{"abb"}},
		{newRegexp, "", false, []string{""}, []string{"a"}},
	} {
		p, err := c.make(c.text, c.fold)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		for _, term := range c.yes {
			if p.score(term) != 1 {
				t.Errorf("%s does not match %q", c.text, term)
			}
		}
		for _, term := range c.no {
			if p.score(term) != 0 {
				t.Errorf("%s matches %q", c.text, term)
			}
		}
	}
	for _, text := range []string{"(", "a)|(b", "a**", "[", "[]", "a{", "a{,2}", "a{2,1}", `a\`, `"a`, "#", "a~", "a&b", "<1-2>", "*"} {
		if p, err := newRegexp(text, false); err == nil {
			t.Errorf("%s is read as %v", text, p)
		}
	}
}

// A wildcard takes time as the length of the term times its own, whatever it is made of.
func TestWildcardsAreNotSlow(t *testing.T) {
	p, err := newWildcard(strings.Repeat("*a", 500)+"b", false)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if p.score(strings.Repeat("a", 1024)) != 0 {
		t.Error("there is no b")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Error(took)
	}
}

func TestWildcardsAgreeWithGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*?]{0,8}`).Draw(t, "pattern")
		term := rapid.StringMatching(`[ab]{0,8}`).Draw(t, "term")
		p, err := newWildcard(pattern, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.score(term) == 1; got != glob(pattern, term) {
			t.Fatalf("%s matches %s: %t", pattern, term, got)
		}
	})
}
