package dsl

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var diffSearch = cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })

func pointer[T any](v T) *T { return &v }

// standard is the search that an empty request is, with change made to it.
func standard(change func(s *Search)) *Search {
	s := &Search{Now: testNow, Query: MatchAll{}, Size: 10, Timeout: 5 * time.Second, WaitTimeout: time.Second}
	change(s)
	return s
}

func TestSearchBodies(t *testing.T) {
	for _, c := range []struct {
		body string
		want func(s *Search)
	}{
		{``, func(*Search) {}},
		{` {} `, func(*Search) {}},
		{`{"from":"9990","size":10}`, func(s *Search) { s.From = 9990 }},
		{`{"sort":"_score"}`, func(s *Search) { s.Sort = []Sort{{Field: "_score", Desc: true}} }},
		{`{"sort":{"a":{"order":"DESC","missing":"_last"}}}`, func(s *Search) { s.Sort = []Sort{{Field: "a", Desc: true}} }},
		{`{"sort":[{"a":{"missing":7,"mode":"min"}}]}`, func(s *Search) { s.Sort = []Sort{{Field: "a", Missing: num("7")}} }},
		{`{"track_total_hits":true}`, func(s *Search) { s.TrackTotalHits = pointer(TrackAll) }},
		{`{"track_total_hits":false}`, func(s *Search) { s.TrackTotalHits = pointer(0) }},
		{`{"track_total_hits":25}`, func(s *Search) { s.TrackTotalHits = pointer(25) }},
		{`{"_source":["a","b*"]}`, func(s *Search) { s.Source.Includes = []string{"a", "b*"} }},
		{`{"_source":true,"stored_fields":[]}`, func(*Search) {}},
		{`{"stored_fields":["a"]}`, func(s *Search) { s.Source.Disabled = true }},
		{`{"stored_fields":["_source"]}`, func(*Search) {}},
		{`{"docvalue_fields":[{"field":"ts","format":"use_field_mapping"}]}`, func(s *Search) { s.DocvalueFields = []FieldFormat{{Field: "ts"}} }},
		{`{"explain":false,"profile":false,"terminate_after":0,"ext":{},"stats":["a"],"seq_no_primary_term":false}`, func(*Search) {}},
		{`{"max_offset":"0:5,other:1:7"}`, func(s *Search) { s.MaxOffset = []PartitionOffset{{"", 0, 5}, {"other", 1, 7}} }},
		{`{"min_offset":{"3":9,"t":{"4":"2"}}}`, func(s *Search) { s.MinOffset = []PartitionOffset{{"", 3, 9}, {"t", 4, 2}} }},
		{`{"aggs":{}}`, func(*Search) {}},
	} {
		got, err := ParseSearch([]byte(c.body), DefaultLimits(), testNow)
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		if diff := cmp.Diff(standard(c.want), got, diffSearch); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.body, diff)
		}
	}
}

