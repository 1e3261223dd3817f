package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// rawMessage is one entry of a magic 0 set.
func rawMessage(offset int64, attributes int8, key, value []byte) []byte {
	var m wireBuf
	m.i8(0) // magic
	m.i8(attributes)
	m.bytes(key)
	m.bytes(value)
	var out wireBuf
	out.i64(offset)
	out.i32(int32(len(m) + 4))
	out.i32(int32(crc32.ChecksumIEEE(m)))
	return append(out, m...)
}

// rawSet is a message set of the records, inside a wrapper unless the codec is none.
func rawSet(codec string, recs []rec) ([]byte, error) {
	var set []byte
	for i, r := range recs {
		set = append(set, rawMessage(int64(i), 0, r.key, r.value)...)
	}
	var packed bytes.Buffer
	switch codec {
	case "none":
		return set, nil
	case "gzip":
		w := gzip.NewWriter(&packed)
		_, err := w.Write(set)
		return rawMessage(int64(len(recs)-1), 1, nil, mustBuffer(&packed, w)), err
	case "snappy":
		return rawMessage(int64(len(recs)-1), 2, nil, xerial(set)), nil
	}
	return nil, fmt.Errorf("0.8 has no codec %s", codec)
}

func mustBuffer(b *bytes.Buffer, w io.Closer) []byte {
	_ = w.Close() // into memory
	return b.Bytes()
}

var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

// xerial frames snappy blocks as the clients of 0.8 did.
func xerial(plain []byte) []byte {
	out := wireBuf(slices.Clone(xerialMagic))
	for chunk := range slices.Chunk(plain, 32<<10) {
		out.bytes(snappy.Encode(nil, chunk))
	}
	return out
}

// openRaw undoes a wrapper's compression.
func openRaw(codec byte, packed []byte) ([]byte, error) {
	switch codec {
	case 1:
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, 16<<20))
	case 2:
		if !bytes.HasPrefix(packed, xerialMagic[:8]) {
			return snappy.Decode(nil, packed)
		}
		var plain []byte
		for r := (&wireReader{b: packed[16:]}); len(r.b) > 0; {
			block, err := snappy.Decode(nil, r.bytes())
			if err := errors.Join(err, r.err); err != nil {
				return nil, err
			}
			plain = append(plain, block...)
		}
		return plain, nil
	}
	return nil, fmt.Errorf("codec %d in a magic 0 set", codec)
}

// parseRawSet reads a magic 0 set. A cut entry at the end is what 0.8 allowed, and is left out.
func parseRawSet(set []byte) (recs []rec, err error) {
	for len(set) >= 12 {
		offset := int64(binary.BigEndian.Uint64(set))
		size := int(binary.BigEndian.Uint32(set[8:]))
		if len(set) < 12+size {
			return recs, nil
		}
		m := set[12 : 12+size]
		set = set[12+size:]
		if size < 14 || m[4] != 0 {
			return nil, fmt.Errorf("entry at offset %d: size %d, magic %d, want magic 0", offset, size, m[4])
		}
		if crc := crc32.ChecksumIEEE(m[4:]); crc != binary.BigEndian.Uint32(m) {
			return nil, fmt.Errorf("entry at offset %d: bad CRC", offset)
		}
		r := &wireReader{b: m[6:]}
		key, value := r.bytes(), r.bytes()
		if r.err != nil {
			return nil, r.err
		}
		if codec := m[5] & 7; codec != 0 {
			plain, err := openRaw(codec, value)
			if err != nil {
				return nil, err
			}
			inner, err := parseRawSet(plain)
			if err != nil {
				return nil, err
			}
			recs = append(recs, inner...)
			continue
		}
		recs = append(recs, rec{offset: offset, key: key, value: value})
	}
	return recs, nil
}
