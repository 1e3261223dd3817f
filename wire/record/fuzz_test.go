package record

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"
)

// Fuzzed bytes get good checksums where a CRC would stop everything behind it from being reached.

// sealAll gives every batch and legacy entry at the front of buf a good CRC, in place.
func sealAll(buf []byte) {
	for {
		raw, rest, err := nextEntry(buf)
		if err != nil || raw == nil {
			return
		}
		switch {
		case raw[posMagic] < 2:
			binary.BigEndian.PutUint32(raw[posLegacyCRC:], crc32.ChecksumIEEE(raw[posMagic:]))
		case len(raw) >= HeaderSize:
			Batch(raw).Seal()
		}
		buf = rest
	}
}

// oneOf says that an error is one that callers know.
func oneOf(t tester, err error, known ...error) {
	t.Helper()
	for _, k := range known {
		if errors.Is(err, k) {
			return
		}
	}
	t.Fatalf("unknown error %v", err)
}

func seedBatches(f *testing.F, add func(batch []byte)) {
	for _, codec := range allCodecs {
		add(build(f, Spec{Codec: codec}, simpleRecords(3, 0)))
		add(build(f, Spec{Codec: codec, BaseOffset: 9, Producer: &Producer{1, 2, 3}, LastOffsetDelta: 8}, []Record{
			{Offset: 9, Timestamp: testNow, Headers: []Header{{[]byte("a"), nil}, {[]byte{}, []byte("b")}}},
			{Offset: 12, Timestamp: -1, Value: bytes.Repeat([]byte("x"), 500)},
		}))
	}
	add(build(f, Spec{DeleteHorizon: 5, LastOffsetDelta: 4}, nil))
	marker, _ := AppendMarker(nil, Producer{ID: 1}, Marker{Commit: true}, testNow)
	add(marker)
}

// FuzzBatchCheck opens anything that looks like a batch. What opens can be built again, and reads the same.
func FuzzBatchCheck(f *testing.F) {
	seedBatches(f, func(batch []byte) { f.Add(batch) })
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := Next(bytes.Clone(data))
		if err != nil {
			oneOf(t, err, ErrCorrupt, ErrIncomplete)
			return
		}
		b.Seal()
		if err := b.Check(); err != nil {
			oneOf(t, err, ErrCorrupt, ErrInvalid)
			return
		}
		if b.Codec() == None {
			agree(t, b)
		}
		if _, _, err := b.Marker(); err != nil {
			oneOf(t, err, ErrCorrupt, ErrTooLarge, ErrUnsupported)
		}
		records, err := tryCollect(func(fn func(*Record) error) error { return b.Each(Limits{MaxBytes: 1 << 20}, fn) })
		if err != nil {
			oneOf(t, err, ErrCorrupt, ErrTooLarge, ErrUnsupported)
			return
		}
		again := build(t, SpecOf(b), records)
		mustEqual(t, "offsets", [...]any{again.BaseOffset(), again.LastOffset(), again.Count()}, [...]any{b.BaseOffset(), b.LastOffset(), b.Count()})
		mustEqual(t, "records", again.all(t), records)
	})
}

// FuzzValidateProduce takes any request. What is accepted is a batch that keeps the rules, and is
// accepted again.
func FuzzValidateProduce(f *testing.F) {
	for flags := range uint8(8) {
		seedBatches(f, func(batch []byte) { f.Add(batch, int16(9), flags) })
	}
	for _, codec := range legacyCodecs {
		f.Add(legacySet(f, 0, codec, simpleRecords(3, 0)), int16(1), uint8(0))
		f.Add(legacySet(f, 1, codec, simpleRecords(3, 0)), int16(2), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, version int16, flags uint8) {
		rules := plainRules()
		rules.Limits.MaxBytes = 1 << 20
		rules.Compacted = flags&1 != 0
		rules.LogAppendTime = flags&2 != 0
		rules.ForceCodec, rules.Codec = flags&4 != 0, Codec(flags>>3%5)
		if flags&64 != 0 {
			rules.BeforeMax = 1 << 40
		}
		data = bytes.Clone(data)
		sealAll(data)
		v, err := ValidateProduce(data, version, rules)
		if err != nil {
			var refused *ProduceError
			if !errors.As(err, &refused) || v.Batch != nil {
				t.Fatalf("error of type %T, batch of %d bytes", err, len(v.Batch))
			}
			oneOf(t, err, ErrCorrupt, ErrInvalid, ErrTimestamp, ErrUnsupported, ErrTooLarge)
			return
		}
		if v.Batch != nil {
			mustBeStorable(t, v, rules)
		}
	})
}

func mustBeStorable(t tester, v Validated, rules Rules) {
	t.Helper()
	b := v.Batch
	if err := b.Check(); err != nil {
		t.Fatalf("accepted: %v", err)
	}
	if b.BaseOffset() != 0 || b.Count() != v.Count || b.LastOffsetDelta() != v.Count-1 || b.IsControl() || b.HasDeleteHorizon() ||
		b.IsLogAppendTime() != rules.LogAppendTime || b.MaxTimestamp() != v.MaxTimestamp || len(b) > rules.MaxMessageBytes {
		t.Fatalf("accepted with header %+v", b.header())
	}
	if rules.ForceCodec && b.Codec() != rules.Codec {
		t.Fatalf("stored with %v", b.Codec())
	}
	if b.Codec() == None || rules.Compacted {
		for i, r := range b.all(t) {
			if r.Offset != int64(i) || rules.Compacted && r.Key == nil {
				t.Fatalf("record %d has offset %d, key %q", i, r.Offset, r.Key)
			}
		}
	}
	if rules.LogAppendTime {
		return // the bit is refused from a producer
	}
	again, err := ValidateProduce(b, 9, rules)
	if err != nil || &again.Batch[0] != &b[0] {
		t.Fatalf("not taken as it is the second time: %v", err)
	}
}

