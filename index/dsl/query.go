package dsl

// Query is one node of the tree. The types in this file are all there are:
//
//	MatchAll MatchNone
//	Term Terms Range Prefix Wildcard Regexp Fuzzy Exists IDs
//	Match MatchPhrase MatchPhrasePrefix               analyse their text
//	Bool DisMax ConstantScore Boosted Lenient         hold other nodes
//
// multi_match is a DisMax of its fields, most_fields being a DisMax whose TieBreaker is 1. A Field may be a
// pattern with '*' where Elasticsearch allows one (multi_match, exists, query strings): ExpandFields replaces
// such leaves by what they mean for the fields of one topic.
type Query interface{ isQuery() }

type (
	// MatchAll matches every record with score 1.
	MatchAll struct{}

	// MatchNone matches nothing.
	MatchNone struct{}

	// Term matches a value as it is indexed, not analysed. Term, Terms, Match and MatchPhrase on _id become IDs.
	Term struct {
		Field           string
		Value           Value
		CaseInsensitive bool // ASCII letters only, as Elasticsearch has it
	}

	// Terms matches any of its values. At most Limits.MaxTerms, perhaps none; duplicates are possible.
	Terms struct {
		Field  string
		Values []Value
	}

	// Range matches between its bounds; an absent one has Kind None. At least one is there, and at most one of
	// GT and GTE and one of LT and LTE. Where the field is a date, Dates reads the bounds.
	Range struct {
		Field            string
		GT, GTE, LT, LTE Value
		Format           string // of the dates; empty: DefaultDateFormat
		TimeZone         string // of dates without one; empty: UTC. Always one that Zone reads
		Folded           bool   // see Prefix
	}

	// Prefix matches terms that begin with Value.
	Prefix struct {
		Field, Value    string
		CaseInsensitive bool

		// Folded asks that the text be folded (lower-cased) as the field's analyzer would: it comes from a
		// query string, where Error* finds error. In the prefix clause itself text stays as written.
		Folded bool
	}

	// Wildcard matches whole terms: '*' any run, '?' one character, '\' takes the next one literally.
	Wildcard struct {
		Field, Pattern  string
		CaseInsensitive bool
		Folded          bool // see Prefix
	}

	// Regexp matches whole terms. Pattern has at most Limits.MaxRegexpBytes, and its syntax is not checked here.
	Regexp struct {
		Field, Pattern  string
		CaseInsensitive bool
		Folded          bool // see Prefix
	}

	// Fuzzy matches terms within an edit distance, the first PrefixLength characters being equal.
	Fuzzy struct {
		Field, Value string
		Fuzziness    Fuzziness
		PrefixLength int
		Folded       bool // see Prefix
	}

	// Exists matches records that have the field.
	Exists struct{ Field string }

	// IDs matches records by where they are. An id that no record can have is already left out.
	IDs struct{ Values []ID }

	// Match analyses Text and matches any (Or) or all (And) of its terms; MinimumShouldMatch, if there,
	// counts the terms and applies to Or. On a field that is not text it is a Term.
	Match struct {
		Field, Text        string
		Operator           Operator
		MinimumShouldMatch MinimumShouldMatch
		Fuzziness          Fuzziness // of each term; zero: exact
		PrefixLength       int       // with Fuzziness
		Analyzer           string    // empty: the field's own
		ZeroTermsAll       bool      // a text without terms matches all records instead of none
	}

	// MatchPhrase matches the terms of Text side by side, in order.
	MatchPhrase struct {
		Field, Text, Analyzer string
		ZeroTermsAll          bool
	}

	// MatchPhrasePrefix is MatchPhrase whose last term is a prefix.
	MatchPhrasePrefix struct {
		Field, Text, Analyzer string
		ZeroTermsAll          bool
	}

	// Bool matches where all of Must and Filter and none of MustNot match, and at least Required() of
	// Should. The scores of Must and Should add up. All four may be empty: then it matches every record.
	Bool struct {
		Must, Should, MustNot, Filter []Query
		MinimumShouldMatch            MinimumShouldMatch
	}

	// DisMax matches where any of Queries does. Its score is the best one's plus TieBreaker times the sum
	// of the others'.
	DisMax struct {
		Queries    []Query
		TieBreaker float64
	}

	// ConstantScore matches what Query does, with score 1.
	ConstantScore struct{ Query Query }

	// Boosted multiplies the score of Query by Boost, which is at least 0 and never 1.
	Boosted struct {
		Query Query
		Boost float64
	}

	// Lenient makes a value below it that does not fit its field's type match nothing, instead of failing
	// the search.
	Lenient struct{ Query Query }
)

// ID names a record: its partition and its offset there.
type ID struct {
	Partition int32
	Offset    int64
}

// AllFields is the pattern that stands for the fields a query without a field looks into.
const AllFields = "*"

func (MatchAll) isQuery()          {}
func (MatchNone) isQuery()         {}
func (Term) isQuery()              {}
func (Terms) isQuery()             {}
func (Range) isQuery()             {}
func (Prefix) isQuery()            {}
func (Wildcard) isQuery()          {}
func (Regexp) isQuery()            {}
func (Fuzzy) isQuery()             {}
func (Exists) isQuery()            {}
func (IDs) isQuery()               {}
func (Match) isQuery()             {}
func (MatchPhrase) isQuery()       {}
func (MatchPhrasePrefix) isQuery() {}
func (Bool) isQuery()              {}
func (DisMax) isQuery()            {}
func (ConstantScore) isQuery()     {}
func (Boosted) isQuery()           {}
func (Lenient) isQuery()           {}

// Required is how many clauses of Should must match. Without a MinimumShouldMatch that is one where nothing
// else selects records, and none (they only score) beside Must or Filter.
func (b Bool) Required() int {
	switch {
	case len(b.Should) == 0:
		return 0
	case b.MinimumShouldMatch != "":
		return b.MinimumShouldMatch.Count(len(b.Should))
	case len(b.Must) > 0 || len(b.Filter) > 0:
		return 0
	}
	return 1
}

// open says that there are no bounds: what is left to ask is Exists.
func (r Range) open() bool {
	return r.GT.Kind == None && r.GTE.Kind == None && r.LT.Kind == None && r.LTE.Kind == None
}
