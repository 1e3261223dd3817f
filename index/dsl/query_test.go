package dsl

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func str(text string) Value { return Value{Kind: String, Text: text} }
func num(text string) Value { return Value{Kind: Number, Text: text} }

var queryCases = []struct {
	name, body string
	want       Query
}{
	{"match_all", `{"match_all":{}}`, MatchAll{}},
	{"match_all boosted", `{"match_all":{"boost":1.5}}`, Boosted{MatchAll{}, 1.5}},
	{"match_none", `{"match_none":{}}`, MatchNone{}},
	{"term short", `{"term":{"level":"warn"}}`, Term{Field: "level", Value: str("warn")}},
	{"term number", `{"term":{"status":{"value":503,"boost":1.0}}}`, Term{Field: "status", Value: num("503")}},
	{"term boolean", `{"term":{"ok":true}}`, Term{Field: "ok", Value: Value{Boolean, "true"}}},
	{"term any case", `{"term":{"level":{"value":"WARN","case_insensitive":true}}}`, Term{Field: "level", Value: str("WARN"), CaseInsensitive: true}},
	{"term by id", `{"term":{"_id":"3-17"}}`, IDs{[]ID{{3, 17}}}},
	{"match by id", `{"match":{"_id":"3-17"}}`, IDs{[]ID{{3, 17}}}},
	{"match_phrase by id", `{"match_phrase":{"_id":{"query":"3-17"}}}`, IDs{[]ID{{3, 17}}}},
	{"terms", `{"terms":{"level":["warn",3],"boost":2}}`, Boosted{Terms{"level", []Value{str("warn"), num("3")}}, 2}},
	{"terms none", `{"terms":{"level":[]}}`, Terms{"level", []Value{}}},
	{"terms by id", `{"terms":{"_id":["0-1","nobody","0--1","00-1"]}}`, IDs{[]ID{{0, 1}}}},
	{"range", `{"range":{"n":{"gt":1,"lte":"2"}}}`, Range{Field: "n", GT: num("1"), LTE: str("2")}},
	{"range dates", `{"range":{"ts":{"gte":"now-1d/d","lt":null,"format":"epoch_millis||yyyy-MM-dd","time_zone":"Europe/Berlin","relation":"INTERSECTS"}}}`,
		Range{Field: "ts", GTE: str("now-1d/d"), Format: "epoch_millis||yyyy-MM-dd", TimeZone: "Europe/Berlin"}},
	{"range from to", `{"range":{"n":{"from":1,"to":5,"include_lower":false,"include_upper":true}}}`, Range{Field: "n", GT: num("1"), LTE: num("5")}},
	{"range gte made open", `{"range":{"n":{"gte":1,"include_lower":false}}}`, Range{Field: "n", GT: num("1")}},
	{"range without bounds", `{"range":{"n":{"from":null}}}`, Exists{"n"}},
	{"prefix", `{"prefix":{"host":{"value":"web","rewrite":"constant_score"}}}`, Prefix{Field: "host", Value: "web"}},
	{"wildcard", `{"wildcard":{"host":{"wildcard":"w*b?","case_insensitive":true}}}`, Wildcard{Field: "host", Pattern: "w*b?", CaseInsensitive: true}},
	{"regexp", `{"regexp":{"host":{"value":"w.*","flags":"ALL","max_determinized_states":10000}}}`, Regexp{Field: "host", Pattern: "w.*"}},
	{"fuzzy", `{"fuzzy":{"host":"wbe"}}`, Fuzzy{Field: "host", Value: "wbe", Fuzziness: AutoFuzziness, PrefixLength: 1}},
	{"fuzzy options", `{"fuzzy":{"host":{"value":"wbe","fuzziness":"AUTO:2,4","prefix_length":3,"max_expansions":50,"transpositions":true}}}`,
		Fuzzy{Field: "host", Value: "wbe", Fuzziness: Fuzziness{Auto: true, Low: 2, High: 4}, PrefixLength: 3}},
	{"exists", `{"exists":{"field":"host"}}`, Exists{"host"}},
	{"exists pattern", `{"exists":{"field":"user.*"}}`, Exists{"user.*"}},
	{"ids", `{"ids":{"values":["1-2","3-40"]}}`, IDs{[]ID{{1, 2}, {3, 40}}}},
	{"match", `{"match":{"msg":"disk full"}}`, Match{Field: "msg", Text: "disk full"}},
	{"match options", `{"match":{"msg":{"query":"disk full","operator":"AND","minimum_should_match":"2<75%","fuzziness":"1","prefix_length":2,"analyzer":"en","zero_terms_query":"all","auto_generate_synonyms_phrase_query":false}}}`,
		Match{Field: "msg", Text: "disk full", Operator: And, MinimumShouldMatch: "2<75%", Fuzziness: Fuzziness{Distance: 1}, PrefixLength: 2, Analyzer: "en", ZeroTermsAll: true}},
	{"match lenient", `{"match":{"n":{"query":12.5,"lenient":true}}}`, Lenient{Match{Field: "n", Text: "12.5"}}},
	{"match_phrase", `{"match_phrase":{"msg":{"query":"disk full","slop":0,"analyzer":"simple"}}}`, MatchPhrase{Field: "msg", Text: "disk full", Analyzer: "simple"}},
	{"match_phrase_prefix", `{"match_phrase_prefix":{"msg":{"query":"disk fu","max_expansions":50}}}`, MatchPhrasePrefix{Field: "msg", Text: "disk fu"}},
	{"multi_match", `{"multi_match":{"query":"disk","fields":["msg^3","host"],"tie_breaker":0.3}}`,
		DisMax{[]Query{Boosted{Match{Field: "msg", Text: "disk"}, 3}, Match{Field: "host", Text: "disk"}}, 0.3}},
	{"multi_match most_fields", `{"multi_match":{"query":"disk","type":"most_fields","fields":["msg","host"],"boost":2}}`,
		Boosted{DisMax{[]Query{Match{Field: "msg", Text: "disk"}, Match{Field: "host", Text: "disk"}}, 1}, 2}},
	{"multi_match phrase", `{"multi_match":{"query":"disk full","type":"phrase","fields":["msg"]}}`, MatchPhrase{Field: "msg", Text: "disk full"}},
	{"multi_match all fields", `{"multi_match":{"query":"disk"}}`, Lenient{Match{Field: "*", Text: "disk"}}},
	{"bool", `{"bool":{"must":{"term":{"a":1}},"should":[{"term":{"b":2}},{"term":{"c":3}}],"must_not":[{"exists":{"field":"d"}}],"filter":[],"minimum_should_match":1,"adjust_pure_negative":true}}`,
		Bool{Must: []Query{Term{Field: "a", Value: num("1")}}, Should: []Query{Term{Field: "b", Value: num("2")}, Term{Field: "c", Value: num("3")}},
			MustNot: []Query{Exists{"d"}}, MinimumShouldMatch: "1"}},
	{"bool empty", `{"bool":{}}`, Bool{}},
	{"constant_score", `{"constant_score":{"filter":{"term":{"a":1}},"boost":3}}`, Boosted{ConstantScore{Term{Field: "a", Value: num("1")}}, 3}},
	{"query_string", `{"query_string":{"query":"level:warn disk full","default_field":"msg","analyze_wildcard":true,"default_operator":"and"}}`,
		Bool{Must: []Query{Match{Field: "level", Text: "warn", Operator: And}, Match{Field: "msg", Text: "disk full", Operator: And}}}},
	{"query_string fields", `{"query_string":{"query":"disk","fields":["msg^2","host"],"type":"most_fields"}}`,
		DisMax{[]Query{Boosted{Match{Field: "msg", Text: "disk"}, 2}, Match{Field: "host", Text: "disk"}}, 1}},
	{"query_string everywhere", `{"query_string":{"query":"*"}}`, Lenient{MatchAll{}}},
	{"query_string minimum", `{"query_string":{"query":"a b c","default_field":"msg","minimum_should_match":2}}`,
		Bool{Should: []Query{Match{Field: "msg", Text: "a"}, Match{Field: "msg", Text: "b"}, Match{Field: "msg", Text: "c"}}, MinimumShouldMatch: "2"}},
	{"query_string time zone", `{"query_string":{"query":"ts:>2026-01-01","default_field":"msg","time_zone":"+01:00"}}`,
		Range{Field: "ts", GT: str("2026-01-01"), TimeZone: "+01:00", Folded: true}},
	{"query_string escaped", `{"query_string":{"query":"a:(b","default_field":"msg","escape":true}}`, Match{Field: "msg", Text: "a:(b"}},
	{"simple_query_string", `{"simple_query_string":{"query":"disk +full -\"at all\"","fields":["msg"]}}`,
		Bool{Should: []Query{
			Bool{Must: []Query{Match{Field: "msg", Text: "disk"}, Match{Field: "msg", Text: "full"}}},
			Bool{MustNot: []Query{MatchPhrase{Field: "msg", Text: "at all"}}}}}},
}

