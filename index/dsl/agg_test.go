package dsl

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAggregations(t *testing.T) {
	berlin, _ := Zone("Europe/Berlin")
	byCount, byKey := BucketOrder{Path: []string{"_count"}, Desc: true}, BucketOrder{Path: []string{"_key"}}
	yes := Value{Kind: Boolean, Text: "true"}
	for _, c := range []struct {
		body string
		want Agg
	}{
		{`{"terms":{"field":"f"}}`, TermsAgg{Field: "f", Size: 10, MinDocCount: 1, Order: []BucketOrder{byCount, byKey}}},
		{`{"terms":{"field":"f","size":10000,"shard_size":20000,"show_term_doc_count_error":true,"execution_hint":"map","collect_mode":"breadth_first","shard_min_doc_count":0,"format":"yyyy","missing":true,"order":[{"_key":"desc"}]}}`,
			TermsAgg{Field: "f", Size: 10_000, ShardSize: 20_000, MinDocCount: 1, ShowDocCountError: true, Format: "yyyy", Missing: yes, Order: []BucketOrder{{Path: []string{"_key"}, Desc: true}}}},
		{`{"date_histogram":{"field":"f","calendar_interval":"1M","offset":"-6h","time_zone":"Europe/Berlin","hard_bounds":{"min":"2026-01","max":null},"keyed":true,"missing":"2026-01-01"}}`,
			DateHistogramAgg{Field: "f", Calendar: Month, Offset: -6 * time.Hour, TimeZone: berlin, Keyed: true, Missing: str("2026-01-01"), Order: []BucketOrder{byKey},
				HardBounds: &MillisBounds{Min: pointer(time.Date(2026, 1, 1, 0, 0, 0, 0, berlin).UnixMilli())}}},
		{`{"date_histogram":{"field":"f","fixed_interval":"90m","offset":"1d","min_doc_count":1,"extended_bounds":{"min":0},"order":{"_count":"asc"}}}`,
			DateHistogramAgg{Field: "f", Fixed: 90 * time.Minute, Offset: 24 * time.Hour, TimeZone: time.UTC, MinDocCount: 1, Order: []BucketOrder{{Path: []string{"_count"}}, byKey}}},
		{`{"histogram":{"field":"f","interval":0.5,"min_doc_count":2,"extended_bounds":{"min":1},"hard_bounds":{"min":null,"max":3},"keyed":true}}`,
			HistogramAgg{Field: "f", Interval: 0.5, MinDocCount: 2, HardBounds: &Bounds{Max: pointer(3.0)}, Keyed: true, Order: []BucketOrder{byKey}}},
		{`{"range":{"field":"f","keyed":true,"ranges":[{"from":null,"to":"5"}],"missing":1}}`,
			RangeAgg{Field: "f", Keyed: true, Ranges: []NumberRange{{To: pointer(5.0)}}, Missing: num("1")}},
		{`{"date_range":{"field":"f","keyed":true,"time_zone":"Europe/Berlin","ranges":[{"key":"k","from":"2026-01-01","to":"now/d"}]}}`,
			DateRangeAgg{Field: "f", Keyed: true, TimeZone: berlin, Ranges: []MillisRange{{Key: "k", From: pointer(time.Date(2026, 1, 1, 0, 0, 0, 0, berlin).UnixMilli()),
				To: pointer(time.Date(2026, 3, 14, 0, 0, 0, 0, berlin).UnixMilli())}}}},
		{`{"filter":{"term":{"a":true}}}`, FilterAgg{Term{Field: "a", Value: yes}}},
		{`{"filters":{"filters":[{"match_all":{}},{"term":{"a":true}}],"other_bucket":true}}`,
			FiltersAgg{Filters: []NamedFilter{{Query: MatchAll{}}, {Query: Term{Field: "a", Value: yes}}}, Other: true, OtherKey: "_other_"}},
		{`{"filters":{"filters":{"x":{"match_all":{}}},"keyed":false}}`, FiltersAgg{Filters: []NamedFilter{{"x", MatchAll{}}}, OtherKey: "_other_"}},
		{`{"value_count":{"field":"f"}}`, MetricAgg{Op: ValueCount, Field: "f"}},
		{`{"sum":{"field":"f","missing":"3","format":"epoch_second"}}`, MetricAgg{Op: Sum, Field: "f", Missing: str("3"), Format: "epoch_second"}},
		{`{"cardinality":{"field":"f","precision_threshold":1000000,"rehash":true,"execution_hint":"direct"}}`, CardinalityAgg{Field: "f", PrecisionThreshold: 40_000}},
		{`{"percentiles":{"field":"f","percents":[99,50],"keyed":false,"tdigest":{"compression":20,"execution_hint":"high_accuracy"}}}`,
			PercentilesAgg{Field: "f", Percents: []float64{50, 99}, Compression: 20}},
	} {
		s, err := ParseSearch([]byte(`{"aggs":{"a":`+c.body+`}}`), DefaultLimits(), testNow)
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		if diff := cmp.Diff(c.want, s.Aggs[0].Agg, diffSearch); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.body, diff)
		}
	}
}
