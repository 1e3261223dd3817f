package record

import "math"

// skim is what one walk over the records of a batch tells, without handing them out. It is what the
// produce path does to every uncompressed batch, so it allocates nothing and reads no key or value.
type skim struct {
	dense    bool  // offset deltas are 0, 1, 2, …
	nullKeys bool  // there is one at least
	minDelta int64 // of timestamps; among records that have one
	maxDelta int64
	timed    bool // whether any record has a timestamp
	unset    int64
}

// skimRecords walks count records, which must fill p exactly. A record has no timestamp if its delta
// is unset: what leads from the batch's base time to NoTimestamp.
func skimRecords(p []byte, count int32, unset int64) (s skim, ok bool) {
	s = skim{dense: true, unset: unset}
	for i := range int(count) {
		n, size := varint(p)
		if size == 0 || size > maxInt32Size || n < 0 || n > int64(len(p)-size) {
			return s, false
		}
		if !s.record(p[size:size+int(n)], i) {
			return s, false
		}
		p = p[size+int(n):]
	}
	return s, len(p) == 0
}

// record takes the fields of one record's body, the i-th.
func (s *skim) record(p []byte, i int) bool {
	if len(p) == 0 {
		return false
	}
	at := 1 // attributes
	time, n := varint(p[at:])
	at += n
	delta, m := varint(p[at:])
	at += m
	key, k := varint(p[at:])
	at += k
	if n == 0 || m == 0 || k == 0 || max(m, k) > maxInt32Size || key < -1 || key > int64(len(p)-at) {
		return false
	}
	at += int(max(key, 0))
	value, v := varint(p[at:])
	at += v
	if v == 0 || v > maxInt32Size || value < -1 || value > int64(len(p)-at) {
		return false
	}
	at += int(max(value, 0))
	if at+1 != len(p) || p[at] != 0 { // nearly always the last byte says "no headers"
		if !skimHeaders(p[at:]) {
			return false
		}
	}
	if delta != int64(i) {
		s.dense = false
		if delta < math.MinInt32 || delta > math.MaxInt32 {
			return false
		}
	}
	s.nullKeys = s.nullKeys || key < 0
	s.addTime(time)
	return true
}

func (s *skim) addTime(delta int64) {
	switch {
	case delta == s.unset:
	case !s.timed:
		s.timed, s.minDelta, s.maxDelta = true, delta, delta
	case delta < s.minDelta:
		s.minDelta = delta
	case delta > s.maxDelta:
		s.maxDelta = delta
	}
}

func skimHeaders(p []byte) bool {
	c := cursor{b: p}
	n := c.int()
	if n < 0 || n > len(c.b)/2 {
		return false
	}
	for range n {
		c.nullable(0)
		c.nullable(-1)
		if c.bad {
			return false
		}
	}
	return !c.bad && len(c.b) == 0
}