func TestClauses(t *testing.T) {
	for _, c := range queryCases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseQuery([]byte(c.body), DefaultLimits(), testNow)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.body, diff)
			}
		})
	}
}

// Each body is refused, with an error that says what the second word is about.
var refusedQueries = []struct{ body, kind, says string }{
	{`{}`, IllegalArgument, "empty clause"},
	{`[]`, ParsingException, "must be an object"},
	{`{"term":{"a":1},"match_all":{}}`, ParsingException, "a second one found beside it: [match_all]"},
	{`{"geo_distance":{}}`, ParsingException, "unknown query [geo_distance]"},
	{`{"dis_max":{"queries":[]}}`, ParsingException, "unknown query [dis_max]"},
	{`{"match_all":{"bost":1}}`, ParsingException, "unknown option [bost]"},
	{`{"match_all":{"_name":"x"}}`, IllegalArgument, "_name"},
	{`{"match_all":{"boost":-1}}`, IllegalArgument, "negative boost"},
	{`{"match_all":{"boost":"much"}}`, ParsingException, "must be a number"},
	{`{"match_all":[]}`, ParsingException, "must be an object"},
	{`{"term":{}}`, ParsingException, "one field"},
	{`{"term":{"a":1,"b":2}}`, ParsingException, "found [a] and [b]"},
	{`{"term":{"a*":1}}`, ParsingException, "found [a*]"},
	{`{"term":{"a":null}}`, ParsingException, "found [null]"},
	{`{"term":{"a":[1]}}`, ParsingException, "found [array]"},
	{`{"term":{"a":{"boost":2}}}`, ParsingException, "[value]"},
	{`{"term":{"a":{"value":1,"case_insensitive":"maybe"}}}`, ParsingException, "case_insensitive"},
	{`{"terms":{"boost":2}}`, ParsingException, "requires a field name"},
	{`{"terms":{"a":[1],"b":[2]}}`, ParsingException, "multiple fields"},
	{`{"terms":{"a":{"index":"x","id":"1","path":"p"}}}`, IllegalArgument, "looked up"},
	{`{"range":{"n":5}}`, ParsingException, "must be an object"},
	{`{"range":{"n":{"gt":1,"gte":2}}}`, ParsingException, "two bounds"},
	{`{"range":{"n":{"gt":1,"from":2}}}`, ParsingException, "two bounds"},
	{`{"range":{"n":{"gt":[1]}}}`, ParsingException, "gt"},
	{`{"range":{"n":{"gt":1,"relation":"within"}}}`, IllegalArgument, "[within]"},
	{`{"range":{"n":{"gt":1,"format":"week_date"}}}`, IllegalArgument, "[week_date]"},
	{`{"range":{"n":{"gt":1,"time_zone":"Mars/Olympus"}}}`, ParsingException, "[Mars/Olympus]"},
	{`{"range":{"n":{"gt":1,"time_zone":"Local"}}}`, ParsingException, "[Local]"},
	{`{"prefix":{"a":{"value":"x","rewrite":"top_terms_5"}}}`, IllegalArgument, "[top_terms_5]"},
	{`{"wildcard":{"a":{"value":"x","wildcard":"y"}}}`, ParsingException, "one [value]"},
	{`{"regexp":{"a":{"value":"x","flags":"INTERVAL"}}}`, IllegalArgument, "[INTERVAL]"},
	{`{"regexp":{"a":"` + strings.Repeat("x", 257) + `"}}`, IllegalArgument, "[search.max.regexp.bytes], found [257]"},
	{`{"fuzzy":{"a":{"value":"x","fuzziness":3}}}`, IllegalArgument, "[search.max.fuzziness], found [3]"},
	{`{"fuzzy":{"a":{"value":"x","fuzziness":"LOTS"}}}`, ParsingException, "[LOTS]"},
	{`{"fuzzy":{"a":{"value":"x","fuzziness":0.5}}}`, ParsingException, "[0.5]"},
	{`{"fuzzy":{"a":{"value":"x","prefix_length":0}}}`, IllegalArgument, "prefix_length must be between 1"},
	{`{"fuzzy":{"a":{"value":"x","max_expansions":10}}}`, IllegalArgument, "max_expansions"},
	{`{"fuzzy":{"a":{"value":"x","transpositions":false}}}`, IllegalArgument, "transpositions"},
	{`{"exists":{}}`, ParsingException, "[field]"},
	{`{"ids":{"values":{"a":1}}}`, ParsingException, "values"},
	{`{"ids":{"type":"doc","values":[]}}`, ParsingException, "[type]"},
	{`{"match":{"a":{"query":"x","operator":"xor"}}}`, ParsingException, "[xor]"},
	{`{"match":{"a":{"query":"x","minimum_should_match":"most"}}}`, ParsingException, "[most]"},
	{`{"match":{"a":{"query":"x","cutoff_frequency":0.1}}}`, ParsingException, "[cutoff_frequency]"},
	{`{"match_phrase":{"a":{"query":"x","slop":1}}}`, IllegalArgument, "slop"},
	{`{"match_phrase":{"a":{"query":"x","max_expansions":50}}}`, ParsingException, "[max_expansions]"},
	{`{"multi_match":{"fields":["a"]}}`, ParsingException, "[query]"},
	{`{"multi_match":{"query":"x","type":"cross_fields"}}`, IllegalArgument, "[cross_fields]"},
	{`{"multi_match":{"query":"x","type":"phrase","fuzziness":1}}`, IllegalArgument, "[phrase]"},
	{`{"multi_match":{"query":"x","fields":["a^high"]}}`, ParsingException, "[a^high]"},
	{`{"bool":{"musst":[]}}`, ParsingException, "[musst]"},
	{`{"bool":{"must":"x"}}`, ParsingException, "must be an object"},
	{`{"bool":{"must_not":[{"nope":{}}]}}`, ParsingException, "[nope]"},
	{`{"bool":{"adjust_pure_negative":false}}`, IllegalArgument, "adjust_pure_negative"},
	{`{"constant_score":{"boost":2}}`, ParsingException, "'filter'"},
	{`{"query_string":{}}`, ParsingException, "[query]"},
	{`{"query_string":{"query":"a AND"}}`, ParsingException, "[a AND] at character 6"},
	{`{"query_string":{"query":"*a","allow_leading_wildcard":false}}`, ParsingException, "leading"},
	{`{"query_string":{"query":"a*","analyzer":"en"}}`, IllegalArgument, "[analyzer]"},
	{`{"query_string":{"query":"a","type":"phrase"}}`, IllegalArgument, "[phrase]"},
	{`{"query_string":{"query":"a","phrase_slop":2}}`, IllegalArgument, "phrase_slop"},
	{`{"query_string":{"query":"a","quote_field_suffix":".exact"}}`, ParsingException, "[quote_field_suffix]"},
	{`{"simple_query_string":{"query":"a","flags":"AND|SOME"}}`, ParsingException, "[SOME]"},
	{`{"simple_query_string":{"query":"\"a b\"~3"}}`, IllegalArgument, "slop"},
	{`{"term":{"a":1,"a":2}}`, ParsingException, "duplicate field [a]"},
	{`{"term":{"a":1}`, ParsingException, "ends too early"},
	{`{"term":{"a":1}} x`, ParsingException, "goes on"},
	{`{"term":{"a":01}}`, ParsingException, "not JSON"},
	{"{\"term\":{\"a\":\"\xff\"}}", ParsingException, "UTF-8"},
}

