package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Producer identifies the producer of an idempotent batch.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the batch's first record; NoSequence in control batches
}

// Spec is what a new batch's header says. The zero Spec is a plain, uncompressed batch at offset 0.
type Spec struct {
	BaseOffset  int64
	LeaderEpoch int32

	Codec Codec // a batch without records is never compressed
	Level int   // as in Compress

	Producer      *Producer // nil is none
	Transactional bool
	Control       bool

	// LogAppendTime makes AppendTime, in ms, the time of every record.
	LogAppendTime bool
	AppendTime    int64

	// DeleteHorizon, in ms, is the time from which the batch's tombstones may go (KIP-534); 0 is none.
	DeleteHorizon int64

	// LastOffsetDelta is the batch's end if its last record lies before that: compaction keeps the
	// offsets, and the sequence numbers, that its removed records had.
	LastOffsetDelta int32
}

// SpecOf is the Spec of a batch that stands in for b with some of its records, or none. The codec's
// level is not known from b, and is the default.
func SpecOf(b Batch) Spec {
	s := Spec{
		BaseOffset:      b.BaseOffset(),
		LeaderEpoch:     b.LeaderEpoch(),
		Codec:           b.Codec(),
		Transactional:   b.IsTransactional(),
		Control:         b.IsControl(),
		LogAppendTime:   b.IsLogAppendTime(),
		LastOffsetDelta: b.LastOffsetDelta(),
	}
	if s.LogAppendTime {
		s.AppendTime = b.MaxTimestamp()
	}
	if b.HasDeleteHorizon() {
		s.DeleteHorizon = b.BaseTimestamp()
	}
	if b.ProducerID() != NoProducer {
		s.Producer = &Producer{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()}
	}
	return s
}

// Builder collects records into one batch of magic 2. It copies what it is given. It is not safe for
// concurrent use.
type Builder struct {
	spec     Spec
	records  []byte // as they will be stored, uncompressed
	count    int
	last     int64 // offset delta of the last record
	baseTime int64
	maxTime  int64
}

// NewBuilder returns a builder for one batch.
func NewBuilder(spec Spec) *Builder {
	b := new(Builder)
	b.Reset(spec)
	return b
}

// Reset makes the builder ready for another batch and keeps its memory.
func (b *Builder) Reset(spec Spec) {
	*b = Builder{spec: spec, records: b.records[:0], last: -1, baseTime: NoTimestamp, maxTime: NoTimestamp}
	if spec.DeleteHorizon != 0 {
		b.baseTime = spec.DeleteHorizon
	}
}

// Count is the number of records added.
func (b *Builder) Count() int { return b.count }

// Size is the number of bytes that the records take before compression.
func (b *Builder) Size() int { return len(b.records) }

var errBuild = errors.New("cannot build batch")

// Add copies r to the end of the batch, with its offset. Offsets must rise and lie within 2^31 of
// the base offset; r is left out if they do not.
func (b *Builder) Add(r *Record) error {
	delta := r.Offset - b.spec.BaseOffset
	if delta <= b.last || delta > math.MaxInt32 {
		return fmt.Errorf("%w: offset %d after delta %d from base offset %d", errBuild, r.Offset, b.last, b.spec.BaseOffset)
	}
	if b.count == 0 && b.spec.DeleteHorizon == 0 {
		b.baseTime = r.Timestamp
	}
	timeDelta := r.Timestamp - b.baseTime
	size := bodySize(r, timeDelta, delta)
	if size > math.MaxInt32 {
		return fmt.Errorf("%w: record of %d bytes", errBuild, size)
	}
	b.records = binary.AppendVarint(b.records, int64(size))
	b.records = appendBody(b.records, r, timeDelta, delta)
	b.maxTime = max(b.maxTime, r.Timestamp)
	b.last = delta
	b.count++
	return nil
}

// bodySize is the length of what appendBody writes.
func bodySize(r *Record, timeDelta, offsetDelta int64) int {
	n := 1 + varintSize(timeDelta) + varintSize(offsetDelta) +
		nullableSize(r.Key) + nullableSize(r.Value) + varintSize(int64(len(r.Headers)))
	for _, h := range r.Headers {
		n += varintSize(int64(len(h.Key))) + len(h.Key) + nullableSize(h.Value)
	}
	return n
}

