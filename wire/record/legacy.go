package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Positions in an entry of a message set, of magic 0 and 1. Offset, length and magic are where a
// batch of magic 2 has them. Magic 0 has no timestamp: its key begins where magic 1 keeps that.
const (
	posLegacyCRC        = 12 // CRC-32 (IEEE) of all that follows it
	posLegacyAttributes = 17
	posLegacyTimestamp  = 18
)

// entry is one parsed entry of a message set.
type entry struct {
	offset     int64
	magic      int8
	attributes int8
	timestamp  int64
	key, value []byte
}

func (e entry) codec() Codec          { return Codec(e.attributes & attrCodecMask) }
func (e entry) isLogAppendTime() bool { return e.attributes&attrLogAppendTime != 0 }

// nextLegacy parses the first entry of set. ok is false, and err nil, if only a part of one is left.
func nextLegacy(set []byte) (e entry, rest []byte, ok bool, err error) {
	raw, rest, err := nextEntry(set)
	if err != nil || raw == nil {
		return entry{}, nil, false, err
	}
	if raw[posMagic] > 1 {
		return entry{}, nil, false, fmt.Errorf("%w: magic %d in a message set", ErrInvalid, raw[posMagic])
	}
	e, err = parseLegacy(raw)
	return e, rest, err == nil, err
}

func parseLegacy(raw []byte) (entry, error) {
	sum, stored := crc32.ChecksumIEEE(raw[posMagic:]), binary.BigEndian.Uint32(raw[posLegacyCRC:])
	if sum != stored {
		return entry{}, fmt.Errorf("%w: CRC-32 is %08x, message says %08x", ErrCorrupt, sum, stored)
	}
	e := entry{
		offset:     int64(binary.BigEndian.Uint64(raw)),
		magic:      int8(raw[posMagic]),
		attributes: int8(raw[posLegacyAttributes]),
		timestamp:  NoTimestamp,
	}
	body := raw[posLegacyTimestamp:]
	if e.magic == 1 {
		if len(body) < 8 {
			return entry{}, fmt.Errorf("%w: message of %d bytes", ErrCorrupt, len(raw))
		}
		e.timestamp = int64(binary.BigEndian.Uint64(body))
		body = body[8:]
	}
	var keyOK, valueOK bool
	e.key, body, keyOK = legacyBytes(body)
	e.value, body, valueOK = legacyBytes(body)
	if !keyOK || !valueOK || len(body) != 0 {
		return entry{}, fmt.Errorf("%w: key and value do not fill their message", ErrCorrupt)
	}
	return e, nil
}

// legacyBytes reads a length, -1 for null, and that many bytes.
func legacyBytes(p []byte) (v, rest []byte, ok bool) {
	if len(p) < 4 {
		return nil, nil, false
	}
	n := int(int32(binary.BigEndian.Uint32(p)))
	p = p[4:]
	if n == -1 {
		return nil, p, true
	}
	if n < 0 || n > len(p) {
		return nil, nil, false
	}
	return p[:n:n], p[n:], true
}

// EachLegacy calls fn with every record of a message set of magic 0 and 1, in the order in which
// they lie there, with compressed entries opened. Offsets are absolute as far as the set knows: what
// producers send begins at 0. A timestamp that magic 0 lacks is NoTimestamp, and a wrapper with
// LogAppendTime gives its own to all its records. The record is valid only until fn returns; it
// aliases set, or a buffer. An error of fn ends the walk and is returned as it is.
//
// A partial entry at the end is ignored. ErrCorrupt says that a CRC or length is wrong, ErrInvalid
// that entries are nested or mixed as they may not be, ErrUnsupported that the codec is not one of
// these formats, and ErrTooLarge that all compressed entries together expand past lim.MaxBytes, or
// one of them past lim.MaxRatio.
func EachLegacy(set []byte, lim Limits, fn func(*Record) error) error {
	o := openers.Get().(*opener)
	defer o.release()
	o.rec.Headers = nil
	left := lim
	left.MaxBytes = lim.maxBytes()
	for {
		e, rest, ok, err := nextLegacy(set)
		if err != nil || !ok {
			return err
		}
		set = rest
		if e.codec() == None {
			o.rec = Record{Offset: e.offset, Timestamp: e.timestamp, Key: e.key, Value: e.value, Attributes: e.attributes}
			err = fn(&o.rec)
		} else {
			err = o.eachWrapped(e, &left, fn)
		}
		if err != nil {
			return err
		}
	}
}