func TestClausesThatAreRefused(t *testing.T) {
	for _, c := range refusedQueries {
		q, err := ParseQuery([]byte(c.body), DefaultLimits(), testNow)
		checkRefused(t, c.body, q, err, c.kind, c.says)
	}
}

func checkRefused(t *testing.T, body string, got any, err error, kind, says string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s is accepted as\n%s", body, dump(got))
		return
	}
	if e.Type != kind || !strings.Contains(e.Reason, says) {
		t.Errorf("%s: %v\nwant a %s that says %q", body, err, kind, says)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	_, err := ParseQuery([]byte("{\n  \"bool\": {\n    \"must\": [{\"term\": {\"a\": 1}},\n      {\"near\": {}}]\n  }\n}"), DefaultLimits(), testNow)
	want := &Error{Type: ParsingException, Reason: "unknown query [near]", Line: 4, Col: 8}
	if diff := cmp.Diff(want, err); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func nest(depth int, open, inner, closing string) string {
	return strings.Repeat(open, depth) + inner + strings.Repeat(closing, depth)
}

func TestLimitsOfQueries(t *testing.T) {
	const open, closing = `{"bool":{"must":[`, `]}}`
	leaf, list := `{"term":{"a":1}}`, func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	for _, c := range []struct {
		name, body, kind, says string // says empty: accepted
	}{
		{"depth", nest(20, open, leaf, closing), "", ""},
		{"depth passed", nest(21, open, leaf, closing), IllegalArgument, "[search.max.bool.depth]"},
		{"depth of constant_score", nest(21, `{"constant_score":{"filter":`, leaf, `}}`), IllegalArgument, "[search.max.bool.depth]"},
		{"parentheses", `{"query_string":{"query":"` + nest(20, "(", "a", ")") + `"}}`, "", ""},
		{"parentheses passed", `{"query_string":{"query":"` + nest(21, "(", "a", ")") + `"}}`, IllegalArgument, "[search.max.bool.depth]"},
		{"simple parentheses passed", `{"simple_query_string":{"query":"` + nest(21, "(", "a", ")") + `"}}`, IllegalArgument, "[search.max.bool.depth]"},
		{"parentheses in bools", nest(15, open, `{"query_string":{"query":"`+nest(6, "(", "a", ")")+`"}}`, closing), IllegalArgument, "[search.max.bool.depth]"},
		{"clauses", open + list(1024, leaf) + closing, "", ""},
		{"clauses passed", open + list(1025, leaf) + closing, TooManyClauses, "[search.max.clauses]"},
		{"words with operators", `{"query_string":{"query":"` + strings.Repeat("+a ", 1025) + `"}}`, TooManyClauses, "[search.max.clauses]"},
		{"fields times words", `{"query_string":{"query":"` + strings.Repeat("+a ", 600) + `","fields":["x","y"]}}`, TooManyClauses, "[search.max.clauses]"},
		{"terms", `{"terms":{"a":[` + list(8192, "1") + `]}}`, "", ""},
		{"terms passed", `{"terms":{"a":[` + list(8193, "1") + `]}}`, IllegalArgument, "[search.max.terms], found [8193]"},
		{"ids passed", `{"ids":{"values":[` + list(8193, `"0-1"`) + `]}}`, IllegalArgument, "[search.max.terms]"},
		{"fields passed", `{"multi_match":{"query":"a","fields":[` + list(257, `"f"`) + `]}}`, IllegalArgument, "[search.max.request.fields]"},
		{"query string", `{"query_string":{"query":"` + strings.Repeat("a ", 128<<10) + `"}}`, "", ""},
		{"query string passed", `{"query_string":{"query":"` + strings.Repeat("a ", 128<<10) + `a"}}`, IllegalArgument, "[search.max.query.string.bytes]"},
		{"nested JSON", nest(300, "[", "", "]"), ParsingException, "nested deeper than 200"},
		{"JSON values", "[" + list(maxJSONValues+1, "1") + "]", ParsingException, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, err := ParseQuery([]byte(c.body), DefaultLimits(), testNow)
			if c.says == "" && err != nil {
				t.Fatal(err)
			}
			if c.says != "" {
				checkRefused(t, c.name, q, err, c.kind, c.says)
			}
		})
	}
}

