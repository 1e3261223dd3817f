package exec

import (
	"errors"
	"slices"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// maxVerified is how many hits of a search are collected for the records to decide, where the index cannot.
const maxVerified = 1000

// Plan is a search as it is run on the chunks of one topic.
type Plan struct {
	search  *dsl.Search
	mapping *schema.Mapping
	topic   string
	limits  Limits
	program *program // for chunks that learned no fields of their own
	marks   []marking
}

// program is the plan for one mapping.
type program struct {
	mapping *schema.Mapping
	query   node
	post    node // nil: none
	sorts   []sortKey
	after   []byte // hits must sort behind it; nil: all do
	aggs    []aggPlan
}

// NewPlan checks a search against what the records of a topic look like. mapping should know the fields that the
// topic's chunks learned. The error is a *dsl.Error.
func NewPlan(search *dsl.Search, topic string, mapping *schema.Mapping, limits Limits) (*Plan, error) {
	p := &Plan{search: search, mapping: mapping, topic: topic, limits: limits}
	err := p.resolve()
	var refusal *dsl.Error
	if errors.As(err, &refusal) {
		return nil, refusal
	}
	return p, err
}

func (p *Plan) resolve() (err error) {
	if p.program, err = p.compile(p.mapping, false); err != nil {
		return err
	}
	if len(p.search.Aggs) > 0 && (unsure(p.program.query) || unsureAggs(p.program.aggs)) {
		return refusef(dsl.IllegalArgument, "a phrase on a text field without positions can only be decided hit by hit, so that it "+
			"cannot be aggregated: give the field positions=true in %s", schema.KeyFields)
	}
	p.marks, err = p.markings()
	return err
}

// compile makes the program for the mapping of the topic, or of one chunk.
func (p *Plan) compile(mapping *schema.Mapping, chunk bool) (*program, error) {
	c := &compiler{mapping: mapping, search: p.search, limits: p.limits, chunk: chunk}
	g := &program{mapping: mapping}
	var err error
	if g.query, err = c.query(p.search.Query); err != nil {
		return nil, err
	}
	if p.search.PostFilter != nil {
		if g.post, err = c.query(p.search.PostFilter); err != nil {
			return nil, err
		}
	}
	if g.sorts, err = c.sorts(); err != nil {
		return nil, err
	}
	if g.after, err = afterKey(g.sorts, p.search.SearchAfter); err != nil {
		return nil, err
	}
	g.aggs, err = c.aggs(p.search.Aggs)
	return g, err
}

// programFor is the program for a chunk, which may have learned fields that the plan does not know, or not as it
// does.
func (p *Plan) programFor(c *Chunk) (*program, error) {
	if len(c.Learned) == 0 {
		return p.program, nil
	}
	return p.compile(p.mapping.With(c.Learned), true)
}

// scores says that hits need a score.
func (p *Plan) scores() bool {
	s := p.search
	byScore := s.Size > 0 && (len(s.Sort) == 0 || slices.ContainsFunc(s.Sort, func(k dsl.Sort) bool { return k.Field == scoreKey }))
	return byScore || s.TrackScores || s.MinScore != nil
}

// NeedsStatistics says that Run wants the Statistics of all chunks of the answer, merged.
func (p *Plan) NeedsStatistics() bool {
	return p.scores() && !p.search.Options.LocalStatistics && len(weighedTerms(p.program.query)) > 0
}

// NeedsVerify says that the index cannot decide all hits, and that those it gives must be checked (Verifier): up to
// 1,000 of them, more than the page, come in order. Total counts those that may match, and scores count the phrases
// of optional clauses as if they did.
func (p *Plan) NeedsVerify() bool {
	return unsure(p.program.query) || p.program.post != nil && unsure(p.program.post)
}

// window is how many hits a chunk gives.
func (p *Plan) window() int { return window(p.search, p.NeedsVerify()) }

func window(s *dsl.Search, verify bool) int {
	if s.Size == 0 {
		return 0
	}
	if verify {
		return max(s.From+s.Size, maxVerified)
	}
	return s.From + s.Size
}

// visible are the offsets of a chunk that a search sees.
func (p *Plan) visible(c *Info) (from, to int64) {
	from, to = max(c.Base, c.LogStart), c.End
	for _, m := range p.search.MaxOffset {
		if m.Partition == c.Partition && (m.Topic == "" || m.Topic == p.topic) {
			to = min(to, m.Offset)
		}
	}
	return from, max(from, to)
}

// Prune says that a chunk has no hit, which its offsets and timestamps tell.
func (p *Plan) Prune(c Info) bool {
	if p.search.Partitions != nil && !slices.Contains(p.search.Partitions, c.Partition) {
		return true
	}
	from, to := p.visible(&c)
	if from >= to {
		return true
	}
	return excludes(p.program.query, &c)
}

// excludes says that no record of the chunk matches n.
func excludes(n node, c *Info) bool {
	excluded := func(n node) bool { return excludes(n, c) }
	switch n := n.(type) {
	case noneNode:
		return true
	case rangeNode:
		return n.field.Kind == schema.Timestamp && c.times(n.interval) == noneOfThem
	case idsNode:
		offsets := n.offsets[c.Partition]
		at, _ := slices.BinarySearch(offsets, c.Base)
		return at == len(offsets) || offsets[at] >= c.End
	case constantNode:
		return excluded(n.node)
	case boostNode:
		return excluded(n.node)
	case disMaxNode:
		return !slices.ContainsFunc(n.nodes, func(n node) bool { return !excluded(n) })
	case boolNode:
		left := 0
		for _, s := range n.should {
			if !excluded(s) {
				left++
			}
		}
		return left < n.atLeast || slices.ContainsFunc(n.must, excluded) || slices.ContainsFunc(n.filter, excluded)
	}
	return false
}

// Done says that no record of the chunk next can change the answer, found being that of chunks so far. It is about
// next alone: whoever visits chunks in the order of the sort, say from the newest to the oldest, leaves out those
// of which it holds, and says so (Partial.Stop).
func (p *Plan) Done(found *Partial, next Info) bool {
	if len(p.search.Aggs) > 0 || p.NeedsVerify() || p.search.MinScore != nil || !p.counted(found.Total) {
		return false
	}
	size := p.window()
	if len(found.Hits) < size {
		return false
	}
	if size == 0 {
		return p.search.TrackTotalHits != nil // without hits the total is all there is to say
	}
	best, ok := p.bestKey(next)
	return ok && compareKeys(found.Hits[size-1].Key[:min(len(best), len(found.Hits[size-1].Key))], best) < 0
}

// counted says that the total need not be counted any further.
func (p *Plan) counted(total int64) bool {
	limit := p.search.TrackTotalHits
	return limit == nil || *limit == 0 || *limit != dsl.TrackAll && total > int64(*limit)
}

// bestKey is the beginning of a sort key that no record of the chunk sorts before; ok is false where nothing is
// known.
func (p *Plan) bestKey(c Info) (key []byte, ok bool) {
	if len(p.program.sorts) == 0 {
		return nil, false
	}
	s := p.program.sorts[0]
	switch {
	case s.offset:
		from, to := p.visible(&c)
		at := from
		if s.desc {
			at = to - 1
		}
		return s.appendOffset(nil, at), true
	case s.field.Kind != schema.Timestamp || s.missing != nil || s.missingFirst && c.Untimed:
		return nil, false
	case c.MinTimestamp > c.MaxTimestamp:
		return s.appendMissing(nil), true
	case s.desc:
		return s.appendTerm(nil, []byte(schema.TimestampTerm(c.MaxTimestamp))), true
	}
	return s.appendTerm(nil, []byte(schema.TimestampTerm(c.MinTimestamp))), true
}
