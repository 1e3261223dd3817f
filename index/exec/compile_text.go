package exec

import (
	"github.com/blevesearch/bleve/v2/analysis"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

func (c *compiler) match(f schema.Field, q dsl.Match) (node, error) {
	if f.Kind != schema.Text {
		if q.Fuzziness != (dsl.Fuzziness{}) && f.Kind == schema.Keyword {
			return c.fuzzy(f, q.Text, q.Fuzziness, q.PrefixLength)
		}
		return c.exact(f, q.Text)
	}
	tokens, err := analyse(f, q.Analyzer, q.Text)
	if err != nil {
		return nil, err
	}
	var words []node
	for _, token := range tokens {
		word, err := c.fuzzy(f, string(token.Term), q.Fuzziness, q.PrefixLength)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	switch {
	case len(words) == 0:
		return zeroTerms(q.ZeroTermsAll), nil
	case len(words) == 1 && q.MinimumShouldMatch == "":
		return words[0], nil
	case q.Operator == dsl.And:
		return boolNode{must: words}, nil
	case q.MinimumShouldMatch != "":
		return boolNode{should: words, atLeast: q.MinimumShouldMatch.Count(len(words))}, nil
	}
	return boolNode{should: words, atLeast: 1}, nil
}

// analyse makes terms of text, by the field's analyzer if none is named.
func analyse(f schema.Field, analyzer, text string) (analysis.TokenStream, error) {
	if analyzer == "" {
		analyzer = f.Analyzer
	}
	if !schema.IsAnalyzer(analyzer) {
		return nil, refusef(dsl.IllegalArgument, "analyzer [%s] not found", analyzer)
	}
	return schema.Analyze(analyzer, []byte(text)), nil
}

func zeroTerms(all bool) node {
	if all {
		return allNode{}
	}
	return noneNode{}
}

// fuzzy is the terms near text, or the term itself where no edit is allowed.
func (c *compiler) fuzzy(f schema.Field, text string, fuzziness dsl.Fuzziness, prefix int) (node, error) {
	if !hasSpelling(f) {
		return c.exact(f, text)
	}
	edits := fuzziness.Edits(text)
	if edits == 0 {
		return c.exact(f, text)
	}
	p, err := newFuzzy(text, edits, prefix)
	return patternNode{f, p}, err
}

// phrase is the terms of text side by side; the last of them may be a prefix.
func (c *compiler) phrase(f schema.Field, text, analyzer string, zeroTermsAll, prefix bool) (node, error) {
	if f.Kind != schema.Text {
		if prefix {
			return spelled(f, prefixPattern(text), nil)
		}
		return c.exact(f, text)
	}
	tokens, err := analyse(f, analyzer, text)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return zeroTerms(zeroTermsAll), nil
	}
	n := phraseNode{field: f}
	for _, token := range tokens {
		n.terms = append(n.terms, phraseTerm{string(token.Term), token.Position - tokens[0].Position})
	}
	if last := n.terms[len(n.terms)-1]; prefix {
		n.terms, n.last, n.at = n.terms[:len(n.terms)-1], prefixPattern(last.term), last.at
	}
	switch {
	case len(n.terms) == 0:
		return patternNode{f, n.last}, nil
	case len(n.terms) == 1 && n.last == nil:
		return termNode{f, n.terms[0].term}, nil
	}
	return n, nil
}