// Each text or body invites a parser to read its rest again at every character. A quadratic one would be at it
// for minutes.
func TestNoInputTakesQuadraticTime(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxStringBytes = 1 << 20
	began := time.Now()
	for _, part := range []string{"(", ")", `"`, "a ", "a:", "a b:", "a\\\\", "[", "[a TO b] ", "-", "+a ", " ", "a AND ", "()", "(a", "a~", "a~1 ", "/", "a^1 ", "*", "\u3000", "a(", `\"`, "!"} {
		text := strings.Repeat(part, 1<<19/len(part))
		_, _ = ParseQueryString(text, QueryStringOptions{}, limits)
		p := &parser{limits: limits}
		p.parseSimpleQueryString(0, text, p.stringOptions())
	}
	var keys strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&keys, `"k%d":[{}],`, i)
	}
	for _, body := range []string{`{` + keys.String() + `"k":1}`, strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<18), strings.Repeat("\n", 1<<20), `"` + strings.Repeat(`\u0061`, 1<<18) + `"`} {
		_, _ = ParseSearch([]byte(body), limits, testNow)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %s", took)
	}
}

func TestExpandFields(t *testing.T) {
	fields := func(pattern string) []string {
		return map[string][]string{"*": {"msg", "host"}, "user.*": {"user.id"}}[pattern]
	}
	for _, c := range []struct {
		name    string
		q, want Query
	}{
		{"no pattern", Match{Field: "a"}, Match{Field: "a"}},
		{"one field", Exists{"user.*"}, Exists{"user.id"}},
		{"no field", Exists{"x*"}, MatchNone{}},
		{"all fields", Lenient{Match{Field: "*", Text: "x"}}, Lenient{DisMax{[]Query{Match{Field: "msg", Text: "x"}, Match{Field: "host", Text: "x"}}, 0}}},
		{"beside others", DisMax{[]Query{Boosted{Prefix{Field: "*"}, 2}, Prefix{Field: "a"}, Prefix{Field: "x*"}}, 1},
			DisMax{[]Query{Boosted{Prefix{Field: "msg"}, 2}, Boosted{Prefix{Field: "host"}, 2}, Prefix{Field: "a"}}, 1}},
		{"everywhere", Bool{Must: []Query{Wildcard{Field: "user.*"}}, Should: []Query{Regexp{Field: "user.*"}}, MustNot: []Query{Fuzzy{Field: "user.*"}},
			Filter: []Query{ConstantScore{Boosted{Range{Field: "user.*"}, 2}}, MatchPhrase{Field: "user.*"}, MatchPhrasePrefix{Field: "user.*"}}},
			Bool{Must: []Query{Wildcard{Field: "user.id"}}, Should: []Query{Regexp{Field: "user.id"}}, MustNot: []Query{Fuzzy{Field: "user.id"}},
				Filter: []Query{ConstantScore{Boosted{Range{Field: "user.id"}, 2}}, MatchPhrase{Field: "user.id"}, MatchPhrasePrefix{Field: "user.id"}}}},
	} {
		if diff := cmp.Diff(c.want, ExpandFields(c.q, fields)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestMinimumShouldMatchCounts(t *testing.T) {
	for _, c := range []struct {
		m       MinimumShouldMatch
		clauses int
		want    int
	}{
		{"2", 3, 2}, {"5", 3, 4}, {"-1", 3, 2}, {"-5", 3, 0}, {"0", 3, 0},
		{"75%", 4, 3}, {"75%", 3, 2}, {"-25%", 4, 3}, {"-25%", 3, 3}, {"100%", 3, 3},
		{"3<90%", 3, 3}, {"3<90%", 10, 9}, {"2<-25% 9<-3", 2, 2}, {"2<-25% 9<-3", 4, 3}, {"2<-25% 9<-3", 10, 7},
	} {
		if got := c.m.Count(c.clauses); got != c.want {
			t.Errorf("%q of %d = %d, want %d", c.m, c.clauses, got, c.want)
		}
	}
	for _, m := range []MinimumShouldMatch{"", "x", "2<", "<2", "2<3 x", "50%%", "1.5", "9999999999999"} {
		if m.valid() {
			t.Errorf("%q is taken for one", m)
		}
	}
}

func TestRequiredOfShould(t *testing.T) {
	one, two := []Query{MatchAll{}}, []Query{MatchAll{}, MatchAll{}}
	for _, c := range []struct {
		b    Bool
		want int
	}{
		{Bool{}, 0}, {Bool{Should: two}, 1}, {Bool{Should: two, MustNot: one}, 1}, {Bool{Should: two, Must: one}, 0},
		{Bool{Should: two, Filter: one}, 0}, {Bool{Should: two, Filter: one, MinimumShouldMatch: "2"}, 2}, {Bool{Must: one, MinimumShouldMatch: "2"}, 0},
	} {
		if got := c.b.Required(); got != c.want {
			t.Errorf("%+v requires %d, want %d", c.b, got, c.want)
		}
	}
}

func TestAutoFuzziness(t *testing.T) {
	for term, want := range map[string]int{"ab": 0, "abc": 1, "abcde": 1, "abcdef": 2, "äöü": 1} {
		if got := AutoFuzziness.Edits(term); got != want {
			t.Errorf("%s: %d edits, want %d", term, got, want)
		}
	}
}
