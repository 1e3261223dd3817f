package wire

import (
	"encoding/binary"
	"errors"
)

// MaxTags bounds the tagged fields of one section, as Kafka 4.4 does.
const MaxTags = 10_000

var (
	errShort    = errors.New("the bytes end early")
	errTooMany  = errors.New("more elements than are accepted")
	errNegative = errors.New("negative length")
)

// Dec reads Kafka's primitive types off B, in the compact form of KIP-482 when Flexible. The first
// failure sticks: later calls return zero values, and Err tells. Byte slices alias B.
type Dec struct {
	B        []byte
	Flexible bool
	err      error
}

// Err is the first failure, or nil. Bytes left over are no failure.
func (d *Dec) Err() error { return d.err }

func (d *Dec) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.B = nil
}

// Span takes the next n bytes.
func (d *Dec) Span(n int) []byte {
	if n < 0 {
		d.fail(errNegative)
		return nil
	}
	if n > len(d.B) {
		d.fail(errShort)
		return nil
	}
	p := d.B[:n:n]
	d.B = d.B[n:]
	return p
}

// Int8 reads an int8.
func (d *Dec) Int8() int8 {
	if p := d.Span(1); p != nil {
		return int8(p[0])
	}
	return 0
}

// Int16 reads an int16.
func (d *Dec) Int16() int16 {
	if p := d.Span(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

// Int32 reads an int32.
func (d *Dec) Int32() int32 {
	if p := d.Span(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

// Uvarint reads an unsigned varint of at most 32 bits.
func (d *Dec) Uvarint() uint32 {
	v, n := binary.Uvarint(d.B)
	if n <= 0 || n > binary.MaxVarintLen32 || v > 1<<32-1 {
		d.fail(errShort)
		return 0
	}
	d.B = d.B[n:]
	return uint32(v)
}

// StringBytes reads a string as the bytes it lies in; nil stands for null.
func (d *Dec) StringBytes() []byte {
	n := d.stringLen()
	if n < 0 {
		return nil
	}
	return d.Span(n)
}

// Bytes reads a byte string, which aliases B; nil stands for null.
func (d *Dec) Bytes() []byte {
	n := d.length()
	if n < 0 {
		return nil
	}
	return d.Span(n)
}

// Array reads the length of an array of at most limit elements, each of at least one byte; -1 stands
// for null.
func (d *Dec) Array(limit int) int {
	n := d.length()
	switch {
	case n > limit:
		d.fail(errTooMany)
	case n > len(d.B):
		d.fail(errShort)
	default:
		return n
	}
	return 0
}

func (d *Dec) skipTags(n int) {
	for ; n > 0 && d.err == nil; n-- {
		d.Uvarint()
		d.Span(int(d.Uvarint()))
	}
}

func (d *Dec) tagCount() int {
	n := int(d.Uvarint())
	if n > MaxTags {
		d.fail(errTooMany)
		return 0
	}
	return n
}

func (d *Dec) stringLen() int {
	if d.Flexible {
		return d.compactLen()
	}
	return d.classicLen(int(d.Int16()))
}

func (d *Dec) length() int {
	if d.Flexible {
		return d.compactLen()
	}
	return d.classicLen(int(d.Int32()))
}

// compactLen reads n+1 with 0 for null. What failed reads as an empty value, not as null.
func (d *Dec) compactLen() int {
	n := int(d.Uvarint()) - 1
	if d.err != nil {
		return 0
	}
	return n
}

func (d *Dec) classicLen(n int) int {
	if n < -1 {
		d.fail(errNegative)
		return 0
	}
	return n
}
