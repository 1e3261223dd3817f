package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/netip"
	"strings"
	"unicode/utf8"
)

const (
	wideDigits      = 16 // of a long, double, date, offset
	timestampDigits = 12 // enough until the year 10889
	ipDigits        = 32

	// MaxKeyword is the length in bytes up to which a keyword is indexed. A longer value of a field is left
	// out; a longer key or header is cut there and told apart by a hash (KeyTerm).
	MaxKeyword = 1024

	maxTimestamp = 1<<(4*timestampDigits) - 1
	signBit      = 1 << 63
	lowerHex     = "0123456789abcdef"
)

// LongTerm encodes v so that terms sort like numbers: 16 hex digits, the sign bit flipped.
func LongTerm(v int64) string { return hexTerm(uint64(v)^signBit, wideDigits) }

// DoubleTerm encodes v, which is not NaN, so that terms sort like numbers. -0 becomes 0.
func DoubleTerm(v float64) string { return hexTerm(doubleBits(v), wideDigits) }

// DateTerm encodes a time in ms since 1970.
func DateTerm(ms int64) string { return LongTerm(ms) }

// TimestampTerm encodes a record's timestamp in ms since 1970. One that needs more than 12 hex digits is
// taken for the nearest that does not, so that such records still sort last.
func TimestampTerm(ms int64) string { return hexTerm(timestampBits(ms), timestampDigits) }

// OffsetTerm is the _id of the record at offset, which is not negative.
func OffsetTerm(offset int64) string { return hexTerm(uint64(offset), wideDigits) }

// IPTerm encodes an address without its zone; an IPv4 address as the IPv6 address ::ffff:a.b.c.d.
func IPTerm(a netip.Addr) string {
	b := a.As16()
	return hex.EncodeToString(b[:])
}

// KeyText is a key or header value as text. Bytes that are not UTF-8 become "0x" and their hex digits: a
// serialised number is then shown, and found, as tools print it.
func KeyText(value []byte) string {
	if utf8.Valid(value) {
		return string(value)
	}
	return "0x" + hex.EncodeToString(value)
}

// KeyTerm is the term of a key or header value: its KeyText, but what is longer than MaxKeyword is cut there,
// at a character, and carries 16 bytes of the value's SHA-256. So values have equal terms only if they are equal,
// or if one is text that spells the other's digits.
func KeyTerm(value []byte) string {
	text := KeyText(value)
	if len(text) <= MaxKeyword {
		return text
	}
	return strings.ToValidUTF8(text[:MaxKeyword], "") + hashSuffix(value)
}

func hashSuffix(value []byte) string {
	sum := sha256.Sum256(value)
	return "…" + hex.EncodeToString(sum[:16])
}

// The inverses; ok says that term is one of its kind.

func ParseLong(term []byte) (v int64, ok bool) {
	u, ok := parseHex(term, wideDigits)
	return int64(u ^ signBit), ok
}

func ParseDouble(term []byte) (v float64, ok bool) {
	u, ok := parseHex(term, wideDigits)
	if u&signBit != 0 {
		u ^= signBit
	} else {
		u = ^u
	}
	return math.Float64frombits(u), ok
}

func ParseDate(term []byte) (ms int64, ok bool) { return ParseLong(term) }

func ParseTimestamp(term []byte) (ms int64, ok bool) {
	u, ok := parseHex(term, timestampDigits)
	return int64(u), ok
}

func ParseOffset(term []byte) (offset int64, ok bool) {
	u, ok := parseHex(term, wideDigits)
	return int64(u), ok && u < signBit
}

// ParseIP gives an IPv4 address back as one.
func ParseIP(term []byte) (a netip.Addr, ok bool) {
	var b [ipDigits / 2]byte
	if len(term) != ipDigits {
		return a, false
	}
	if _, err := hex.Decode(b[:], term); err != nil {
		return a, false
	}
	return netip.AddrFrom16(b).Unmap(), true
}

func doubleBits(v float64) uint64 {
	u := math.Float64bits(v + 0) // turns -0 into 0
	if u&signBit != 0 {
		return ^u // the larger a negative number's bits, the smaller it is
	}
	return u | signBit
}

func timestampBits(ms int64) uint64 { return uint64(min(max(ms, 0), maxTimestamp)) }

func hexTerm(u uint64, digits int) string {
	return string(appendHex(make([]byte, 0, wideDigits), u, digits))
}

func appendHex(dst []byte, u uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, lowerHex[u>>shift&15])
	}
	return dst
}

func parseHex(term []byte, digits int) (u uint64, ok bool) {
	if len(term) != digits {
		return 0, false
	}
	for _, c := range term {
		switch {
		case '0' <= c && c <= '9':
			u = u<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			u = u<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return u, true
}
