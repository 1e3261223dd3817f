package load

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A histogram and a sorted list of the same durations agree: on the maximum exactly, on every quantile
// within the width of a bucket, however the durations were spread over histograms that were merged.
func TestHistAgreesWithSortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		shift := rapid.IntRange(0, 62)
		var parts [3]Hist
		var all []int64
		for range rapid.IntRange(1, 300).Draw(rt, "n") {
			v := rapid.Int64Range(0, 1<<shift.Draw(rt, "magnitude")).Draw(rt, "duration")
			all = append(all, v)
			parts[rapid.IntRange(0, 2).Draw(rt, "part")].Record(time.Duration(v))
		}
		slices.Sort(all)
		var h Hist
		for i := range parts {
			h.Merge(&parts[i])
		}
		if h.Count() != uint64(len(all)) || int64(h.Max()) != all[len(all)-1] {
			rt.Fatalf("count %d, max %d; want %d, %d", h.Count(), h.Max(), len(all), all[len(all)-1])
		}
		rank := rapid.IntRange(1, len(all)).Draw(rt, "rank")
		want := all[rank-1]
		// Half a rank below, so that rounding in the division cannot ask for the next one.
		got := int64(h.Quantile((float64(rank) - 0.5) / float64(len(all))))
		if got < want || got-want > want/subBuckets {
			rt.Fatalf("rank %d of %d: %d, want %d to %d", rank, len(all), got, want, want+want/subBuckets)
		}
	})
}

func TestHistBucketsTile(t *testing.T) {
	for b := range histSize - 1 {
		upper := upperOf(b)
		if got := bucketOf(uint64(upper)); got != b {
			t.Fatalf("the upper end %d of bucket %d lies in bucket %d", upper, b, got)
		}
		if got := bucketOf(uint64(upper) + 1); got != b+1 {
			t.Fatalf("%d, one past bucket %d, lies in bucket %d", upper+1, b, got)
		}
	}
}

func TestHistOfNothing(t *testing.T) {
	var h Hist
	if h.Quantile(0.99) != 0 || h.Max() != 0 {
		t.Errorf("p99 %v, max %v; want 0, 0", h.Quantile(0.99), h.Max())
	}
	h.Record(-time.Second)
	if h.Count() != 1 || h.Max() != 0 {
		t.Errorf("after a negative duration: count %d, max %v; want 1, 0", h.Count(), h.Max())
	}
}

func BenchmarkHistRecord(b *testing.B) {
	var h Hist
	for i := range b.N {
		h.Record(time.Duration(i & 0xfffff))
	}
}
