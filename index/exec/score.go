package exec

import (
	"context"
	"maps"
	"math"

	"github.com/chronik-stream/chronik/index/schema"
)

const (
	k1 = 1.2
	b  = 0.75
)

// bm25 scores one term as Elasticsearch does, which keeps the factor k1+1 that Lucene dropped.
type bm25 struct {
	weight  float64 // idf and k1+1
	average float64 // length of the field, where it is there; 0: the field has no lengths
}

func (m *bm25) score(freq uint64, norm float64) float64 {
	if m.average == 0 || norm == 0 {
		return m.weight / (1 + k1)
	}
	length := math.Round(1 / (norm * norm)) // what Bleve made the norm of, in a float32
	tf := float64(freq)
	return m.weight * tf / (tf + k1*(1-b+b*length/m.average))
}

// Statistics are what the scores of a search depend on beside the record itself: how many records have a field,
// how long it is, and how many have a term. Those of all chunks of an answer are merged before the first one is
// searched, so that they all score alike.
type Statistics struct {
	fields map[string]fieldStatistics
	terms  map[fieldTerm]uint64 // records that have it
}

type fieldStatistics struct{ docs, tokens uint64 }

type fieldTerm struct{ field, term string }

// NewStatistics is the statistics of nothing.
func NewStatistics() *Statistics {
	return &Statistics{fields: map[string]fieldStatistics{}, terms: map[fieldTerm]uint64{}}
}

// Merge adds what other counted.
func (s *Statistics) Merge(other *Statistics) {
	for field, counted := range other.fields {
		sum := s.fields[field]
		s.fields[field] = fieldStatistics{sum.docs + counted.docs, sum.tokens + counted.tokens}
	}
	for term, docs := range other.terms {
		s.terms[term] += docs
	}
}

// Equal says whether both counted the same.
func (s *Statistics) Equal(other *Statistics) bool {
	return maps.Equal(s.fields, other.fields) && maps.Equal(s.terms, other.terms)
}

// weigh is the scorer of a term.
func (s *Statistics) weigh(f schema.Field, term string) *bm25 {
	of := s.fields[f.Path]
	have := min(s.terms[fieldTerm{f.Path, term}], of.docs) // deletes may have taken away more of one than of the other
	m := &bm25{weight: (1 + k1) * math.Log(1+(float64(of.docs-have)+0.5)/(float64(have)+0.5))}
	if f.Kind == schema.Text && of.docs > 0 {
		m.average = max(1, float64(of.tokens)/float64(of.docs))
	}
	return m
}

// weighed says that terms of f score by how rare they are. Numbers, dates and addresses do not.
func weighed(f schema.Field) bool {
	return f.Kind == schema.Text || f.Kind == schema.Keyword || f.Kind == schema.Boolean
}

// weighedTerms are the terms of n whose statistics its scores need.
func weighedTerms(n node) []termNode {
	var terms []termNode
	var collect func(n node)
	collect = func(n node) {
		switch n := n.(type) {
		case termNode:
			if weighed(n.field) {
				terms = append(terms, n)
			}
		case phraseNode:
			for _, t := range n.terms {
				terms = append(terms, termNode{n.field, t.term})
			}
		case constantNode: // scores 1 whatever is inside
		case boolNode:
			for _, inner := range n.must {
				collect(inner)
			}
			for _, inner := range n.should {
				collect(inner)
			}
		default:
			for _, inner := range children(n, true) {
				collect(inner)
			}
		}
	}
	collect(n)
	return terms
}

// statistics counts for the terms of n in a chunk.
func (o *opener) statistics(ctx context.Context, n node, tokens map[string]uint64) (*Statistics, error) {
	s := NewStatistics()
	count := func(field, term string) (uint64, error) {
		postings, err := o.chunk.Reader.TermFieldReader(ctx, []byte(term), field, false, false, false)
		if err != nil {
			return 0, err
		}
		defer postings.Close()
		return postings.Count(), ctx.Err()
	}
	for _, t := range weighedTerms(n) {
		path := t.field.Path
		if _, known := s.fields[path]; !known {
			docs, err := count(schema.FieldsField, path)
			if err != nil {
				return nil, err
			}
			s.fields[path] = fieldStatistics{docs, tokens[path]}
		}
		key := fieldTerm{path, t.term}
		if _, known := s.terms[key]; known {
			continue
		}
		docs, err := count(path, t.term)
		if err != nil {
			return nil, err
		}
		s.terms[key] = docs
	}
	return s, nil
}
