package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"pgregory.net/rapid"
)

var legacyCodecs = []Codec{None, Gzip, Snappy, LZ4}

// legacySet encodes records as the clients of that time did: one entry each, or one wrapper. Offsets
// inside wrappers of magic 1 are relative to the first record's.
func legacySet(t tester, magic int8, codec Codec, records []Record) []byte {
	t.Helper()
	var set []byte
	base := int64(0)
	if magic == 1 && codec != None {
		base = records[0].Offset
	}
	w := entry{magic: magic, attributes: int8(codec), timestamp: NoTimestamp}
	for _, r := range records {
		set = entry{offset: r.Offset - base, magic: magic, timestamp: r.Timestamp, key: r.Key, value: r.Value}.appendTo(set)
		w.offset, w.timestamp = r.Offset, max(w.timestamp, r.Timestamp)
	}
	if codec == None {
		return set
	}
	w.value = compressed(t, codec, set)
	return w.appendTo(nil)
}

func readLegacy(t tester, set []byte) []Record {
	t.Helper()
	return plain(collect(t, func(fn func(*Record) error) error { return EachLegacy(set, Limits{}, fn) }))
}

// plain drops what a record says of its entry.
func plain(records []Record) []Record {
	out := slices.Clone(records)
	for i := range out {
		out[i].Attributes = 0
	}
	return out
}

// asMagic is what is left of records of magic 2.
func asMagic(magic int8, records []Record) []Record {
	out := withoutHeaders(records)
	if magic == 0 {
		out = withTime(out, NoTimestamp)
	}
	return out
}

// TestLegacyGoldens are sets written out by hand after the protocol guide.
func TestLegacyGoldens(t *testing.T) {
	v0 := "0000000000000007" + "00000014" + "8faa5588" + "00" + "00" + "00000001" + "6b" + "00000005" + "76616c7565"
	v1 := "0000000000000007" + "0000001b" + "a584f508" + "01" + "00" + "0000018bcfe56800" + "ffffffff" + "00000005" + "76616c7565"
	for _, c := range []struct {
		golden string
		want   Record
	}{
		{v0, Record{Offset: 7, Timestamp: NoTimestamp, Key: []byte("k"), Value: []byte("value")}},
		{v1, Record{Offset: 7, Timestamp: testNow, Value: []byte("value")}},
	} {
		raw := unhex(t, c.golden)
		mustEqual(t, "read", readLegacy(t, raw), []Record{c.want})
		e := entry{offset: c.want.Offset, magic: int8(raw[posMagic]), timestamp: testNow, key: c.want.Key, value: c.want.Value}
		mustEqual(t, "written", hex.EncodeToString(e.appendTo(nil)), hex.EncodeToString(raw))
	}
}

func genLegacy(t *rapid.T) (set []byte, records []Record) {
	magic := rapid.Int8Range(0, 1).Draw(t, "magic")
	next := rapid.Int64Range(0, 1000).Draw(t, "first")
	for range rapid.IntRange(1, 3).Draw(t, "parts") {
		part := genRecords(next, false, false).Draw(t, "records")
		codec := rapid.SampledFrom(legacyCodecs).Draw(t, "codec")
		set = append(set, legacySet(t, magic, codec, part)...)
		records = append(records, asMagic(magic, part)...)
		next = records[len(records)-1].Offset + 1
	}
	return set, records
}

func TestLegacySets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, records := genLegacy(t)
		partial := legacySet(t, 1, None, simpleRecords(1, 0))
		cut := rapid.IntRange(0, len(partial)-1).Draw(t, "cut")
		mustEqual(t, "records", readLegacy(t, append(bytes.Clone(set), partial[:cut]...)), records)
		got := kgoReads(t, set, 0)
		if records[0].Timestamp == NoTimestamp {
			got = withTime(got, NoTimestamp) // franz-go makes a time up
		}
		mustEqual(t, "franz-go", got, records)
	})
}

