package record

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/klauspost/compress/s2"
)

// Java's snappy stream ("xerial framing"): a header of 16 bytes, then blocks with a big-endian
// length in front. Other clients write one bare block, which cannot begin like the header: that
// would be the varint of a length followed by a copy from before the start.
const (
	xerialHeader    = "\x82SNAPPY\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x01" // magic, version, compatible version
	xerialMagicSize = 8
	xerialBlockSize = 32 << 10 // Java's default
)

// snappyMaxRatio bounds what a block can yield: 64 bytes for a copy of three.
const snappyMaxRatio = 22

func unsnappy(src, dst []byte, most int) ([]byte, error) {
	total := 0
	err := eachSnappyBlock(src, func(block []byte) error {
		n, err := s2.DecodedLen(block)
		if err != nil || n > snappyMaxRatio*len(block) {
			return malformed(Snappy, "length of a block")
		}
		if total += n; total > most {
			return tooLarge(Snappy, most)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	dst = withRoom(dst, total)
	err = eachSnappyBlock(src, func(block []byte) error {
		n, _ := s2.DecodedLen(block) // fits, by the first walk
		if _, err := s2.Decode(dst[len(dst):len(dst)+n], block); err != nil {
			return malformed(Snappy, err)
		}
		dst = dst[:len(dst)+n]
		return nil
	})
	return dst, err
}

func eachSnappyBlock(src []byte, fn func(block []byte) error) error {
	magic := []byte(xerialHeader[:xerialMagicSize])
	if !bytes.HasPrefix(src, magic) {
		return fn(src)
	}
	for len(src) > 0 {
		if bytes.HasPrefix(src, magic) { // concatenated streams are one stream
			if len(src) < len(xerialHeader) {
				return malformed(Snappy, "header is cut off")
			}
			src = src[len(xerialHeader):]
			continue
		}
		if len(src) < 4 {
			return malformed(Snappy, "block length is cut off")
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if n > math.MaxInt32 || int(n) > len(src) {
			return malformed(Snappy, "block is cut off")
		}
		if err := fn(src[:n]); err != nil {
			return err
		}
		src = src[n:]
	}
	return nil
}

func snappied(src, dst []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		chunk := src[:min(len(src), xerialBlockSize)]
		src = src[len(chunk):]
		var room []byte
		dst, room = spare(dst, 4+s2.MaxEncodedLen(len(chunk)))
		block := s2.EncodeSnappy(room[4:], chunk)
		binary.BigEndian.PutUint32(room, uint32(len(block)))
		dst = dst[:len(dst)+4+len(block)]
	}
	return dst
}
