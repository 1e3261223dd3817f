package dsl

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func word1(text string) Query              { return Match{Field: "msg", Text: text} }
func on(field, text string) Query          { return Match{Field: field, Text: text} }
func must(queries ...Query) Bool           { return Bool{Must: queries} }
func should(queries ...Query) Bool         { return Bool{Should: queries} }
func not(q Query) Bool                     { return Bool{MustNot: []Query{q}} }
func allOf(field, text string) Query       { return Match{Field: field, Text: text, Operator: And} }
func andNot(b Bool, queries ...Query) Bool { b.MustNot = queries; return b }
func orAlso(b Bool, queries ...Query) Bool { b.Should = queries; return b }

var queryStringCases = []struct {
	text string
	want Query
}{
	{"", MatchNone{}},
	{" \t\u3000", MatchNone{}},
	{"error", word1("error")},
	{"disk full  again", word1("disk full again")},
	{"error AND level:warn", must(word1("error"), on("level", "warn"))},
	{"error && level:warn", must(word1("error"), on("level", "warn"))},
	{"a OR b", should(word1("a"), word1("b"))},
	{"a || b", should(word1("a"), word1("b"))},
	{"a AND b OR c", orAlso(must(word1("a"), word1("b")), word1("c"))},
	{"a OR b AND c", orAlso(must(word1("b"), word1("c")), word1("a"))},
	{"(a AND b) OR c", should(must(word1("a"), word1("b")), word1("c"))},
	{"disk full AND c", orAlso(must(word1("full"), word1("c")), word1("disk"))},
	{"+a -b c", Bool{Must: []Query{word1("a")}, MustNot: []Query{word1("b")}, Should: []Query{word1("c")}}},
	{"a b -c", andNot(should(word1("a b")), word1("c"))},
	{"a b NOT c", andNot(should(word1("a b")), word1("c"))},
	{"a b OR c", should(word1("a"), word1("b"), word1("c"))},
	{"a NOT b", andNot(should(word1("a")), word1("b"))},
	{"a AND NOT b", andNot(must(word1("a")), word1("b"))},
	{"a AND !b", andNot(must(word1("a")), word1("b"))},
	{"NOT a", not(word1("a"))},
	{"- a", not(word1("a"))},
	{"a AND (NOT b)", must(word1("a"), not(word1("b")))},
	{"level:(warn OR fatal)", should(on("level", "warn"), on("level", "fatal"))},
	{"level:(disk full)^2", Boosted{on("level", "disk full"), 2}},
	{"level:warn disk", should(on("level", "warn"), word1("disk"))},
	{"level : warn", on("level", "warn")},
	{"a^2 b", should(Boosted{word1("a"), 2}, word1("b"))},
	{"a b^0.5", should(word1("a"), Boosted{word1("b"), 0.5})},
	{"(a b)^2", Boosted{word1("a b"), 2}},
	{`"disk full"`, MatchPhrase{Field: "msg", Text: "disk full"}},
	{`msg:"say \"hi\""^3`, Boosted{MatchPhrase{Field: "msg", Text: `say "hi"`}, 3}},
	{`"a b"~0`, MatchPhrase{Field: "msg", Text: "a b"}},
	{"host:web*", Prefix{Field: "host", Value: "web", Folded: true}},
	{"h?st*", Wildcard{Field: "msg", Pattern: "h?st*", Folded: true}},
	{`a\*b*`, Wildcard{Field: "msg", Pattern: `a\*b*`, Folded: true}},
	{`\u0061\ b`, word1("a b")},
	{"host:*", Exists{"host"}},
	{"*", Exists{"msg"}},
	{"*:*", MatchAll{}},
	{"_exists_:host", Exists{"host"}},
	{`_exists_:"user name"`, Exists{"user name"}},
	{`user.\*:jo`, on("user.*", "jo")},
	{"user.*:jo", on("user.*", "jo")},
	{"eror~", Fuzzy{Field: "msg", Value: "eror", Fuzziness: AutoFuzziness, PrefixLength: 1, Folded: true}},
	{"eror~1^2", Boosted{Fuzzy{Field: "msg", Value: "eror", Fuzziness: Fuzziness{Distance: 1}, PrefixLength: 1, Folded: true}, 2}},
	{`/reg[ex]\/?/`, Regexp{Field: "msg", Pattern: `reg[ex]\/?`, Folded: true}},
	{"n:[1 TO 5}", Range{Field: "n", GTE: str("1"), LT: str("5"), Folded: true}},
	{"n:{1 TO 5]", Range{Field: "n", GT: str("1"), LTE: str("5"), Folded: true}},
	{"ts:[2026-01-01T10:00:00Z TO *]", Range{Field: "ts", GTE: str("2026-01-01T10:00:00Z"), Folded: true}},
	{`[ "a b" TO "*" ]`, Range{Field: "msg", GTE: str("a b"), LTE: str("*"), Folded: true}},
	{"n:[* TO *]", Exists{"n"}},
	{"n:>=10", Range{Field: "n", GTE: str("10"), Folded: true}},
	{"n:(>10 AND <=-20)", must(Range{Field: "n", GT: str("10"), Folded: true}, Range{Field: "n", LTE: str("-20"), Folded: true})},
	{`ts:<"2026-01-01T10:00"`, Range{Field: "ts", LT: str("2026-01-01T10:00"), Folded: true}},
	{">10", word1(">10")},
	{"_id:3-17", IDs{[]ID{{3, 17}}}},
	{"ANDROID NOTES", word1("ANDROID NOTES")},
	{"well-known a+b", word1("well-known a+b")},
	{`\AND`, word1("AND")},
	{"and or not", word1("and or not")},
	{"a & b | c", word1("a & b | c")},
}

