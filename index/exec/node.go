package exec

import (
	"github.com/chronik-stream/chronik/index/schema"
)

// node is a query whose fields and values are those of one topic. It is what cursors are opened from, what
// a record is checked against (Verifier), and where the words to highlight come from. The types here are all
// there are.
type node interface{ isNode() }

type (
	allNode  struct{}
	noneNode struct{}

	// termNode is one term, scored by BM25 where its field has statistics.
	termNode struct {
		field schema.Field
		term  string
	}

	// anyTermNode is any of several terms, which score 1.
	anyTermNode struct {
		field schema.Field
		terms []string
	}

	patternNode struct {
		field   schema.Field
		pattern pattern
	}

	rangeNode struct {
		field    schema.Field
		interval schema.Interval
	}

	// existsNode is the documents that have any of the fields.
	existsNode struct{ fields []schema.Field }

	idsNode struct{ offsets map[int32][]int64 } // by partition

	// phraseNode is terms at fixed distances in one value of field, which is a Text.
	phraseNode struct {
		field schema.Field
		terms []phraseTerm
		last  pattern // of a term behind them; nil: there is none
		at    int     // its place
	}

	boolNode struct {
		must, should, mustNot, filter []node
		atLeast                       int // of should
	}

	disMaxNode struct {
		nodes []node
		tie   float64
	}

	constantNode struct{ node node }

	boostNode struct {
		node  node
		boost float64
	}
)

// phraseTerm is a term and its place in the phrase.
type phraseTerm struct {
	term string
	at   int
}

func (allNode) isNode()      {}
func (noneNode) isNode()     {}
func (termNode) isNode()     {}
func (anyTermNode) isNode()  {}
func (patternNode) isNode()  {}
func (rangeNode) isNode()    {}
func (existsNode) isNode()   {}
func (idsNode) isNode()      {}
func (phraseNode) isNode()   {}
func (boolNode) isNode()     {}
func (disMaxNode) isNode()   {}
func (constantNode) isNode() {}
func (boostNode) isNode()    {}

// children are the nodes inside n, those of must_not left out where positive.
func children(n node, positive bool) []node {
	switch n := n.(type) {
	case boolNode:
		all := append(append(append([]node(nil), n.must...), n.should...), n.filter...)
		if !positive {
			all = append(all, n.mustNot...)
		}
		return all
	case disMaxNode:
		return n.nodes
	case constantNode:
		return []node{n.node}
	case boostNode:
		return []node{n.node}
	}
	return nil
}

// visit calls do for n and all nodes inside it.
func visit(n node, positive bool, do func(node)) {
	do(n)
	for _, child := range children(n, positive) {
		visit(child, positive, do)
	}
}

// unsure says that the index alone cannot decide n: there is a phrase over a text without positions.
func unsure(n node) bool {
	found := false
	visit(n, false, func(n node) {
		phrase, is := n.(phraseNode)
		found = found || is && !phrase.field.Positions
	})
	return found
}
