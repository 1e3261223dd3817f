package exec

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/schema"
)

// checkEvery is after how many hits a deadline is looked at.
const checkEvery = 1024

// PanicError is a panic while a chunk was searched: it is damaged, or we are wrong about it.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in an index chunk: %v", e.Value) }

// Run searches one chunk. stats is what NeedsStatistics asks for; nil: the chunk scores by its own. It ends early
// with ctx, and then, as after any error, there is no result.
func (p *Plan) Run(ctx context.Context, c *Chunk, stats *Statistics) (found *Partial, err error) {
	defer recovered(&err)
	r, err := p.newRun(ctx, c)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if r.docs == 0 {
		return r.finish()
	}
	if p.scores() {
		if stats == nil {
			if stats, err = r.statistics(ctx, r.program.query, c.Tokens); err != nil {
				return nil, err
			}
		}
		r.stats = stats
	}
	for _, stretch := range r.windows() {
		if err := r.search(r.within(stretch)); err != nil {
			return nil, err
		}
		if stretch != nil && len(r.top) == r.size {
			r.found.AtLeast = true
			break
		}
	}
	return r.finish()
}

// search opens n and collects its documents, and forgets those of a search before.
func (r *run) search(n node) error {
	r.top, r.leaves, r.found.Total, r.found.MaxScore = r.top[:0], 0, 0, math.NaN()
	if err := r.open(n); err != nil {
		return err
	}
	if r.justCounts(n) {
		r.found.Total = int64(r.docs)
		return nil
	}
	return r.collect()
}

// justCounts says that all documents of the chunk are to be counted, and nothing else is asked.
func (r *run) justCounts(n node) bool {
	_, all := n.(allNode)
	return all && !r.bounded() && r.size == 0 && len(r.aggs) == 0 && r.post == nil && r.plan.search.MinScore == nil
}

// bounded says that not all records of the chunk are seen.
func (r *run) bounded() bool {
	from, to := r.plan.visible(&r.chunk.Info)
	return from > r.chunk.Base || to < r.chunk.End
}

// Nothing is what no chunk at all has to say: without it, an answer from no chunks would not know dates from numbers.
func (p *Plan) Nothing() *Partial {
	return &Partial{MaxScore: math.NaN(), size: p.window(), aggs: newStates(p.program.aggs), kinds: shownKinds(p.program.aggs)}
}

// Statistics counts in one chunk what scores depend on.
func (p *Plan) Statistics(ctx context.Context, c *Chunk) (stats *Statistics, err error) {
	defer recovered(&err)
	r, err := p.newRun(ctx, c)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if r.docs == 0 {
		return NewStatistics(), nil
	}
	return r.statistics(ctx, r.program.query, c.Tokens)
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{v, debug.Stack()}
	}
}

// run is the state of a search in one chunk.
type run struct {
	opener
	plan    *Plan
	program *program
	size    int

	query  cursor
	post   cursor    // nil: none
	sorts  []*column // by sort key; nil: no column is needed
	aggs   []collector
	found  Partial
	states []*state
	top    hitHeap
	key    []byte

	bucketsLeft int // that may still be made

	numbered bool
	number   struct { // the offset read last
		doc    uint64
		offset int64
		id     [8]byte
	}
}

func (p *Plan) newRun(ctx context.Context, c *Chunk) (*run, error) {
	program, err := p.programFor(c)
	if err != nil {
		return nil, err
	}
	docs, err := c.Reader.DocCount()
	if err != nil {
		return nil, err
	}
	r := &run{plan: p, program: program, size: p.window(), bucketsLeft: liveBuckets * p.limits.MaxBuckets}
	r.opener = opener{ctx: ctx, chunk: c, limits: p.limits, docs: docs}
	r.found = Partial{MaxScore: math.NaN(), size: r.size, kinds: shownKinds(program.aggs)}
	r.states = newStates(program.aggs)
	return r, nil
}

func (r *run) open(n node) (err error) {
	if r.query, err = r.opener.open(n, r.plan.scores(), maybe); err != nil {
		return err
	}
	if r.bounded() {
		from, to := r.plan.visible(&r.chunk.Info)
		r.query = &checked{cursor: r.query, accept: func(doc uint64) (bool, error) {
			offset, err := r.offset(doc)
			return offset >= from && offset < to, err
		}}
	}
	if r.program.post != nil {
		if r.post, err = r.opener.open(r.program.post, false, maybe); err != nil {
			return err
		}
	}
	r.sorts = make([]*column, len(r.program.sorts))
	for i, k := range r.program.sorts {
		if k.known && r.size > 0 {
			if r.sorts[i], err = r.column(k.field); err != nil {
				return err
			}
		}
	}
	r.aggs, err = r.collectors(r.program.aggs)
	return err
}

