package exec

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkRun is what a chunk of 64k log lines costs a search.
func BenchmarkRun(b *testing.B) {
	m := testMapping(b, "level:keyword,msg:text,n:long")
	const docs = 1 << 16
	c := openChunk(b, m, Info{Topic: "t", Base: 0, End: docs}, logLines(0, 0, docs), nil)
	for _, query := range []struct{ name, body string }{
		{"all", `{}`},
		{"newest", `{"sort":[{"_timestamp":"desc"}]}`},
		{"offset", `{"sort":[{"_offset":"desc"}]}`},
		{"count", `{"size":0,"track_total_hits":true}`},
		{"match", `{"query":{"match":{"msg":"request 7 took 49"}}}`},
		{"filter", `{"query":{"bool":{"filter":[{"term":{"level":"error"}},{"range":{"n":{"gte":20,"lt":70}}}]}}}`},
		{"range", `{"query":{"range":{"_timestamp":{"gte":10000000,"lt":50000000,"format":"epoch_millis"}}}}`},
		{"wildcard", `{"query":{"wildcard":{"msg":"*77"}}}`},
		{"terms", `{"size":0,"aggs":{"a":{"terms":{"field":"level"},"aggs":{"n":{"avg":{"field":"n"}}}}}}`},
		{"dates", `{"size":0,"aggs":{"a":{"date_histogram":{"field":"@timestamp","fixed_interval":"1h"}}}}`},
	} {
		s := parse(b, query.body)
		plan, err := NewPlan(s, "t", m, DefaultLimits())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%s/docs=%d", query.name, docs), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := plan.Run(context.Background(), c, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
