package schema

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// prefixes are the terms that a document with v has in the range field, made by the builder itself.
func prefixes(t rapid.TB, f Field, term string) []string {
	f.Path = "n"
	m := NewMapping(Config{Fields: []Field{f}, Format: FormatJSON})
	b := m.NewBuilder()
	plan := b.root.children["n"].plan
	u, ok := parseHex([]byte(term), f.digits())
	if !ok {
		t.Fatalf("%q is no term", term)
	}
	b.addDigits(plan, u, f.digits())
	for _, field := range b.assemble(0).Fields {
		if field.Name() == "n#r" {
			field.Analyze()
			var terms []string
			for term := range field.AnalyzedTokenFrequencies() {
				terms = append(terms, term)
			}
			return terms
		}
	}
	t.Fatal("no range field")
	return nil
}

// found says whether a query over c finds a document with that term and those prefixes.
func (c Cover) found(i Interval, term string, prefixes []string) bool {
	for _, p := range prefixes {
		for _, s := range c.Whole {
			if s.First <= p && p <= s.Last {
				return true
			}
		}
		for _, e := range c.Edges {
			if p == e && i.Contains([]byte(term)) {
				return true
			}
		}
	}
	return false
}

var rangedKinds = []Field{{Kind: Long}, {Kind: Double}, {Kind: Date}, {Kind: Timestamp}}

// nearTerm draws terms that often share digits, and often lie on the border of a bucket.
func nearTerm(digits int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		shared := rapid.IntRange(0, digits).Draw(t, "shared")
		fill := rapid.SampledFrom([]string{"0", "f", "8"}).Draw(t, "fill")
		term := strings.Repeat("8", shared)
		for range rapid.IntRange(0, min(3, digits-shared)).Draw(t, "own") {
			term += string(rapid.SampledFrom([]byte(lowerHex)).Draw(t, "digit"))
		}
		return term + strings.Repeat(fill, digits-len(term))
	})
}

func TestCoverFindsExactlyTheInterval(t *testing.T) {
	for _, f := range rangedKinds {
		t.Run(fmt.Sprint(f.Kind, f.digits()), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				terms := nearTerm(f.digits())
				i := Interval{Lo: terms.Draw(t, "lo"), End: terms.Draw(t, "end")}
				if rapid.IntRange(0, 9).Draw(t, "open") == 0 {
					i.End = ""
				}
				if rapid.IntRange(0, 9).Draw(t, "fromStart") == 0 {
					i.Lo = ""
				}
				c := f.Cover(i)
				candidates := append(rapid.SliceOfN(terms, 5, 30).Draw(t, "terms"), neighbours(f, i.Lo)...)
				for _, term := range append(candidates, neighbours(f, i.End)...) {
					if got, want := c.found(i, term, prefixes(t, f, term)), i.Contains([]byte(term)); got != want {
						t.Fatalf("%+v, cover %+v: found %s: %t", i, c, term, got)
					}
				}
			})
		})
	}
}

// neighbours are the terms next to term and the corners of its buckets.
func neighbours(f Field, term string) []string {
	u, ok := parseHex([]byte(term), f.digits())
	if !ok {
		return nil
	}
	full := uint64(1)<<(4*f.digits()-1)<<1 - 1
	var terms []string
	for _, v := range []uint64{u, u - 1, u + 1} {
		terms = append(terms, hexTerm(v&full, f.digits()))
		for _, drop := range f.levels() {
			low := v &^ (1<<(4*drop) - 1) & full
			terms = append(terms, hexTerm(low, f.digits()), hexTerm(low|(1<<(4*drop)-1), f.digits()))
		}
	}
	return terms
}

// What a query costs depends on this: at most two edges, and at each level but the coarsest at most 255
// prefixes at each end.
func TestCoverIsSmall(t *testing.T) {
	for _, f := range rangedKinds {
		rapid.Check(t, func(t *rapid.T) {
			terms := nearTerm(f.digits())
			c := f.Cover(Interval{Lo: terms.Draw(t, "lo"), End: terms.Draw(t, "end")})
			coarsest := f.digits() - f.levels()[len(f.levels())-1]
			for _, s := range c.Whole {
				first, _ := parseHex([]byte(s.First[1:]), len(s.First)-1)
				last, _ := parseHex([]byte(s.Last[1:]), len(s.Last)-1)
				if len(s.First) != len(s.Last) || s.First[0] != s.Last[0] || first > last {
					t.Fatalf("span %+v", s)
				}
				if n := last - first + 1; n > 255+255 && len(s.First)-1 != coarsest {
					t.Fatalf("%+v has %d prefixes", s, n)
				}
			}
			if len(c.Edges) > 2 || len(c.Whole) > 2*len(f.levels())-1 {
				t.Fatalf("%d edges, %d spans", len(c.Edges), len(c.Whole))
			}
		})
	}
}

func TestCoverOfAnExample(t *testing.T) {
	i, err := Field{Path: "latency_ms", Kind: Long}.Range(&Bound{Text: "300"}, &Bound{Text: "131071"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v", Field{Kind: Long}.Cover(i))
	want := "{Whole:[{First:e80000000000002 Last:e800000000000ff} {First:c800000000001 Last:c800000000001}] Edges:[e80000000000001]}"
	if got != want {
		t.Errorf("%s, not\n%s", got, want)
	}
	everything := Field{Kind: Long}.Cover(Interval{})
	if got := fmt.Sprintf("%+v", everything); got != "{Whole:[{First:a0000000000 Last:affffffffff}] Edges:[]}" {
		t.Error("a range without bounds needs the coarsest level alone, and has", got)
	}
}

// Range agrees with arithmetic on who lies between two bounds.
func TestRangeOfLongsIsExact(t *testing.T) {
	f := Field{Path: "n", Kind: Long}
	quarters := rapid.OneOf(rapid.Int64Range(-20, 20), rapid.Int64Range(math.MinInt64, math.MaxInt64))
	rapid.Check(t, func(t *rapid.T) {
		lo, hi := quarters.Draw(t, "lo"), quarters.Draw(t, "hi")
		bounds := [2]Bound{
			{quarterText(lo), rapid.Bool().Draw(t, "gt")},
			{quarterText(hi), rapid.Bool().Draw(t, "lt")},
		}
		i, err := f.Range(&bounds[0], &bounds[1])
		if err != nil {
			t.Fatal(err)
		}
		v := rapid.OneOf(rapid.Int64Range(-6, 6), rapid.Just(lo/4), rapid.Just(hi/4)).Draw(t, "v")
		above := cmpQuarters(v, lo) > 0 || cmpQuarters(v, lo) == 0 && !bounds[0].Exclusive
		below := cmpQuarters(v, hi) < 0 || cmpQuarters(v, hi) == 0 && !bounds[1].Exclusive
		if got, want := i.Contains([]byte(LongTerm(v))), above && below; got != want {
			t.Fatalf("%d in %+v: %t, terms %+v", v, bounds, got, i)
		}
	})
}

func quarterText(q int64) string {
	if q < 0 && q > -4 {
		return "-" + quarterText(-q)
	}
	frac := q % 4
	if frac < 0 {
		frac = -frac
	}
	return fmt.Sprintf("%d.%02d", q/4, frac*25)
}

// cmpQuarters compares v with q/4.
func cmpQuarters(v, q int64) int {
	switch whole, frac := q/4, q%4; {
	case v != whole && v < whole:
		return -1
	case v != whole:
		return 1
	default:
		return -int(frac)
	}
}
