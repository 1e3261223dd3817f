package chunk

import (
	"fmt"
	"testing"

	"github.com/chronik-stream/chronik/index/schema"
)

// What a record costs until it can be searched, sealing left out.
func BenchmarkIndex(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			o := testOptions(b, b.TempDir())
			o.RollDocs, o.MaxDocs = 0, 0
			s := open(b, o)
			records := make([]schema.Record, size)
			b.ReportAllocs()
			for b.Loop() {
				next := s.Next()
				for i := range records {
					records[i] = (&modelLog{}).record(next + int64(i))
				}
				mustIndex(b, s, Batch{From: next, To: next + int64(size), Records: records})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/record")
		})
	}
}

// What a query pays for a chunk before it searches it.
func BenchmarkAcquireAndOpen(b *testing.B) {
	for _, maxOpen := range []int{256, 1} {
		b.Run(fmt.Sprintf("maxopen=%d", maxOpen), func(b *testing.B) {
			o := testOptions(b, b.TempDir())
			o.Pool = NewPool(maxOpen)
			b.Cleanup(o.Pool.Close)
			s := open(b, o)
			(&modelLog{end: 300, border: 100}).catchUp(b, s)
			sealAll(b, s)
			for b.Loop() {
				v, err := s.Acquire(0, 300)
				if err != nil {
					b.Fatal(err)
				}
				for _, p := range v.Parts {
					r, err := p.Open(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					r.Close()
				}
				v.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*3), "ns/chunk")
		})
	}
}
