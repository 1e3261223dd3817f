package exec

import (
	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/schema"
)

// Info is what is known of a chunk without opening it.
type Info struct {
	Topic     string
	Partition int32
	Base, End int64 // it has the records of [Base, End) that were committed
	LogStart  int64 // records below are deleted, even if the chunk still has them

	// The least and the greatest timestamp of its records; Min > Max: no record has one. Untimed says that one
	// or more have none.
	MinTimestamp, MaxTimestamp int64
	Untimed                    bool
}

// Chunk is a chunk that is open. All of it belongs to the same moment of the index.
type Chunk struct {
	Info
	Reader  index.IndexReader
	Tokens  map[string]uint64 // terms of each text field, all records together
	Learned []schema.Field    // fields that the topic's mapping does not name (schema.Builder.Learned)
}

// share says how many of something.
type share int

const (
	someOfThem share = iota
	allOfThem
	noneOfThem
)

// times says how many records have a timestamp in i.
func (c *Info) times(i schema.Interval) share {
	if c.MinTimestamp > c.MaxTimestamp {
		return noneOfThem
	}
	first, last := schema.TimestampTerm(c.MinTimestamp), schema.TimestampTerm(c.MaxTimestamp)
	switch {
	case last < i.Lo || i.End != "" && first >= i.End:
		return noneOfThem
	case !c.Untimed && i.Contains([]byte(first)) && i.Contains([]byte(last)):
		return allOfThem
	}
	return someOfThem
}
