package schema

import (
	"slices"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/document"
	index "github.com/blevesearch/bleve_index_api"
)

// NoTimestamp is the Timestamp of a record that has none.
const NoTimestamp = -1

// maxValues is how many values of one field of one record are indexed.
const maxValues = 4096

// Record is what is indexed of a record.
type Record struct {
	Offset    int64
	Timestamp int64  // ms since 1970, or NoTimestamp
	Key       []byte // nil is null, here and in Value
	Value     []byte
	Headers   []Header
}

// Header is one header of a record.
type Header struct{ Name, Value []byte } // Value nil is null

// Reason is why a value is not in its record's document.
type Reason uint8

const (
	WrongType     Reason = iota // it does not fit the kind of its field
	TooLong                     // a keyword of more than MaxKeyword bytes
	TooManyValues               // of one field
	TooManyFields               // search.max.fields are learned
	BadName                     // a header or a dynamic path whose name cannot be a field's
	NotJSON                     // the whole value, under search.format=json
	reasons
)

var reasonNames = [reasons]string{
	WrongType: "wrong_type", TooLong: "too_long", TooManyValues: "too_many_values",
	TooManyFields: "too_many_fields", BadName: "bad_name", NotJSON: "not_json",
}

// String is r as a label of a metric.
func (r Reason) String() string { return reasonNames[r] }

// Skipped counts, by Reason, the values of one record that are not in its document.
type Skipped [reasons]int

// Builder turns records into documents. It learns fields under search.dynamic and search.headers, and then
// knows them for all records to come. One goroutine uses it; the documents are free of it.
type Builder struct {
	mapping *Mapping
	plans   []plan
	byPath  map[string]int // the learned ones among plans
	root    node           // of the mapped paths
	learned int            // how many of plans, at their end
	key     int            // plan of KeyField, or none
	value   int            // plan of ValueField, or none
	time    int

	// One record's state, used again for the next.
	buf     []byte  // what values point into
	values  []value // in the order met
	count   []int   // of values, by plan
	touched []int   // plans that have values, in the order met
	skipped Skipped
	name    []byte // of a header's field
	scanner scanner
}

// plan is a field and what its document fields need.
type plan struct {
	Field
	rangeName string
	levels    []int
	options   index.FieldIndexingOptions
	analyzer  analysis.Analyzer

	start, placed int // of its values in the document at hand (assemble)
}

// value is buf[start:end] as a value of a plan. Prefixes of its term follow behind end.
type value struct{ plan, start, end int }

const none = -1

// NewBuilder makes a Builder that knows the fields of m, the learned ones among them.
func (m *Mapping) NewBuilder() *Builder {
	b := &Builder{mapping: m, byPath: map[string]int{}, key: none, value: none}
	b.time = b.plan(Field{Path: TimestampField, Kind: Timestamp})
	if m.config.Key {
		b.key = b.plan(Field{Path: KeyField, Kind: Keyword})
	}
	for _, f := range m.config.Fields {
		at := b.plan(f)
		if f.Path == ValueField {
			b.value = at
			continue
		}
		b.root.add(f.Path, at)
	}
	for _, f := range m.learned {
		b.addLearned(f)
	}
	return b
}

func (b *Builder) plan(f Field) int {
	p := plan{Field: f, levels: f.levels(), options: f.options(), rangeName: f.RangeName()}
	if f.Kind == Text {
		p.analyzer = analyzerNamed(f.Analyzer)
	}
	b.plans = append(b.plans, p)
	b.count = append(b.count, 0)
	return len(b.plans) - 1
}

// Learned lists the fields that b learned or was made with, sorted by path. They belong to the chunk whose
// documents b makes: it keeps them, for Mapping.With.
func (b *Builder) Learned() []Field {
	var fields []Field
	for _, p := range b.plans[len(b.plans)-b.learned:] {
		fields = append(fields, p.Field)
	}
	slices.SortFunc(fields, byPath)
	return fields
}

