package record

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdMaxBlock is the most that one block can yield.
const zstdMaxBlock = 128 << 10

// zstdReaders holds decoders that work in the caller's goroutine and into the destination they are
// given.
var zstdReaders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(hardMaxDecompressed),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return err // only a bad option can be the cause
	}
	return d
}}

// unzstd bounds the output by the frames' blocks, then decodes frame by frame into it. The decoder
// looks at its limits after each block and would move the output to write a block that does not fit,
// so there is room for one more than the limit. A frame that may pass the limit is also refused if
// the window it asks for is larger than that: the decoder takes it for memory.
func unzstd(src, dst []byte, most int) ([]byte, error) {
	bound, slack, err := zstdBound(src)
	if err != nil {
		return nil, err
	}
	dst = withRoom(dst, min(bound, most)+slack)
	pooled := zstdReaders.Get()
	d, ok := pooled.(*zstd.Decoder)
	if !ok {
		return nil, pooled.(error)
	}
	defer zstdReaders.Put(d)
	for left := most; len(src) > 0; {
		f, _ := nextZstdFrame(src) // whole, by zstdBound
		src = src[f.size:]
		before := len(dst)
		if dst, err = f.decode(d, dst, left, slack); err != nil {
			return nil, err
		}
		left -= len(dst) - before
	}
	return dst, nil
}

// zstdFrame is what a walk over a frame's blocks tells.
type zstdFrame struct {
	raw   []byte
	size  int // of raw
	bound int // what it yields at most: by its header, if that says it, and by its blocks
	slack int // what one block too many may need
}

func (f zstdFrame) decode(d *zstd.Decoder, dst []byte, most, slack int) ([]byte, error) {
	clipped := f.bound > most
	if clipped {
		if most == 0 {
			return nil, tooLarge(Zstd, most)
		}
		if err := d.ResetWithOptions(nil, zstd.WithDecoderMaxMemory(uint64(most))); err != nil {
			return nil, err
		}
		defer d.ResetWithOptions(nil, zstd.WithDecoderMaxMemory(hardMaxDecompressed))
	}
	at := len(dst)
	room := min(f.bound, most) + slack
	out, err := d.DecodeAll(f.raw, dst[at:at:at+room])
	switch {
	case clipped && limitReached(err, len(out), most):
		return nil, tooLarge(Zstd, most)
	case err != nil:
		return nil, malformed(Zstd, err)
	case len(out) > room:
		return nil, malformed(Zstd, "more output than its blocks can yield")
	}
	return dst[:at+len(out)], nil
}

// limitReached interprets what stopped the decoder after n bytes. It has no error of its own for
// sequences that do not fit, so any error less than a block before the limit is taken for that.
func limitReached(err error, n, most int) bool {
	return n > most-zstdMaxBlock && err != nil || n > most ||
		errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded)
}

// zstdBound walks the frames and adds up what they yield at most. Streams, such as Java writes, do
// not say their size, and where a frame does say it, the walk tells if that can be true.
func zstdBound(src []byte) (bound, slack int, err error) {
	for len(src) > 0 {
		f, err := nextZstdFrame(src)
		if err != nil {
			return 0, 0, err
		}
		src = src[f.size:]
		bound += f.bound
		slack = max(slack, f.slack)
	}
	return bound, slack, nil
}

func nextZstdFrame(src []byte) (zstdFrame, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return zstdFrame{}, malformed(Zstd, err)
	}
	if h.Skippable {
		size := h.HeaderSize + int(h.SkippableSize)
		if size > len(src) {
			return zstdFrame{}, malformed(Zstd, "skippable frame is cut off")
		}
		return zstdFrame{raw: src[:size], size: size}, nil
	}
	if h.HeaderSize > len(src) {
		return zstdFrame{}, malformed(Zstd, "frame header is cut off")
	}
	blocks, rest, ok := walkZstdBlocks(src[h.HeaderSize:])
	if !ok || h.HasCheckSum && len(rest) < 4 {
		return zstdFrame{}, malformed(Zstd, "frame is cut off")
	}
	if h.HasCheckSum {
		rest = rest[4:]
	}
	f := zstdFrame{size: len(src) - len(rest), bound: blocks, slack: min(zstdMaxBlock, blocks)}
	f.raw = src[:f.size]
	if h.HasFCS && h.FrameContentSize < uint64(blocks) {
		f.bound = int(h.FrameContentSize)
	}
	return f, nil
}

// walkZstdBlocks returns what the blocks at the front of src yield at most.
func walkZstdBlocks(src []byte) (bound int, rest []byte, ok bool) {
	for last := false; !last; {
		if len(src) < 3 {
			return 0, nil, false
		}
		h := int(src[0]) | int(src[1])<<8 | int(src[2])<<16
		last = h&1 != 0
		stored, yields := h>>3, h>>3
		switch h >> 1 & 3 {
		case 1: // one byte, repeated
			stored = 1
		case 2: // compressed
			yields = zstdMaxBlock
		}
		src = src[3:]
		if stored > len(src) || yields > zstdMaxBlock {
			return 0, nil, false
		}
		src = src[stored:]
		bound += yields
	}
	return bound, src, true
}

// zstdWriters holds a pool for each of the library's speeds, which are fewer than zstd's levels.
var zstdWriters [zstd.SpeedBestCompression + 1]sync.Pool

// zstdDefaultLevel is Kafka's.
const zstdDefaultLevel = 3

func zstded(level int, src, dst []byte) ([]byte, error) {
	if level == 0 || level > 22 {
		level = zstdDefaultLevel
	}
	speed := zstd.EncoderLevelFromZstd(level)
	e, _ := zstdWriters[speed].Get().(*zstd.Encoder)
	if e == nil {
		var err error
		e, err = zstd.NewWriter(nil,
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderLevel(speed),
			zstd.WithLowerEncoderMem(true),
			zstd.WithZeroFrames(true))
		if err != nil {
			return dst, err
		}
	}
	defer zstdWriters[speed].Put(e)
	return e.EncodeAll(src, dst), nil
}
