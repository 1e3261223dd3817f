package dsl

import (
	"bytes"
	"math"
	"time"
)

// ParseSearch reads the body of a search. An empty body searches for everything.
func ParseSearch(body []byte, limits Limits, now time.Time) (*Search, error) {
	return ParseRequest(nil, body, limits, now)
}

func (p *parser) newSearch() *Search {
	return &Search{Now: p.now, Query: MatchAll{}, Size: 10, Timeout: p.limits.Timeout, WaitTimeout: p.limits.WaitTimeout}
}

// read is an object that may be missing altogether.
func (p *parser) read(clause string, body []byte) []option {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	n, err := readJSON(body)
	if err != nil {
		p.err = err
		return nil
	}
	return p.options(clause, n)
}

func (p *parser) searchBody(body []byte) *Search {
	b := bodyReader{p: p, s: p.newSearch()}
	for _, o := range p.read("search", body) {
		b.option(o)
	}
	if b.stored && !b.source {
		b.s.Source.Disabled = true // stored_fields stands in for it
	}
	return b.s
}

// settle checks what only the whole request can tell.
func (p *parser) settle(s *Search) (*Search, error) {
	if p.err == nil && s.From > p.limits.MaxResultWindow-s.Size {
		p.err = refusef(IllegalArgument, "Result window is too large, from + size must be less than or equal to: [%d] but was [%d]: "+
			"use [search_after] to go further [search.max.result.window]", p.limits.MaxResultWindow, s.From+s.Size)
	}
	if s.Options.TotalHitsAsInt && s.TrackTotalHits == nil {
		all := TrackAll
		s.TrackTotalHits = &all // a number alone cannot say that there are more
	}
	if p.err == nil && s.SearchAfter != nil {
		p.checkSearchAfter(s)
	}
	if p.err != nil {
		return nil, p.err
	}
	return s, nil
}

func (p *parser) checkSearchAfter(s *Search) {
	keys := max(len(s.Sort), 1)
	switch {
	case s.From > 0:
		p.err = refusef(IllegalArgument, "`from` parameter must be set to 0 when `search_after` is used")
	case len(s.Sort) == 0:
		p.err = refusef(IllegalArgument, "Sort must contain at least one field when `search_after` is used")
	case len(s.SearchAfter) != keys:
		p.err = refusef(IllegalArgument, "search_after has %d value(s) but sort has %d", len(s.SearchAfter), keys)
	}
}

// bodyReader reads the members of a search body.
type bodyReader struct {
	p              *parser
	s              *Search
	source, stored bool // _source, stored_fields are there
}

func (b *bodyReader) option(o option) {
	p, s := b.p, b.s
	switch o.name {
	case "query":
		s.Query = p.query(o.node)
	case "post_filter":
		s.PostFilter = p.query(o.node)
	case "min_score":
		score := p.number(o)
		s.MinScore = &score
	case "aggs", "aggregations":
		if s.Aggs != nil {
			p.bad(o, "aggregations are given twice")
		}
		s.Aggs = p.aggregations(o.node, 1)
	case "from":
		s.From = p.window(o)
	case "size":
		s.Size = p.window(o)
	case "sort":
		s.Sort = p.sorts(o)
	case "search_after":
		s.SearchAfter = p.searchAfter(o)
	case "track_scores":
		s.TrackScores = p.boolean(o)
	case "track_total_hits":
		s.TrackTotalHits = p.trackTotalHits(o)
	case "timeout":
		if s.Timeout = p.timeout(o, p.limits.MaxTimeout, "search.max.timeout"); s.Timeout == 0 {
			p.bad(o, "must be more than nothing")
		}
	default:
		b.display(o)
	}
}