func appendBody(dst []byte, r *Record, timeDelta, offsetDelta int64) []byte {
	dst = append(dst, byte(r.Attributes))
	dst = binary.AppendVarint(dst, timeDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func nullableSize(p []byte) int {
	if p == nil {
		return 1
	}
	return varintSize(int64(len(p))) + len(p)
}

func appendNullable(dst, p []byte) []byte {
	if p == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(p))), p...)
}

// Build appends the finished batch to dst, with its CRC. The builder keeps the records, so that it
// may be called again.
func (b *Builder) Build(dst []byte) ([]byte, error) {
	s := b.spec
	h := header{
		baseOffset:  s.BaseOffset,
		leaderEpoch: s.LeaderEpoch,
		attributes:  s.attributes(),
		lastDelta:   max(s.LastOffsetDelta, int32(b.last), 0),
		baseTime:    b.baseTime,
		maxTime:     b.maxTime,
		producer:    Producer{NoProducer, -1, NoSequence},
		count:       int32(b.count),
	}
	if s.Producer != nil {
		h.producer = *s.Producer
	}
	if s.LogAppendTime {
		h.maxTime = s.AppendTime
	}
	codec := s.Codec
	if b.count == 0 {
		codec = None
	}
	return h.build(dst, codec, s.Level, b.records)
}

// attributes leaves the codec out.
func (s Spec) attributes() int16 {
	var a int16
	for _, flag := range []struct {
		on  bool
		bit int16
	}{
		{s.LogAppendTime, attrLogAppendTime},
		{s.Transactional, attrTransactional},
		{s.Control, attrControl},
		{s.DeleteHorizon != 0, attrDeleteHorizon},
	} {
		if flag.on {
			a |= flag.bit
		}
	}
	return a
}

// header is a batch's header in parts, without what follows from the records' bytes.
type header struct {
	baseOffset        int64
	leaderEpoch       int32
	attributes        int16
	lastDelta         int32
	baseTime, maxTime int64
	producer          Producer
	count             int32
}

func (b Batch) header() header {
	return header{
		baseOffset:  b.BaseOffset(),
		leaderEpoch: b.LeaderEpoch(),
		attributes:  b.Attributes(),
		lastDelta:   b.LastOffsetDelta(),
		baseTime:    b.BaseTimestamp(),
		maxTime:     b.MaxTimestamp(),
		producer:    Producer{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()},
		count:       b.Count(),
	}
}

// build appends a batch of this header and the given records, compressed, to dst.
func (h header) build(dst []byte, codec Codec, level int, records []byte) ([]byte, error) {
	at := len(dst)
	var head [HeaderSize]byte
	dst, err := Compress(codec, level, records, append(dst, head[:]...))
	if err != nil {
		return dst[:at], fmt.Errorf("%w: %w", errBuild, err)
	}
	b := Batch(dst[at:])
	if len(b) > math.MaxInt32 {
		return dst[:at], fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	put := binary.BigEndian
	put.PutUint64(b[posBaseOffset:], uint64(h.baseOffset))
	put.PutUint32(b[posLength:], uint32(len(b)-PrefixSize))
	put.PutUint32(b[posLeaderEpoch:], uint32(h.leaderEpoch))
	b[posMagic] = 2
	put.PutUint16(b[posAttributes:], uint16(h.attributes&^attrCodecMask)|uint16(codec))
	put.PutUint32(b[posLastOffsetDelta:], uint32(h.lastDelta))
	put.PutUint64(b[posBaseTimestamp:], uint64(h.baseTime))
	put.PutUint64(b[posMaxTimestamp:], uint64(h.maxTime))
	put.PutUint64(b[posProducerID:], uint64(h.producer.ID))
	put.PutUint16(b[posProducerEpoch:], uint16(h.producer.Epoch))
	put.PutUint32(b[posBaseSequence:], uint32(h.producer.Sequence))
	put.PutUint32(b[posCount:], uint32(h.count))
	b.Seal()
	return dst, nil
}
