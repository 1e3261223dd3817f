package dsl

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ParseRequest reads a search from its URL's parameters and its body, either of which may be empty. What the
// URL says replaces the same of the body, but for q: a query in both is refused.
//
//	q=error+AND+level:warn  df=msg  default_operator=AND  from size sort=level,_timestamp:desc  timeout=2s
//	after=2026-01-01T00:00:00Z before=now-1h  only _timestamp in [after, before), date math too
//	partition=3,4  min_offset=0:1234,1:88  max_offset=…  wait=hw  wait_timeout=1s
func ParseRequest(values url.Values, body []byte, limits Limits, now time.Time) (*Search, error) {
	p := &parser{body: body, limits: limits, now: now}
	s := p.searchBody(body)
	u := urlReader{bodyReader: bodyReader{p: p, s: s}}
	u.read(values, (*urlReader).searchOption)
	return p.settle(s)
}

// ParseCountRequest reads a count, whose body has a query and what is Chronik's own, no more. The Search that
// it makes counts all hits and returns none.
func ParseCountRequest(values url.Values, body []byte, limits Limits, now time.Time) (*Search, error) {
	p := &parser{body: body, limits: limits, now: now}
	s := p.newSearch()
	b := bodyReader{p: p, s: s}
	for _, o := range p.read("count", body) {
		if o.name == "query" {
			s.Query = p.query(o.node)
			continue
		}
		b.chronik(o)
	}
	u := urlReader{bodyReader: b}
	u.read(values, (*urlReader).countOption)
	all := TrackAll
	s.Size, s.TrackTotalHits = 0, &all
	return p.settle(s)
}

// urlReader reads parameters into a search that the body has begun.
type urlReader struct {
	bodyReader
	q             *option
	qOptions      []option // that only q has use for
	after, before *option
}

// read goes through the parameters in the order of their names, so that of several mistakes always the same
// one is told.
func (u *urlReader) read(values url.Values, option func(*urlReader, option)) {
	if len(values) == 0 || u.p.err != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) != 1 {
			u.p.fail(0, IllegalArgument, "parameter [%s] is given %d times", name, len(values[name]))
			continue
		}
		if !utf8.ValidString(values[name][0]) {
			u.p.fail(0, IllegalArgument, "parameter [%s] is not valid UTF-8", name)
			continue
		}
		option(u, textOption(name, values[name][0]))
	}
	u.query()
	u.times()
	if u.p.err != nil {
		u.p.err.Line, u.p.err.Col = 0, 0 // the fault is in no line of the body
	}
}

func textOption(name, value string) option {
	return option{clause: "url", name: name, node: node{kind: '"', text: value}}
}

func listOption(name string, values []string) option {
	o := option{clause: "url", name: name, node: node{kind: '['}}
	for _, value := range values {
		o.items = append(o.items, node{kind: '"', text: value})
	}
	return o
}

func (u *urlReader) searchOption(o option) {
	p, s := u.p, u.s
	switch o.name {
	case "sort":
		s.Sort = u.sorts(o)
	case "docvalue_fields":
		s.DocvalueFields = p.fieldFormats(listOption(o.name, splitList(o.text)))
	case "_source_includes":
		s.Source.Disabled, s.Source.Includes = false, p.paths(o)
	case "_source_excludes":
		s.Source.Disabled, s.Source.Excludes = false, p.paths(o)
	case "stored_fields":
		s.Source.Disabled = !p.storedFields(o)
	case "from", "size", "_source", "track_scores", "track_total_hits", "timeout", "version", "explain",
		"seq_no_primary_term", "stats":
		u.bodyReader.option(present(o, "track_scores", "version", "explain", "seq_no_primary_term"))
	default:
		u.countOption(o)
	}
}

// countOption reads what a count may have too.
func (u *urlReader) countOption(o option) {
	p, s := u.p, u.s
	switch o.name {
	case "q":
		u.q = &o
	case "df", "default_operator", "analyzer", "analyze_wildcard", "lenient":
		u.qOptions = append(u.qOptions, present(o, "analyze_wildcard", "lenient"))
	case "after":
		u.after = &o
	case "before":
		u.before = &o
	case "partition":
		s.Partitions = u.partitions(o)
	case "min_score", "terminate_after":
		u.bodyReader.option(o)
	case "min_offset", "max_offset", "wait", "wait_timeout":
		u.chronik(o)
	default:
		if !p.requestOption(&s.Options, o) {
			p.fail(o.at, IllegalArgument, "request contains unrecognized parameter: [%s]", o.name)
		}
	}
}

// present reads ?name as ?name=true for the names that are flags.
func present(o option, flags ...string) option {
	if o.text == "" && slices.Contains(flags, o.name) {
		o.text = "true"
	}
	return o
}

