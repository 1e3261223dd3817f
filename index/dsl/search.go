package dsl

import (
	"math"
	"time"
)

// Search is a whole request: what the body and the URL, or a pair of lines of _msearch, ask for.
type Search struct {
	Now     time.Time // what "now" means in every date of this request, on every node
	Options Options

	Query      Query // never nil
	PostFilter Query // or nil: drops hits after the aggregations have seen them
	MinScore   *float64
	Aggs       []NamedAgg

	From, Size  int
	Sort        []Sort  // empty: best score first
	SearchAfter []Value // one per Sort key (or the score alone without Sort), or none; None stands for null
	TrackScores bool    // score hits even where Sort does not need it

	// TrackTotalHits is up to how many hits are counted exactly: 0 none, TrackAll all of them. Nil: the
	// client leaves it to us.
	TrackTotalHits *int

	Source         Source
	Fields         []FieldFormat
	DocvalueFields []FieldFormat
	Highlight      []Highlight
	Version        bool // show _version of hits

	Timeout    time.Duration
	Partitions []int32 // search only these, of every topic; nil: all

	MinOffset         []PartitionOffset // answer only after the record at this offset is visible
	MaxOffset         []PartitionOffset // see only the records before this offset: the snapshot of an earlier page
	WaitHighWatermark bool              // answer only after the high watermarks at arrival are visible
	WaitTimeout       time.Duration     // for MinOffset and WaitHighWatermark; then the answer is partial
}

// TrackAll as TrackTotalHits counts every hit.
const TrackAll = math.MaxInt

// Options are what a client says beside the search itself: in the URL, or in a header line of _msearch.
type Options struct {
	Indices           []string // header line only: names, patterns, exclusions. Empty: those of the URL
	IgnoreUnavailable bool     // a named topic that is missing is skipped
	ForbidNoIndices   bool     // a pattern without topics is an error (allow_no_indices=false)
	ForbidPartial     bool     // allow_partial_search_results=false: 503 rather than an incomplete answer
	Preference        string   // the same string goes to the same replicas
	Routing           []string // keys: search only the partitions they belong to
	LocalStatistics   bool     // search_type=query_then_fetch: skip the gathering of term statistics
	TypedKeys         bool     // answer: aggregation names carry their type, as in sterms#level
	TotalHitsAsInt    bool     // answer: hits.total is a number
	Pretty            bool     // answer: indented JSON
}

// Sort is one sort key.
type Sort struct {
	Field        string // or _score, _offset, _doc (= _offset), _timestamp, _key
	Desc         bool
	Missing      Value  // where records without the field go. None: last
	MissingFirst bool   // missing=_first
	UnmappedType string // where a topic lacks the field, do as if it had it with this type; empty: fail
	Format       string // of dates in the hit's sort values
}

// Source chooses what of the record's value is shown. Paths may hold '*'. The zero value shows all of it.
type Source struct {
	Disabled           bool
	Includes, Excludes []string
}

// FieldFormat asks for a field, or a pattern with '*', under fields of each hit.
type FieldFormat struct {
	Field, Format   string // Format empty: as in the record
	IncludeUnmapped bool
}

// Highlight asks for marked fragments of one field, or of a pattern. The options that were given for all
// fields are already merged in.
type Highlight struct {
	Field             string
	PreTags, PostTags []string // never empty
	FragmentSize      int      // characters; default 100
	NumberOfFragments int      // default 5; 0: the whole field as one
	NoMatchSize       int      // characters of the field's beginning to show if nothing matches
	AnyField          bool     // require_field_match=false: terms queried in other fields count too
	ByScore           bool     // order=score: best fragment first
	EncodeHTML        bool     // encoder=html
	Query             Query    // highlight_query, or nil: that of the search
}

// PartitionOffset is an offset in a partition. Topic is empty where the client names none: then it speaks
// of the one topic that it searches.
type PartitionOffset struct {
	Topic     string
	Partition int32
	Offset    int64
}
