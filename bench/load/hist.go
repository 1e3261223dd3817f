package load

import (
	"math/bits"
	"time"
)

// Buckets of a Hist: values below 2^subBits have one each, above that every power of two is cut into
// 2^subBits equal ones, so a bucket is never wider than 1/128 of what it holds.
const (
	subBits    = 7
	subBuckets = 1 << subBits
	histSize   = (64 - subBits) * subBuckets
)

// Hist counts durations in logarithmic buckets. A quantile is at most 0.8 % above the exact one; the
// maximum is exact. The zero Hist is empty. It is not safe for concurrent use: each goroutine has its
// own, and they are merged at the end.
type Hist struct {
	counts [histSize]uint64
	n      uint64
	max    int64
}

// Record counts d; a negative one as 0.
func (h *Hist) Record(d time.Duration) {
	v := max(int64(d), 0)
	h.counts[bucketOf(uint64(v))]++
	h.n++
	h.max = max(h.max, v)
}

// bucketOf keeps the subBits+1 leading bits of v: the exponent chooses the row, the rest the column.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*subBuckets + int(v>>shift)
}

// upperOf is the largest value in a bucket.
func upperOf(bucket int) int64 {
	if bucket < subBuckets {
		return int64(bucket)
	}
	shift := bucket/subBuckets - 1
	mantissa := uint64(bucket - shift*subBuckets)
	return int64((mantissa+1)<<shift - 1)
}

// Merge adds all that other counted.
func (h *Hist) Merge(other *Hist) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// Count is how many durations were recorded.
func (h *Hist) Count() uint64 { return h.n }

// Max is the largest duration recorded, exactly; 0 if there is none.
func (h *Hist) Max() time.Duration { return time.Duration(h.max) }

// Quantile returns a duration that at least the share q of all recorded ones, with q in (0, 1], does
// not exceed; 0 if there is none.
func (h *Hist) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.n))
	if float64(rank) < q*float64(h.n) {
		rank++
	}
	rank = max(rank, 1)
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return time.Duration(min(upperOf(i), h.max))
		}
	}
	return time.Duration(h.max)
}
