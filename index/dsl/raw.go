package dsl

import (
	"net/url"
	"time"
)

// Form is which request a Raw is.
type Form uint8

const (
	SearchForm Form = iota
	CountForm
	MultiForm // one search of an _msearch: its two lines
)

// Raw is a request as it came. It, the Limits and now make the Search, so a peer that is sent it needs no other
// encoding of the tree.
type Raw struct {
	Form   Form
	Values url.Values
	Body   []byte
}

// Parse makes the Search.
func (r Raw) Parse(limits Limits, now time.Time) (*Search, error) {
	switch r.Form {
	case CountForm:
		return ParseCountRequest(r.Values, r.Body, limits, now)
	case MultiForm:
		searches, err := ParseMultiSearch(r.Values, r.Body, limits, now)
		if err != nil {
			return nil, err
		}
		if len(searches) != 1 {
			return nil, refusef(IllegalArgument, "[%d] searches where one is expected", len(searches))
		}
		return searches[0], nil
	}
	return ParseRequest(r.Values, r.Body, limits, now)
}
