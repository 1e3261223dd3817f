package exec

import (
	"cmp"
	"math"
	"slices"

	index "github.com/blevesearch/bleve_index_api"
)

// end is behind all documents.
const end = math.MaxUint64

// cursor walks the documents of a query in the order of their numbers in the index.
type cursor interface {
	// seek stands on the first document at or behind target, and returns it, or end. It never goes back: a target
	// in front of where the cursor stands leaves it there.
	seek(target uint64) (uint64, error)

	// score is that of the document which the cursor stands on.
	score() float64

	// cost is about how many documents there are.
	cost() uint64
}

type emptyCursor struct{}

func (emptyCursor) seek(uint64) (uint64, error) { return end, nil }
func (emptyCursor) score() float64              { return 0 }
func (emptyCursor) cost() uint64                { return 0 }

// place is where a cursor stands, once it has begun.
type place struct {
	doc   uint64
	begun bool
}

func (p *place) reached(target uint64) bool { return p.begun && p.doc >= target }

func (p *place) stand(doc uint64) uint64 {
	p.doc, p.begun = doc, true
	return doc
}

// postingsCursor walks what Bleve reads for a term, or for many terms joined.
type postingsCursor struct {
	place
	reader index.TermFieldReader
	count  uint64
	found  index.TermFieldDoc
	id     [8]byte
	weigh  *bm25 // nil: every document scores 1
}

func (c *postingsCursor) cost() uint64 { return c.count }

func (c *postingsCursor) score() float64 {
	if c.weigh == nil {
		return 1
	}
	return c.weigh.score(c.found.Freq, c.found.Norm)
}

func (c *postingsCursor) seek(target uint64) (uint64, error) {
	if c.reached(target) {
		return c.doc, nil
	}
	next := !c.begun && target == 0 || c.begun && target == c.doc+1
	var found *index.TermFieldDoc
	var err error
	if next {
		found, err = c.reader.Next(c.found.Reset())
	} else {
		id := index.NewIndexInternalID(c.id[:], target)
		found, err = c.reader.Advance(id, c.found.Reset())
	}
	if err != nil || found == nil {
		return c.stand(end), err
	}
	return c.stand(found.ID.Value()), nil
}

// everyCursor walks all documents.
type everyCursor struct {
	place
	reader index.DocIDReader
	count  uint64
}

func (c *everyCursor) cost() uint64   { return c.count }
func (c *everyCursor) score() float64 { return 1 }

func (c *everyCursor) seek(target uint64) (uint64, error) {
	for !c.reached(target) {
		id, err := c.reader.Next()
		if err != nil || id == nil {
			return c.stand(end), err
		}
		c.stand(id.Value())
	}
	return c.doc, nil
}

// allOf walks the documents that all of its cursors have; there is at least one. Their scores add up, but for those
// of filters.
type allOf struct {
	scored []cursor
	order  []cursor // also the filters, the rarest first
}

func newAllOf(scored, filters []cursor) cursor {
	if len(scored) == 1 && len(filters) == 0 {
		return scored[0]
	}
	c := &allOf{scored: scored, order: slices.Concat(scored, filters)}
	slices.SortStableFunc(c.order, func(a, b cursor) int { return cmp.Compare(a.cost(), b.cost()) })
	return c
}

func (c *allOf) cost() uint64 { return c.order[0].cost() }

func (c *allOf) score() (sum float64) {
	for _, inner := range c.scored {
		sum += inner.score()
	}
	return sum
}

func (c *allOf) seek(target uint64) (uint64, error) {
	for agreed := 0; agreed < len(c.order) && target != end; {
		doc, err := c.order[agreed].seek(target)
		if err != nil {
			return end, err
		}
		if doc == target {
			agreed++
			continue
		}
		target = doc
		agreed = 0
	}
	return target, nil
}

// someOf walks the documents that at least a number of its cursors have; that number is 1 or more. With best the
// score is the best one's and a part of the others', as dis_max has it, else all of them.
type someOf struct {
	place
	cursors []cursor
	docs    []uint64
	atLeast int
	best    bool
	tie     float64
}

func newSomeOf(cursors []cursor, atLeast int) cursor {
	switch {
	case len(cursors) < atLeast || len(cursors) == 0:
		return emptyCursor{}
	case len(cursors) == 1:
		return cursors[0]
	case len(cursors) == atLeast:
		return newAllOf(cursors, nil)
	}
	return &someOf{cursors: cursors, docs: make([]uint64, len(cursors)), atLeast: atLeast}
}

func newBestOf(cursors []cursor, tie float64) cursor {
	if len(cursors) < 2 {
		return newSomeOf(cursors, 1)
	}
	return &someOf{cursors: cursors, docs: make([]uint64, len(cursors)), atLeast: 1, best: true, tie: tie}
}

func (c *someOf) cost() (sum uint64) {
	for _, inner := range c.cursors {
		sum += inner.cost()
	}
	return sum
}

func (c *someOf) score() float64 {
	best, sum := 0.0, 0.0
	for i, inner := range c.cursors {
		if c.docs[i] == c.doc {
			score := inner.score()
			best, sum = max(best, score), sum+score
		}
	}
	if c.best {
		return best + c.tie*(sum-best)
	}
	return sum
}

func (c *someOf) seek(target uint64) (uint64, error) {
	if c.reached(target) {
		return c.doc, nil
	}
	for {
		first, count := uint64(end), 0
		for i, inner := range c.cursors {
			if doc := c.docs[i]; !c.begun || doc < target {
				doc, err := inner.seek(target)
				if err != nil {
					return end, err
				}
				c.docs[i] = doc
			}
			switch doc := c.docs[i]; {
			case doc < first:
				first, count = doc, 1
			case doc == first:
				count++
			}
		}
		c.stand(first)
		if first == end || count >= c.atLeast {
			return first, nil
		}
		target = first + 1
	}
}

// perhaps walks the documents of must; those that should has too score more.
type perhaps struct {
	must, should cursor
	both         bool
}

func (c *perhaps) cost() uint64 { return c.must.cost() }

func (c *perhaps) seek(target uint64) (uint64, error) {
	doc, err := c.must.seek(target)
	if err != nil || doc == end {
		return end, err
	}
	also, err := c.should.seek(doc)
	c.both = also == doc
	return doc, err
}

func (c *perhaps) score() float64 {
	if c.both {
		return c.must.score() + c.should.score()
	}
	return c.must.score()
}

// without walks the documents of cursor that not lacks.
type without struct {
	cursor
	not cursor
}

func (c *without) seek(target uint64) (uint64, error) {
	for {
		doc, err := c.cursor.seek(target)
		if err != nil || doc == end {
			return end, err
		}
		unwanted, err := c.not.seek(doc)
		if err != nil || unwanted != doc {
			return doc, err
		}
		target = doc + 1
	}
}

// checked walks the documents of cursor that accept takes. It is asked once per document.
type checked struct {
	place
	cursor
	accept func(doc uint64) (bool, error)
}

func (c *checked) seek(target uint64) (uint64, error) {
	if c.reached(target) {
		return c.doc, nil
	}
	for {
		doc, err := c.cursor.seek(target)
		if err != nil || doc == end {
			return c.stand(end), err
		}
		ok, err := c.accept(doc)
		if err != nil || ok {
			return c.stand(doc), err
		}
		target = doc + 1
	}
}

// scored walks the documents of cursor with a score of its own.
type scored struct {
	cursor
	constant float64
}

func (c scored) score() float64 { return c.constant }

// boosted multiplies scores.
type boosted struct {
	cursor
	boost float64
}

func (c boosted) score() float64 { return c.boost * c.cursor.score() }
