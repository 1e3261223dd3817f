package exec

import (
	"fmt"

	"github.com/chronik-stream/chronik/index/dsl"
)

// Limits bounds what one search may cost a chunk. An error names the limit by its setting's name.
type Limits struct {
	MaxExpansions int // search.max.expansions: terms that one prefix, wildcard, regexp, fuzzy or range stands for
	MaxLeaves     int // search.max.leaf.terms: terms read for all of a search, per chunk
	MaxDictionary int // search.max.leading.wildcard.terms: a pattern without a fixed beginning looks at all of these
	MaxBuckets    int // search.max.buckets: of one answer
}

// DefaultLimits are the documented ones.
func DefaultLimits() Limits {
	return Limits{MaxExpansions: 1024, MaxLeaves: 8192, MaxDictionary: 1_000_000, MaxBuckets: 10_000}
}

func refusef(kind, format string, args ...any) error {
	return &dsl.Error{Type: kind, Reason: fmt.Sprintf(format, args...)}
}