// offset is that of a document. The last one is remembered: it may be asked for by the bounds, the sort key and
// the hit.
func (r *run) offset(doc uint64) (int64, error) {
	if r.numbered && r.number.doc == doc {
		return r.number.offset, nil
	}
	id, err := r.chunk.Reader.ExternalID(index.NewIndexInternalID(r.number.id[:], doc))
	if err != nil {
		return 0, err
	}
	offset, ok := schema.ParseOffset([]byte(id))
	if !ok {
		return 0, fmt.Errorf("document %d of the index has the id %q, which is no offset", doc, id)
	}
	r.numbered, r.number.doc, r.number.offset = true, doc, offset
	return offset, nil
}

// collect walks all documents that match.
func (r *run) collect() error {
	scores := r.plan.scores()
	min := r.plan.search.MinScore
	var doc uint64
	for seen := 1; ; seen++ {
		var err error
		if doc, err = r.query.seek(doc); err != nil || doc == end {
			return err
		}
		if seen%checkEvery == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		score := math.NaN()
		if scores {
			score = r.query.score()
		}
		if min == nil || score >= *min {
			if err := r.hit(doc, score); err != nil {
				return err
			}
		}
		if r.enough() {
			r.found.AtLeast = true
			return nil
		}
		doc++
	}
}

// enough says that nothing is left to find: there are no hits to show, and counting has come far enough.
func (r *run) enough() bool {
	limit := r.plan.search.TrackTotalHits
	return r.size == 0 && len(r.aggs) == 0 && limit != nil && r.plan.counted(r.found.Total)
}

// hit takes one document that matches the query.
func (r *run) hit(doc uint64, score float64) error {
	for i, agg := range r.aggs {
		if err := agg.collect(doc, r.states[i]); err != nil {
			return err
		}
	}
	if r.post != nil {
		at, err := r.post.seek(doc)
		if err != nil || at != doc {
			return err
		}
	}
	r.found.Total++
	r.found.MaxScore = maxScore(r.found.MaxScore, score)
	if r.size == 0 {
		return nil
	}
	if err := r.sortKey(doc, score); err != nil {
		return err
	}
	if r.program.after != nil && compareKeys(r.key, r.program.after) <= 0 {
		return nil
	}
	full := len(r.top) == r.size
	if full && compareKeys(r.key, r.top[0].Key) > 0 {
		return nil
	}
	return r.keep(doc, score, full)
}

// keep takes a hit among the first ones, in place of the last of them if there are enough.
func (r *run) keep(doc uint64, score float64, full bool) error {
	offset, err := r.offset(doc)
	if err != nil {
		return err
	}
	h := Hit{Topic: r.chunk.Topic, Partition: r.chunk.Partition, Offset: offset, Score: score, Key: r.key}
	if !full {
		h.Key = slices.Clone(r.key)
		heap.Push(&r.top, h)
		return nil
	}
	if compareHits(&h, &r.top[0]) < 0 {
		h.Key = append(r.top[0].Key[:0], r.key...)
		r.top[0] = h
		heap.Fix(&r.top, 0)
	}
	return nil
}

// sortKey makes the key of a document.
func (r *run) sortKey(doc uint64, score float64) error {
	r.key = r.key[:0]
	for i := range r.program.sorts {
		k := &r.program.sorts[i]
		switch {
		case k.score:
			r.key = k.appendScore(r.key, score)
			continue
		case k.offset:
			offset, err := r.offset(doc)
			if err != nil {
				return err
			}
			r.key = k.appendOffset(r.key, offset)
			continue
		case r.sorts[i] == nil:
			r.key = k.appendMissing(r.key)
			continue
		}
		values, err := r.sorts[i].terms(doc)
		if err != nil {
			return err
		}
		term := least(values)
		if k.desc {
			term = greatest(values)
		}
		if term == nil {
			r.key = k.appendMissing(r.key)
			continue
		}
		r.key = k.appendTerm(r.key, term)
	}
	return nil
}

func (r *run) finish() (*Partial, error) {
	r.found.Hits = r.top
	slices.SortFunc(r.found.Hits, func(a, b Hit) int { return compareHits(&a, &b) })
	r.found.aggs = r.states
	err := truncateAggs(r.plan.search.Aggs, r.limits, r.states)
	return &r.found, err
}

// hitHeap has the last of the hits on top.
type hitHeap []Hit

func (h hitHeap) Len() int           { return len(h) }
func (h hitHeap) Less(i, j int) bool { return compareHits(&h[i], &h[j]) > 0 }
func (h hitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *hitHeap) Push(x any)        { *h = append(*h, x.(Hit)) }
func (h *hitHeap) Pop() any          { panic("hits are never taken one by one") }
