package dsl

import (
	"encoding/json"
	"time"
)

// Agg is one aggregation. The types in this file are all there are. Type is Elasticsearch's name for it, as
// it stands in the request.
type Agg interface {
	isAgg()
	Type() string
}

// NamedAgg is an aggregation under the client's name for it, with those inside it, in the client's order.
// Only bucket aggregations have any.
type NamedAgg struct {
	Name string
	Agg  Agg
	Aggs []NamedAgg
	Meta json.RawMessage // to be shown with the result as it came; nil: none
}

type (
	// TermsAgg is a bucket per term, the Size first by Order.
	TermsAgg struct {
		Field             string
		Size              int
		ShardSize         int // terms asked of each part; 0: not given
		MinDocCount       int
		Order             []BucketOrder // never empty; holds _key, so that it decides between any two
		Missing           Value         // the term of records without the field; None: they are in no bucket
		Format            string
		ShowDocCountError bool // show_term_doc_count_error
	}

	// DateHistogramAgg is a bucket per interval of time: one of Calendar and Fixed is set.
	DateHistogramAgg struct {
		Field          string
		Calendar       CalendarUnit
		Fixed          time.Duration  // at least 1 ms
		Offset         time.Duration  // added to each bucket's start
		TimeZone       *time.Location // never nil
		MinDocCount    int
		ExtendedBounds *MillisBounds // buckets to show even if empty; only with MinDocCount 0
		HardBounds     *MillisBounds // no buckets outside
		Format         string        // of key_as_string; empty: DefaultDateFormat
		Keyed          bool
		Missing        Value
		Order          []BucketOrder // as in TermsAgg
	}

	// HistogramAgg is a bucket per interval of numbers.
	HistogramAgg struct {
		Field            string
		Interval, Offset float64 // Interval > 0
		MinDocCount      int
		ExtendedBounds   *Bounds // as in DateHistogramAgg
		HardBounds       *Bounds
		Format           string
		Keyed            bool
		Missing          Value
		Order            []BucketOrder // as in TermsAgg
	}

	// RangeAgg is a bucket per range of numbers, [From, To).
	RangeAgg struct {
		Field   string
		Ranges  []NumberRange // in the client's order
		Keyed   bool
		Missing Value
		Format  string
	}

	// DateRangeAgg is a bucket per range of time, [From, To).
	DateRangeAgg struct {
		Field    string
		Ranges   []MillisRange // in the client's order
		TimeZone *time.Location
		Format   string // empty: DefaultDateFormat
		Keyed    bool
		Missing  Value
	}

	// FilterAgg is one bucket: the records that match.
	FilterAgg struct{ Query Query }

	// FiltersAgg is a bucket per filter.
	FiltersAgg struct {
		Filters  []NamedFilter // in the client's order
		Keyed    bool          // false: the client gave a list without names, or asked for one
		Other    bool          // one more bucket for what no filter matches
		OtherKey string
	}

	// MetricAgg is one figure over a field, or Stats: all of them.
	MetricAgg struct {
		Op      MetricOp
		Field   string
		Missing Value
		Format  string
	}

	// CardinalityAgg estimates the number of different values.
	CardinalityAgg struct {
		Field              string
		PrecisionThreshold int // up to here nearly exact; default 3,000, at most 40,000
		Missing            Value
	}

	// PercentilesAgg estimates percentiles.
	PercentilesAgg struct {
		Field       string
		Percents    []float64 // ascending, each within [0, 100]
		Keyed       bool
		Compression float64 // of the t-digest; default 100
		Missing     Value
		Format      string
	}
)

// MetricOp says which figure a MetricAgg is, by Elasticsearch's name.
type MetricOp string

const (
	Min        MetricOp = "min"
	Max        MetricOp = "max"
	Sum        MetricOp = "sum"
	Avg        MetricOp = "avg"
	ValueCount MetricOp = "value_count"
	Stats      MetricOp = "stats"
)

// CalendarUnit is an interval of the calendar, whose length varies. Empty: none.
type CalendarUnit string

const (
	Minute  CalendarUnit = "minute"
	Hour    CalendarUnit = "hour"
	Day     CalendarUnit = "day"
	Week    CalendarUnit = "week" // from Monday
	Month   CalendarUnit = "month"
	Quarter CalendarUnit = "quarter"
	Year    CalendarUnit = "year"
)

// BucketOrder orders buckets by _count, by _key, or by a metric inside them.
type BucketOrder struct {
	Path   []string // ["_count"], ["_key"], or the names of aggregations inside, outermost first
	Metric string   // which figure of the last of them: min, avg, 95.0, …; empty: its only one
	Desc   bool
}

type (
	Bounds       struct{ Min, Max *float64 }
	MillisBounds struct{ Min, Max *int64 } // since 1970; both inclusive
	NumberRange  struct {
		Key      string // empty: not given
		From, To *float64
	}
	MillisRange struct {
		Key      string
		From, To *int64 // since 1970
	}
	NamedFilter struct {
		Name  string // empty where the client gave a list
		Query Query
	}
)

func (TermsAgg) isAgg()         {}
func (DateHistogramAgg) isAgg() {}
func (HistogramAgg) isAgg()     {}
func (RangeAgg) isAgg()         {}
func (DateRangeAgg) isAgg()     {}
func (FilterAgg) isAgg()        {}
func (FiltersAgg) isAgg()       {}
func (MetricAgg) isAgg()        {}
func (CardinalityAgg) isAgg()   {}
func (PercentilesAgg) isAgg()   {}

func (TermsAgg) Type() string         { return "terms" }
func (DateHistogramAgg) Type() string { return "date_histogram" }
func (HistogramAgg) Type() string     { return "histogram" }
func (RangeAgg) Type() string         { return "range" }
func (DateRangeAgg) Type() string     { return "date_range" }
func (FilterAgg) Type() string        { return "filter" }
func (FiltersAgg) Type() string       { return "filters" }
func (m MetricAgg) Type() string      { return string(m.Op) }
func (CardinalityAgg) Type() string   { return "cardinality" }
func (PercentilesAgg) Type() string   { return "percentiles" }