// Build makes the document of r, which keeps nothing of it, and says what of r is missing there.
func (b *Builder) Build(r *Record) (*document.Document, Skipped) {
	b.collect(r)
	return b.assemble(r.Offset), b.skipped
}

// collect reads r into values and what goes with them.
func (b *Builder) collect(r *Record) {
	for _, at := range b.touched {
		b.count[at] = 0
	}
	b.buf, b.values, b.touched, b.skipped = b.buf[:0], b.values[:0], b.touched[:0], Skipped{}
	if r.Timestamp != NoTimestamp {
		b.addDate(b.time, r.Timestamp)
	}
	if b.key != none && r.Key != nil {
		b.addKey(b.key, r.Key)
	}
	if b.mapping.config.Headers {
		b.addHeaders(r.Headers)
	}
	if r.Value != nil {
		b.addValue(r.Value)
	}
}

func (b *Builder) addHeaders(headers []Header) {
	for _, h := range headers {
		if h.Value == nil {
			continue
		}
		if len(h.Name) == 0 {
			b.skipped[BadName]++
			continue
		}
		b.name = append(append(b.name[:0], HeaderPrefix...), h.Name...)
		if plan := b.learn(b.name, Keyword); plan != none {
			b.addKey(plan, h.Value)
		}
	}
}

// learn finds the field path, or adds it with that kind.
func (b *Builder) learn(path []byte, kind Kind) int {
	at, known := b.byPath[string(path)]
	switch {
	case known:
		return at
	case len(path) > maxPath || !utf8.Valid(path):
		b.skipped[BadName]++
		return none
	case b.learned >= b.mapping.config.MaxFields:
		b.skipped[TooManyFields]++
		return none
	}
	return b.addLearned(Field{Path: string(path), Kind: kind})
}

func (b *Builder) addLearned(f Field) int {
	at := b.plan(f)
	b.byPath[f.Path] = at
	b.learned++
	return at
}

func (b *Builder) addValue(v []byte) {
	format := b.mapping.config.Format
	if format == FormatNone {
		return
	}
	if format == FormatJSON || format == FormatAuto && beginsObject(v) {
		if b.addJSON(v) {
			return
		}
		if format == FormatJSON {
			b.skipped[NotJSON]++
			return
		}
	}
	if b.value != none {
		start := len(b.buf)
		b.buf = appendValid(b.buf, v)
		b.addRange(b.value, start)
	}
}

// addRange takes what was appended to buf from start on as a value. Only the leaves of ValueField have no
// bound but the record's size.
func (b *Builder) addRange(plan, start int) {
	if b.count[plan] == maxValues && plan != b.value {
		b.skipped[TooManyValues]++
		return
	}
	if b.count[plan]++; b.count[plan] == 1 {
		b.touched = append(b.touched, plan)
	}
	b.values = append(b.values, value{plan, start, len(b.buf)})
}

// appendValid appends text with U+FFFD in place of each byte that is not UTF-8.
func appendValid(dst, text []byte) []byte {
	if utf8.Valid(text) {
		return append(dst, text...)
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
	return dst
}

func (b *Builder) addKey(plan int, key []byte) {
	start := len(b.buf)
	if len(key) <= MaxKeyword && utf8.Valid(key) {
		b.buf = append(b.buf, key...)
	} else {
		b.buf = append(b.buf, KeyTerm(key)...)
	}
	b.addRange(plan, start)
}

func (b *Builder) addDate(plan int, ms int64) {
	if b.plans[plan].Kind == Timestamp {
		b.addDigits(plan, timestampBits(ms), timestampDigits)
		return
	}
	b.addDigits(plan, uint64(ms)^signBit, wideDigits)
}

// addDigits adds u as a value, and its prefixes behind it.
func (b *Builder) addDigits(plan int, u uint64, digits int) {
	start := len(b.buf)
	b.buf = appendHex(b.buf, u, digits)
	b.addRange(plan, start)
	for _, drop := range b.plans[plan].levels {
		b.buf = appendPrefix(b.buf, u>>(4*drop), digits-drop)
	}
}