// TestSetsOfKafkaGo reads what another encoder wrote.
func TestSetsOfKafkaGo(t *testing.T) {
	for _, codec := range legacyCodecs {
		want := simpleRecords(20, 0)
		var in []protocol.Record
		for _, r := range want {
			in = append(in, protocol.Record{Offset: r.Offset, Time: time.UnixMilli(r.Timestamp),
				Key: protocol.NewBytes(r.Key), Value: protocol.NewBytes(r.Value)})
		}
		var out bytes.Buffer
		set := protocol.RecordSet{Version: 1, Attributes: protocol.Attributes(codec), Records: protocol.NewRecordReader(in...)}
		if _, err := set.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		raw := out.Bytes()[4:] // the field's length
		v, err := ValidateProduce(bytes.Clone(raw), 2, plainRules())
		mustEqual(t, "error", err, nil)
		mustEqual(t, "records", v.Batch.all(t), want)
	}
}

// TestKafkaGoReadsOurs is DownConvert, read by another decoder.
func TestKafkaGoReadsOurs(t *testing.T) {
	for _, codec := range legacyCodecs {
		want := simpleRecords(20, 40)
		set, err := DownConvert(build(t, Spec{BaseOffset: 40, Codec: codec}, want), 1, 40, 1<<20, Limits{})
		mustEqual(t, "error", err, nil)
		var rs protocol.RecordSet
		if _, err := rs.ReadFrom(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(set))), set...))); err != nil {
			t.Fatalf("%v: %v", codec, err)
		}
		for _, w := range want {
			r, err := rs.Records.ReadRecord()
			if err != nil {
				t.Fatalf("%v: %v", codec, err)
			}
			key, _ := protocol.ReadAll(r.Key)
			value, _ := protocol.ReadAll(r.Value)
			mustEqual(t, "record", [...]any{r.Offset, r.Time.UnixMilli(), key, value}, [...]any{w.Offset, w.Timestamp, w.Key, w.Value})
		}
		if _, err := rs.Records.ReadRecord(); err != io.EOF {
			t.Errorf("%v: after the last record: %v", codec, err)
		}
	}
}

func TestUpConversion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, records := genLegacy(t)
		rules := plainRules()
		rules.LogAppendTime = rapid.Bool().Draw(t, "append time")
		rules.ForceCodec = rapid.Bool().Draw(t, "force")
		rules.Codec = rapid.SampledFrom(allCodecs).Draw(t, "codec")
		v, err := ValidateProduce(set, rapid.Int16Range(0, 2).Draw(t, "version"), rules)
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		newest, appended := NoTimestamp, NoTimestamp
		for i := range records {
			records[i].Offset = int64(i)
			newest = max(newest, records[i].Timestamp)
		}
		if rules.LogAppendTime {
			records, newest, appended = withTime(records, rules.Now), rules.Now, rules.Now
		}
		mustEqual(t, "result", [...]any{v.Count, v.MaxTimestamp, v.AppendTime, v.Batch.Check(), v.Batch.ProducerID(), v.Batch.BaseOffset()},
			[...]any{int32(len(records)), newest, appended, nil, NoProducer, int64(0)})
		mustEqual(t, "records", v.Batch.all(t), records)
		if rules.ForceCodec {
			mustEqual(t, "codec", v.Batch.Codec(), rules.Codec)
		}
		if again, err := validateStored(v.Batch); err != nil || len(again) != len(records) {
			t.Fatalf("stored batch: %v", err)
		}
	})
}

// validateStored is what a follower can expect of a stored batch.
func validateStored(b Batch) ([]Record, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	return tryCollect(func(fn func(*Record) error) error { return b.Each(Limits{}, fn) })
}

// TestWrapperOffsets are the ways in which clients number what they compress.
func TestWrapperOffsets(t *testing.T) {
	for _, c := range []struct {
		name    string
		magic   int8
		wrapper int64
		inner   []int64
		want    []int64
	}{
		{"relative", 1, 107, []int64{0, 1, 2}, []int64{105, 106, 107}},
		{"relative with a gap", 1, 107, []int64{0, 5}, []int64{102, 107}},
		{"librdkafka's 0", 1, 0, []int64{0, 1, 2}, []int64{0, 1, 2}},
		{"all the same", 1, 0, []int64{0, 0, 0}, []int64{0, 0, 0}},
		{"absolute", 0, 107, []int64{105, 106, 107}, []int64{105, 106, 107}},
		{"absolute, wrapper 0", 0, 0, []int64{5, 6}, []int64{5, 6}},
		{"wrapper before its last", 1, 1, []int64{0, 1, 2}, nil},
	} {
		var inner []byte
		for _, offset := range c.inner {
			inner = entry{offset: offset, magic: c.magic, value: []byte("v")}.appendTo(inner)
		}
		set := entry{offset: c.wrapper, magic: c.magic, attributes: int8(Snappy), value: compressed(t, Snappy, inner)}.appendTo(nil)
		records, err := tryCollect(func(fn func(*Record) error) error { return EachLegacy(set, Limits{}, fn) })
		var got []int64
		for _, r := range records {
			got = append(got, r.Offset)
		}
		mustEqual(t, c.name, got, c.want)
		if c.want == nil {
			mustBe(t, err, ErrInvalid)
		}
	}
}