// FuzzLegacySet reads any set. What reads well is the same when written plainly, and produced.
func FuzzLegacySet(f *testing.F) {
	for _, codec := range legacyCodecs {
		for magic := range int8(2) {
			set := legacySet(f, magic, codec, simpleRecords(3, 40))
			f.Add(set)
			f.Add(append(set, set[:len(set)-3]...))
		}
	}
	f.Fuzz(func(t *testing.T, set []byte) {
		set = bytes.Clone(set)
		sealAll(set)
		lim := Limits{MaxBytes: 1 << 20}
		records, err := tryCollect(func(fn func(*Record) error) error { return EachLegacy(set, lim, fn) })
		if err != nil {
			oneOf(t, err, ErrCorrupt, ErrInvalid, ErrUnsupported, ErrTooLarge)
			return
		}
		records = plain(records)
		var again []byte
		for _, r := range records {
			again = entry{offset: r.Offset, magic: 1, timestamp: r.Timestamp, key: r.Key, value: r.Value}.appendTo(again)
		}
		mustEqual(t, "written plainly", readLegacy(t, again), records)
		rules := Rules{MaxMessageBytes: 1 << 22, BeforeMax: noLimit, AfterMax: noLimit, Limits: lim}
		v, err := ValidateProduce(set, 0, rules)
		if errors.Is(err, ErrTimestamp) || err == nil && v.Batch == nil {
			return
		}
		if err != nil {
			t.Fatalf("readable, but refused: %v", err)
		}
		for i := range records {
			records[i].Offset = int64(i)
		}
		mustEqual(t, "produced", v.Batch.all(t), records)
	})
}

// FuzzDecompress feeds the decoders anything. Their output keeps the limit, in memory too, and is
// what a decoder of another make says.
func FuzzDecompress(f *testing.F) {
	src := bytes.Repeat([]byte("seeds for the fuzzer "), 50)
	for name, packed := range foreign(f, src) {
		f.Add(int8(codecNamed(name)), packed, uint16(2000))
		f.Add(int8(codecNamed(name)), packed, uint16(100))
	}
	for _, codec := range allCodecs {
		f.Add(int8(codec), compressed(f, codec, src), uint16(5000))
	}
	f.Fuzz(func(t *testing.T, c int8, packed []byte, most uint16) {
		codec, limit := Codec(c), max(1, int(most))
		out, err := Decompress(codec, packed, nil, Limits{MaxBytes: limit})
		if err != nil {
			oneOf(t, err, ErrCorrupt, ErrTooLarge, ErrUnsupported)
			if out != nil {
				t.Fatal("output with an error")
			}
		}
		if len(out) > limit || cap(out) > 2*(limit+zstdMaxBlock) { // size classes round up
			t.Fatalf("%d bytes in %d for a limit of %d", len(out), cap(out), limit)
		}
		if err == nil && codec == Gzip {
			sameAsStandard(t, packed, out)
		}
		if codec < None || codec > Zstd {
			return
		}
		back, err := Decompress(codec, compressed(t, codec, packed), nil, Limits{})
		if err != nil || !bytes.Equal(back, packed) {
			t.Fatalf("round trip of %d bytes: %d, error %v", len(packed), len(back), err)
		}
	})
}

func sameAsStandard(t tester, packed, out []byte) {
	t.Helper()
	r, err := stdgzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatalf("the standard library refuses: %v", err)
	}
	want, err := io.ReadAll(r)
	if err == io.ErrUnexpectedEOF {
		err = nil // our library does not mind a further member that ends within the name in its header
	}
	if err != nil || !bytes.Equal(out, want) {
		t.Fatalf("the standard library reads %d bytes, not %d, error %v", len(want), len(out), err)
	}
}

// FuzzDownConvert converts any log. The result is a set that reads well, of records that the log has.
func FuzzDownConvert(f *testing.F) {
	var log []byte
	seedBatches(f, func(batch []byte) {
		f.Add(batch, uint8(1), int64(0), uint16(1000))
		f.Add(batch, uint8(0), int64(10), uint16(0))
		log = append(log, batch...)
	})
	f.Add(log, uint8(1), int64(11), uint16(700))
	f.Fuzz(func(t *testing.T, log []byte, magic uint8, from int64, maxBytes uint16) {
		log = bytes.Clone(log)
		sealAll(log)
		lim := Limits{MaxBytes: 1 << 20}
		set, err := DownConvert(log, int8(magic&1), from, int(maxBytes), lim)
		if err != nil {
			oneOf(t, err, ErrCorrupt, ErrUnsupported, ErrTooLarge)
			return
		}
		have := map[int64]bool{}
		for rest := log; ; {
			b, next, err := Next(rest)
			if err != nil {
				break
			}
			rest = next
			if !b.IsControl() {
				_ = b.Each(lim, func(r *Record) error { have[r.Offset] = true; return nil })
			}
		}
		err = EachLegacy(set, Limits{}, func(r *Record) error {
			if !have[r.Offset] {
				t.Fatalf("offset %d is not in the log", r.Offset)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("unreadable: %v", err)
		}
	})
}