func TestSearchBodiesThatAreRefused(t *testing.T) {
	manyAggs := make([]string, 257)
	for i := range manyAggs {
		manyAggs[i] = fmt.Sprintf(`"n%d":{"max":{"field":"a"}}`, i)
	}
	terms := func(options string) string { return `{"aggs":{"a":{"terms":{"field":"f",` + options + `}}}}` }
	days := func(options string) string { return `{"aggs":{"a":{"date_histogram":{"field":"f",` + options + `}}}}` }
	agg := func(definition string) string { return `{"aggs":{"a":` + definition + `}}` }
	for _, c := range []struct{ body, kind, says string }{
		{`[]`, ParsingException, "[search] must be an object"},
		{`{"qery":{}}`, ParsingException, "unknown key [qery]"},
		{`{"from":-1}`, IllegalArgument, "from"},
		{`{"size":1.5}`, ParsingException, "whole number"},
		{`{"from":9991,"size":10}`, IllegalArgument, "[search.max.result.window]"},
		{`{"size":2000000000,"from":2000000000}`, IllegalArgument, "[search.max.result.window]"},
		{`{"timeout":"61s"}`, IllegalArgument, "[search.max.timeout]"},
		{`{"timeout":"0s"}`, ParsingException, "more than nothing"},
		{`{"timeout":5}`, ParsingException, "timeout"},
		{`{"timeout":"soon"}`, ParsingException, "[soon]"},
		{`{"timeout":"99999999999999d"}`, ParsingException, "duration"},
		{`{"wait":"all"}`, ParsingException, "[all]"},
		{`{"wait_timeout":"31s"}`, IllegalArgument, "[search.max.wait.timeout]"},
		{`{"min_offset":"0"}`, ParsingException, "min_offset"},
		{`{"min_offset":"0:1,0:2"}`, ParsingException, "twice"},
		{`{"max_offset":{"0":-1}}`, ParsingException, "max_offset"},
		{`{"explain":true}`, IllegalArgument, "explain"},
		{`{"terminate_after":10}`, IllegalArgument, "terminate_after"},
		{`{"runtime_mappings":{"a":{"type":"long"}}}`, IllegalArgument, "runtime_mappings"},
		{`{"script_fields":{"a":{}}}`, IllegalArgument, "script_fields"},
		{`{"stored_fields":"_none_"}`, IllegalArgument, "_none_"},
		{`{"collapse":{"field":"a"}}`, ParsingException, "[collapse]"},
		{`{"knn":{}}`, ParsingException, "[knn]"},
		{`{"suggest":{}}`, ParsingException, "[suggest]"},
		{`{"sort":[{"a":{"nested":{}}}]}`, ParsingException, "[nested]"},
		{`{"sort":[{"a":{"mode":"avg"}}]}`, IllegalArgument, "[avg]"},
		{`{"sort":[{"a":{"order":"desc","mode":"min"}}]}`, IllegalArgument, "[min]"},
		{`{"sort":[{"_script":{"script":"1"}}]}`, ParsingException, "[script]"},
		{`{"sort":[{"a":"up"}]}`, ParsingException, "[up]"},
		{`{"sort":["a"],"search_after":[1,2]}`, IllegalArgument, "2 value(s) but sort has 1"},
		{`{"search_after":[1]}`, IllegalArgument, "at least one field"},
		{`{"sort":["a"],"search_after":[1],"from":1}`, IllegalArgument, "`from`"},
		{`{"_source":{"only":["a"]}}`, ParsingException, "[only]"},
		{`{"fields":[{"field":"a","format":"0.00"}]}`, IllegalArgument, "[0.00]"},
		{`{"docvalue_fields":[{"field":"a","include_unmapped":true}]}`, ParsingException, "[include_unmapped]"},
		{`{"fields":[{}]}`, ParsingException, "name of a field"},
		{`{"highlight":{}}`, ParsingException, "[fields]"},
		{`{"highlight":{"type":"fvh","fields":{"a":{}}}}`, IllegalArgument, "[fvh]"},
		{`{"highlight":{"fields":{"a":{"boundary_scanner":"word"}}}}`, ParsingException, "[boundary_scanner]"},
		{`{"highlight":{"pre_tags":[],"fields":{"a":{}}}}`, ParsingException, "at least one tag"},
		{`{"aggs":{"a":{"max":{"field":"b"}}},"aggregations":{"c":{"max":{"field":"b"}}}}`, ParsingException, "twice"},
		{`{"aggs":{` + strings.Join(manyAggs, ",") + `}}`, IllegalArgument, "[search.max.aggs]"},
		{`{"aggs":{"a>b":{"max":{"field":"b"}}}}`, ParsingException, "[a>b]"},
		{agg(`{}`), ParsingException, "missing definition"},
		{agg(`{"top_hits":{}}`), ParsingException, "[top_hits]"},
		{agg(`{"max":{"field":"b"},"min":{"field":"b"}}`), ParsingException, "[max] and [min]"},
		{agg(`{"max":{}}`), IllegalArgument, "[field]"},
		{agg(`{"max":{"field":"b","script":{}}}`), ParsingException, "[script]"},
		{agg(`{"max":{"field":"b"},"aggs":{"c":{"min":{"field":"d"}}}}`), IllegalArgument, "sub-aggregations"},
		{agg(`{"max":{"field":"b"},"meta":3}`), ParsingException, "meta"},
		{`{` + nest(4, `"aggs":{"a":{"filter":{"match_all":{}},`, `"meta":{}`, `}}`) + `}`, IllegalArgument, "[search.max.agg.depth]"},
		{agg(`{"filter":{"nope":{}}}`), ParsingException, "[nope]"},
		{agg(`{"filters":{}}`), IllegalArgument, "at least one filter"},
		{terms(`"size":0`), IllegalArgument, "size"},
		{terms(`"size":10001`), IllegalArgument, "[search.max.buckets], found [10001]"},
		{terms(`"include":"a.*"`), ParsingException, "[include]"},
		{terms(`"min_doc_count":0`), IllegalArgument, "min_doc_count"},
		{terms(`"order":{"b":"asc"}`), IllegalArgument, "no aggregation [b]"},
		{terms(`"order":[]`), ParsingException, "order"},
		{terms(`"order":{"_count":"best"}`), ParsingException, "[best]"},
		{agg(`{"terms":{"field":"f","order":{"s":"asc"}},"aggs":{"s":{"stats":{"field":"b"}}}}`), IllegalArgument, "no figure []"},
		{agg(`{"terms":{"field":"f","order":{"s.median":"asc"}},"aggs":{"s":{"stats":{"field":"b"}}}}`), IllegalArgument, "no figure [median]"},
		{agg(`{"terms":{"field":"f","order":{"p.42":"asc"}},"aggs":{"p":{"percentiles":{"field":"b"}}}}`), IllegalArgument, "no figure [42]"},
		{agg(`{"terms":{"field":"f","order":{"t>m":"asc"}},"aggs":{"t":{"terms":{"field":"b"},"aggs":{"m":{"max":{"field":"c"}}}}}}`), IllegalArgument, "not a single bucket"},
		{days(`"min_doc_count":1`), IllegalArgument, "[calendar_interval, fixed_interval]"},
		{days(`"interval":"1d"`), IllegalArgument, "use fixed_interval"},
		{days(`"fixed_interval":"1d","calendar_interval":"1d"`), IllegalArgument, "[calendar_interval, fixed_interval]"},
		{days(`"fixed_interval":"1M"`), ParsingException, "[1M]"},
		{days(`"fixed_interval":"0ms"`), ParsingException, "milliseconds"},
		{days(`"fixed_interval":"10micros"`), ParsingException, "milliseconds"},
		{days(`"calendar_interval":"2d"`), ParsingException, "[2d]"},
		{days(`"fixed_interval":"1d","time_zone":"Local"`), ParsingException, "[Local]"},
		{days(`"fixed_interval":"1d","extended_bounds":{"min":2,"max":1}`), ParsingException, "greater"},
		{days(`"fixed_interval":"1d","extended_bounds":{"min":"soon"}`), ParsingException, "[soon]"},
		{days(`"fixed_interval":"1d","hard_bounds":{"least":1}`), ParsingException, "[least]"},
		{days(`"fixed_interval":"1d","offset":"1w"`), ParsingException, "[1w]"},
		{agg(`{"histogram":{"field":"f"}}`), IllegalArgument, "[interval]"},
		{agg(`{"histogram":{"field":"f","interval":-1}}`), IllegalArgument, "[interval]"},
		{agg(`{"range":{"field":"f"}}`), IllegalArgument, "[ranges]"},
		{agg(`{"range":{"field":"f","ranges":[{"from":"a"}]}}`), ParsingException, "from"},
		{agg(`{"range":{"field":"f","ranges":[{"mask":"a"}]}}`), ParsingException, "[mask]"},
		{agg(`{"date_range":{"field":"f","ranges":[{"from":"then"}]}}`), ParsingException, "[then]"},
		{agg(`{"percentiles":{"field":"f","percents":[50,101]}}`), IllegalArgument, "[percents]"},
		{agg(`{"percentiles":{"field":"f","percents":[50,50]}}`), IllegalArgument, "[percents]"},
		{agg(`{"percentiles":{"field":"f","hdr":{}}}`), IllegalArgument, "hdr"},
		{agg(`{"percentiles":{"field":"f","tdigest":{"compression":1e9}}}`), IllegalArgument, "compression"},
		{agg(`{"cardinality":{"field":"f","format":"x"}}`), ParsingException, "[format]"},
	} {
		s, err := ParseSearch([]byte(c.body), DefaultLimits(), testNow)
		checkRefused(t, c.body, s, err, c.kind, c.says)
	}
}