func TestWrapperWithLogAppendTime(t *testing.T) {
	inner := legacySet(t, 1, None, simpleRecords(3, 0))
	set := entry{offset: 2, magic: 1, attributes: int8(Gzip) | attrLogAppendTime, timestamp: 42, value: compressed(t, Gzip, inner)}.appendTo(nil)
	mustEqual(t, "records", readLegacy(t, set), withTime(simpleRecords(3, 0), 42))
	mustRefuse(t, set, 2, plainRules(), ErrTimestamp)
}

func TestSetsThatAreRefused(t *testing.T) {
	one := entry{magic: 1, timestamp: testNow, value: []byte("one")}
	good := one.appendTo(nil)
	wrap := func(magic int8, codec Codec, inner []byte) []byte {
		return entry{magic: magic, attributes: int8(codec), timestamp: testNow, value: compressed(t, min(codec, Zstd), inner)}.appendTo(nil)
	}
	flip := func(set []byte, at int) []byte { set = bytes.Clone(set); set[at] ^= 1; return set }
	short := entry{magic: 0, value: nil}.appendTo(nil)
	short[posMagic] = 1
	binary.BigEndian.PutUint32(short[posLegacyCRC:], crc32.ChecksumIEEE(short[posMagic:]))
	for _, c := range []struct {
		name string
		set  []byte
		want error
	}{
		{"flipped bit", flip(good, 30), ErrCorrupt},
		{"flipped bit in the second", append(bytes.Clone(good), flip(good, 30)...), ErrCorrupt},
		{"no room for a timestamp", short, ErrCorrupt},
		{"bad length after a good one", append(bytes.Clone(good), make([]byte, 20)...), ErrCorrupt},
		{"flipped bit inside", wrap(1, Gzip, flip(good, 30)), ErrCorrupt},
		{"partial inside", wrap(1, Gzip, append(bytes.Clone(good), good[:20]...)), ErrCorrupt},
		{"magic 2 after magic 1", append(bytes.Clone(good), build(t, Spec{}, simpleRecords(1, 0))...), ErrInvalid},
		{"magic 0 inside magic 1", wrap(1, Gzip, entry{}.appendTo(nil)), ErrInvalid},
		{"nested", wrap(1, Gzip, wrap(1, Gzip, good)), ErrInvalid},
		{"empty wrapper", wrap(1, Gzip, nil), ErrInvalid},
		{"null wrapper", entry{magic: 1, attributes: int8(Gzip)}.appendTo(nil), ErrInvalid},
		{"zstd", wrap(1, Zstd, good), ErrUnsupported},
		{"codec 6", entry{magic: 1, attributes: 6, value: []byte("?")}.appendTo(nil), ErrUnsupported},
		{"garbage in a wrapper", entry{magic: 1, attributes: int8(LZ4), value: []byte("?")}.appendTo(nil), ErrCorrupt},
		{"log append time", entry{magic: 1, attributes: attrLogAppendTime}.appendTo(nil), ErrTimestamp},
		{"too new", entry{magic: 1, timestamp: testNow + 1<<40}.appendTo(nil), ErrTimestamp},
	} {
		t.Run(c.name, func(t *testing.T) { mustRefuse(t, c.set, 2, plainRules(), c.want) })
	}
	rules := plainRules()
	rules.Compacted = true
	e := mustRefuse(t, append(bytes.Clone(good), good...), 1, rules, ErrInvalid)
	mustEqual(t, "record errors", len(e.RecordErrors), 2)
	rules = plainRules()
	rules.MaxMessageBytes = len(good) - 1
	mustRefuse(t, good, 1, rules, ErrTooLarge)
	rules.MaxMessageBytes = len(good) // an entry fits, the batch of it does not
	mustRefuse(t, append(bytes.Clone(good), good...), 1, rules, ErrTooLarge)

	for _, nothing := range [][]byte{nil, good[:20]} {
		v, err := validate(nothing, 2, plainRules())
		mustEqual(t, "nothing to append", [...]any{err, v.Batch == nil, v.Count, v.MaxTimestamp}, [...]any{nil, true, int32(0), NoTimestamp})
	}
	withoutTime := entry{magic: 1, timestamp: NoTimestamp}.appendTo(nil)
	if _, err := validate(withoutTime, 2, plainRules()); err != nil {
		t.Errorf("no timestamp: %v", err)
	}
}

