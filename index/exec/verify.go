package exec

import (
	"slices"

	"github.com/blevesearch/bleve/v2/analysis"

	"github.com/chronik-stream/chronik/index/schema"
)

// Verifier decides from records whether they match, where the index cannot (Plan.NeedsVerify). One goroutine uses
// it.
type Verifier struct {
	plan   *Plan
	record recordReader
}

// NewVerifier makes a Verifier.
func (p *Plan) NewVerifier() *Verifier {
	nodes := []node{p.program.query}
	if p.program.post != nil {
		nodes = append(nodes, p.program.post)
	}
	return &Verifier{p, newRecordReader(p.mapping, fieldsOf(nodes))}
}

// Matches says whether the record of a partition matches the query and the post filter.
func (v *Verifier) Matches(partition int32, r *schema.Record) bool {
	v.record.read(partition, r)
	return v.record.matches(v.plan.program.query) && (v.plan.program.post == nil || v.record.matches(v.plan.program.post))
}

// fieldsOf are the fields that nodes ask for.
func fieldsOf(nodes []node) map[string]schema.Field {
	fields := map[string]schema.Field{}
	for _, n := range nodes {
		visit(n, false, func(n node) {
			for _, f := range nodeFields(n) {
				fields[f.Path] = f
			}
		})
	}
	return fields
}

func nodeFields(n node) []schema.Field {
	switch n := n.(type) {
	case termNode:
		return []schema.Field{n.field}
	case anyTermNode:
		return []schema.Field{n.field}
	case patternNode:
		return []schema.Field{n.field}
	case rangeNode:
		return []schema.Field{n.field}
	case phraseNode:
		return []schema.Field{n.field}
	case existsNode:
		return n.fields
	}
	return nil
}

// recordReader holds one record as the index would have it.
type recordReader struct {
	extractor *schema.Extractor
	fields    map[string]schema.Field
	partition int32
	offset    int64
	values    map[string][]recordValue // of the fields asked for so far
}

// recordValue is one value of a field: terms of a text, or the one term that it is.
type recordValue struct {
	text   string
	tokens analysis.TokenStream
}

func newRecordReader(m *schema.Mapping, fields map[string]schema.Field) recordReader {
	return recordReader{extractor: m.NewExtractor(sortedKeys(fields)...), fields: fields, values: map[string][]recordValue{}}
}

func (x *recordReader) read(partition int32, r *schema.Record) {
	x.partition, x.offset = partition, r.Offset
	x.extractor.Read(r)
	clear(x.values)
}

func (x *recordReader) of(f schema.Field) []recordValue {
	if values, known := x.values[f.Path]; known {
		return values
	}
	var values []recordValue
	for _, text := range x.extractor.Texts(f.Path) {
		v := recordValue{text: text}
		if f.Kind == schema.Text {
			v.tokens = schema.Analyze(f.Analyzer, []byte(text))
		}
		values = append(values, v)
	}
	x.values[f.Path] = values
	return values
}

// any says whether a term of f is one that is wanted.
func (x *recordReader) any(f schema.Field, wanted func(term string) bool) bool {
	return slices.ContainsFunc(x.of(f), func(v recordValue) bool {
		if f.Kind != schema.Text {
			return wanted(v.text)
		}
		return slices.ContainsFunc(v.tokens, func(t *analysis.Token) bool { return wanted(string(t.Term)) })
	})
}

func (x *recordReader) matches(n node) bool {
	switch n := n.(type) {
	case allNode:
		return true
	case termNode:
		return x.any(n.field, func(term string) bool { return term == n.term })
	case anyTermNode:
		return x.any(n.field, func(term string) bool { _, found := slices.BinarySearch(n.terms, term); return found })
	case patternNode:
		return x.any(n.field, func(term string) bool { return n.pattern.score(term) > 0 })
	case rangeNode:
		return x.any(n.field, func(term string) bool { return n.interval.Contains([]byte(term)) })
	case existsNode:
		return slices.ContainsFunc(n.fields, func(f schema.Field) bool { return len(x.of(f)) > 0 })
	case idsNode:
		_, found := slices.BinarySearch(n.offsets[x.partition], x.offset)
		return found
	case phraseNode:
		return slices.ContainsFunc(x.of(n.field), func(v recordValue) bool { return len(n.occurrences(v.tokens)) > 0 })
	case boolNode:
		return x.boolean(n)
	case disMaxNode:
		return slices.ContainsFunc(n.nodes, x.matches)
	case constantNode:
		return x.matches(n.node)
	case boostNode:
		return x.matches(n.node)
	}
	return false
}

func (x *recordReader) boolean(n boolNode) bool {
	misses := func(n node) bool { return !x.matches(n) }
	if slices.ContainsFunc(n.must, misses) || slices.ContainsFunc(n.filter, misses) || slices.ContainsFunc(n.mustNot, x.matches) {
		return false
	}
	matched := 0
	for _, s := range n.should {
		if matched == n.atLeast {
			break
		}
		if x.matches(s) {
			matched++
		}
	}
	return matched >= n.atLeast
}

// occurrences are the tokens of each place where the phrase stands.
func (n phraseNode) occurrences(tokens analysis.TokenStream) (found [][]*analysis.Token) {
	at := map[int][]*analysis.Token{}
	for _, t := range tokens {
		at[t.Position] = append(at[t.Position], t)
	}
	for _, first := range tokens {
		if string(first.Term) != n.terms[0].term {
			continue
		}
		if phrase := n.from(first.Position-n.terms[0].at, at); phrase != nil {
			found = append(found, phrase)
		}
	}
	return found
}

// from is the tokens of the phrase that begins at a position, nil if it does not.
func (n phraseNode) from(start int, at map[int][]*analysis.Token) (phrase []*analysis.Token) {
	take := func(position int, wanted func(term string) bool) bool {
		i := slices.IndexFunc(at[position], func(t *analysis.Token) bool { return wanted(string(t.Term)) })
		if i < 0 {
			return false
		}
		phrase = append(phrase, at[position][i])
		return true
	}
	for _, term := range n.terms {
		if !take(start+term.at, func(t string) bool { return t == term.term }) {
			return nil
		}
	}
	if n.last != nil && !take(start+n.at, func(t string) bool { return n.last.score(t) > 0 }) {
		return nil
	}
	return phrase
}
