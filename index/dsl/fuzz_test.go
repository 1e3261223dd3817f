package dsl

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var testNow = time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)

func FuzzParseQueryString(f *testing.F) {
	for _, seed := range queryStringSeeds {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, and bool) {
		options := QueryStringOptions{Fields: []string{"msg"}}
		if and {
			options.Operator = And
		}
		q, err := ParseQueryString(text, options, DefaultLimits())
		if err != nil {
			checkError(t, err)
			return
		}
		checkPrinted(t, q)
	})
}

// checkPrinted writes q as a query string and expects to read it again. The operators of texts, which follow
// from the default operator and not from the text, are left aside.
func checkPrinted(t interface {
	Helper()
	Fatalf(string, ...any)
}, q Query) {
	t.Helper()
	printed := queryText(q)
	again, err := ParseQueryString(printed, QueryStringOptions{Fields: []string{"msg"}}, DefaultLimits())
	if err != nil {
		t.Fatalf("%s\nprinted as %q: %v", dump(q), printed, err)
	}
	was, is := withoutOperators(dump(q)), dump(again) // not cmp on the trees, which takes 2^depth
	if was != is {
		t.Fatalf("printed as %q, it reads differently (-was +is):\n%s", printed, cmp.Diff(was, is))
	}
}

var operatorLine = regexp.MustCompile(`\n *Operator: 1`)

func withoutOperators(dumped string) string { return operatorLine.ReplaceAllString(dumped, "") }

func checkError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Type == "" || e.Reason == "" {
		t.Fatalf("not an Error with a type and a reason: %#v", err)
	}
	if e.Type != ParsingException && e.Type != IllegalArgument && e.Type != TooManyClauses {
		t.Fatalf("unknown type of error: %s", e.Type)
	}
}

func FuzzParseSimpleQueryString(f *testing.F) {
	for _, seed := range queryStringSeeds {
		f.Add(seed, uint16(allSimpleFlags))
		f.Add(seed, uint16(flagPhrase|flagPrefix))
	}
	f.Fuzz(func(t *testing.T, text string, flags uint16) {
		p := &parser{limits: DefaultLimits()}
		o := p.stringOptions()
		o.flags = simpleFlags(flags)
		q := p.parseSimpleQueryString(0, text, o)
		if p.err != nil && p.err.Type == ParsingException && utf8.ValidString(text) {
			t.Fatalf("%q fails for its syntax: %v", text, p.err)
		}
		if p.err == nil && q == nil {
			t.Fatalf("%q is no query at all", text)
		}
	})
}

func FuzzParseSearch(f *testing.F) {
	bodies, err := filepath.Glob("testdata/search/*.json")
	if err != nil || len(bodies) == 0 {
		f.Fatal("no bodies to begin with", err)
	}
	for _, path := range bodies {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, "q=a&from=1")
	}
	for _, c := range queryCases {
		f.Add([]byte(`{"query":`+c.body+`}`), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, parameters string) {
		values, err := url.ParseQuery(parameters)
		if err != nil {
			values = nil
		}
		s, err := ParseRequest(values, body, DefaultLimits(), testNow)
		if err != nil {
			checkError(t, err)
			return
		}
		checkSearch(t, s)
		again, err := ParseRequest(values, body, DefaultLimits(), testNow)
		if err != nil {
			t.Fatalf("accepted, then refused: %v", err)
		}
		if was, is := dump(s), dump(again); was != is {
			t.Fatalf("the same request is read as\n%s\nand as\n%s", was, is)
		}
	})
}

// checkSearch holds a search against what its documentation promises, whatever the request was.
func checkSearch(t *testing.T, s *Search) {
	t.Helper()
	limits := DefaultLimits()
	if s.Query == nil || s.From+s.Size > limits.MaxResultWindow || s.Timeout > limits.MaxTimeout {
		t.Fatalf("beyond the limits:\n%s", dump(s))
	}
	if s.SearchAfter != nil && len(s.SearchAfter) != len(s.Sort) {
		t.Fatalf("search_after does not fit sort:\n%s", dump(s))
	}
	expanded := ExpandFields(s.Query, func(string) []string { return []string{"a", "b"} })
	eachQuery(expanded, func(q Query) {
		if field, ok := fieldOf(q); ok && isPattern(field) {
			t.Fatalf("the pattern %s is left after ExpandFields", field)
		}
		if r, is := q.(Range); is {
			if _, _, err := r.Dates(testNow); err != nil {
				checkError(t, err)
			}
		}
	})
	checkAggs(t, s.Aggs, 1)
}

func checkAggs(t *testing.T, aggs []NamedAgg, depth int) {
	t.Helper()
	if len(aggs) > 0 && depth > DefaultLimits().MaxAggDepth {
		t.Fatalf("aggregations %d deep", depth)
	}
	for _, a := range aggs {
		if a.Name == "" || a.Agg == nil || a.Agg.Type() == "" {
			t.Fatalf("an aggregation without a name or a type: %s", dump(a))
		}
		for _, order := range ordersOf(a.Agg) {
			if len(order.Path) == 0 || strings.Contains(order.Path[0], ">") {
				t.Fatalf("an unresolved order: %s", dump(order))
			}
		}
		checkAggs(t, a.Aggs, depth+1)
	}
}

// eachQuery visits q and everything in it.
func eachQuery(q Query, visit func(Query)) {
	visit(q)
	var inside []Query
	switch q := q.(type) {
	case Bool:
		for _, list := range [][]Query{q.Must, q.Should, q.MustNot, q.Filter} {
			inside = append(inside, list...)
		}
	case DisMax:
		inside = q.Queries
	case ConstantScore:
		inside = []Query{q.Query}
	case Boosted:
		inside = []Query{q.Query}
	case Lenient:
		inside = []Query{q.Query}
	}
	for _, inner := range inside {
		eachQuery(inner, visit)
	}
}