// TestLegacyBombs: the cap is for all wrappers of a set together.
func TestLegacyBombs(t *testing.T) {
	const limit = 4 << 20
	big := entry{magic: 1, value: make([]byte, limit/2)}.appendTo(nil)
	for _, codec := range legacyCodecs[1:] {
		one := entry{magic: 1, attributes: int8(codec), value: compressed(t, codec, big)}.appendTo(nil)
		rules := plainRules()
		rules.Limits.MaxBytes = limit
		if _, err := ValidateProduce(one, 2, rules); err != nil {
			t.Errorf("%v: one is within the limit: %v", codec, err)
		}
		var err error
		spent := allocated(func() { _, err = ValidateProduce(bytes.Repeat(one, 20), 2, rules) })
		mustBe(t, err, ErrTooLarge)
		if spent > 5*limit {
			t.Errorf("%v: %d bytes were allocated", codec, spent)
		}
	}
}

func TestDownConversion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		magic := rapid.Int8Range(0, 1).Draw(t, "magic")
		next := rapid.Int64Range(0, 1000).Draw(t, "first")
		first := next
		var log []byte
		var want []Record
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			spec := Spec{BaseOffset: next, Codec: rapid.SampledFrom(legacyCodecs).Draw(t, "codec"), AppendTime: testNow + 5}
			spec.LogAppendTime = rapid.Bool().Draw(t, "append time")
			spec.Control = rapid.IntRange(0, 4).Draw(t, "control") == 0
			spec.LastOffsetDelta = rapid.Int32Range(0, 20_000).Draw(t, "last delta")
			records := genRecords(next, true, true).Draw(t, "records")
			b := build(t, spec, records)
			log, next = append(log, b...), b.NextOffset()
			if spec.LogAppendTime {
				records = withTime(records, spec.AppendTime)
			}
			if !spec.Control {
				want = append(want, asMagic(magic, records)...)
			}
		}
		from := rapid.Int64Range(first, next).Draw(t, "from")
		want = slices.DeleteFunc(want, func(r Record) bool { return r.Offset < from })
		set, err := DownConvert(log, magic, from, math.MaxInt, Limits{})
		if err != nil {
			t.Fatalf("convert: %v", err)
		}
		seen := slices.DeleteFunc(readLegacy(t, set), func(r Record) bool { return r.Offset < from })
		if len(seen)+len(want) > 0 {
			mustEqual(t, "records", seen, want)
		}
		if got, ok := kgoReadsLegacy(t, set, magic, from); ok && len(got)+len(want) > 0 {
			mustEqual(t, "franz-go", got, want)
		}
		limited(t, log, magic, from, set)
	})
}

// kgoReadsLegacy is not ok for lz4 in magic 0, whose checksum only clients of that time understand.
func kgoReadsLegacy(t tester, set []byte, magic int8, from int64) (records []Record, ok bool) {
	for rest := set; len(rest) > 0; {
		e, after, _, err := nextLegacy(rest)
		if err != nil || magic == 0 && e.codec() == LZ4 {
			return nil, false
		}
		rest = after
	}
	records = kgoReads(t, set, from)
	if magic == 0 {
		records = withTime(records, NoTimestamp) // franz-go makes one up
	}
	return records, true
}

