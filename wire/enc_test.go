package wire

import "encoding/binary"

// Enc appends Kafka's primitive types to B. With Flexible, strings, bytes and arrays take the compact
// form of KIP-482 and Tags writes an empty section; without it Tags writes nothing.
type Enc struct {
	B        []byte
	Flexible bool
}

// Bool appends a boolean.
func (e *Enc) Bool(v bool) {
	if v {
		e.B = append(e.B, 1)
		return
	}
	e.B = append(e.B, 0)
}

// Int8 appends an int8.
func (e *Enc) Int8(v int8) { e.B = append(e.B, byte(v)) }

// Int16 appends an int16.
func (e *Enc) Int16(v int16) { e.B = binary.BigEndian.AppendUint16(e.B, uint16(v)) }

// Int32 appends an int32.
func (e *Enc) Int32(v int32) { e.B = binary.BigEndian.AppendUint32(e.B, uint32(v)) }

// Uvarint appends an unsigned varint.
func (e *Enc) Uvarint(v uint32) { e.B = binary.AppendUvarint(e.B, uint64(v)) }

// UUID appends the 16 bytes of a topic id.
func (e *Enc) UUID(v [16]byte) { e.B = append(e.B, v[:]...) }

// String appends a string; above 32767 bytes it fits the flexible form only.
func (e *Enc) String(v string) {
	if e.Flexible {
		e.Uvarint(uint32(len(v)) + 1)
	} else {
		e.Int16(int16(len(v)))
	}
	e.B = append(e.B, v...)
}

// NullableString appends a string or null.
func (e *Enc) NullableString(v *string) {
	switch {
	case v != nil:
		e.String(*v)
	case e.Flexible:
		e.Uvarint(0)
	default:
		e.Int16(-1)
	}
}

// Array appends the length of an array whose elements follow.
func (e *Enc) Array(n int) { e.length(n) }

// Bytes appends a byte string.
func (e *Enc) Bytes(v []byte) {
	e.length(len(v))
	e.B = append(e.B, v...)
}

// BytesLen appends the length of a byte string that follows elsewhere, for example as a file Part.
func (e *Enc) BytesLen(n int) { e.length(n) }

// Null appends a null array or byte string. (A null string is NullableString(nil).)
func (e *Enc) Null() { e.length(-1) }

func (e *Enc) length(n int) {
	if e.Flexible {
		e.Uvarint(uint32(n + 1))
		return
	}
	e.Int32(int32(n))
}

// Tags ends a struct: an empty section of tagged fields, in flexible versions only.
func (e *Enc) Tags() {
	if e.Flexible {
		e.B = append(e.B, 0)
	}
}