// queryStringSeeds are also where fuzzing starts.
var queryStringSeeds = append(refusedQueryStrings(), func() (texts []string) {
	for _, c := range queryStringCases {
		texts = append(texts, c.text)
	}
	return texts
}()...)

func TestQueryStrings(t *testing.T) {
	for _, c := range queryStringCases {
		got, err := ParseQueryString(c.text, QueryStringOptions{Fields: []string{"msg"}}, DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestQueryStringsWhoseDefaultIsAnd(t *testing.T) {
	for _, c := range []struct {
		text string
		want Query
	}{
		{"a b", allOf("msg", "a b")},
		{"a b OR c", orAlso(must(allOf("msg", "a")), allOf("msg", "b"), allOf("msg", "c"))},
		{"a OR b", should(allOf("msg", "a"), allOf("msg", "b"))},
		{"a -b", andNot(must(allOf("msg", "a")), allOf("msg", "b"))},
		{"a OR b AND c", orAlso(must(allOf("msg", "b"), allOf("msg", "c")), allOf("msg", "a"))},
	} {
		got, err := ParseQueryString(c.text, QueryStringOptions{Fields: []string{"msg"}, Operator: And}, DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestQueryStringsLookEverywhereUnlessTold(t *testing.T) {
	got, err := ParseQueryString("disk level:warn", QueryStringOptions{}, DefaultLimits())
	want := Lenient{should(on("*", "disk"), on("level", "warn"))}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func refusedQueryStrings() []string {
	return []string{
		"AND a", "a AND", "a OR", "a AND OR b", "NOT", "a NOT", "+", "+-a", "(a", "a)", "()", "a:", ":a", "a:b:c", "a^", "a^x", "^2",
		`"a`, `a\`, `\u12`, `"a b"~2`, "a~3", "a~0.5", "a~1x", "a*~", "a/b", "/a", "[a TO b", "[a b]", "[a TO]", "[TO b]", "a]", "n:>", "n:>=", "n:>*",
		"f?:a", "n:-5", "_exists_:", "_exists_:(a)", "~", "a ~", "n:> 10", "\xff",
	}
}

func TestQueryStringsThatAreRefused(t *testing.T) {
	for _, text := range refusedQueryStrings() {
		q, err := ParseQueryString(text, QueryStringOptions{Fields: []string{"msg"}}, DefaultLimits())
		if err == nil {
			t.Errorf("%s is accepted as\n%s", text, dump(q))
			continue
		}
		checkError(t, err)
	}
}

func TestSimpleQueryStrings(t *testing.T) {
	prefix := func(text string) Query { return Prefix{Field: "msg", Value: text, Folded: true} }
	fuzzy := func(text string, edits int) Query {
		return Fuzzy{Field: "msg", Value: text, Fuzziness: Fuzziness{Distance: edits}, PrefixLength: 1, Folded: true}
	}
	for _, c := range []struct {
		text  string
		flags simpleFlags
		want  Query
	}{
		{"", allSimpleFlags, MatchNone{}},
		{"a", allSimpleFlags, word1("a")},
		{"a b", allSimpleFlags, should(word1("a"), word1("b"))},
		{"a + b | c", allSimpleFlags, should(must(word1("a"), word1("b")), word1("c"))},
		{"a + (b | c)", allSimpleFlags, must(word1("a"), should(word1("b"), word1("c")))},
		{"a -b", allSimpleFlags, should(word1("a"), not(word1("b")))},
		{"--a", allSimpleFlags, word1("a")},
		{`"a b"`, allSimpleFlags, MatchPhrase{Field: "msg", Text: "a b"}},
		{`"a \"b"`, allSimpleFlags, MatchPhrase{Field: "msg", Text: `a "b`}},
		{"err*", allSimpleFlags, prefix("err")},
		{`err\*`, allSimpleFlags, word1("err*")},
		{"eror~1", allSimpleFlags, fuzzy("eror", 1)},
		{"eror~", allSimpleFlags, fuzzy("eror", 2)},
		{"eror~9", allSimpleFlags, fuzzy("eror", 2)},
		{"eror~0", allSimpleFlags, word1("eror")},
		{"a~b", allSimpleFlags, word1("a~b")},
		{`"a b`, allSimpleFlags, should(word1("a"), word1("b"))},
		{"((a", allSimpleFlags, word1("a")},
		{"a))", allSimpleFlags, word1("a")},
		{"() + | a | | b +", allSimpleFlags, should(word1("a"), word1("b"))},
		{"field:a", allSimpleFlags, word1("field:a")},
		{`a\`, allSimpleFlags, word1(`a\`)},
		{"a +b (c)", 0, word1("a +b (c)")},
		{"a* -b", flagWhitespace, should(word1("a*"), word1("-b"))},
	} {
		p := &parser{limits: DefaultLimits()}
		o := p.stringOptions()
		o.fields, o.flags = []fieldBoost{{"msg", 1}}, c.flags
		got := p.parseSimpleQueryString(0, c.text, o)
		if p.err != nil {
			t.Errorf("%s: %v", c.text, p.err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}
