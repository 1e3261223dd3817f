package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// kmsgBatch is the batch as franz-go's encoder writes it, uncompressed.
func kmsgBatch(spec Spec, records []Record) []byte {
	kb := kmsg.NewRecordBatch()
	kb.FirstOffset = spec.BaseOffset
	kb.PartitionLeaderEpoch = spec.LeaderEpoch
	kb.Magic = 2
	kb.Attributes = spec.attributes()
	kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = -1, -1, -1
	if p := spec.Producer; p != nil {
		kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = p.ID, p.Epoch, p.Sequence
	}
	kb.FirstTimestamp, kb.MaxTimestamp = records[0].Timestamp, records[0].Timestamp
	kb.NumRecords = int32(len(records))
	for _, r := range records {
		kr := kmsg.Record{
			TimestampDelta64: r.Timestamp - kb.FirstTimestamp,
			OffsetDelta:      int32(r.Offset - spec.BaseOffset),
			Key:              r.Key,
			Value:            r.Value,
		}
		for _, h := range r.Headers {
			kr.Headers = append(kr.Headers, kmsg.Header{Key: string(h.Key), Value: h.Value})
		}
		body := kr.AppendTo(nil)[1:] // without the length 0, which takes one byte
		kb.Records = append(append(kb.Records, binary.AppendVarint(nil, int64(len(body)))...), body...)
		kb.LastOffsetDelta = kr.OffsetDelta
		kb.MaxTimestamp = max(kb.MaxTimestamp, r.Timestamp)
	}
	b := Batch(kb.AppendTo(nil))
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-PrefixSize))
	b.Seal()
	return b
}

func genSpec(t *rapid.T) Spec {
	s := Spec{
		BaseOffset:    rapid.Int64Range(0, 1<<40).Draw(t, "base"),
		LeaderEpoch:   rapid.Int32Range(-1, 9).Draw(t, "epoch"),
		Transactional: rapid.Bool().Draw(t, "transactional"),
	}
	if s.Transactional || rapid.Bool().Draw(t, "idempotent") {
		s.Producer = &Producer{rapid.Int64Range(0, 1<<40).Draw(t, "pid"), rapid.Int16Range(0, 99).Draw(t, "pepoch"),
			rapid.Int32Range(0, math.MaxInt32).Draw(t, "sequence")}
	}
	return s
}

// TestBuilderAgreesWithKmsg has two encoders write the same bytes, and two decoders read them.
func TestBuilderAgreesWithKmsg(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := genSpec(t)
		records := genRecords(spec.BaseOffset, true, true).Draw(t, "records")
		b := build(t, spec, records)
		if want := kmsgBatch(spec, records); !bytes.Equal(b, want) {
			t.Fatalf("bytes differ\n got %x\nwant %x", []byte(b), want)
		}
		mustEqual(t, "records", b.all(t), records)
		mustEqual(t, "franz-go", kgoReads(t, b, 0), records)
	})
}

func TestBatchesOfEveryCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := genSpec(t)
		spec.Codec = rapid.SampledFrom(allCodecs).Draw(t, "codec")
		spec.Level = rapid.IntRange(0, 9).Draw(t, "level")
		spec.LogAppendTime = rapid.Bool().Draw(t, "append time")
		spec.AppendTime = testNow + 77
		records := genRecords(spec.BaseOffset, true, true).Draw(t, "records")
		b := build(t, spec, records)
		if b.Codec() != spec.Codec || b.IsTransactional() != spec.Transactional || b.IsLogAppendTime() != spec.LogAppendTime {
			t.Fatalf("attributes %b for %+v", b.Attributes(), spec)
		}
		if spec.LogAppendTime {
			records = withTime(records, spec.AppendTime)
		}
		mustEqual(t, "records", b.all(t), records)
		mustEqual(t, "franz-go", kgoReads(t, b, 0), records)
	})
}

