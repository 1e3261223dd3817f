package exec

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/index/dsl"
)

var (
	vocabulary = []string{"a", "ab", "abc", "bab", "disk", "dusk", "disc", "full", "idsk", "fuller"}
	levels     = []string{"", "warn", "error", "Error", "info disk", "war"}
	ips        = []string{"10.0.0.1", "10.0.7.9", "192.168.1.1"}
	stamps     = []int64{0, 4096, 4095, 1767225600000, 1767225600001, 1767225604096, 1767312000000, 1770000000000, 1772000000000}
)

// drawer draws with names that tell what for.
type drawer struct{ t *rapid.T }

func (d drawer) of(options []string) string { return rapid.SampledFrom(options).Draw(d.t, "of") }
func (d drawer) n(low, high int) int        { return rapid.IntRange(low, high).Draw(d.t, "n") }
func (d drawer) chance(percent int) bool    { return d.n(1, 100) <= percent }
func (d drawer) long() int64 {
	return rapid.SampledFrom([]int64{-300, -1, 0, 1, 5, 255, 256, 257, 70_000, 1 << 40}).Draw(d.t, "long")
}
func (d drawer) double() float64 {
	return rapid.SampledFrom([]float64{-2.5, 0, 0.25, 1, 3.5, 1e6}).Draw(d.t, "double")
}
func (d drawer) stamp() int64 { return rapid.SampledFrom(stamps).Draw(d.t, "stamp") }

func (d drawer) text(most int) string {
	words := make([]string, d.n(0, most))
	for i := range words {
		words[i] = d.of(vocabulary)
		if d.chance(15) {
			words[i] = strings.ToUpper(words[i])
		}
	}
	return strings.Join(words, d.of([]string{" ", ", ", "/"}))
}

