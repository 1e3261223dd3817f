package exec

import (
	"cmp"
	"encoding/binary"
	"slices"

	index "github.com/blevesearch/bleve_index_api"
)

// phrase opens the documents with a phrase. Where the field has no positions these are the documents with all of
// its terms, for the records to decide.
func (o *opener) phrase(n phraseNode, scores bool, how certainty) (cursor, error) {
	positions := n.field.Positions
	if !positions && how == surely {
		return emptyCursor{}, nil
	}
	p := &phraseCheck{phrase: n}
	var cursors []cursor
	for _, t := range n.terms {
		if err := o.leaf(); err != nil {
			return nil, err
		}
		var weigh *bm25
		if scores {
			weigh = o.stats.weigh(n.field, t.term)
		}
		c, err := o.postings(n.field.Path, t.term, weigh, positions)
		if err != nil {
			return nil, err
		}
		p.terms = append(p.terms, c)
		cursors = append(cursors, c)
	}
	var filters []cursor
	if n.last != nil {
		last, err := o.lastOf(n, p)
		if err != nil {
			return nil, err
		}
		filters = append(filters, last)
	}
	all := newAllOf(cursors, filters)
	if !positions {
		return all, nil
	}
	return &checked{cursor: all, accept: p.accept}, nil
}

// lastOf opens the terms that a phrase may end with.
func (o *opener) lastOf(n phraseNode, p *phraseCheck) (cursor, error) {
	terms, err := o.matching(n.field, n.last)
	if err != nil {
		return nil, err
	}
	if !n.field.Positions {
		return o.anyTerm(n.field.Path, terms)
	}
	var cursors []cursor
	for _, term := range terms {
		if err := o.leaf(); err != nil {
			return nil, err
		}
		c, err := o.postings(n.field.Path, term, nil, true)
		if err != nil {
			return nil, err
		}
		p.last = append(p.last, c)
		cursors = append(cursors, c)
	}
	return newSomeOf(cursors, 1), nil
}

// phraseCheck looks at where terms stand in the document that all of their cursors stand on.
type phraseCheck struct {
	phrase phraseNode
	terms  []*postingsCursor
	last   []*postingsCursor // any of them

	starts, next []spot
}

// spot is a place in one value of the field.
type spot struct {
	value string // which one: its array positions
	at    uint64
}

func compareSpots(a, b spot) int {
	return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.at, b.at))
}

func (p *phraseCheck) accept(doc uint64) (bool, error) {
	p.starts = p.starts[:0]
	for i, t := range p.phrase.terms {
		p.next = spotsOf(p.next[:0], t.at, p.terms[i].found.Vectors)
		if !p.narrow(i == 0) {
			return false, nil
		}
	}
	if p.phrase.last == nil {
		return true, nil
	}
	p.next = p.next[:0]
	for _, c := range p.last {
		at, err := c.seek(doc)
		if err != nil {
			return false, err
		}
		if at == doc {
			p.next = spotsOf(p.next, p.phrase.at, c.found.Vectors)
		}
	}
	return p.narrow(false), nil
}

// narrow keeps the beginnings of phrases that the next term agrees with, and says whether any are left.
func (p *phraseCheck) narrow(first bool) bool {
	if first {
		p.starts = append(p.starts, p.next...)
	} else {
		slices.SortFunc(p.next, compareSpots)
		p.starts = slices.DeleteFunc(p.starts, func(s spot) bool {
			_, found := slices.BinarySearchFunc(p.next, s, compareSpots)
			return !found
		})
	}
	return len(p.starts) > 0
}

// spotsOf adds where a phrase would begin if its term at a distance stood at each of the places.
func spotsOf(spots []spot, distance int, places []*index.TermFieldVector) []spot {
	for _, v := range places {
		if v.Pos < uint64(distance) {
			continue
		}
		var value []byte
		for _, n := range v.ArrayPositions {
			value = binary.AppendUvarint(value, n)
		}
		spots = append(spots, spot{string(value), v.Pos - uint64(distance)})
	}
	return spots
}
