package schema

// The second field of a Ranged one holds, of each term, its first digits at two or three levels. The digit in
// front says how many follow, so that the prefixes of one level stand side by side in the dictionary:
//
//	latency_ms     800000000000012c                             300 ms
//	latency_ms#r   e80000000000001  c800000000000  a8000000000  buckets of 256, 65,536 and 16.8M
//
// How many low digits each level drops, the finest first. The ratio of 256 between two levels bounds a cover
// to 255 prefixes at each end of a level. The finest level decides how many documents a query must look at
// one by one at the ends of its range.
var (
	longLevels   = []int{2, 4, 6}
	dateLevels   = []int{3, 5, 7} // 4.1 s, 17.5 min, 3.1 days
	doubleLevels = []int{11, 13}  // a 256th of an octave, and an octave: the powers of two
)

func (f Field) levels() []int {
	switch f.Kind {
	case Long:
		return longLevels
	case Double:
		return doubleLevels
	case Date, Timestamp:
		return dateLevels
	}
	return nil
}

func (f Field) digits() int {
	if f.Kind == Timestamp {
		return timestampDigits
	}
	return wideDigits
}

// Interval is the terms t with Lo <= t < End. An empty End is no bound.
type Interval struct{ Lo, End string }

// Empty says that no term lies in i.
func (i Interval) Empty() bool { return i.End != "" && i.Lo >= i.End }

// Contains says whether term lies in i.
func (i Interval) Contains(term []byte) bool {
	return string(term) >= i.Lo && (i.End == "" || string(term) < i.End)
}

// Span is the terms from First to Last of RangeName, both included. All of them have the same length.
type Span struct{ First, Last string }

// Cover says which documents of a Ranged field have a term in an interval: those with any term of Whole in
// RangeName, and of those with a term of Edges there, the ones that have a doc value in the interval. Edges are at
// most two. Between First and Last only the dictionary knows which terms exist; a range without a bound spans
// many that do not.
type Cover struct {
	Whole []Span
	Edges []string
}

// Cover covers i, which Range made, as coarsely as the levels allow. f is Ranged.
func (f Field) Cover(i Interval) Cover {
	lo, hi, ok := f.bounds(i)
	if !ok {
		return Cover{}
	}
	levels, digits := f.levels(), f.digits()
	var c Cover
	size := uint64(1) << (4 * levels[0])
	first, last := lo/size, hi/size
	if lo%size != 0 {
		c.Edges = append(c.Edges, prefixTerm(first, digits-levels[0]))
		first++
	}
	// From here on first may pass last by one or two: then no bucket is whole.
	if hi%size != size-1 {
		if edge := prefixTerm(last, digits-levels[0]); len(c.Edges) == 0 || c.Edges[0] != edge {
			c.Edges = append(c.Edges, edge)
		}
		last--
	}
	c.Whole = coverWhole(int64(first), int64(last), levels, digits)
	return c
}

// coverWhole covers the buckets from first to last of the finest level. The numbers of buckets fit an int64,
// as every level drops more than a bit.
func coverWhole(first, last int64, levels []int, digits int) (spans []Span) {
	for n, drop := range levels {
		span := func(from, to int64) {
			if from <= to {
				spans = append(spans, Span{prefixTerm(uint64(from), digits-drop), prefixTerm(uint64(to), digits-drop)})
			}
		}
		if n+1 == len(levels) {
			span(first, last)
			break
		}
		ratio := int64(1) << (4 * (levels[n+1] - drop))
		up, down := (first+ratio-1)/ratio, (last+1)/ratio-1 // the whole buckets one level up
		if up > down {
			span(first, last)
			break
		}
		span(first, up*ratio-1)
		span((down+1)*ratio, last)
		first, last = up, down
	}
	return spans
}

// bounds are the numbers of i's first and last possible term.
func (f Field) bounds(i Interval) (lo, hi uint64, ok bool) {
	if i.Empty() {
		return 0, 0, false
	}
	digits := f.digits()
	hi = 1<<(4*digits-1)<<1 - 1
	if i.Lo != "" {
		if lo, ok = parseHex([]byte(i.Lo), digits); !ok {
			return 0, 0, false
		}
	}
	if i.End != "" {
		if hi, ok = parseHex([]byte(i.End), digits); !ok {
			return 0, 0, false
		}
		hi--
	}
	return lo, hi, i.End == "" || hi+1 != 0
}

func prefixTerm(bucket uint64, digits int) string {
	return string(appendPrefix(make([]byte, 0, wideDigits), bucket, digits))
}

func appendPrefix(dst []byte, bucket uint64, digits int) []byte {
	return appendHex(append(dst, lowerHex[digits]), bucket, digits)
}
