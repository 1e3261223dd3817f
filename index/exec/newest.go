package exec

import (
	"math"
	"strconv"

	"github.com/chronik-stream/chronik/index/schema"
)

// windowGrowth is how many times longer each stretch is that a search in the order of the log looks at.
const windowGrowth = 16

// maxWindow is how many records by offset are looked at one by one.
const maxWindow = 1024

// windows are the stretches of a chunk to look at one after the other, until one of them has enough hits, where a
// search wants the first ones by time or offset and nothing else of the chunk. All its records come last, as a nil node.
//
//	size=10, newest first, 64k records in an hour:   the last 2 s, 36 s, 10 min, all
//
// What a stretch holds sorts before all that it does not, so that enough is enough.
func (r *run) windows() []node {
	if r.size > 0 && len(r.program.aggs) == 0 && !r.plan.NeedsVerify() && r.plan.counted(0) {
		switch k := r.program.sorts[0]; {
		case k.offset:
			return append(r.offsetWindows(k.desc), nil)
		case k.field.Kind == schema.Timestamp && k.missing == nil && !(k.missingFirst && r.chunk.Untimed):
			return append(r.timeWindows(k), nil)
		}
	}
	return []node{nil}
}

func (r *run) timeWindows(k sortKey) (stretches []node) {
	first, last, ok := r.behind(r.chunk.MinTimestamp, r.chunk.MaxTimestamp, k.desc)
	if !ok || first >= last {
		return nil
	}
	length := 4 * float64(r.size) * float64(r.chunk.MaxTimestamp-r.chunk.MinTimestamp) / float64(r.docs)
	for ; length < float64(last-first)/4; length *= windowGrowth {
		from, to := int64(math.MinInt64), first+int64(length)
		if k.desc {
			from, to = last-int64(length), math.MaxInt64
		}
		stretches = append(stretches, rangeNode{k.field, k.field.DateRange(from, to)})
	}
	return stretches
}

func (r *run) offsetWindows(desc bool) (stretches []node) {
	from, to := r.plan.visible(&r.chunk.Info)
	first, last, ok := r.behind(from, to-1, desc)
	for length := int64(4 * r.size); ok && length <= maxWindow && length < (last-first)/4; length *= windowGrowth {
		start := first
		if desc {
			start = last - length
		}
		offsets := make([]int64, length+1)
		for i := range offsets {
			offsets[i] = start + int64(i)
		}
		stretches = append(stretches, idsNode{map[int32][]int64{r.chunk.Partition: offsets}})
	}
	return stretches
}

// behind is what of [first, last] is left behind the hit that search_after names. ok is false where that names
// something else, like a date as text.
func (r *run) behind(first, last int64, desc bool) (from, to int64, ok bool) {
	after := r.plan.search.SearchAfter
	if len(after) == 0 {
		return first, last, true
	}
	at, err := strconv.ParseInt(after[0].Text, 10, 64)
	if desc {
		return first, min(last, at), err == nil
	}
	return max(first, at), last, err == nil
}

// within is the documents of the query in a stretch of time.
func (r *run) within(stretch node) node {
	if stretch == nil {
		return r.program.query
	}
	if _, all := r.program.query.(allNode); all {
		return stretch
	}
	return boolNode{must: []node{r.program.query}, filter: []node{stretch}}
}
