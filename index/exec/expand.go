package exec

import (
	"errors"
	"slices"

	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// joinAtOnce is how many terms are open at the same time.
const joinAtOnce = 1024

// anyTerm opens the documents that have any of the terms, which score 1. Bleve joins their postings as bitmaps.
func (o *opener) anyTerm(field string, terms []string) (cursor, error) {
	switch len(terms) {
	case 0:
		return emptyCursor{}, nil
	case 1:
		return o.term(termNode{schema.Field{Path: field}, terms[0]}, false)
	}
	var joined []index.TermFieldReader
	var count uint64
	for part := range slices.Chunk(terms, joinAtOnce) {
		for _, term := range part {
			if err := o.leaf(); err != nil {
				return nil, err
			}
			reader, err := o.chunk.Reader.TermFieldReader(o.ctx, []byte(term), field, false, false, false)
			if err != nil {
				return nil, err
			}
			o.closers = append(o.closers, reader.Close)
			count += reader.Count()
			joined = append(joined, reader)
		}
		whole, err := joinPostings(joined)
		if err != nil {
			return nil, err
		}
		if whole != nil {
			joined = []index.TermFieldReader{whole}
		}
	}
	if len(joined) == 1 {
		return &postingsCursor{reader: joined[0], count: count}, nil
	}
	cursors := make([]cursor, len(joined)) // an index that cannot join
	for i, reader := range joined {
		cursors[i] = &postingsCursor{reader: reader, count: reader.Count()}
	}
	return scored{newSomeOf(cursors, 1), 1}, nil
}

// joinPostings is one reader in place of many, or nil where the index cannot do that.
func joinPostings(readers []index.TermFieldReader) (index.TermFieldReader, error) {
	var joining index.OptimizableContext
	for _, reader := range readers {
		able, ok := reader.(index.Optimizable)
		if !ok {
			return nil, nil
		}
		var err error
		if joining, err = able.Optimize("disjunction:unadorned", joining); err != nil || joining == nil {
			return nil, err
		}
	}
	joined, err := joining.Finish()
	if err != nil || joined == nil {
		return nil, err
	}
	reader, _ := joined.(index.TermFieldReader)
	return reader, nil
}

// errTooMany stops an expansion.
var errTooMany = errors.New("too many terms")

// expand lists the terms of dict that accept takes, up to MaxExpansions of them, and closes dict.
func (o *opener) expand(dict index.FieldDict, accept func(term string) bool) (terms []string, err error) {
	defer dict.Close()
	for seen := 1; ; seen++ {
		entry, err := dict.Next()
		if err != nil || entry == nil {
			return terms, err
		}
		if seen%1024 == 0 && o.ctx.Err() != nil {
			return nil, o.ctx.Err()
		}
		if !accept(entry.Term) {
			continue
		}
		if len(terms) == o.limits.MaxExpansions {
			return nil, errTooMany
		}
		terms = append(terms, entry.Term)
	}
}

func (o *opener) tooMany(err error, f schema.Field, what string) error {
	if err == errTooMany {
		return refusef(dsl.TooManyClauses, "%s on field [%s] matches more than %d terms of one index chunk [search.max.expansions]", what, f.Path, o.limits.MaxExpansions)
	}
	return err
}

// matching are the terms of a pattern.
func (o *opener) matching(f schema.Field, p pattern) ([]string, error) {
	dict, err := p.candidates(o.chunk.Reader, f.Path)
	if err != nil {
		return nil, err
	}
	if !p.anchored() && dict.Cardinality() >= o.limits.MaxDictionary {
		dict.Close()
		return nil, refusef(dsl.TooManyClauses, "a pattern on field [%s] without a fixed beginning would look at more than %d terms [search.max.leading.wildcard.terms]", f.Path, o.limits.MaxDictionary)
	}
	terms, err := o.expand(dict, func(term string) bool { return p.score(term) > 0 })
	return terms, o.tooMany(err, f, "a pattern")
}

// pattern opens the documents with a term that matches; they score as the best one of theirs.
func (o *opener) pattern(n patternNode, scores bool) (cursor, error) {
	terms, err := o.matching(n.field, n.pattern)
	if err != nil {
		return nil, err
	}
	if !scores {
		return o.anyTerm(n.field.Path, terms)
	}
	byScore := map[float64][]string{}
	for _, term := range terms {
		score := n.pattern.score(term)
		byScore[score] = append(byScore[score], term)
	}
	var cursors []cursor
	for score, terms := range byScore {
		alike, err := o.anyTerm(n.field.Path, terms)
		if err != nil {
			return nil, err
		}
		cursors = append(cursors, scored{alike, score})
	}
	return newBestOf(cursors, 0), nil
}

// rangeOf opens the documents with a value in an interval. Whole prefixes answer for all but the documents at its
// two ends, which are looked at. Where that would take too many terms every value is looked at.
func (o *opener) rangeOf(n rangeNode) (cursor, error) {
	f := n.field
	if f.Kind == schema.Timestamp {
		switch o.chunk.times(n.interval) {
		case allOfThem:
			return o.every()
		case noneOfThem:
			return emptyCursor{}, nil
		}
	}
	open := o.termRange
	if f.Ranged() {
		open = o.cover
	}
	c, err := open(n)
	if err == errTooMany && f.DocValues() {
		c, err = o.scan(n)
	}
	return c, o.tooMany(err, f, "a range")
}

// cover opens n by the prefixes of its field's terms.
func (o *opener) cover(n rangeNode) (cursor, error) {
	cover := n.field.Cover(n.interval)
	var terms []string
	for _, span := range cover.Whole {
		dict, err := o.chunk.Reader.FieldDictRange(n.field.RangeName(), []byte(span.First), []byte(span.Last))
		if err != nil {
			return nil, err
		}
		more, err := o.expand(dict, func(string) bool { return true })
		if err != nil {
			return nil, err
		}
		if terms = append(terms, more...); len(terms) > o.limits.MaxExpansions {
			return nil, errTooMany
		}
	}
	whole, err := o.anyTerm(n.field.RangeName(), terms)
	if err != nil || len(cover.Edges) == 0 {
		return whole, err
	}
	edges, err := o.anyTerm(n.field.RangeName(), cover.Edges)
	if err != nil {
		return nil, err
	}
	inside, err := o.inside(edges, n)
	if err != nil {
		return nil, err
	}
	return scored{newSomeOf([]cursor{whole, inside}, 1), 1}, nil
}

// inside is the documents of c with a value in the interval of n.
func (o *opener) inside(c cursor, n rangeNode) (cursor, error) {
	values, err := o.column(n.field)
	if err != nil {
		return nil, err
	}
	return &checked{cursor: c, accept: func(doc uint64) (bool, error) {
		terms, err := values.terms(doc)
		return slices.ContainsFunc(terms, n.interval.Contains), err
	}}, nil
}

// termRange opens n by the terms themselves.
func (o *opener) termRange(n rangeNode) (cursor, error) {
	var last []byte
	if n.interval.End != "" {
		last = []byte(n.interval.End)
	}
	dict, err := o.chunk.Reader.FieldDictRange(n.field.Path, []byte(n.interval.Lo), last)
	if err != nil {
		return nil, err
	}
	terms, err := o.expand(dict, func(term string) bool { return n.interval.Contains([]byte(term)) })
	if err != nil {
		return nil, err
	}
	return o.anyTerm(n.field.Path, terms)
}

// scan opens n by looking at the values of all documents that have the field.
func (o *opener) scan(n rangeNode) (cursor, error) {
	every, err := o.every()
	if err == nil && n.field.Kind != schema.Timestamp {
		every, err = o.anyTerm(schema.FieldsField, []string{n.field.Path})
	}
	if err != nil {
		return nil, err
	}
	return o.inside(every, n)
}