// TestBatchGolden fixes the bytes on disk.
func TestBatchGolden(t *testing.T) {
	b := build(t, Spec{BaseOffset: 5, LeaderEpoch: 3, Producer: &Producer{ID: 1000, Epoch: 2, Sequence: 40}, Transactional: true}, []Record{
		{Offset: 5, Timestamp: testNow, Key: []byte("k"), Value: []byte("value"), Headers: []Header{{[]byte("h"), nil}}},
		{Offset: 7, Timestamp: testNow + 100, Value: []byte{}},
	})
	const want = "0000000000000005" + "00000049" + "00000003" + "02" + "07b1fb83" + "0010" + "00000002" +
		"0000018bcfe56800" + "0000018bcfe56864" + "00000000000003e8" + "0002" + "00000028" + "00000002" +
		"1e" + "00" + "00" + "00" + "026b" + "0a76616c7565" + "02" + "0268" + "01" +
		"0e" + "00" + "c801" + "04" + "01" + "00" + "00"
	mustEqual(t, "bytes", hex.EncodeToString(b), want)
	mustEqual(t, "last sequence", b.LastSequence(), int32(42))
	mustEqual(t, "next offset", b.NextOffset(), int64(8))
}

// TestCompactedBatches are what the cleaner leaves: fewer records, the same offsets and sequences.
func TestCompactedBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := genSpec(t)
		spec.Codec = rapid.SampledFrom(allCodecs).Draw(t, "codec")
		records := genRecords(spec.BaseOffset, false, true).Draw(t, "records")
		old := build(t, spec, records)
		var kept []Record
		for _, r := range records {
			if rapid.Bool().Draw(t, "keep") {
				kept = append(kept, r)
			}
		}
		after := SpecOf(old)
		after.DeleteHorizon = rapid.Int64Range(0, testNow).Draw(t, "horizon")
		b := build(t, after, kept)
		got := [...]any{b.BaseOffset(), b.LastOffset(), b.LastSequence(), b.ProducerID(), b.LeaderEpoch(), b.HasDeleteHorizon()}
		want := [...]any{old.BaseOffset(), old.LastOffset(), old.LastSequence(), old.ProducerID(), old.LeaderEpoch(), after.DeleteHorizon > 0}
		mustEqual(t, "header", got, want)
		if after.DeleteHorizon > 0 {
			mustEqual(t, "horizon", b.BaseTimestamp(), after.DeleteHorizon)
		}
		mustEqual(t, "records", b.all(t), kept)
		mustEqual(t, "franz-go", kgoReads(t, b, 0), kept)
		mustEqual(t, "spec", SpecOf(b).DeleteHorizon, after.DeleteHorizon)
		if len(kept) == 0 && (b.Codec() != None || len(b) != HeaderSize || b.MaxTimestamp() != NoTimestamp) {
			t.Fatalf("empty batch: %d bytes, %v, max timestamp %d", len(b), b.Codec(), b.MaxTimestamp())
		}
	})
}

func TestBuilderRefusesOffsets(t *testing.T) {
	b := NewBuilder(Spec{BaseOffset: 10})
	for offset, ok := range map[int64]bool{9: false, 10 + 1<<31: false, math.MinInt64: false, 10: true} {
		if err := b.Add(&Record{Offset: offset}); (err == nil) != ok {
			t.Errorf("offset %d: error %v", offset, err)
		}
	}
	if err := b.Add(&Record{Offset: 10}); err == nil {
		t.Error("an offset was taken twice")
	}
	if err := b.Add(&Record{Offset: 10 + math.MaxInt32}); err != nil {
		t.Errorf("largest delta: %v", err)
	}
	mustEqual(t, "count", b.Count(), 2)
}

