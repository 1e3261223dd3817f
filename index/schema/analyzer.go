package schema

import (
	"slices"

	"github.com/blevesearch/bleve/v2/analysis"
	_ "github.com/blevesearch/bleve/v2/analysis/analyzer/keyword" // the analyzers that search.fields may name
	_ "github.com/blevesearch/bleve/v2/analysis/analyzer/simple"
	_ "github.com/blevesearch/bleve/v2/analysis/analyzer/standard"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/ar"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/cjk"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/ckb"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/da"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/de"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/en"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/es"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/fa"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/fi"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/fr"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/hi"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/hr"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/hu"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/it"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/nl"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/no"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/pl"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/pt"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/ro"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/ru"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/sv"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/tr"
	"github.com/blevesearch/bleve/v2/registry"
)

// DefaultAnalyzer is ours: letters, digits and '_', lower-cased. See tokenize.
const DefaultAnalyzer = "chronik"

var analyzerNames = []string{
	DefaultAnalyzer, "keyword", "simple", "standard",
	"ar", "cjk", "ckb", "da", "de", "en", "es", "fa", "fi", "fr", "hi", "hr", "hu", "it", "nl",
	"no", "pl", "pt", "ro", "ru", "sv", "tr",
}

// analyzers keeps one of each, built when first asked for. All are safe for goroutines.
var analyzers = registry.NewCache()

// Analyzers lists the analyzers that a text may have.
func Analyzers() []string { return slices.Clone(analyzerNames) }

// IsAnalyzer says whether name is one of Analyzers.
func IsAnalyzer(name string) bool { return slices.Contains(analyzerNames, name) }

func analyzerNamed(name string) analysis.Analyzer {
	analyzer, err := analyzers.AnalyzerNamed(name)
	if err != nil {
		panic("analyzer " + name + ": " + err.Error()) // all are linked in, and names come checked
	}
	return analyzer
}