// limited checks that a byte limit leaves whole parts of the unlimited set, the first one at least.
func limited(t *rapid.T, log []byte, magic int8, from int64, whole []byte) {
	maxBytes := rapid.IntRange(0, len(whole)+10).Draw(t, "max bytes")
	set, err := DownConvert(log, magic, from, maxBytes, Limits{})
	if err != nil || !bytes.HasPrefix(whole, set) || len(set) == 0 && len(whole) > 0 {
		t.Fatalf("%d of %d bytes for a limit of %d, error %v", len(set), len(whole), maxBytes, err)
	}
	if maxBytes >= len(whole) && len(set) != len(whole) {
		t.Fatalf("%d of %d bytes for a limit of %d", len(set), len(whole), maxBytes)
	}
	_, rest, ok, err := nextLegacy(set)
	if err != nil || ok != (len(set) > 0) {
		t.Fatalf("first entry: %v, %v", ok, err)
	}
	for len(rest) > 0 {
		if _, rest, ok, err = nextLegacy(rest); err != nil || !ok {
			t.Fatalf("an entry was cut: %v", err)
		}
	}
}

func TestDownConversionThatFails(t *testing.T) {
	good := build(t, Spec{}, simpleRecords(2, 0))
	bad := map[error]Batch{
		ErrUnsupported: build(t, Spec{BaseOffset: 2, Codec: Zstd}, simpleRecords(2, 2)),
		ErrTooLarge:    build(t, Spec{BaseOffset: 2, Codec: Gzip}, []Record{{Offset: 2, Value: make([]byte, 1<<20)}}),
		ErrCorrupt:     sealed(t, None, func(b Batch) { b[posCount+3] = 9 }),
	}
	for want, b := range bad {
		lim := Limits{MaxBytes: 1 << 19}
		set, err := DownConvert(b, 1, 0, 1<<20, lim)
		mustBe(t, err, want)
		mustEqual(t, "set", len(set), 0)
		set, err = DownConvert(append(bytes.Clone(good), b...), 1, 0, 1<<20, lim)
		mustEqual(t, "error behind a good batch", err, nil)
		mustEqual(t, "records", readLegacy(t, set), simpleRecords(2, 0))
	}
	tiny := build(t, Spec{}, slices.Repeat([]Record{{}}, 1)) // seven bytes that become 34
	_, err := DownConvert(tiny, 1, 0, 1<<20, Limits{MaxBytes: 30})
	mustBe(t, err, ErrTooLarge)
	_, err = DownConvert(good, 2, 0, 1<<20, Limits{})
	mustBe(t, err, ErrUnsupported)
	_, err = DownConvert(bytes.Repeat([]byte{7}, 100), 1, 0, 1<<20, Limits{})
	mustBe(t, err, ErrCorrupt)
	for _, nothing := range [][]byte{nil, good[:70], build(t, Spec{Codec: Gzip}, nil)} {
		set, err := DownConvert(nothing, 1, 0, 1<<20, Limits{})
		mustEqual(t, "nothing", [...]any{len(set), err}, [...]any{0, nil})
	}
}

// TestDownConvertedWrapper looks at what readers of that time look at.
func TestDownConvertedWrapper(t *testing.T) {
	b := build(t, Spec{BaseOffset: 100, Codec: LZ4, LogAppendTime: true, AppendTime: 5}, simpleRecords(3, 100))
	for magic := range int8(2) {
		set, err := DownConvert(b, magic, 102, 1<<20, Limits{})
		mustEqual(t, "error", err, nil)
		w, rest, ok, err := nextLegacy(set)
		mustEqual(t, "wrapper", [...]any{len(rest), ok, err, w.offset, w.codec(), w.key}, [...]any{0, true, nil, int64(102), LZ4, []byte(nil)})
		mustEqual(t, "append time", [...]any{w.isLogAppendTime(), w.timestamp == 5}, [...]any{magic == 1, magic == 1})
		inner, err := Decompress(LZ4, w.value, nil, Limits{})
		mustEqual(t, "error", err, nil)
		e, _, _, err := nextLegacy(inner)
		mustEqual(t, "first inside", [...]any{err, e.offset}, [...]any{nil, map[int8]int64{0: 100, 1: 0}[magic]})
		mustEqual(t, "lz4 header checksum", w.value[6], map[int8]byte{0: lz4ChecksumMagic0, 1: lz4Checksum}[magic])
	}
}

func BenchmarkDownConvert(b *testing.B) {
	for _, codec := range legacyCodecs {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			batch := build(b, Spec{Codec: codec}, simpleRecords(150, 0))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DownConvert(batch, 1, 0, 1<<20, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
