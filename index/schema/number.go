package schema

import (
	"math"
	"strconv"
	"strings"
)

// decimal is a number as text writes it, cut to its whole part, exactly.
type decimal struct {
	negative bool
	whole    uint64
	huge     bool // whole does not fit
	fraction bool // there is more behind the point than zeros
}

// parseDecimal reads a JSON number; a sign in front and leading zeros are allowed too.
func parseDecimal(text string) (d decimal, ok bool) {
	mantissa, exponent, ok := splitExponent(text)
	if !ok {
		return d, false
	}
	if mantissa[0] == '-' || mantissa[0] == '+' {
		d.negative = mantissa[0] == '-'
		mantissa = mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	point := len(whole) + exponent // how many digits stand before the point
	seen := 0
	for _, part := range [2]string{whole, fraction} {
		for i := range len(part) {
			c := part[i]
			if c < '0' || c > '9' {
				return d, false
			}
			d.digit(c-'0', seen < point)
			seen++
		}
	}
	for ; seen < point && d.whole != 0 && !d.huge; seen++ {
		d.digit(0, true)
	}
	return d, seen > 0 && len(whole)+len(fraction) > 0
}

func (d *decimal) digit(c byte, beforePoint bool) {
	switch {
	case !beforePoint:
		d.fraction = d.fraction || c != 0
	case d.whole > (math.MaxUint64-uint64(c))/10:
		d.huge = true
	default:
		d.whole = d.whole*10 + uint64(c)
	}
}

// splitExponent cuts off the exponent. One that is larger than any number of this use is as good as ±2^20.
func splitExponent(text string) (mantissa string, exponent int, ok bool) {
	mantissa = text
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		n, err := strconv.ParseInt(text[i+1:], 10, 64)
		if err != nil && !isOverflow(err) {
			return "", 0, false
		}
		exponent = int(min(max(n, -1<<20), 1<<20))
	}
	return mantissa, exponent, mantissa != ""
}

func isOverflow(err error) bool {
	numError, _ := err.(*strconv.NumError)
	return numError != nil && numError.Err == strconv.ErrRange
}

// parseWhole reads a whole number of 64 bits: 1e3 and 5.0 are some, 1.5 is not.
func parseWhole(text string) (v int64, ok bool) {
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, true // nearly all
	}
	d, ok := parseDecimal(text)
	if !ok || d.fraction {
		return 0, false
	}
	v, clamped := d.int64()
	return v, !clamped
}

// int64 is the whole part, or the nearest number that fits.
func (d decimal) int64() (v int64, clamped bool) {
	switch {
	case d.negative && (d.huge || d.whole > signBit):
		return math.MinInt64, true
	case d.negative:
		return -int64(d.whole), false // also of 1<<63
	case d.huge || d.whole >= signBit:
		return math.MaxInt64, true
	}
	return int64(d.whole), false
}

// floor is the largest whole number that is not above d; before says that d lies below all of them and
// after that it lies above.
func (d decimal) floor() (v int64, before, after bool) {
	v, clamped := d.int64()
	if d.negative && !clamped && d.fraction {
		if v == math.MinInt64 {
			return v, true, false
		}
		v--
	}
	return v, clamped && d.negative, clamped && !d.negative
}

// parseDouble reads a JSON number that a float64 can hold, rounded.
func parseDouble(text string) (v float64, ok bool) {
	if !decimalDigits(text) {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}

// decimalDigits refuses the words, hex digits and underscores that strconv reads too.
func decimalDigits(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return false
		}
	}
	return len(text) > 0
}
