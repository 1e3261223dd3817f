package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func newTestBatch(t testing.TB, spec BatchSpec) *Batch {
	t.Helper()
	b, err := NewBatch(spec)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What the encoder writes is what kmsg, which knows nothing of it, reads.
func TestBatchDecodes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		spec := BatchSpec{
			ValueBytes: rapid.IntRange(0, 3000).Draw(rt, "value"),
			BatchBytes: rapid.IntRange(0, 20_000).Draw(rt, "batch"),
			Codec:      rapid.SampledFrom([]Codec{None, LZ4, Zstd}).Draw(rt, "codec"),
			Seed:       rapid.Uint64().Draw(rt, "seed"),
			TimeMillis: rapid.Int64Range(0, 1<<42).Draw(rt, "time"),
		}
		b, err := NewBatch(spec)
		if err != nil {
			rt.Fatal(err)
		}
		if err := checkBatch(b.Bytes); err != nil {
			rt.Fatal(err)
		}
		var got kmsg.RecordBatch
		if err := got.ReadFrom(b.Bytes); err != nil {
			rt.Fatal(err)
		}
		if int(got.Length) != len(b.Bytes)-12 || got.Magic != 2 || Codec(got.Attributes) != spec.Codec || got.FirstOffset != 0 ||
			int(got.NumRecords) != b.Records || int(got.LastOffsetDelta) != b.Records-1 || countOf(b.Bytes) != b.Records ||
			got.FirstTimestamp != spec.TimeMillis || got.MaxTimestamp != spec.TimeMillis ||
			got.ProducerID != -1 || got.ProducerEpoch != -1 || got.FirstSequence != -1 {
			rt.Fatalf("%d bytes, %d records decode as %+v", len(b.Bytes), b.Records, got)
		}
		raw := unpack(rt, spec.Codec, got.Records)
		if size := batchHeaderSize + len(raw); size > spec.BatchBytes && b.Records > 1 {
			rt.Fatalf("%d records in %d bytes, more than %d", b.Records, size, spec.BatchBytes)
		}
		for i := range b.Records {
			length, width := binary.Varint(raw)
			var r kmsg.Record
			if err := r.ReadFrom(raw[:width+int(length)]); err != nil {
				rt.Fatal(err)
			}
			if int(r.OffsetDelta) != i || r.TimestampDelta64 != 0 || r.Key != nil || len(r.Value) != spec.ValueBytes || len(r.Headers) != 0 {
				rt.Fatalf("record %d is %+v", i, r)
			}
			raw = raw[width+int(length):]
		}
		if len(raw) != 0 {
			rt.Fatalf("%d bytes after the last record", len(raw))
		}
	})
}

func unpack(t rapid.TB, codec Codec, packed []byte) []byte {
	var raw []byte
	var err error
	switch codec {
	case None:
		return packed
	case LZ4:
		raw, err = io.ReadAll(lz4.NewReader(bytes.NewReader(packed)))
	case Zstd:
		var dec *zstd.Decoder
		if dec, err = zstd.NewReader(nil); err == nil {
			defer dec.Close()
			raw, err = dec.DecodeAll(packed, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestBatchRefusesWhatItCannotEncode(t *testing.T) {
	for _, spec := range []BatchSpec{{ValueBytes: -1}, {BatchBytes: -1}, {Codec: 7}} {
		if _, err := NewBatch(spec); err == nil {
			t.Errorf("%+v: no error", spec)
		}
	}
}

func TestStampIsTheStartOfTheFirstValue(t *testing.T) {
	const nanos = 0x0102030405060708
	for _, size := range []int{8, 100, 1024} {
		sent := newTestBatch(t, BatchSpec{ValueBytes: size, BatchBytes: 4096})
		b := sent.Clone()
		b.Stamp(nanos)
		if err := checkBatch(b.Bytes); err != nil {
			t.Error(err)
		}
		var decoded kmsg.RecordBatch
		if err := decoded.ReadFrom(b.Bytes); err != nil {
			t.Fatal(err)
		}
		length, width := binary.Varint(decoded.Records)
		var r kmsg.Record
		if err := r.ReadFrom(decoded.Records[:width+int(length)]); err != nil {
			t.Fatal(err)
		}
		if got := binary.BigEndian.Uint64(r.Value); got != nanos {
			t.Errorf("values of %d bytes: the first begins with %x", size, got)
		}
		if sameBatch(b.Bytes, sent, false) || !sameBatch(b.Bytes, sent, true) {
			t.Error("a stamp must be the one difference to what was sent")
		}
	}
	for _, spec := range []BatchSpec{{ValueBytes: 7, BatchBytes: 500}, {ValueBytes: 100, BatchBytes: 500, Codec: LZ4}} {
		if newTestBatch(t, spec).Stampable() {
			t.Errorf("%+v has no place for a stamp", spec)
		}
	}
}

// Whatever byte of a batch changes on its way, somebody notices, but for the offset and the epoch, which
// the broker writes.
func TestEveryChangedByteIsNoticed(t *testing.T) {
	sent := newTestBatch(t, BatchSpec{ValueBytes: 20, BatchBytes: 300})
	for at := range sent.Bytes {
		got := bytes.Clone(sent.Bytes)
		got[at] ^= 0x10
		brokers := at < posLength || at >= prefixSize && at < posMagic
		if same := sameBatch(got, sent, false); same != brokers {
			t.Errorf("byte %d changed: same=%v, want %v", at, same, brokers)
		}
		if err := checkBatch(got); at >= posMagic && !errors.Is(err, ErrBatch) {
			t.Errorf("byte %d changed: checkBatch says %v", at, err)
		}
		if sameBatch(got, sent, true) && (at >= posAttributes && at < sent.stampAt || at >= sent.stampAt+StampSize) {
			t.Errorf("byte %d changed and passed for the stamp", at)
		}
	}
}

func BenchmarkStamp(b *testing.B) {
	for _, kib := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("batch=%dKiB", kib), func(b *testing.B) {
			batch := newTestBatch(b, BatchSpec{ValueBytes: 100, BatchBytes: kib << 10})
			b.SetBytes(int64(len(batch.Bytes)))
			for i := int64(0); b.Loop(); i++ {
				batch.Stamp(i)
			}
		})
	}
}