// sorts reads level,_timestamp:desc.
func (u *urlReader) sorts(o option) []Sort {
	var sorts []Sort
	for _, key := range splitList(o.text) {
		field, order, given := strings.Cut(key, ":")
		s := sortBy(field)
		if given {
			s.Desc = u.p.oneOf(textOption(o.name, order), "asc", "desc") == "desc"
		}
		if field == "" {
			u.p.bad(o, "a sort key has no field")
		}
		sorts = append(sorts, s)
	}
	if len(sorts) > u.p.limits.MaxFields {
		u.p.fail(0, IllegalArgument, "a search may have %d sort keys at most [search.max.request.fields]", u.p.limits.MaxFields)
	}
	return sorts
}

func (u *urlReader) partitions(o option) []int32 {
	partitions := []int32{}
	for _, text := range splitList(o.text) {
		id, ok := ParseID(text + "-0")
		if !ok {
			u.p.bad(o, "must be numbers of partitions, found [%s]", text)
		}
		partitions = append(partitions, id.Partition)
	}
	if len(partitions) == 0 || len(partitions) > u.p.limits.MaxTerms {
		u.p.bad(o, "must name from 1 to %d partitions [search.max.terms]", u.p.limits.MaxTerms)
	}
	slices.Sort(partitions)
	return slices.Compact(partitions)
}

// query makes the query of q.
func (u *urlReader) query() {
	p := u.p
	if u.q == nil {
		for _, o := range u.qOptions {
			p.bad(o, "needs a [q]")
		}
		return
	}
	if _, everything := u.s.Query.(MatchAll); !everything {
		p.bad(*u.q, "the body has a query too")
		return
	}
	o, f := p.stringOptions(), newFrame()
	for _, given := range u.qOptions {
		if given.name == "df" {
			o.fields = []fieldBoost{{field: p.text(given), boost: 1}}
			continue
		}
		p.stringOption(&f, &o, given)
	}
	u.s.Query = p.parseQueryString(u.q.at, u.q.text, o)
}

// TimestampField is the field of a record's timestamp.
const TimestampField = "_timestamp"

// times adds after and before to the query, as a filter.
func (u *urlReader) times() {
	r := Range{Field: TimestampField}
	for _, side := range []struct {
		given *option
		bound *Value
	}{{u.after, &r.GTE}, {u.before, &r.LT}} {
		if side.given == nil {
			continue
		}
		*side.bound = u.p.value(*side.given)
		if _, err := ParseDate(*side.bound, "", "", false, u.p.now); err != nil {
			u.p.bad(*side.given, "%s", reason(err))
		}
	}
	if !r.open() {
		u.s.Query = Bool{Must: []Query{u.s.Query}, Filter: []Query{r}}
	}
}

// requestOption reads what is said beside a search, and says whether it was that.
func (p *parser) requestOption(to *Options, o option) bool {
	o = present(o, "ignore_unavailable", "allow_no_indices", "allow_partial_search_results", "typed_keys", "rest_total_hits_as_int",
		"pretty", "human", "request_cache", "ccs_minimize_roundtrips", "ignore_throttled", "error_trace")
	switch o.name {
	case "ignore_unavailable":
		to.IgnoreUnavailable = p.boolean(o)
	case "allow_no_indices":
		to.ForbidNoIndices = !p.boolean(o)
	case "allow_partial_search_results":
		to.ForbidPartial = !p.boolean(o)
	case "preference":
		to.Preference = p.text(o) // Kibana sends a number
	case "routing":
		to.Routing = p.paths(o)
	case "search_type":
		to.LocalStatistics = p.oneOf(o, "query_then_fetch", "dfs_query_then_fetch") == "query_then_fetch"
	case "expand_wildcards":
		p.expandWildcards(o)
	case "request_cache", "ccs_minimize_roundtrips", "ignore_throttled":
		p.boolean(o) // how Elasticsearch would go about it; no answer depends on it
	case "batched_reduce_size", "pre_filter_shard_size", "max_concurrent_shard_requests", "max_concurrent_searches":
		p.integer(o, 1, 1<<30)
	default:
		return p.answerOption(to, o)
	}
	return true
}

// answerOption reads how the answer is to look.
func (p *parser) answerOption(to *Options, o option) bool {
	switch o.name {
	case "typed_keys":
		to.TypedKeys = p.boolean(o)
	case "rest_total_hits_as_int":
		to.TotalHitsAsInt = p.boolean(o)
	case "pretty":
		to.Pretty = p.boolean(o)
	case "human":
		p.boolean(o) // no answer has figures to show twice
	case "error_trace":
		p.only(o, "false")
	case "format":
		p.only(o, "json")
	default:
		return false
	}
	return true
}

// expandWildcards takes what includes all topics: they are all open, and none is hidden.
func (p *parser) expandWildcards(o option) {
	states := p.strings(o)
	for _, state := range states {
		if !slices.Contains([]string{"open", "closed", "hidden", "all"}, state) {
			p.unsupported(o, "open, closed, hidden and all are")
		}
	}
	if !slices.Contains(states, "open") && !slices.Contains(states, "all") {
		p.unsupported(o, "all topics are open")
	}
}
