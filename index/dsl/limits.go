package dsl

import "time"

// Limits bounds what a request may ask for. An error names the one that was passed by the setting's name.
type Limits struct {
	MaxResultWindow int // search.max.result.window: from + size
	MaxBoolDepth    int // search.max.bool.depth: clauses inside clauses
	MaxClauses      int // search.max.clauses: leaves of one request's queries
	MaxTerms        int // search.max.terms: values of one terms or ids clause
	MaxRegexpBytes  int // search.max.regexp.bytes
	MaxStringBytes  int // search.max.query.string.bytes: text of query_string, simple_query_string and q
	MaxFuzziness    int // search.max.fuzziness: edits
	MinPrefixLength int // search.min.prefix.length: equal characters before a fuzzy term may differ; also the default
	MaxAggDepth     int // search.max.agg.depth: aggregations inside aggregations
	MaxAggs         int // search.max.aggs: of one request
	MaxBuckets      int // search.max.buckets: those that a request can name: size of terms, ranges, filters
	MaxFields       int // search.max.request.fields: names in one list of fields, highlights or sort keys
	MaxSearches     int // search.max.msearch: searches of one _msearch

	Timeout, MaxTimeout         time.Duration // search.timeout, search.max.timeout
	WaitTimeout, MaxWaitTimeout time.Duration // search.wait.timeout, search.max.wait.timeout
}

// DefaultLimits are the documented ones.
func DefaultLimits() Limits {
	return Limits{
		MaxResultWindow: 10_000,
		MaxBoolDepth:    20,
		MaxClauses:      1024,
		MaxTerms:        8192,
		MaxRegexpBytes:  256,
		MaxStringBytes:  256 << 10,
		MaxFuzziness:    2,
		MinPrefixLength: 1,
		MaxAggDepth:     3,
		MaxAggs:         256,
		MaxBuckets:      10_000,
		MaxFields:       256,
		MaxSearches:     100,
		Timeout:         5 * time.Second,
		MaxTimeout:      time.Minute,
		WaitTimeout:     time.Second,
		MaxWaitTimeout:  30 * time.Second,
	}
}
