package record

import (
	"fmt"
	"slices"
	"sync"
)

// Codec names a compression, numbered as in a batch's attributes.
type Codec int8

// The codecs of Kafka.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String is the name that compression.type uses.
func (c Codec) String() string {
	if c < None || c > Zstd {
		return "unknown"
	}
	return [...]string{"none", "gzip", "snappy", "lz4", "zstd"}[c]
}

// What a zero Limits stands for, and the most that one may ask for. No length field of a legacy set
// built from hardMaxDecompressed bytes of records can overflow its int32.
const (
	DefaultMaxDecompressed = 64 << 20
	DefaultMaxRatio        = 2000
	hardMaxDecompressed    = 256 << 20
)

// ratioFree is what any input may expand to, however short it is: a few bytes of zstd legitimately
// hold a batch of equal records, and this much memory is no attack.
const ratioFree = 4 << 20

// Limits bounds what compressed bytes may expand to. A zero field means its default.
type Limits struct {
	// MaxBytes is the most that one batch or message set may yield. It bounds memory, since the
	// output is held whole. Default 64 MiB; values above 256 MiB mean 256 MiB.
	MaxBytes int
	// MaxRatio is the most that it may yield per compressed byte, past the first 4 MiB. The default
	// of 2000 is out of reach for gzip (about 1030), lz4 (255) and snappy (22).
	MaxRatio int
}

func (l Limits) maxBytes() int {
	if l.MaxBytes <= 0 {
		return DefaultMaxDecompressed
	}
	return min(l.MaxBytes, hardMaxDecompressed)
}

// allowance is what n compressed bytes may yield.
func (l Limits) allowance(n int) int {
	ratio := l.MaxRatio
	if ratio <= 0 {
		ratio = DefaultMaxRatio
	}
	most := l.maxBytes()
	if n > most/ratio { // and n*ratio cannot overflow
		return most
	}
	return min(most, max(n*ratio, ratioFree))
}

// Decompress appends the decompressed src to dst and returns the result, which aliases dst if its
// capacity sufficed. src is not kept. If more than lim allows would come out it returns ErrTooLarge,
// if src is malformed ErrCorrupt, and for a codec that does not exist ErrUnsupported; dst is then
// returned as it was. Nothing is allocated for output past the limit: the decoders are given a
// destination of known size and may not grow it.
//
// Checksums inside the compressed formats of lz4 are not verified, because a batch's own CRC covers
// the same bytes and old clients wrote the frame's wrongly (KAFKA-3160).
func Decompress(codec Codec, src, dst []byte, lim Limits) ([]byte, error) {
	if codec < None || codec > Zstd {
		return dst, fmt.Errorf("%w: codec %d", ErrUnsupported, codec)
	}
	most := lim.allowance(len(src))
	if codec == None {
		if len(src) > lim.maxBytes() {
			return dst, tooLarge(None, lim.maxBytes())
		}
		return append(dst, src...), nil
	}
	if len(src) == 0 {
		return dst, fmt.Errorf("%w: no %v data", ErrCorrupt, codec)
	}
	var out []byte
	var err error
	switch codec {
	case Gzip:
		out, err = gunzip(src, dst, most)
	case Snappy:
		out, err = unsnappy(src, dst, most)
	case LZ4:
		out, err = unlz4(src, dst, most)
	case Zstd:
		out, err = unzstd(src, dst, most)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Compress appends src, compressed by codec, to dst and returns the result. Level is that of the
// topic's compression.<codec>.level (gzip 1 to 9, lz4 1 to 17, zstd up to 22); 0 and values out of
// range mean the codec's default, and snappy has none. The output is what Java clients read: snappy
// in xerial framing, lz4 as a frame of independent 64 KiB blocks.
func Compress(codec Codec, level int, src, dst []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return gzipped(level, src, dst)
	case Snappy:
		return snappied(src, dst), nil
	case LZ4:
		return lz4ed(level, src, dst, lz4Checksum)
	case Zstd:
		return zstded(level, src, dst)
	}
	return dst, fmt.Errorf("%w: codec %d", ErrUnsupported, codec)
}

func tooLarge(codec Codec, most int) error {
	return fmt.Errorf("%w: %v data expands to more than %d bytes", ErrTooLarge, codec, most)
}

func malformed(codec Codec, cause any) error {
	return fmt.Errorf("%w: malformed %v data: %v", ErrCorrupt, codec, cause)
}

// withRoom returns dst with a capacity for at least n more bytes. It allocates exactly, unlike
// append: n is a bound, and a limit may hang on it.
func withRoom(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	return append(make([]byte, 0, len(dst)+n), dst...)
}

// maxPooled is the largest buffer that is kept for the next user.
const maxPooled = 4 << 20

// scratch is a buffer on loan: for decompressed records, which live no longer than one call.
type scratch struct{ buf []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func getScratch() *scratch { return scratches.Get().(*scratch) }

func (s *scratch) release() {
	if cap(s.buf) > maxPooled {
		s.buf = nil
	}
	s.buf = s.buf[:0]
	scratches.Put(s)
}

// open returns the decompressed payload: a slice of src itself if there is nothing to decompress,
// else one that s owns.
func (s *scratch) open(codec Codec, src []byte, lim Limits) ([]byte, error) {
	if codec == None {
		return src, nil
	}
	out, err := Decompress(codec, src, s.buf[:0], lim)
	if err != nil {
		return nil, err
	}
	s.buf = out
	return out, nil
}

// levelIn is level if it lies in [lo, hi], else def.
func levelIn(level, lo, hi, def int) int {
	if level < lo || level > hi {
		return def
	}
	return level
}

// spare returns n writable bytes after dst, which may have moved.
func spare(dst []byte, n int) (moved, room []byte) {
	dst = slices.Grow(dst, n)
	return dst, dst[len(dst) : len(dst)+n]
}
