package schema

import (
	"fmt"
	"strings"
)

// Kind is how a field's values are indexed.
type Kind uint8

const (
	Keyword   Kind = iota + 1 // the value as it is, of at most MaxKeyword bytes
	Text                      // analysed
	Long                      // a whole number of 64 bits
	Double                    // a float64; never NaN
	Date                      // ms since 1970 as a long
	Boolean                   // the terms false and true
	IP                        // an IPv6 address, or an IPv4 address as one
	Timestamp                 // ms since 1970, the record's own: like Date, but narrower
)

var kindNames = [...]string{
	Keyword: "keyword", Text: "text", Long: "long", Double: "double", Date: "date",
	Boolean: "boolean", IP: "ip", Timestamp: "date",
}

// String is the name of k in search.fields, which is also Elasticsearch's.
func (k Kind) String() string { return kindNames[k] }

// MarshalText writes the name, so that a list of fields can be kept as JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote. A Timestamp, which no mapped or learned field is, becomes a Date.
func (k *Kind) UnmarshalText(text []byte) error {
	for kind := Keyword; kind < Timestamp; kind++ {
		if kind.String() == string(text) {
			*k = kind
			return nil
		}
	}
	return fmt.Errorf("%q is no kind; there are %s", text, strings.Join(kindNames[Keyword:Timestamp], ", "))
}

// Names of the fields that documents have of themselves.
const (
	ValueField     = "_value"     // the text of the whole value
	TimestampField = "_timestamp" // kind Timestamp; absent where the record has none
	KeyField       = "_key"
	HeaderPrefix   = "_header."
	FieldsField    = "_fields" // names of the fields that this document has, to ask what exists
	IDField        = "_id"     // OffsetTerm; Bleve keeps it

	timestampAlias = "@timestamp" // what Elasticsearch clients expect; a mapped field of that name wins
	rangeSuffix    = "#r"
)

// Field is one field of a topic's documents. Its Path is also its name in the index.
type Field struct {
	Path      string `json:"path"` // keys of the JSON value, joined by dots
	Kind      Kind   `json:"kind"`
	Analyzer  string `json:"analyzer,omitempty"`  // of a Text
	Positions bool   `json:"positions,omitempty"` // of a Text: its terms know where they stood, for phrases
}

// Ranged says whether the field has a second one, RangeName, that makes ranges cheap. See Cover.
func (f Field) Ranged() bool { return len(f.levels()) > 0 }

// RangeName is the name in the index of the field that holds the prefixes of f's terms.
func (f Field) RangeName() string { return f.Path + rangeSuffix }

// DocValues says whether the field can be sorted by and aggregated. FieldsField has none either.
func (f Field) DocValues() bool { return f.Kind != Text && f.Path != FieldsField }

// Fold is text in the case of f's terms, for the start of a word or a pattern, which cannot be analysed.
func (f Field) Fold(text string) string {
	if f.Kind != Text || f.Analyzer == "keyword" {
		return text
	}
	return strings.ToLower(text) // as all other analyzers do
}

// String is the field as search.fields would name it, without what is default.
func (f Field) String() string {
	options := ""
	if f.Kind == Text && f.Analyzer != DefaultAnalyzer {
		options = "analyzer=" + f.Analyzer
	}
	if f.Positions {
		if options != "" {
			options += ","
		}
		options += "positions=true"
	}
	if options != "" {
		options = "(" + options + ")"
	}
	return f.Path + ":" + f.Kind.String() + options
}