// display reads what hits are to show, and leaves the rest to chronik.
func (b *bodyReader) display(o option) {
	p, s := b.p, b.s
	switch o.name {
	case "_source":
		b.source = true
		s.Source = p.source(o)
	case "stored_fields":
		b.stored, b.source = true, p.storedFields(o) || b.source
	case "fields":
		s.Fields = p.fieldFormats(o)
	case "docvalue_fields":
		s.DocvalueFields = p.fieldFormats(o)
	case "highlight":
		s.Highlight = p.highlight(o)
	case "version":
		s.Version = p.boolean(o)
	case "explain", "profile", "seq_no_primary_term":
		p.only(o, "false")
	case "script_fields", "runtime_mappings", "ext":
		if o.kind != '{' || len(o.members) > 0 {
			p.unsupported(o, "only an empty object is")
		}
	case "stats":
		p.strings(o) // labels for Elasticsearch's own statistics
	case "terminate_after":
		p.only(o, "0")
	default:
		b.chronik(o)
	}
}

// chronik reads what Elasticsearch does not have, and refuses the rest.
func (b *bodyReader) chronik(o option) {
	p, s := b.p, b.s
	switch o.name {
	case "min_offset":
		s.MinOffset = p.offsets(o)
	case "max_offset":
		s.MaxOffset = p.offsets(o)
	case "wait":
		s.WaitHighWatermark = p.oneOf(o, "hw") == "hw"
	case "wait_timeout":
		s.WaitTimeout = p.timeout(o, p.limits.MaxWaitTimeout, "search.max.wait.timeout")
	default:
		p.fail(o.at, ParsingException, "unknown key [%s] in a search", o.name)
	}
}

// window reads from or size, whose sum settle checks.
func (p *parser) window(o option) int { return p.integer(o, 0, math.MaxInt32) }

// timeout reads a duration within a limit. Elasticsearch's -1, no timeout, is refused: there always is one.
func (p *parser) timeout(o option, most time.Duration, setting string) time.Duration {
	d := p.duration(o)
	if d > most {
		p.fail(o.at, IllegalArgument, "[%s] may be %s at most [%s], found [%s]", o.name, most, setting, o.text)
	}
	return d
}

func (p *parser) trackTotalHits(o option) *int {
	n := 0
	switch o.text {
	case "true", "2147483647": // the number is Elasticsearch's own for it
		n = TrackAll
	case "false", "-1":
	default:
		n = p.integer(o, 0, math.MaxInt32)
	}
	return &n
}

func (p *parser) searchAfter(o option) []Value {
	values := []Value{}
	for _, item := range p.list(o) {
		values = append(values, p.bound(item))
	}
	return values
}

// sorts reads "level", {"level": "desc"}, {"level": {"order": "desc"}}, or a list of such.
func (p *parser) sorts(o option) []Sort {
	var sorts []Sort
	for _, item := range p.listOrOne(o) {
		if item.kind != '{' {
			sorts = append(sorts, sortBy(p.string(item)))
			continue
		}
		for _, key := range p.options("sort", item.node) {
			sorts = append(sorts, p.sort(key))
		}
	}
	if len(sorts) > p.limits.MaxFields {
		p.fail(o.at, IllegalArgument, "a search may have %d sort keys at most [search.max.request.fields]", p.limits.MaxFields)
	}
	return sorts
}

// sortBy is a field's own order: the best score first, everything else ascending.
func sortBy(field string) Sort { return Sort{Field: field, Desc: field == "_score"} }

func (p *parser) sort(key option) Sort {
	s := sortBy(key.name)
	if s.Field == "" {
		p.fail(key.at, ParsingException, "a sort key has no field")
	}
	if key.kind == '"' {
		s.Desc = p.oneOf(key, "asc", "desc") == "desc"
		return s
	}
	var mode *option
	for _, o := range p.options("sort", key.node) {
		switch o.name {
		case "order":
			s.Desc = p.oneOf(o, "asc", "desc") == "desc"
		case "missing":
			s.Missing, s.MissingFirst = p.sortMissing(o)
		case "unmapped_type":
			s.UnmappedType = p.string(o)
		case "format":
			s.Format = p.dateFormat(o)
		case "mode":
			mode = &o
		default:
			p.unknown(o)
		}
	}
	if mode != nil { // of a field's several values; this is what holds anyway
		p.only(*mode, map[bool]string{false: "min", true: "max"}[s.Desc])
	}
	return s
}

func (p *parser) sortMissing(o option) (value Value, first bool) {
	switch v := p.value(o); v.Text {
	case "_last":
		return Value{}, false
	case "_first":
		return Value{}, true
	default:
		return v, false
	}
}
