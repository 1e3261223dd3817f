package schema

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// ValueError says that a value of a query does not fit its field's kind.
type ValueError struct {
	Field Field
	Value string
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("field [%s] of kind %s: %q is no such value", e.Field.Path, e.Field.Kind, e.Value)
}

// Term is the term that records with the value text hold in f, where text is a JSON scalar as written, a
// string without its quotes and escapes. Dates are ISO 8601 or ms since 1970. Where some says false the value
// fits the kind and yet no record can hold it, like 1.5 in a Long. The error is a *ValueError. The text of a Text
// is analysed instead (Analyze).
func (f Field) Term(text string) (term string, some bool, err error) {
	switch f.Kind {
	case Keyword, Text:
		if f.isKey() {
			return KeyTerm([]byte(text)), true, nil
		}
		return text, len(text) <= MaxKeyword, nil
	case Long:
		if _, isNumber := parseDecimal(text); !isNumber {
			break
		}
		v, some := parseWhole(text)
		return LongTerm(v), some, nil
	case Double:
		if v, ok := parseDouble(text); ok {
			return DoubleTerm(v), true, nil
		}
	case Date, Timestamp:
		if ms, ok := parseDate(text); ok {
			return f.dateTerm(ms), f.Kind == Date || ms >= 0 && ms <= maxTimestamp, nil
		}
	case Boolean:
		if text == "true" || text == "false" {
			return text, true, nil
		}
	case IP:
		if a, ok := parseIP(text); ok {
			return IPTerm(a), true, nil
		}
	}
	return "", false, &ValueError{f, text}
}

func (f Field) isKey() bool { return f.Path == KeyField || strings.HasPrefix(f.Path, HeaderPrefix) }

func (f Field) dateTerm(ms int64) string {
	if f.Kind == Timestamp {
		return TimestampTerm(ms)
	}
	return DateTerm(ms)
}

// Bound is one end of a range: text as in Term.
type Bound struct {
	Text      string
	Exclusive bool
}

// Range is the terms of f between two bounds; nil is none. Long and Date take fractions for bounds, and
// numbers that no record can hold. The error is a *ValueError.
func (f Field) Range(lo, hi *Bound) (Interval, error) {
	var i Interval
	if lo != nil {
		at, err := f.position(lo.Text, lo.Exclusive)
		if err != nil {
			return i, err
		}
		if at.past {
			return nothing, nil
		}
		i.Lo = at.term
	}
	if hi != nil {
		at, err := f.position(hi.Text, !hi.Exclusive)
		if err != nil {
			return i, err
		}
		if !at.past {
			i.End = at.term
		}
		if at.term == "" && !at.past {
			return nothing, nil // an empty End would be no bound
		}
	}
	return i, nil
}

// nothing is an interval without terms.
var nothing = Interval{Lo: "0", End: "0"}

// position is a place in the order of terms: in front of term, or past all of them.
type position struct {
	term string
	past bool
}

// position is where text stands: in front of the terms that are equal to it or, with after, behind them.
func (f Field) position(text string, after bool) (position, error) {
	switch f.Kind {
	case Long:
		if d, ok := parseDecimal(text); ok {
			return longPosition(d, after), nil
		}
	case Double:
		if v, err := strconv.ParseFloat(text, 64); decimalDigits(text) && (err == nil || isOverflow(err)) {
			return position{term: hexTerm(doubleBits(v)+oneIf(after), wideDigits)}, nil
		}
	case Date, Timestamp:
		if ms, ok := parseDate(text); ok {
			return f.datePosition(ms, after), nil
		}
	default:
		term, _, err := f.Term(text)
		if after {
			term += "\x00" // nothing lies between
		}
		return position{term: term}, err
	}
	return position{}, &ValueError{f, text}
}

func longPosition(d decimal, after bool) position {
	v, before, past := d.floor()
	if before {
		return position{term: LongTerm(math.MinInt64)}
	}
	if !past && (after || d.fraction) {
		past = v == math.MaxInt64
		v++
	}
	return position{LongTerm(v), past}
}

func (f Field) datePosition(ms int64, after bool) position {
	switch {
	case f.Kind == Timestamp && ms < 0:
		return position{term: TimestampTerm(0)}
	case f.Kind == Timestamp:
		u := timestampBits(ms) + oneIf(after)
		return position{hexTerm(u, timestampDigits), u > maxTimestamp}
	}
	u := uint64(ms) ^ signBit + oneIf(after)
	return position{hexTerm(u, wideDigits), after && u == 0}
}

// DateRange is the terms of f, a Date or Timestamp, from low to high, both included, in ms since 1970. The least and
// the greatest int64 are no bounds.
func (f Field) DateRange(low, high int64) Interval {
	from, to := f.datePosition(low, false), f.datePosition(high, true)
	if low > high {
		return nothing
	}
	i := Interval{Lo: from.term}
	if !to.past {
		i.End = to.term
	}
	return i
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// Number is the value of a term as a number, ms since 1970 of a date; ok is false where the kind has none.
func (f Field) Number(term []byte) (v float64, ok bool) {
	switch f.Kind {
	case Long, Date:
		n, ok := ParseLong(term)
		return float64(n), ok
	case Timestamp:
		n, ok := ParseTimestamp(term)
		return float64(n), ok
	case Double:
		return ParseDouble(term)
	case Boolean:
		return float64(oneIf(string(term) == "true")), true
	}
	return 0, false
}

// Value is what term stands for: an int64 of a Long, Date or Timestamp, a float64, a bool, else a string. A
// term that f cannot hold comes as the string it is.
func (f Field) Value(term []byte) any {
	switch f.Kind {
	case Long, Date:
		if v, ok := ParseLong(term); ok {
			return v
		}
	case Timestamp:
		if v, ok := ParseTimestamp(term); ok {
			return v
		}
	case Double:
		if v, ok := ParseDouble(term); ok {
			return v
		}
	case Boolean:
		return string(term) == "true"
	case IP:
		if a, ok := ParseIP(term); ok {
			return a.String()
		}
	}
	return string(term)
}

func parseIP(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a, err == nil && a.Zone() == ""
}

// PrefixRange is the addresses of a network like 10.0.0.0/8 as terms of an IP field; ok says that text is one.
func PrefixRange(text string) (i Interval, ok bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return i, false
	}
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	first := p.Masked().Addr().As16()
	last := first
	for n := bits; n < 128; n++ {
		last[n/8] |= 1 << (7 - n%8)
	}
	return Interval{IPTerm(netip.AddrFrom16(first)), IPTerm(netip.AddrFrom16(last)) + "\x00"}, true
}