func TestOrdersMeanTheLongestName(t *testing.T) {
	body := `{"aggs":{"t":{"terms":{"field":"f","order":{"a.b.max":"desc"}},"aggs":{"a":{"stats":{"field":"x"}},"a.b":{"stats":{"field":"y"}}}}}}`
	s, err := ParseSearch([]byte(body), DefaultLimits(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	want := []BucketOrder{{Path: []string{"a.b"}, Metric: "max", Desc: true}, {Path: []string{"_key"}}}
	if diff := cmp.Diff(want, s.Aggs[0].Agg.(TermsAgg).Order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestURLs(t *testing.T) {
	filtered := func(q Query, r Range) Query {
		r.Field = "_timestamp"
		return Bool{Must: []Query{q}, Filter: []Query{r}}
	}
	for _, c := range []struct {
		url, body string
		want      func(s *Search)
	}{
		{"q=error+AND+level:warn&df=msg&from=0&size=20&sort=_timestamp:desc&after=2026-01-01T00:00:00Z&partition=3", ``, func(s *Search) {
			s.Query = filtered(must(word1("error"), on("level", "warn")), Range{GTE: str("2026-01-01T00:00:00Z")})
			s.Size, s.Sort, s.Partitions = 20, []Sort{{Field: "_timestamp", Desc: true}}, []int32{3}
		}},
		{"q=a+b&df=msg&default_operator=AND&lenient", ``, func(s *Search) { s.Query = Lenient{allOf("msg", "a b")} }},
		{"after=now-1h&before=now", `{"query":{"term":{"a":1}}}`, func(s *Search) {
			s.Query = filtered(Term{Field: "a", Value: num("1")}, Range{GTE: str("now-1h"), LT: str("now")})
		}},
		{"size=3&sort=a,_score,b:asc", `{"size":50,"sort":["c"]}`, func(s *Search) {
			s.Size, s.Sort = 3, []Sort{{Field: "a"}, {Field: "_score", Desc: true}, {Field: "b"}}
		}},
		{"_source=false", ``, func(s *Search) { s.Source.Disabled = true }},
		{"_source=a,b.*&_source_excludes=b.c", ``, func(s *Search) { s.Source = Source{Includes: []string{"a", "b.*"}, Excludes: []string{"b.c"}} }},
		{"docvalue_fields=ts,host&track_total_hits=true&timeout=2s&version", ``, func(s *Search) {
			s.DocvalueFields, s.TrackTotalHits = []FieldFormat{{Field: "ts"}, {Field: "host"}}, pointer(TrackAll)
			s.Timeout, s.Version = 2*time.Second, true
		}},
		{"min_offset=0:1234,1:88&wait=hw&wait_timeout=3s&max_offset=0:9", ``, func(s *Search) {
			s.MinOffset, s.MaxOffset = []PartitionOffset{{"", 0, 1234}, {"", 1, 88}}, []PartitionOffset{{"", 0, 9}}
			s.WaitHighWatermark, s.WaitTimeout = true, 3*time.Second
		}},
		{"partition=4,2,4", ``, func(s *Search) { s.Partitions = []int32{2, 4} }},
		{"typed_keys=true&rest_total_hits_as_int=true&pretty&ignore_unavailable=true&allow_no_indices=false&allow_partial_search_results=false" +
			"&preference=me&routing=a,b&search_type=query_then_fetch&expand_wildcards=open,hidden&human=false&format=json&error_trace=false&request_cache=true", ``,
			func(s *Search) {
				s.Options = Options{IgnoreUnavailable: true, ForbidNoIndices: true, ForbidPartial: true, Preference: "me", Routing: []string{"a", "b"},
					LocalStatistics: true, TypedKeys: true, TotalHitsAsInt: true, Pretty: true}
				s.TrackTotalHits = pointer(TrackAll)
			}},
	} {
		values, err := url.ParseQuery(c.url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRequest(values, []byte(c.body), DefaultLimits(), testNow)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if diff := cmp.Diff(standard(c.want), got, diffSearch); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.url, diff)
		}
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ url, body, kind, says string }{
		{"scroll=1m", ``, IllegalArgument, "unrecognized parameter: [scroll]"},
		{"filter_path=hits", ``, IllegalArgument, "[filter_path]"},
		{"q=a+AND", ``, ParsingException, "[a AND] at character 6"},
		{"q=%ff", ``, IllegalArgument, "UTF-8"},
		{"q=a", `{"query":{"match_none":{}}}`, ParsingException, "the body has a query too"},
		{"df=a", ``, ParsingException, "needs a [q]"},
		{"size=1&size=2", ``, IllegalArgument, "2 times"},
		{"size=x", ``, ParsingException, "[x]"},
		{"sort=a:up", ``, ParsingException, "[up]"},
		{"after=then", ``, ParsingException, "[then]"},
		{"partition=-1", ``, ParsingException, "[-1]"},
		{"partition=", ``, ParsingException, "partition"},
		{"default_operator=xor&q=a", ``, ParsingException, "[xor]"},
		{"search_type=scan", ``, ParsingException, "[scan]"},
		{"expand_wildcards=none", ``, IllegalArgument, "[none]"},
		{"expand_wildcards=closed", ``, IllegalArgument, "all topics are open"},
		{"format=yaml", ``, IllegalArgument, "[yaml]"},
		{"wait=1", ``, ParsingException, "[1]"},
		{"terminate_after=5", ``, IllegalArgument, "terminate_after"},
		{"from=9999", ``, IllegalArgument, "[search.max.result.window]"},
	} {
		values, err := url.ParseQuery(c.url)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseRequest(values, []byte(c.body), DefaultLimits(), testNow)
		checkRefused(t, c.url, s, err, c.kind, c.says)
	}
}

func TestCounts(t *testing.T) {
	got, err := ParseCountRequest(url.Values{"partition": {"1"}}, []byte(`{"query":{"term":{"a":1}},"max_offset":"1:5"}`), DefaultLimits(), testNow)
	want := standard(func(s *Search) {
		s.Query, s.Size, s.TrackTotalHits = Term{Field: "a", Value: num("1")}, 0, pointer(TrackAll)
		s.Partitions, s.MaxOffset = []int32{1}, []PartitionOffset{{"", 1, 5}}
	})
	if diff := cmp.Diff(want, got, diffSearch); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, c := range []struct{ url, body, kind, says string }{
		{"", `{"size":1}`, ParsingException, "[size]"},
		{"size=1", ``, IllegalArgument, "[size]"},
	} {
		values, _ := url.ParseQuery(c.url)
		s, err := ParseCountRequest(values, []byte(c.body), DefaultLimits(), testNow)
		checkRefused(t, c.url+c.body, s, err, c.kind, c.says)
	}
}

func TestMultiSearchesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ url, body, kind, says string }{
		{"", ``, IllegalArgument, "newline"},
		{"", "{}\n{}", IllegalArgument, "newline"},
		{"", "\n", IllegalArgument, "no requests"},
		{"", "{}\n", IllegalArgument, "without a search (line 1"},
		{"", "{}\n{}\n{\"index\":\"a\"}\n", IllegalArgument, "without a search (line 3"},
		{"", "{\"indx\":\"a\"}\n{}\n", IllegalArgument, "[indx]"},
		{"", "{}\n{}\n{}\n{\"query\":{\"nope\":{}}}\n", ParsingException, "unknown query [nope] (line 4, column 11)"},
		{"", strings.Repeat("{}\n{}\n", 101), IllegalArgument, "[search.max.msearch]"},
		{"size=3", "{}\n{}\n", IllegalArgument, "[size]"},
	} {
		values, _ := url.ParseQuery(c.url)
		searches, err := ParseMultiSearch(values, []byte(c.body), DefaultLimits(), testNow)
		if e, is := err.(*Error); is && e.Type == c.kind && strings.Contains(e.Error(), c.says) {
			continue
		}
		t.Errorf("%q: %v, %d searches, want a %s that says %q", c.body, err, len(searches), c.kind, c.says)
	}
}

func TestMultiSearchOptionsOfTheURL(t *testing.T) {
	body := []byte("\n{\"size\":1}\n{\"ignore_unavailable\":false}\n{}\n")
	got, err := ParseMultiSearch(url.Values{"typed_keys": {""}, "ignore_unavailable": {"true"}}, body, DefaultLimits(), testNow)
	want := []*Search{
		standard(func(s *Search) { s.Size, s.Options = 1, Options{TypedKeys: true, IgnoreUnavailable: true} }),
		standard(func(s *Search) { s.Options = Options{TypedKeys: true} }),
	}
	if diff := cmp.Diff(want, got, diffSearch); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