// several draws up to two different values, often one, sometimes none.
func several[T comparable](d drawer, one func() T) (all []T) {
	for range max(0, d.n(-1, 3)-1) {
		if v := one(); !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	if len(all) == 0 && d.chance(60) {
		all = append(all, one())
	}
	return all
}

func (d drawer) record(partition int32, offset int64) *record {
	r := &record{partition: partition, offset: offset, timestamp: d.stamp()}
	if d.chance(5) {
		r.timestamp = -1
	}
	if d.chance(70) {
		r.key = d.of([]string{"k1", "k2", "k3"})
	}
	text := func() string { return d.text(5) }
	r.doc = doc{
		Level: several(d, func() string { return d.of(levels) }), Msg: several(d, text), Said: several(d, text),
		N: several(d, d.long), D: several(d, d.double), OK: several(d, func() bool { return d.chance(50) }),
		At: several(d, d.stamp), IP: several(d, func() string { return d.of(ips) }),
	}
	return r
}

func str(text string) dsl.Value     { return dsl.Value{Kind: dsl.String, Text: text} }
func num[T any](number T) dsl.Value { return dsl.Value{Kind: dsl.Number, Text: fmt.Sprint(number)} }

// query draws a tree. Without phrases it has none that the index cannot decide.
func (d drawer) query(depth int, phrases bool) dsl.Query {
	if depth == 0 || d.chance(45) {
		return d.leaf(phrases)
	}
	several := func() (all []dsl.Query) {
		for range d.n(0, 3) {
			all = append(all, d.query(depth-1, phrases))
		}
		return all
	}
	switch d.n(0, 6) {
	case 0:
		return dsl.DisMax{Queries: several(), TieBreaker: rapid.SampledFrom([]float64{0, 0.3, 1}).Draw(d.t, "tie")}
	case 1:
		return dsl.ConstantScore{Query: d.query(depth-1, phrases)}
	case 2:
		return dsl.Boosted{Query: d.query(depth-1, phrases), Boost: rapid.SampledFrom([]float64{0, 0.5, 3}).Draw(d.t, "boost")}
	case 3:
		return dsl.Lenient{Query: dsl.DisMax{Queries: append(several(), dsl.Term{Field: d.of([]string{"n", "d", "ip", "ok"}), Value: str("no such value")})}}
	}
	b := dsl.Bool{Must: several(), Should: several()}
	if d.chance(50) {
		b.MustNot = several()
	}
	if d.chance(50) {
		b.Filter = several()
	}
	if d.chance(40) {
		b.MinimumShouldMatch = dsl.MinimumShouldMatch(d.of([]string{"1", "2", "-1", "50%", "3", "0"}))
	}
	return b
}

var textFields = []string{"msg", "said", "_value"}

func (d drawer) leaf(phrases bool) dsl.Query {
	words := func() string {
		return d.of(append([]string{"disk full", "a ab", "full", "none at all", "ab abc bab"}, vocabulary...))
	}
	textOrKeyword := []string{"msg", "said", "level", "_key"}
	spelled := func() string { return d.of(append([]string{"k1", "warn", "Error", "info disk"}, vocabulary...)) }
	fuzziness := rapid.SampledFrom([]dsl.Fuzziness{{Distance: 1}, {Distance: 2}, dsl.AutoFuzziness, {}}).Draw(d.t, "fuzziness")
	switch d.n(0, 14) {
	case 0:
		return rapid.SampledFrom([]dsl.Query{dsl.MatchAll{}, dsl.MatchAll{}, dsl.MatchNone{}}).Draw(d.t, "all")
	case 1:
		return dsl.Term{Field: d.of(textOrKeyword), Value: str(spelled()), CaseInsensitive: d.chance(30)}
	case 2:
		return rapid.SampledFrom([]dsl.Query{
			dsl.Term{Field: "n", Value: num(d.long())}, dsl.Term{Field: "n", Value: str("1.5")}, dsl.Term{Field: "d", Value: num(d.double())}, dsl.Term{Field: "ok", Value: dsl.Value{Kind: dsl.Boolean, Text: "true"}},
			dsl.Term{Field: "at", Value: num(d.stamp() + 10_000)}, dsl.Term{Field: "ip", Value: str(d.of(ips))}, dsl.Term{Field: "ip", Value: str("10.0.0.0/21")},
		}).Draw(d.t, "term")
	case 3:
		if d.chance(50) {
			return dsl.Terms{Field: "n", Values: []dsl.Value{num(d.long()), num(d.long()), num(7)}}
		}
		return dsl.Terms{Field: d.of(textOrKeyword), Values: []dsl.Value{str(spelled()), str(spelled())}}
	case 4, 5:
		return d.rangeQuery()
	case 6:
		return dsl.Prefix{Field: d.of(textOrKeyword), Value: spelled()[:d.n(0, 1)], CaseInsensitive: d.chance(30)}
	case 7:
		return dsl.Wildcard{Field: d.of(textOrKeyword), Pattern: d.of([]string{"*", "a*", "?isk", "d*k", "*r", "k?", "", "W*"}), CaseInsensitive: d.chance(30)}
	case 8:
		return dsl.Regexp{Field: d.of(textOrKeyword), Pattern: d.of([]string{"d.sk", "(a|b)+c?", ".*", "[a-d]{2,3}", "k[12]", "full(er)?"})}
	case 9:
		return dsl.Fuzzy{Field: d.of(textOrKeyword), Value: spelled(), Fuzziness: fuzziness, PrefixLength: d.n(0, 2)}
	case 10:
		return dsl.Exists{Field: d.of([]string{"level", "msg", "n", "d", "ok", "at", "ip", "_key", "_timestamp", "nothing"})}
	case 11:
		return dsl.IDs{Values: []dsl.ID{{Partition: 0, Offset: int64(d.n(0, 20))}, {Partition: 1, Offset: int64(d.n(95, 112))}}}
	case 12:
		m := dsl.Match{Field: d.of(append([]string{"level", dsl.AllFields}, textFields...)), Text: words(), Operator: dsl.Operator(d.n(0, 1)), ZeroTermsAll: d.chance(20)}
		if d.chance(30) && m.Field != "level" {
			m.Fuzziness, m.PrefixLength = fuzziness, d.n(0, 1)
		}
		if d.chance(30) {
			m.MinimumShouldMatch = dsl.MinimumShouldMatch(d.of([]string{"2", "-1", "60%", "0"}))
		}
		return m
	}
	field := "said"
	if phrases {
		field = d.of(textFields)
	}
	if d.chance(50) {
		return dsl.MatchPhrase{Field: field, Text: words()}
	}
	return dsl.MatchPhrasePrefix{Field: field, Text: d.of([]string{"a a", "disk f", "f", "ab ab a", "full dis"})}
}

func (d drawer) rangeQuery() dsl.Query {
	q := dsl.Range{Field: d.of([]string{"n", "d", "at", "_timestamp", "level", "msg"})}
	value := func() dsl.Value {
		switch q.Field {
		case "n":
			return rapid.SampledFrom([]dsl.Value{num(d.long()), num(d.long() + 1), num("1.5"), num("-1e30")}).Draw(d.t, "bound")
		case "d":
			return num(d.double())
		case "at", "_timestamp":
			q.Format = "epoch_millis"
			return num(d.stamp() + int64(d.n(-1, 1)))
		}
		return str(d.of([]string{"", "a", "disk", "f", "warn", "E"}))
	}
	for _, bound := range []*dsl.Value{{}, &q.GT, &q.GTE}[d.n(0, 2):][:1] {
		*bound = value()
	}
	bounds := []*dsl.Value{&q.LT, &q.LTE}
	if q.GT.Kind != dsl.None || q.GTE.Kind != dsl.None {
		bounds = append(bounds, &dsl.Value{})
	}
	*bounds[d.n(0, len(bounds)-1)] = value()
	return q
}
