package record

import (
	"encoding/binary"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// The lz4 frame format, as far as Kafka uses it. We walk frames ourselves, since the library's
// reader insists on header checksums that magic 0 has wrong, and decodes into buffers of its own
// where we can decode into the destination.
const (
	lz4Magic        = 0x184D2204
	lz4FlagVersion  = 0xC0 // must be 01
	lz4FlagChained  = 0x20 // zero: blocks refer to earlier ones
	lz4FlagBlockSum = 0x10
	lz4FlagSize     = 0x08
	lz4FlagSum      = 0x04
	lz4FlagDict     = 0x01
	lz4RawBlock     = 1 << 31 // in a block's length: stored, not compressed
	lz4Window       = 64 << 10
	lz4MaxRatio     = 255 // one length byte stands for at most 255 bytes
)

// A frame that we write begins with the magic, flags (version 1, independent blocks), the block size
// code for 64 KiB, and one byte of the xxHash-32 of these two. Brokers of magic 0 hashed the magic
// along with them (KAFKA-3160) and their clients expect it so.
const (
	lz4Prefix              = "\x04\x22\x4D\x18\x60\x40"
	lz4BlockSize           = 64 << 10
	lz4Checksum       byte = 0x82
	lz4ChecksumMagic0 byte = 0x1a
	lz4EndMark             = "\x00\x00\x00\x00"
)

type lz4Frame struct {
	blockMax int
	blockSum bool
	chained  bool
	sum      bool
}

// parseLZ4Frame reads a frame's header; the rest begins with the first block.
func parseLZ4Frame(src []byte) (f lz4Frame, rest []byte, ok bool) {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return f, nil, false
	}
	flags, sizeCode := src[4], src[5]>>4&7
	size := 7
	if flags&lz4FlagSize != 0 {
		size += 8
	}
	if flags&lz4FlagVersion != 0x40 || flags&lz4FlagDict != 0 || sizeCode < 4 || len(src) < size {
		return f, nil, false
	}
	return lz4Frame{
		blockMax: 1 << (8 + 2*sizeCode), // 64 KiB, 256 KiB, 1 MiB, 4 MiB
		blockSum: flags&lz4FlagBlockSum != 0,
		chained:  flags&lz4FlagChained == 0,
		sum:      flags&lz4FlagSum != 0,
	}, src[size:], true
}

// eachBlock calls fn with the frame's blocks and returns what follows the frame.
func (f lz4Frame) eachBlock(src []byte, fn func(block []byte, raw bool) error) (rest []byte, err error) {
	for {
		if len(src) < 4 {
			return nil, malformed(LZ4, "frame is cut off")
		}
		n := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if n == 0 {
			break
		}
		raw := n&lz4RawBlock != 0
		size := int(n &^ lz4RawBlock)
		need := size
		if f.blockSum {
			need += 4
		}
		if size > f.blockMax || need > len(src) {
			return nil, malformed(LZ4, "length of a block")
		}
		if err := fn(src[:size], raw); err != nil {
			return nil, err
		}
		src = src[need:]
	}
	if !f.sum {
		return src, nil
	}
	if len(src) < 4 {
		return nil, malformed(LZ4, "checksum is cut off")
	}
	return src[4:], nil
}

func eachLZ4Frame(src []byte, fn func(f lz4Frame, src []byte) (rest []byte, err error)) error {
	for len(src) > 0 {
		f, rest, ok := parseLZ4Frame(src)
		if !ok {
			return malformed(LZ4, "frame header")
		}
		var err error
		if src, err = fn(f, rest); err != nil {
			return err
		}
	}
	return nil
}

// unlz4 bounds the output by the blocks' lengths, then decodes straight into it.
func unlz4(src, dst []byte, most int) ([]byte, error) {
	bound := 0
	err := eachLZ4Frame(src, func(f lz4Frame, src []byte) ([]byte, error) {
		return f.eachBlock(src, func(block []byte, raw bool) error {
			if raw {
				bound += len(block)
			} else {
				bound += min(f.blockMax, len(block)*lz4MaxRatio)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	room := min(bound, most)
	dst = withRoom(dst, room)
	end := len(dst) + room
	err = eachLZ4Frame(src, func(f lz4Frame, src []byte) ([]byte, error) {
		start := len(dst)
		return f.eachBlock(src, func(block []byte, raw bool) error {
			n, ok := f.decodeBlock(block, raw, dst[start:], dst[len(dst):end])
			dst = dst[:len(dst)+n]
			switch {
			case ok:
				return nil
			case end-len(dst) < f.blockMax && bound > most: // there was less room than a block may need
				return tooLarge(LZ4, most)
			}
			return malformed(LZ4, "block")
		})
	})
	return dst, err
}

// decodeBlock writes one block to room and returns its size there; before is the frame so far.
func (f lz4Frame) decodeBlock(block []byte, raw bool, before, room []byte) (int, bool) {
	room = room[:min(len(room), f.blockMax)]
	if raw {
		return copy(room, block), len(block) <= len(room)
	}
	var window []byte
	if f.chained {
		window = before[max(0, len(before)-lz4Window):]
	}
	n, err := lz4.UncompressBlockWithDict(block, room, window)
	if err != nil {
		return 0, false
	}
	return n, true
}

type lz4Compressor struct {
	fast lz4.Compressor
	high lz4.CompressorHC
}

var lz4Compressors = sync.Pool{New: func() any { return new(lz4Compressor) }}

// lz4DefaultLevel is Kafka's, which stands for the fast compressor.
const lz4DefaultLevel = 9

func lz4ed(level int, src, dst []byte, checksum byte) ([]byte, error) {
	c := lz4Compressors.Get().(*lz4Compressor)
	defer lz4Compressors.Put(c)
	dst = append(append(dst, lz4Prefix...), checksum)
	for len(src) > 0 {
		chunk := src[:min(len(src), lz4BlockSize)]
		src = src[len(chunk):]
		var room []byte
		dst, room = spare(dst, 4+lz4.CompressBlockBound(len(chunk)))
		n, err := c.block(level, chunk, room[4:])
		if err != nil {
			return dst, err
		}
		size := uint32(n)
		if n == 0 || n >= len(chunk) {
			n = copy(room[4:], chunk)
			size = uint32(n) | lz4RawBlock
		}
		binary.LittleEndian.PutUint32(room, size)
		dst = dst[:len(dst)+4+n]
	}
	return append(dst, lz4EndMark...), nil
}

func (c *lz4Compressor) block(level int, src, room []byte) (int, error) {
	level = levelIn(level, 1, 17, lz4DefaultLevel)
	if level == lz4DefaultLevel {
		return c.fast.CompressBlock(src, room)
	}
	c.high.Level = lz4.Level1 << (min(level, 9) - 1)
	return c.high.CompressBlock(src, room)
}