// eachWrapped opens one compressed entry and takes what it expands to off left.
func (o *opener) eachWrapped(w entry, left *Limits, fn func(*Record) error) error {
	if w.codec() > LZ4 {
		return fmt.Errorf("%w: codec %d in magic %d", ErrUnsupported, w.codec(), w.magic)
	}
	if w.value == nil {
		return fmt.Errorf("%w: compressed message without a value", ErrInvalid)
	}
	if left.MaxBytes <= 0 {
		return fmt.Errorf("%w: compressed messages expand past the limit", ErrTooLarge)
	}
	inner, err := o.open(w.codec(), w.value, *left)
	if err != nil {
		return err
	}
	left.MaxBytes -= len(inner)
	base, err := innerBase(w, inner)
	if err != nil {
		return err
	}
	for len(inner) > 0 {
		e, rest, _, err := nextLegacy(inner) // whole, by innerBase
		if err != nil {
			return err
		}
		inner = rest
		o.rec = Record{Offset: base + e.offset, Timestamp: e.timestamp, Key: e.key, Value: e.value, Attributes: w.attributes}
		if w.isLogAppendTime() {
			o.rec.Timestamp = w.timestamp
		}
		if err := fn(&o.rec); err != nil {
			return err
		}
	}
	return nil
}

// innerBase walks the entries inside w, and returns what to add to their offsets. These are absolute
// in magic 0. In magic 1 they are relative, and the wrapper has the absolute offset of the last one;
// 0 is what librdkafka once sent instead, for a set that begins at 0.
//
//	wrapper 107, inner 0 1 2   ->   105 106 107
//	wrapper   0, inner 0 1 2   ->     0   1   2
func innerBase(w entry, inner []byte) (int64, error) {
	if len(inner) == 0 {
		return 0, fmt.Errorf("%w: compressed message without messages", ErrInvalid)
	}
	var last int64
	for len(inner) > 0 {
		raw, rest, err := nextEntry(inner)
		if err != nil {
			return 0, err
		}
		if raw == nil {
			return 0, fmt.Errorf("%w: partial message inside a compressed one", ErrCorrupt)
		}
		inner = rest
		if int8(raw[posMagic]) != w.magic {
			return 0, fmt.Errorf("%w: magic %d inside magic %d", ErrInvalid, raw[posMagic], w.magic)
		}
		if Codec(raw[posLegacyAttributes]&attrCodecMask) != None {
			return 0, fmt.Errorf("%w: compressed message inside a compressed one", ErrInvalid)
		}
		last = int64(binary.BigEndian.Uint64(raw))
	}
	switch {
	case w.magic == 0 || w.offset == 0:
		return 0, nil
	case w.offset < last:
		return 0, fmt.Errorf("%w: wrapper offset %d before its last message %d", ErrInvalid, w.offset, last)
	}
	return w.offset - last, nil
}

// appendTo appends e as its magic lays it out.
func (e entry) appendTo(dst []byte) []byte {
	at := len(dst)
	put := binary.BigEndian
	dst = put.AppendUint64(dst, uint64(e.offset))
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(e.magic), byte(e.attributes))
	if e.magic == 1 {
		dst = put.AppendUint64(dst, uint64(e.timestamp))
	}
	dst = appendLegacyBytes(dst, e.key)
	dst = appendLegacyBytes(dst, e.value)
	raw := dst[at:]
	put.PutUint32(raw[posLength:], uint32(len(raw)-PrefixSize))
	put.PutUint32(raw[posLegacyCRC:], crc32.ChecksumIEEE(raw[posMagic:]))
	return dst
}

func appendLegacyBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 0xff, 0xff, 0xff, 0xff)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(p))), p...)
}
