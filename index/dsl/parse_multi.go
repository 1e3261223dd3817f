package dsl

import (
	"bytes"
	"net/url"
	"time"
)

// ParseMultiSearch reads an _msearch: pairs of lines, a header that may be empty and a search's body. The
// URL's parameters hold for every search whose header does not say otherwise. One that is wrong fails them
// all, as in Elasticsearch.
func ParseMultiSearch(values url.Values, body []byte, limits Limits, now time.Time) ([]*Search, error) {
	shared, err := multiOptions(values, limits)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 || body[len(body)-1] != '\n' {
		return nil, refusef(IllegalArgument, "The msearch request must be terminated by a newline [\\n]")
	}
	var searches []*Search
	for line := 1; len(body) > 0; line += 2 {
		header, rest, _ := bytes.Cut(body, []byte("\n"))
		if len(rest) == 0 {
			if len(bytes.TrimSpace(header)) == 0 {
				break // blank lines at the end
			}
			return nil, &Error{Type: IllegalArgument, Reason: "a header without a search", Line: line, Col: 1}
		}
		search, rest, _ := bytes.Cut(rest, []byte("\n"))
		body = rest
		if len(searches) == limits.MaxSearches {
			return nil, refusef(IllegalArgument, "an _msearch may have %d searches at most [search.max.msearch]", limits.MaxSearches)
		}
		s, err := parsePair(header, search, shared, limits, now)
		if err != nil {
			return nil, err.below(line - 1)
		}
		searches = append(searches, s)
	}
	if len(searches) == 0 {
		return nil, refusef(IllegalArgument, "no requests added")
	}
	return searches, nil
}

func multiOptions(values url.Values, limits Limits) (Options, error) {
	u := urlReader{bodyReader: bodyReader{p: &parser{limits: limits}, s: &Search{}}}
	u.read(values, func(u *urlReader, o option) {
		if !u.p.requestOption(&u.s.Options, o) {
			u.p.fail(0, IllegalArgument, "request contains unrecognized parameter: [%s]", o.name)
		}
	})
	if u.p.err != nil {
		return Options{}, u.p.err
	}
	return u.s.Options, nil
}

// parsePair reads one search. Lines of an error count from its header.
func parsePair(header, body []byte, shared Options, limits Limits, now time.Time) (*Search, *Error) {
	h := &parser{body: header, limits: limits, now: now}
	for _, o := range h.read("header", header) {
		switch {
		case o.name == "index" || o.name == "indices":
			shared.Indices = h.paths(o)
		case !h.requestOption(&shared, o):
			h.fail(o.at, IllegalArgument, "key [%s] is not supported in the metadata section", o.name)
		}
	}
	if h.err != nil {
		return nil, h.err
	}
	p := &parser{body: body, limits: limits, now: now}
	s := p.searchBody(body)
	s.Options = shared
	if p.settle(s); p.err != nil {
		return nil, p.err.below(1)
	}
	return s, nil
}

// below moves an error that many lines down.
func (e *Error) below(lines int) *Error {
	if e.Line > 0 {
		e.Line += lines
	}
	return e
}
