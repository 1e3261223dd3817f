package exec

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// The sort keys that are no fields.
const (
	scoreKey = "_score"
	docKey   = "_doc"
)

// sortKey makes one part of a hit's key:
//
//	1 missing first | 2 value | 3 missing last
//	of a value, each byte inverted if descending:
//	    's' text, 0x00 as 0x00 0xff, then 0x00 0x01; kind
//	    'n' float64 whose bits sort, what it lacks of the whole number (2 bytes); kind
//
// Numbers of all kinds sort together, as chunks may have learned a field as different ones.
type sortKey struct {
	field        schema.Field
	known        bool // the mapping has the field
	score        bool
	offset       bool
	desc         bool
	missingFirst bool
	missing      []byte // part for records without the field; nil: as missingFirst says
	format       string
}

const (
	missingFirst = 1
	present      = 2
	missingLast  = 3

	offsetKind = 0xf0 // beside the kinds of fields
	scoreKind  = 0xf1
)

// sorts are the keys of the search; by score if it names none.
func (c *compiler) sorts() ([]sortKey, error) {
	given := c.search.Sort
	if len(given) == 0 {
		given = []dsl.Sort{{Field: scoreKey, Desc: true}}
	}
	keys := make([]sortKey, len(given))
	for i, s := range given {
		k, err := c.sort(s)
		if err != nil {
			return nil, err
		}
		keys[i] = k
	}
	return keys, nil
}

func (c *compiler) sort(s dsl.Sort) (sortKey, error) {
	k := sortKey{desc: s.Desc, missingFirst: s.MissingFirst, format: s.Format}
	switch s.Field {
	case scoreKey:
		k.score = true
		return k, nil
	case offsetField, docKey:
		k.offset = true
		return k, nil
	}
	k.field, k.known = c.mapping.Field(s.Field)
	switch {
	case !k.known && s.UnmappedType == "" && !c.chunk:
		return k, refusef(dsl.IllegalArgument, "No mapping found for [%s] in order to sort on", s.Field)
	case !k.known:
		return k, nil
	case !k.field.DocValues():
		return k, refusef(dsl.IllegalArgument, "field [%s] of kind [%s] cannot be sorted by: map it as a keyword, number or date", s.Field, k.field.Kind)
	}
	if s.Missing.Kind != dsl.None {
		part, err := k.appendValue(nil, s.Missing, c.search.Now)
		if err != nil {
			return k, err
		}
		k.missing = part
	}
	return k, nil
}

// compareKeys compares keys, or equally many of their parts.
func compareKeys(a, b []byte) int { return bytes.Compare(a, b) }

func (k *sortKey) appendMissing(dst []byte) []byte {
	switch {
	case k.missing != nil:
		return append(dst, k.missing...)
	case k.missingFirst:
		return append(dst, missingFirst)
	}
	return append(dst, missingLast)
}

func (k *sortKey) kind() byte {
	switch {
	case k.score:
		return scoreKind
	case k.offset:
		return offsetKind
	}
	return byte(k.field.Kind)
}

// finish inverts what follows the first byte of the part that begins at start.
func (k *sortKey) finish(dst []byte, start int) []byte {
	if k.desc {
		for i := start + 1; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

func (k *sortKey) appendScore(dst []byte, score float64) []byte {
	return k.appendNumber(dst, score, 0, k.kind())
}

func (k *sortKey) appendOffset(dst []byte, offset int64) []byte {
	return k.appendWhole(dst, offset, k.kind())
}

func (k *sortKey) appendNumber(dst []byte, v float64, rest int, kind byte) []byte {
	start := len(dst)
	dst = append(dst, present, 'n')
	dst = binary.BigEndian.AppendUint64(dst, sortableBits(v))
	dst = binary.BigEndian.AppendUint16(dst, uint16(rest+1<<15))
	return k.finish(append(dst, kind), start)
}

// appendWhole keeps what a float64 loses.
func (k *sortKey) appendWhole(dst []byte, v int64, kind byte) []byte {
	near := float64(v)
	if near == 1<<63 {
		return k.appendNumber(dst, near, int(v-math.MaxInt64)-1, kind)
	}
	return k.appendNumber(dst, near, int(v-int64(near)), kind)
}

func (k *sortKey) appendText(dst []byte, text []byte, kind byte) []byte {
	start := len(dst)
	dst = append(dst, present, 's')
	for _, c := range text {
		dst = append(dst, c)
		if c == 0 {
			dst = append(dst, 0xff)
		}
	}
	return k.finish(append(dst, 0, 1, kind), start)
}

// appendTerm is the part of a document with that term.
func (k *sortKey) appendTerm(dst []byte, term []byte) []byte {
	switch k.field.Kind {
	case schema.Long, schema.Date, schema.Timestamp:
		return k.appendWhole(dst, wholeOf(k.field.Kind, term, 0), k.kind())
	case schema.Double:
		v, _ := schema.ParseDouble(term)
		return k.appendNumber(dst, v, 0, k.kind())
	}
	return k.appendText(dst, term, k.kind())
}

// appendValue is the part of a record whose value the client wrote, for search_after and missing.
func (k *sortKey) appendValue(dst []byte, v dsl.Value, now time.Time) ([]byte, error) {
	whole, err := strconv.ParseInt(v.Text, 10, 64)
	number, numberErr := strconv.ParseFloat(v.Text, 64)
	kind := k.kind()
	switch {
	case v.Kind == dsl.None:
		return k.appendMissing(dst), nil
	case k.score || k.field.Kind == schema.Double:
		if numberErr != nil || math.IsNaN(number) {
			return nil, k.misfit(v)
		}
		return k.appendNumber(dst, number+0, 0, kind), nil
	case k.offset || k.field.Kind == schema.Long:
		if err != nil && numberErr == nil && !math.IsNaN(number) {
			return k.appendNumber(dst, number, 0, kind), nil
		}
		if err != nil {
			return nil, k.misfit(v)
		}
		return k.appendWhole(dst, whole, kind), nil
	case k.field.Kind == schema.Date || k.field.Kind == schema.Timestamp:
		if err == nil && (k.format == "" || v.Kind == dsl.Number) {
			return k.appendWhole(dst, whole, kind), nil
		}
		ms, err := dsl.ParseDate(v, k.format, "", false, now)
		return k.appendWhole(dst, ms, kind), err
	case !k.known:
		return k.appendText(dst, []byte(v.Text), kind), nil
	}
	term, _, err := k.field.Term(v.Text)
	if err != nil {
		return nil, k.misfit(v)
	}
	return k.appendText(dst, []byte(term), kind), nil
}

func (k *sortKey) misfit(v dsl.Value) error {
	return refusef(dsl.IllegalArgument, "[%s] is no value to sort by field [%s]", v.Text, k.field.Path)
}

// afterKey is the key that search_after names.
func afterKey(keys []sortKey, values []dsl.Value) (key []byte, err error) {
	if len(values) == 0 {
		return nil, nil
	}
	for i := range keys {
		if i == len(values) {
			break
		}
		if key, err = keys[i].appendValue(key, values[i], time.Time{}); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// sortableBits sorts like v.
func sortableBits(v float64) uint64 {
	u := math.Float64bits(v + 0)
	if u>>63 != 0 {
		return ^u
	}
	return u | 1<<63
}

func fromSortableBits(u uint64) float64 {
	if u>>63 != 0 {
		return math.Float64frombits(u &^ (1 << 63))
	}
	return math.Float64frombits(^u)
}
