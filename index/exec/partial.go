package exec

import (
	"cmp"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/index/dsl"
)

// Hit is a record that was found.
type Hit struct {
	Topic     string
	Partition int32
	Offset    int64
	Score     float64 // NaN: the search asks for none
	Key       []byte  // sorts hits; SortValues reads it
}

// compareHits is the order of hits.
func compareHits(a, b *Hit) int {
	return cmp.Or(compareKeys(a.Key, b.Key), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// Partial is what part of a topic's chunks found.
type Partial struct {
	Total    int64 // hits that were counted
	AtLeast  bool  // there may be more, as not all was looked at
	MaxScore float64
	Hits     []Hit // the first ones, in order
	size     int   // how many Hits are wanted
	aggs     []*state
	kinds    []shown
}

// Stop says that chunks were left out which could not have changed the hits (Plan.Done): the total is a lower
// bound now.
func (p *Partial) Stop() { p.AtLeast = true }

// Merge is what several parts found together. Parts may come from different topics and chunks of one search.
// The parts must not be used any more.
func Merge(s *dsl.Search, limits Limits, parts ...*Partial) (*Partial, error) {
	all := &Partial{MaxScore: math.NaN(), kinds: unknownKinds(s.Aggs)}
	for _, p := range parts {
		all.Total += p.Total
		all.size = max(all.size, p.size)
		all.AtLeast = all.AtLeast || p.AtLeast
		all.MaxScore = maxScore(all.MaxScore, p.MaxScore)
		all.Hits = append(all.Hits, p.Hits...)
		mergeKinds(all.kinds, p.kinds)
	}
	slices.SortFunc(all.Hits, func(a, b Hit) int { return compareHits(&a, &b) })
	all.Hits = all.Hits[:min(len(all.Hits), all.size)]
	var err error
	all.aggs, err = mergeAggs(s, limits, parts)
	return all, err
}

func maxScore(a, b float64) float64 {
	switch {
	case math.IsNaN(a):
		return b
	case math.IsNaN(b):
		return a
	}
	return max(a, b)
}

// Tracked is the total as the client is to see it: no more than it asked to have counted, and whether there may be
// more. counted is false where it asked for none.
func (p *Partial) Tracked(s *dsl.Search) (total int64, atLeast, counted bool) {
	limit := s.TrackTotalHits
	switch {
	case limit == nil || *limit == dsl.TrackAll:
		return p.Total, p.AtLeast, true
	case *limit == 0:
		return 0, false, false
	case p.Total > int64(*limit):
		return int64(*limit), true, true
	}
	return p.Total, p.AtLeast, true
}