// TestEachStopsWithItsCaller and lends records without copying them.
func TestEachStopsWithItsCaller(t *testing.T) {
	b := build(t, Spec{}, simpleRecords(3, 0))
	stop, seen := errors.New("enough"), 0
	err := b.Each(Limits{}, func(r *Record) error {
		if seen++; seen == 2 {
			return stop
		}
		if at := bytes.Index(b, r.Value); &b[at] != &r.Value[0] {
			t.Error("the value was copied out of an uncompressed batch")
		}
		return nil
	})
	if err != stop || seen != 2 {
		t.Errorf("%d records, error %v", seen, err)
	}
}

// TestEachIsStrict breaks one thing at a time, with a good CRC.
func TestEachIsStrict(t *testing.T) {
	good := func() Batch { return build(t, Spec{}, simpleRecords(3, 0)) }
	count := func(b Batch, n uint32) Batch { binary.BigEndian.PutUint32(b[posCount:], n); return b }
	withPayload := func(p ...byte) Batch {
		b, err := (header{count: 1}).build(nil, None, 0, p)
		mustEqual(t, "error", err, nil)
		return b
	}
	for name, b := range map[string]Batch{
		"one record more than counted":    count(good(), 2),
		"one record less than counted":    count(good(), 4),
		"bytes after no records":          count(good(), 0),
		"record cut short":                good()[:100],
		"offset beyond the last":          withPayload(12, 0, 0, 2, 1, 1, 0),
		"negative offset delta":           withPayload(12, 0, 0, 1, 1, 1, 0),
		"length too long":                 withPayload(14, 0, 0, 0, 1, 1, 0),
		"length too short":                withPayload(10, 0, 0, 0, 1, 1, 0),
		"negative length":                 withPayload(1, 0, 0, 0, 1, 1, 0),
		"key length below null":           withPayload(12, 0, 0, 0, 3, 1, 0),
		"value past the record":           withPayload(12, 0, 0, 0, 1, 20, 0),
		"negative header count":           withPayload(12, 0, 0, 0, 1, 1, 1),
		"more headers than bytes":         withPayload(12, 0, 0, 0, 1, 1, 8),
		"null header key":                 withPayload(16, 0, 0, 0, 1, 1, 2, 1, 1),
		"varint of six bytes":             withPayload(24, 0, 0, 0, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 0),
		"varint past 64 bits":             withPayload(32, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 1, 1, 0),
		"body after the last field":       withPayload(14, 0, 0, 0, 1, 1, 0, 0),
		"empty record":                    withPayload(0),
		"compressed payload that is none": func() Batch { b := good(); b[posAttributes+1] = byte(Zstd); return b }(),
	} {
		if _, err := tryCollect(func(fn func(*Record) error) error { return b.Each(Limits{}, fn) }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	mustEqual(t, "the good one", len(good().all(t)), 3)
	mustEqual(t, "the smallest", len(withPayload(12, 0, 0, 0, 1, 1, 0).all(t)), 1)
}

func TestHeadersAreBounded(t *testing.T) {
	r := Record{Headers: make([]Header, 1000)}
	for i := range r.Headers {
		r.Headers[i].Key = []byte{}
	}
	b := build(t, Spec{Codec: Gzip}, []Record{r})
	mustEqual(t, "headers", len(b.all(t)[0].Headers), 1000)
	_, err := tryCollect(func(fn func(*Record) error) error { return b.Each(Limits{MaxBytes: 48 * 999}, fn) })
	mustBe(t, err, ErrTooLarge)
}

func TestEachAllocatesNothing(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, Spec{Codec: codec}, simpleRecords(100, 0))
		mustNotAllocate(t, codec.String(), func() {
			if err := b.Each(Limits{}, func(*Record) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckFindsAnyFlippedBit(t *testing.T) {
	b := build(t, Spec{BaseOffset: 3}, simpleRecords(2, 3))
	for i := range len(b) * 8 {
		if at := i / 8; at < posLength || at >= posLeaderEpoch && at < posMagic {
			continue // the log's own fields
		}
		b[i/8] ^= 1 << (i % 8)
		if err := b.Check(); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d: error %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	b.Stamp(1<<40, 12)
	mustEqual(t, "error", b.Check(), nil)
	mustEqual(t, "base offset", b.BaseOffset(), int64(1<<40))
	b.SetLogAppendTime(testNow)
	mustEqual(t, "error", b.Check(), nil)
	mustEqual(t, "times", b.all(t)[1].Timestamp, testNow)
}

func TestNext(t *testing.T) {
	one := build(t, Spec{}, simpleRecords(1, 0))
	two := build(t, Spec{BaseOffset: 1}, simpleRecords(2, 1))
	buf := append(bytes.Clone(one), two...)
	first, rest, err := Next(buf)
	mustEqual(t, "error", err, nil)
	if !bytes.Equal(first, one) || !bytes.Equal(rest, two) || cap(first) != len(first) {
		t.Fatal("first batch was not cut off whole")
	}
	for n := range two {
		_, _, err := Next(two[:n])
		mustBe(t, err, ErrIncomplete)
	}
	bad := bytes.Clone(one)
	bad[posMagic] = 1
	_, _, err = Next(bad)
	mustBe(t, err, ErrCorrupt)
	short := bytes.Clone(one)
	binary.BigEndian.PutUint32(short[posLength:], HeaderSize-PrefixSize-1)
	_, _, err = Next(short)
	mustBe(t, err, ErrCorrupt)
}

func TestSequencesWrap(t *testing.T) {
	mustEqual(t, "wrapped", AddSequence(math.MaxInt32, 1), int32(0))
	mustEqual(t, "wrapped", AddSequence(math.MaxInt32-1, 3), int32(1))
	mustEqual(t, "plain", AddSequence(7, 0), int32(7))
}

func TestMarkers(t *testing.T) {
	for _, m := range []Marker{{Commit: true, CoordinatorEpoch: 7}, {CoordinatorEpoch: 1 << 30}} {
		out, err := AppendMarker([]byte("before"), Producer{ID: 9, Epoch: 4, Sequence: 3}, m, testNow)
		mustEqual(t, "error", err, nil)
		b := Batch(out[len("before"):])
		mustEqual(t, "check", b.Check(), nil)
		mustEqual(t, "header", [...]any{b.IsControl(), b.IsTransactional(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.Count()},
			[...]any{true, true, int64(9), int16(4), NoSequence, int32(1)})
		got, ok, err := b.Marker()
		mustEqual(t, "marker", [...]any{got, ok, err}, [...]any{m, true, nil})
	}
	kmsgMarker, _ := AppendMarker(nil, Producer{ID: 1}, Marker{Commit: true, CoordinatorEpoch: 5}, testNow)
	r := Batch(kmsgMarker).all(t)[0]
	var key kmsg.ControlRecordKey
	var value kmsg.EndTxnMarker
	mustEqual(t, "key", key.ReadFrom(r.Key), nil)
	mustEqual(t, "value", value.ReadFrom(r.Value), nil)
	mustEqual(t, "kmsg", [...]any{key.Type, value.CoordinatorEpoch}, [...]any{kmsg.ControlRecordKeyTypeCommit, int32(5)})

	_, ok, err := build(t, Spec{}, simpleRecords(1, 0)).Marker()
	mustEqual(t, "data batch", [...]any{ok, err}, [...]any{false, nil})
	_, ok, err = build(t, Spec{Control: true}, []Record{{Key: []byte{0, 0, 0, 2}}}).Marker()
	mustEqual(t, "leader change", [...]any{ok, err}, [...]any{false, nil})
	for _, records := range [][]Record{nil, {{Key: []byte{0}}}, {{Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 1}}}} {
		_, _, err = build(t, Spec{Control: true}, records).Marker()
		mustBe(t, err, ErrCorrupt)
	}
}

func BenchmarkEach(b *testing.B) {
	for _, codec := range allCodecs {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			batch := build(b, Spec{Codec: codec}, simpleRecords(150, 0))
			b.ReportAllocs()
			for b.Loop() {
				if err := batch.Each(Limits{}, func(*Record) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
