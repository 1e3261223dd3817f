// Package record reads and writes Kafka's record formats: batches of magic 2, which are what Chronik
// stores, and the message sets of magic 0 and 1, which are converted on the way in and out.
//
// A batch is handled as the bytes it came in. Its header is read and two of its fields are patched in
// place; the records behind it are opened only where a rule needs them (a null key on a compacted
// topic, a conversion, a search), and then within a cap on what they may expand to.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Sizes and positions in a batch of magic 2 (docs/format). Base offset, length and leader epoch lie
// outside the CRC, so the log can stamp them without touching the rest.
const (
	HeaderSize = 61 // bytes before the first record
	PrefixSize = 12 // base offset and length: what comes before the bytes that length counts

	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21 // first byte under the CRC
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// Attribute bits of a batch.
const (
	attrCodecMask     = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

// NoTimestamp, NoProducer and NoSequence stand for absent values in a header.
const (
	NoTimestamp int64 = -1
	NoProducer  int64 = -1
	NoSequence  int32 = -1
)

// castagnoli is the table of CRC-32C, which guards batches of magic 2.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors that a batch can be refused with. The details are in the wrapping text.
var (
	ErrCorrupt     = errors.New("corrupt record batch")     // CORRUPT_MESSAGE: length, magic or CRC
	ErrIncomplete  = errors.New("incomplete record batch")  // more bytes are needed
	ErrInvalid     = errors.New("invalid record batch")     // INVALID_RECORD: well-formed, but against a rule
	ErrTimestamp   = errors.New("invalid record timestamp") // INVALID_TIMESTAMP
	ErrUnsupported = errors.New("unsupported compression")  // UNSUPPORTED_COMPRESSION_TYPE
	ErrTooLarge    = errors.New("records too large")        // MESSAGE_TOO_LARGE, or a decompression cap reached
)

// Batch is exactly one batch of magic 2, header and records. It aliases whatever buffer it was cut
// from. The accessors need len(b) >= HeaderSize, which Next and Check establish.
type Batch []byte

// BaseOffset is the offset of the batch's first record (as produced; compaction may have removed it).
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[posBaseOffset:])) }

// Size is the whole batch in bytes, as its length field says it.
func (b Batch) Size() int { return int(int32(binary.BigEndian.Uint32(b[posLength:]))) + PrefixSize }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[posLeaderEpoch:])) }

// Magic is the format version; only 2 is a Batch.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC is the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes are the header's flag bits.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[posAttributes:])) }

// Codec is how the records are compressed.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & attrCodecMask) }

// IsLogAppendTime reports whether MaxTimestamp, set by the broker, is the time of every record.
func (b Batch) IsLogAppendTime() bool { return b.Attributes()&attrLogAppendTime != 0 }

// IsTransactional reports whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTransactional != 0 }

// IsControl reports whether the batch is a marker for brokers and not for readers.
func (b Batch) IsControl() bool { return b.Attributes()&attrControl != 0 }

// HasDeleteHorizon reports whether BaseTimestamp is the time at which tombstones here may go (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&attrDeleteHorizon != 0 }

// LastOffsetDelta is LastOffset - BaseOffset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:]))
}

// LastOffset is the offset of the last record the batch was produced with.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp is the first record's time in ms, or the delete horizon.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])) }

// MaxTimestamp is the largest record time in ms.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])) }

// ProducerID is NoProducer for a batch that is not idempotent.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[posProducerID:])) }

// ProducerEpoch fences older instances of the producer.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[posProducerEpoch:])) }

// BaseSequence is the first record's sequence number.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[posBaseSequence:])) }

// LastSequence is the last record's sequence number; sequences wrap from 2^31-1 to 0.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() == NoSequence {
		return NoSequence
	}
	return AddSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// Count is the number of records, which compaction may have made smaller than LastOffsetDelta+1.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[posCount:])) }

// Payload is the record section as stored, compressed or not.
func (b Batch) Payload() []byte { return b[HeaderSize:] }

// AddSequence adds n >= 0 to a sequence number, wrapping as producers do.
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}

// Stamp writes the two fields that belong to the log. The CRC stays valid.
func (b Batch) Stamp(baseOffset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(baseOffset))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(leaderEpoch))
}

// SetLogAppendTime makes now, in ms, the time of every record and renews the CRC.
func (b Batch) SetLogAppendTime(now int64) {
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(b.Attributes()|attrLogAppendTime))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(now))
	b.Seal()
}

// Seal writes the CRC over the batch as it is now.
func (b Batch) Seal() { binary.BigEndian.PutUint32(b[posCRC:], b.checksum()) }

func (b Batch) checksum() uint32 { return crc32.Checksum(b[posAttributes:], castagnoli) }

// Next cuts the first batch off buf without looking past its header. It returns ErrIncomplete if buf
// ends inside the batch and ErrCorrupt if no batch of magic 2 can begin here.
func Next(buf []byte) (first Batch, rest []byte, err error) {
	if len(buf) < HeaderSize {
		return nil, buf, ErrIncomplete
	}
	b := Batch(buf)
	size := b.Size()
	switch {
	case b.Magic() != 2:
		return nil, buf, fmt.Errorf("%w: magic %d", ErrCorrupt, b.Magic())
	case size < HeaderSize:
		return nil, buf, fmt.Errorf("%w: length field %d is less than a header", ErrCorrupt, size-PrefixSize)
	case size > len(buf):
		return nil, buf, ErrIncomplete
	}
	return b[:size:size], buf[size:], nil
}

// Check tells whether b is one whole batch whose bytes are those its writer summed: ErrCorrupt if not,
// ErrInvalid if they are, and say what cannot be. It reads every
// byte once and allocates nothing.
func (b Batch) Check() error {
	if len(b) < HeaderSize || b.Size() != len(b) {
		return fmt.Errorf("%w: %d bytes do not hold one batch", ErrCorrupt, len(b))
	}
	if b.Magic() != 2 {
		return fmt.Errorf("%w: magic %d", ErrCorrupt, b.Magic())
	}
	if sum := b.checksum(); sum != b.CRC() {
		return fmt.Errorf("%w: CRC-32C is %08x, header says %08x", ErrCorrupt, sum, b.CRC())
	}
	if b.LastOffsetDelta() < 0 || b.Count() < 0 {
		return fmt.Errorf("%w: last offset delta %d, count %d", ErrInvalid, b.LastOffsetDelta(), b.Count())
	}
	return nil
}
