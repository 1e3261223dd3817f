package schema

import (
	"slices"
	"unsafe"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/document"
	index "github.com/blevesearch/bleve_index_api"
)

const (
	termOptions   = index.IndexField | index.SkipFreqNorm // keywords without doc values
	sortedOptions = termOptions | index.DocValues
	textOptions   = index.IndexField
	phraseOptions = textOptions | index.IncludeTermVectors
)

func (f Field) options() index.FieldIndexingOptions {
	switch {
	case f.Positions:
		return phraseOptions
	case f.Kind == Text:
		return textOptions
	case f.DocValues():
		return sortedOptions
	}
	return termOptions
}

// field is one field of one document with all its values. Bleve's own TextField holds one, so that several
// values would be as many fields, whose term maps Bleve would then merge.
type field struct {
	name    string
	options index.FieldIndexingOptions
	terms   []string // the values, if there is no analyzer

	analyzer analysis.Analyzer
	texts    [][]byte // the values, which analysis may overwrite

	length int
	freqs  index.TokenFrequencies
}

var _ document.Field = (*field)(nil)

func (f *field) Name() string                                     { return f.name }
func (f *field) Options() index.FieldIndexingOptions              { return f.options }
func (f *field) AnalyzedLength() int                              { return f.length }
func (f *field) AnalyzedTokenFrequencies() index.TokenFrequencies { return f.freqs }
func (f *field) ArrayPositions() []uint64                         { return nil } // those of stored values
func (f *field) Value() []byte                                    { return nil } // nothing is stored
func (f *field) EncodedFieldType() byte                           { return 't' } // as of Bleve's TextField
func (f *field) NumPlainTextBytes() uint64                        { return 0 }   // a statistic of Bleve's
func (f *field) Size() int                                        { return int(unsafe.Sizeof(*f)) }

// Analyze makes the terms, once: a batch that failed may be tried again, and by then texts are overwritten.
// Bleve calls it in a goroutine of its own choice.
func (f *field) Analyze() {
	switch {
	case f.freqs != nil:
	case f.analyzer == nil:
		f.takeTerms()
	default:
		f.analyzeTexts()
	}
}

func (f *field) analyzeTexts() {
	streams := make([]analysis.TokenStream, len(f.texts))
	for i, text := range f.texts {
		streams[i] = withoutBlobs(f.analyzer.Analyze(text))
		f.length += len(streams[i])
	}
	f.freqs = make(index.TokenFrequencies, f.length)
	slab := make([]index.TokenFreq, 0, f.length)
	var places []index.TokenLocation
	if f.options.IncludeTermVectors() {
		places = make([]index.TokenLocation, f.length)
	}
	for i, stream := range streams {
		var at []uint64
		if len(streams) > 1 {
			at = []uint64{uint64(i)} // a phrase must not reach from one value into the next
		}
		for _, token := range stream {
			freq := f.freqs[string(token.Term)]
			if freq == nil {
				slab = append(slab, index.TokenFreq{Term: token.Term})
				freq = &slab[len(slab)-1]
				f.freqs[string(token.Term)] = freq
			}
			freq.SetFrequency(freq.Frequency() + 1)
			if places != nil {
				places[0] = index.TokenLocation{ArrayPositions: at, Start: token.Start, End: token.End, Position: token.Position}
				freq.Locations = append(freq.Locations, &places[0])
				places = places[1:]
			}
		}
	}
}

func (f *field) takeTerms() {
	f.length = len(f.terms)
	f.freqs = make(index.TokenFrequencies, len(f.terms))
	slab := make([]index.TokenFreq, len(f.terms))
	for i, term := range f.terms {
		slab[i].Term = []byte(term)
		f.freqs[term] = &slab[i]
	}
}

// withoutBlobs drops terms that are too long to be words of anybody's question.
func withoutBlobs(stream analysis.TokenStream) analysis.TokenStream {
	return slices.DeleteFunc(stream, func(t *analysis.Token) bool { return len(t.Term) > MaxKeyword })
}

// Analyze makes the terms of text as documents have them, for a query, a highlighter or the check of a phrase.
// It leaves text as it is. analyzer is one of Analyzers (IsAnalyzer), or it panics.
func Analyze(analyzer string, text []byte) analysis.TokenStream {
	return withoutBlobs(analyzerNamed(analyzer).Analyze(slices.Clone(text)))
}
