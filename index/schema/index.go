package schema

import (
	"strings"

	"github.com/blevesearch/bleve/v2/mapping"
	index "github.com/blevesearch/bleve_index_api"

	keyword "github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
)

// IndexMapping is what Bleve is to know of the documents: to score by BM25, and for queries of its own that
// analyse text, by which analyzer. It is never asked to map a document. A field that it does not know is a
// keyword, so learned ones need no place in it.
func (m *Mapping) IndexMapping() mapping.IndexMapping {
	im := mapping.NewIndexMapping()
	im.ScoringModel = index.BM25Scoring
	im.DefaultAnalyzer = keyword.Name
	im.DefaultField = ValueField
	im.IndexDynamic, im.StoreDynamic, im.DocValuesDynamic = false, false, false
	im.DefaultMapping = mapping.NewDocumentStaticMapping()
	for _, f := range m.config.Fields {
		at := im.DefaultMapping
		for _, key := range strings.Split(f.Path, ".") {
			if at.Properties[key] == nil {
				at.AddSubDocumentMapping(key, mapping.NewDocumentStaticMapping())
			}
			at = at.Properties[key]
		}
		at.AddFieldMapping(f.bleveMapping())
	}
	return im
}

func (f Field) bleveMapping() *mapping.FieldMapping {
	fm := mapping.NewKeywordFieldMapping()
	if f.Kind == Text {
		fm = mapping.NewTextFieldMapping()
		fm.Analyzer = f.Analyzer
	}
	fm.Store, fm.IncludeInAll = false, false
	fm.DocValues = f.DocValues()
	fm.IncludeTermVectors = f.Positions
	fm.SkipFreqNorm = f.Kind != Text
	return fm
}
