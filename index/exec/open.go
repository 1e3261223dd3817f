package exec

import (
	"context"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// opener opens the cursors of one search in one chunk. What it opened is closed together.
type opener struct {
	ctx    context.Context
	chunk  *Chunk
	limits Limits
	stats  *Statistics
	docs   uint64 // in the chunk
	leaves int    // opened so far

	columns map[string]*column
	closers []func() error
}

func (o *opener) close() {
	for _, c := range o.closers {
		_ = c() // readers of a snapshot have nothing to lose
	}
}

// certainty says what to open for a phrase that the index cannot decide: all documents that may match, or only
// those that surely do, of which there are none.
type certainty bool

const (
	maybe  certainty = false
	surely certainty = true
)

// open opens the documents of n. Without scores, what the cursor says of them is meaningless.
func (o *opener) open(n node, scores bool, how certainty) (cursor, error) {
	if err := o.ctx.Err(); err != nil {
		return nil, err
	}
	switch n := n.(type) {
	case allNode:
		return o.every()
	case noneNode:
		return emptyCursor{}, nil
	case termNode:
		return o.term(n, scores)
	case anyTermNode:
		return o.anyTerm(n.field.Path, n.terms)
	case patternNode:
		return o.pattern(n, scores)
	case rangeNode:
		return o.rangeOf(n)
	case existsNode:
		return o.exists(n)
	case idsNode:
		return o.ids(n)
	case phraseNode:
		return o.phrase(n, scores, how)
	case boolNode:
		return o.boolean(n, scores, how)
	case disMaxNode:
		cursors, err := o.all(n.nodes, scores, how)
		return newBestOf(cursors, n.tie), err
	case constantNode:
		inner, err := o.open(n.node, false, how)
		return scored{inner, 1}, err
	case boostNode:
		inner, err := o.open(n.node, scores, how)
		return boosted{inner, n.boost}, err
	}
	return nil, refusef(dsl.ParsingException, "query %T is not known", n)
}

func (o *opener) all(nodes []node, scores bool, how certainty) ([]cursor, error) {
	cursors := make([]cursor, len(nodes))
	for i, n := range nodes {
		c, err := o.open(n, scores, how)
		if err != nil {
			return nil, err
		}
		cursors[i] = c
	}
	return cursors, nil
}

func (o *opener) every() (cursor, error) {
	reader, err := o.chunk.Reader.DocIDReaderAll()
	if err != nil {
		return nil, err
	}
	o.closers = append(o.closers, reader.Close)
	return &everyCursor{reader: reader, count: o.docs}, nil
}

// leaf counts a term that is read.
func (o *opener) leaf() error {
	if o.leaves++; o.leaves > o.limits.MaxLeaves {
		return refusef(dsl.TooManyClauses, "the search reads more than %d terms of one index chunk [search.max.leaf.terms]", o.limits.MaxLeaves)
	}
	return o.ctx.Err()
}

func (o *opener) term(n termNode, scores bool) (cursor, error) {
	if err := o.leaf(); err != nil {
		return nil, err
	}
	var weigh *bm25
	if scores && weighed(n.field) {
		weigh = o.stats.weigh(n.field, n.term)
	}
	return o.postings(n.field.Path, n.term, weigh, false)
}

// postings opens one term. Its frequencies are read for a scorer that has a use for them.
func (o *opener) postings(field, term string, weigh *bm25, positions bool) (*postingsCursor, error) {
	frequencies := weigh != nil && weigh.average > 0
	reader, err := o.chunk.Reader.TermFieldReader(o.ctx, []byte(term), field, frequencies, frequencies, positions)
	if err != nil {
		return nil, err
	}
	o.closers = append(o.closers, reader.Close)
	return &postingsCursor{reader: reader, count: reader.Count(), weigh: weigh}, nil
}

func (o *opener) exists(n existsNode) (cursor, error) {
	var cursors []cursor
	var names []string
	for _, f := range n.fields {
		if f.Kind != schema.Timestamp {
			names = append(names, f.Path)
			continue
		}
		timed, err := o.rangeOf(rangeNode{field: f})
		if err != nil {
			return nil, err
		}
		cursors = append(cursors, timed)
	}
	named, err := o.anyTerm(schema.FieldsField, names)
	return scored{newSomeOf(append(cursors, named), 1), 1}, err
}

func (o *opener) ids(n idsNode) (cursor, error) {
	var terms []string
	for _, offset := range n.offsets[o.chunk.Partition] {
		if offset >= o.chunk.Base && offset < o.chunk.End {
			terms = append(terms, schema.OffsetTerm(offset))
		}
	}
	return o.anyTerm(schema.IDField, terms)
}

func (o *opener) boolean(n boolNode, scores bool, how certainty) (cursor, error) {
	must, err := o.all(n.must, scores, how)
	if err != nil {
		return nil, err
	}
	filters, err := o.all(n.filter, false, how)
	if err != nil {
		return nil, err
	}
	should, err := o.should(n, scores, how)
	if err != nil {
		return nil, err
	}
	var c cursor
	switch {
	case n.atLeast > 0:
		c = newAllOf(append(must, should), filters)
	case len(must)+len(filters) > 0:
		c = newAllOf(must, filters)
	default:
		if c, err = o.every(); err != nil {
			return nil, err
		}
		c = scored{c, oneIf(len(n.should)+len(n.mustNot) == 0)}
	}
	if n.atLeast == 0 && len(n.should) > 0 && scores {
		c = &perhaps{must: c, should: should}
	}
	return o.not(c, n.mustNot, how)
}

// should is the optional clauses of n; where none has to match they are for the score alone.
func (o *opener) should(n boolNode, scores bool, how certainty) (cursor, error) {
	if n.atLeast == 0 && !scores {
		return emptyCursor{}, nil
	}
	cursors, err := o.all(n.should, scores, how)
	return newSomeOf(cursors, max(1, n.atLeast)), err
}

// not is c without the documents of nodes. Where c is to hold all that may match, only those go that surely do,
// and the other way round.
func (o *opener) not(c cursor, nodes []node, how certainty) (cursor, error) {
	if len(nodes) == 0 {
		return c, nil
	}
	cursors, err := o.all(nodes, false, !how)
	if err != nil {
		return nil, err
	}
	return &without{cursor: c, not: newSomeOf(cursors, 1)}, nil
}
