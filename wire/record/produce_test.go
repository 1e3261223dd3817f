package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plainRules are those of a topic with Kafka's defaults.
func plainRules() Rules {
	return Rules{MaxMessageBytes: 1 << 20, Now: testNow, BeforeMax: math.MaxInt64, AfterMax: 3_600_000}
}

// validate is ValidateProduce of a copy, since header changes are made in place.
func validate(records []byte, version int16, rules Rules) (Validated, error) {
	return ValidateProduce(bytes.Clone(records), version, rules)
}

func mustRefuse(t tester, records []byte, version int16, rules Rules, want error) *ProduceError {
	t.Helper()
	v, err := validate(records, version, rules)
	var refused *ProduceError
	if !errors.Is(err, want) || !errors.As(err, &refused) || refused.Message == "" || v.Batch != nil {
		t.Fatalf("error %v, want %v; batch of %d bytes", err, want, len(v.Batch))
	}
	for _, other := range []error{ErrCorrupt, ErrInvalid, ErrTimestamp, ErrUnsupported, ErrTooLarge} {
		if other != want && errors.Is(err, other) {
			t.Fatalf("error is both %v and %v", want, other)
		}
	}
	return refused
}

// sealed changes a good batch and sums it again.
func sealed(t tester, codec Codec, change func(b Batch)) Batch {
	t.Helper()
	b := build(t, Spec{Codec: codec}, simpleRecords(3, 0))
	change(b)
	b.Seal()
	return b
}

func TestValidBatchesAreKeptAsTheyCame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := genSpec(t)
		spec.BaseOffset, spec.Codec = 0, rapid.SampledFrom(allCodecs).Draw(t, "codec")
		records := genRecords(0, false, true).Draw(t, "records")
		in := []byte(build(t, spec, records))
		want := bytes.Clone(in)
		in = append(in, rapid.SliceOfN(rapid.Byte(), 0, posMagic).Draw(t, "partial batch")...)
		v, err := ValidateProduce(in, 9, plainRules())
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		if !bytes.Equal(v.Batch, want) || &v.Batch[0] != &in[0] {
			t.Fatalf("the batch was changed or moved")
		}
		mustEqual(t, "result", [...]any{v.Count, v.MaxTimestamp, v.AppendTime},
			[...]any{int32(len(records)), Batch(want).MaxTimestamp(), NoTimestamp})
	})
}

func TestBatchesThatAreRefused(t *testing.T) {
	good := []byte(sealed(t, None, func(Batch) {}))
	put := binary.BigEndian
	long := bytes.Clone(good)
	put.PutUint32(long[posLength:], 13)
	zstd := build(t, Spec{Codec: Zstd}, simpleRecords(3, 0))
	set := entry{magic: 1, value: []byte("old")}.appendTo(nil)
	for _, c := range []struct {
		name    string
		records []byte
		version int16
		want    error
	}{
		{"nothing", nil, 3, ErrInvalid},
		{"a part of a batch", good[:len(good)-1], 3, ErrInvalid},
		{"two batches", append(bytes.Clone(good), good...), 3, ErrInvalid},
		{"two batches in an old request", append(bytes.Clone(good), good...), 2, ErrInvalid},
		{"a batch and a bad length", append(bytes.Clone(good), long...), 3, ErrInvalid},
		{"magic 1", set, 3, ErrInvalid},
		{"length field 13", long, 9, ErrCorrupt},
		{"magic 3", sealed(t, None, func(b Batch) { b[posMagic] = 3 }), 9, ErrCorrupt},
		{"magic -1", sealed(t, None, func(b Batch) { b[posMagic] = 255 }), 9, ErrCorrupt},
		{"less than a header", sealed(t, None, func(b Batch) { put.PutUint32(b[posLength:], 20) })[:32], 9, ErrCorrupt},
		{"flipped bit", func() []byte { b := bytes.Clone(good); b[70] ^= 4; return b }(), 9, ErrCorrupt},
		{"base offset 1", sealed(t, None, func(b Batch) { b.Stamp(1, 0) }), 9, ErrInvalid},
		{"no records", build(t, Spec{}, nil), 9, ErrInvalid},
		{"count below", sealed(t, Gzip, func(b Batch) { put.PutUint32(b[posCount:], 2) }), 9, ErrInvalid},
		{"last delta above", sealed(t, Gzip, func(b Batch) { put.PutUint32(b[posLastOffsetDelta:], 3) }), 9, ErrInvalid},
		{"count that overflows", sealed(t, Gzip, func(b Batch) {
			put.PutUint32(b[posLastOffsetDelta:], math.MaxInt32)
			put.PutUint32(b[posCount:], 1<<31)
		}), 9, ErrInvalid},
		{"both above", sealed(t, None, func(b Batch) { put.PutUint32(b[posCount:], 4); put.PutUint32(b[posLastOffsetDelta:], 3) }), 9, ErrInvalid},
		{"both below", sealed(t, None, func(b Batch) { put.PutUint32(b[posCount:], 2); put.PutUint32(b[posLastOffsetDelta:], 1) }), 9, ErrInvalid},
		{"control", build(t, Spec{Control: true}, simpleRecords(1, 0)), 9, ErrInvalid},
		{"delete horizon", build(t, Spec{DeleteHorizon: 5}, simpleRecords(1, 0)), 9, ErrInvalid},
		{"producer without sequence", build(t, Spec{Producer: &Producer{1, 0, -1}}, simpleRecords(1, 0)), 9, ErrInvalid},
		{"producer without epoch", build(t, Spec{Producer: &Producer{1, -1, 0}}, simpleRecords(1, 0)), 9, ErrInvalid},
		{"producer -2", build(t, Spec{Producer: &Producer{-2, 0, 0}}, simpleRecords(1, 0)), 9, ErrInvalid},
		{"transaction of nobody", build(t, Spec{Transactional: true}, simpleRecords(1, 0)), 9, ErrInvalid},
		{"codec 5", sealed(t, None, func(b Batch) { b[posAttributes+1] = 5 }), 9, ErrUnsupported},
		{"zstd in v6", zstd, 6, ErrUnsupported},
		{"zstd in v2", zstd, 2, ErrUnsupported},
		{"log append time", build(t, Spec{LogAppendTime: true}, simpleRecords(1, 0)), 9, ErrTimestamp},
		{"record longer than the batch", sealed(t, None, func(b Batch) { b[HeaderSize] = 0x7e }), 9, ErrInvalid},
		{"record that ends early", sealed(t, None, func(b Batch) { b[len(b)-1] = 2 }), 9, ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) { mustRefuse(t, c.records, c.version, plainRules(), c.want) })
	}
	for _, version := range []int16{0, 2, 3, 7, 9} {
		if _, err := validate(good, version, plainRules()); err != nil {
			t.Errorf("the good one in v%d: %v", version, err)
		}
	}
	if _, err := validate(zstd, 7, plainRules()); err != nil {
		t.Errorf("zstd in v7: %v", err)
	}
}

func TestSizeLimit(t *testing.T) {
	b := build(t, Spec{}, simpleRecords(9, 0))
	rules := plainRules()
	rules.MaxMessageBytes = len(b)
	if _, err := validate(b, 9, rules); err != nil {
		t.Errorf("batch of just the limit: %v", err)
	}
	rules.MaxMessageBytes--
	mustRefuse(t, b, 9, rules, ErrTooLarge)
	rules.MaxMessageBytes = len(b) / 2
	packed := build(t, Spec{Codec: Zstd}, simpleRecords(9, 0))
	if _, err := validate(packed, 9, rules); err != nil {
		t.Errorf("the limit is for the compressed size: %v", err)
	}
	rules.ForceCodec = true
	mustRefuse(t, packed, 9, rules, ErrTooLarge)
}

// TestTimeLimits covers who is opened for what: the header decides about times to come, and for an
// uncompressed batch the records do.
func TestTimeLimits(t *testing.T) {
	at := func(times ...int64) []Record {
		records := simpleRecords(len(times), 0)
		for i := range records {
			records[i].Timestamp = times[i]
		}
		return records
	}
	const hour = 3_600_000
	for _, codec := range allCodecs {
		for _, c := range []struct {
			name          string
			before, after int64
			times         []int64
			bad           []int32
		}{
			{"just in time", hour, hour, []int64{testNow - hour, testNow + hour}, nil},
			{"too new", math.MaxInt64, hour, []int64{testNow, testNow + hour + 1, testNow, testNow + 2*hour}, []int32{1, 3}},
			{"too new first", math.MaxInt64, hour, []int64{testNow + hour + 1, testNow}, []int32{0}},
			{"too old", hour, math.MaxInt64, []int64{testNow, testNow - hour - 1}, []int32{1}},
			{"both", hour, hour, []int64{testNow - 2*hour, testNow, testNow + 2*hour}, []int32{0, 2}},
			{"no limits", math.MaxInt64, math.MaxInt64, []int64{0, math.MaxInt64 / 2, 5}, nil},
			{"without times", 0, 0, []int64{-1, -1}, nil},
			{"some without", hour, hour, []int64{testNow, -1, testNow}, nil},
			{"first without", hour, hour, []int64{-1, testNow}, nil},
			{"far away", hour, hour, []int64{math.MaxInt64, 0}, []int32{0, 1}},
		} {
			t.Run(fmt.Sprintf("%v/%s", codec, c.name), func(t *testing.T) {
				b := build(t, Spec{Codec: codec}, at(c.times...))
				rules := plainRules()
				rules.BeforeMax, rules.AfterMax = c.before, c.after
				if c.bad == nil {
					v, err := validate(b, 9, rules)
					mustEqual(t, "result", [...]any{err, v.MaxTimestamp}, [...]any{nil, b.MaxTimestamp()})
					return
				}
				e := mustRefuse(t, b, 9, rules, ErrTimestamp)
				var got []int32
				for _, r := range e.RecordErrors {
					got = append(got, r.Index)
				}
				mustEqual(t, "records at fault", got, c.bad)
				rules.LogAppendTime = true
				if _, err := validate(b, 9, rules); err != nil {
					t.Errorf("limits are for CreateTime: %v", err)
				}
			})
		}
	}
}

func TestHeaderThatLiesAboutTimes(t *testing.T) {
	lie := func(codec Codec, time int64) Batch {
		return sealed(t, codec, func(b Batch) { binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(time)) })
	}
	v, err := validate(lie(None, testNow-100), 9, plainRules())
	mustEqual(t, "put right", [...]any{err, v.MaxTimestamp, v.Batch.Check()}, [...]any{nil, testNow + 2, nil})
	v, err = validate(lie(Gzip, testNow-100), 9, plainRules())
	mustEqual(t, "believed", [...]any{err, v.MaxTimestamp}, [...]any{nil, testNow - 100})
	compacted := plainRules()
	compacted.Compacted = true
	v, err = validate(lie(Gzip, testNow-100), 9, compacted)
	mustEqual(t, "opened anyway", [...]any{err, v.MaxTimestamp, v.Batch.Check()}, [...]any{nil, testNow + 2, nil})
	reaching := plainRules()
	reaching.BeforeMax = testNow // to 1970, so that nothing can be older
	v, err = validate(lie(Gzip, testNow-100), 9, reaching)
	mustEqual(t, "believed", [...]any{err, v.MaxTimestamp}, [...]any{nil, testNow - 100})
	e := mustRefuse(t, lie(Gzip, math.MaxInt64), 9, plainRules(), ErrTimestamp)
	mustEqual(t, "record errors", len(e.RecordErrors), 0)
	wrap := sealed(t, None, func(b Batch) { binary.BigEndian.PutUint64(b[posBaseTimestamp:], math.MaxInt64) })
	rules := plainRules()
	rules.AfterMax = math.MaxInt64
	mustRefuse(t, wrap, 9, rules, ErrInvalid)
}

func TestCompactedTopicsNeedKeys(t *testing.T) {
	rules := plainRules()
	rules.Compacted = true
	for _, codec := range allCodecs {
		records := simpleRecords(150, 0)
		if _, err := validate(build(t, Spec{Codec: codec}, records), 9, rules); err != nil {
			t.Errorf("%v with keys: %v", codec, err)
		}
		records[3].Key = []byte{}
		if _, err := validate(build(t, Spec{Codec: codec}, records), 9, rules); err != nil {
			t.Errorf("%v with an empty key: %v", codec, err)
		}
		records[1].Key, records[7].Key = nil, nil
		b := build(t, Spec{Codec: codec}, records)
		e := mustRefuse(t, b, 9, rules, ErrInvalid)
		if len(e.RecordErrors) != 2 || e.RecordErrors[0].Index != 1 || e.RecordErrors[1].Index != 7 {
			t.Errorf("%v: record errors %+v", codec, e.RecordErrors)
		}
		for i := range records {
			records[i].Key = nil
		}
		e = mustRefuse(t, build(t, Spec{Codec: codec}, records), 9, rules, ErrInvalid)
		mustEqual(t, "record errors have a bound", len(e.RecordErrors), maxRecordErrors)
		if _, err := validate(b, 9, plainRules()); err != nil {
			t.Errorf("%v without keys on another topic: %v", codec, err)
		}
	}
}

func TestLogAppendTime(t *testing.T) {
	rules := plainRules()
	rules.LogAppendTime, rules.Now = true, testNow+999
	for _, codec := range allCodecs {
		in := build(t, Spec{Codec: codec}, simpleRecords(3, 0))
		v, err := ValidateProduce(in, 9, rules)
		mustEqual(t, "result", [...]any{err, v.MaxTimestamp, v.AppendTime, v.Count}, [...]any{nil, rules.Now, rules.Now, int32(3)})
		mustEqual(t, "check", v.Batch.Check(), nil)
		mustEqual(t, "records", v.Batch.all(t), withTime(simpleRecords(3, 0), rules.Now))
		if &v.Batch[0] != &in[0] {
			t.Error("the batch was moved")
		}
	}
}

// TestForcedCodec is compression.type other than producer.
func TestForcedCodec(t *testing.T) {
	records := simpleRecords(40, 0)
	spec := Spec{Producer: &Producer{7, 3, 11}, Transactional: true}
	for _, from := range allCodecs {
		for _, to := range allCodecs {
			spec.Codec = from
			in := build(t, spec, records)
			rules := plainRules()
			rules.ForceCodec, rules.Codec, rules.Level = true, to, 2
			v, err := ValidateProduce(in, 9, rules)
			mustEqual(t, "result", [...]any{err, v.Count, v.Batch.Codec(), v.Batch.Check()}, [...]any{nil, int32(40), to, nil})
			mustEqual(t, "records", v.Batch.all(t), records)
			got, want := SpecOf(v.Batch), SpecOf(in)
			want.Codec = to
			mustEqual(t, "header", got, want)
			if from == to && &v.Batch[0] != &in[0] {
				t.Errorf("%v was rebuilt for nothing", from)
			}
		}
	}
}

// TestOffsetDeltasArePutRight is for clients that number records wrongly.
func TestOffsetDeltasArePutRight(t *testing.T) {
	records := simpleRecords(3, 0)
	for _, codec := range allCodecs {
		wrong := build(t, Spec{Producer: &Producer{1, 2, 3}}, records)
		raw := bytes.Clone(wrong.Payload())
		_, n := varint(raw)
		raw[n+2] = 10 // the first record's delta becomes 5
		h := wrong.header()
		h.maxTime = 0
		in, err := h.build(nil, codec, 0, raw)
		mustEqual(t, "error", err, nil)
		rules := plainRules()
		rules.Compacted = true
		v, err := ValidateProduce(in, 9, rules)
		mustEqual(t, "result", [...]any{err, v.MaxTimestamp, v.Count, v.Batch.Check()}, [...]any{nil, testNow + 2, int32(3), nil})
		mustEqual(t, "records", v.Batch.all(t), records)
		mustEqual(t, "producer", *SpecOf(v.Batch).Producer, Producer{1, 2, 3})
		mustEqual(t, "codec", v.Batch.Codec(), codec)
	}
}

// TestOpenedBatchesHaveACap: what is not opened does not count, what is stays in the limit.
func TestOpenedBatchesHaveACap(t *testing.T) {
	big := []Record{{Timestamp: testNow, Key: []byte("k"), Value: make([]byte, 48<<20)}}
	rules := plainRules()
	rules.Limits.MaxBytes = 4 << 20
	for _, codec := range allCodecs[1:] {
		rules.MaxMessageBytes = 8 << 20
		rules.Compacted = false
		b := build(t, Spec{Codec: codec}, big)
		if _, err := ValidateProduce(b, 9, rules); err != nil {
			t.Errorf("%v unopened: %v", codec, err)
		}
		rules.Compacted = true
		var err error
		spent := allocated(func() { _, err = ValidateProduce(b, 9, rules) })
		mustBe(t, err, ErrTooLarge)
		if spent > 6<<20 {
			t.Errorf("%v: %d bytes were allocated", codec, spent)
		}
		garbled := sealed(t, codec, func(b Batch) { copy(b[HeaderSize:], "garbage!") })
		mustRefuse(t, garbled, 9, rules, ErrInvalid)
	}
}

func TestRefusalsReadWell(t *testing.T) {
	b := sealed(t, None, func(Batch) {})
	b[80] ^= 1
	_, err := ValidateProduce(b, 9, plainRules())
	if strings.Count(err.Error(), ErrCorrupt.Error()) != 1 {
		t.Errorf("%v", err)
	}
}

// TestSkimAgreesWithEach: the fast walk accepts just what the exact one does.
func TestSkimAgreesWithEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := build(t, Spec{}, genRecords(0, true, true).Draw(t, "records"))
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			at := rapid.IntRange(HeaderSize, len(b)-1).Draw(t, "at")
			b[at] = rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0, 1, 2, 0x80, 0xff})).Draw(t, "byte")
		}
		agree(t, b)
	})
}

func agree(t tester, b Batch) {
	t.Helper()
	times := []int64{}
	dense, nullKeys := true, false
	err := b.eachProduced(Limits{}, func(i int, r *Record) error {
		dense = dense && r.Offset-b.BaseOffset() == int64(i)
		nullKeys = nullKeys || r.Key == nil
		times = append(times, r.Timestamp)
		return nil
	})
	seen, ok := skimRecords(b.Payload(), b.Count(), NoTimestamp-b.BaseTimestamp())
	if ok != (err == nil) {
		t.Fatalf("skim says %v, each %v", ok, err)
	}
	if !ok || seen.overflows(b.BaseTimestamp()) {
		return
	}
	newest := NoTimestamp
	for _, time := range times {
		if time != NoTimestamp && (newest == NoTimestamp || time > newest) {
			newest = time
		}
	}
	mustEqual(t, "skim", [...]any{seen.dense, seen.nullKeys, seen.newest(b.BaseTimestamp())}, [...]any{dense, nullKeys, newest})
}

func TestValidateProduceAllocatesNothing(t *testing.T) {
	for _, codec := range allCodecs {
		for name, change := range map[string]func(*Rules){
			"plain":           func(*Rules) {},
			"log append time": func(r *Rules) { r.LogAppendTime = true },
			"compacted":       func(r *Rules) { r.Compacted = true },
			"before":          func(r *Rules) { r.BeforeMax = 1 << 40 },
		} {
			b := build(t, Spec{Codec: codec}, simpleRecords(150, 0))
			rules := plainRules()
			change(&rules)
			mustNotAllocate(t, codec.String()+" "+name, func() {
				if _, err := ValidateProduce(b, 9, rules); err != nil {
					t.Error(err)
				}
				b[posAttributes+1] &^= attrLogAppendTime
				b.Seal()
			})
		}
	}
}

// BenchmarkValidateProduce is the work per batch on the produce path: 150 records of about 100 bytes.
func BenchmarkValidateProduce(b *testing.B) {
	for _, codec := range []Codec{None, LZ4} {
		for _, compacted := range []bool{false, true} {
			b.Run(fmt.Sprintf("codec=%v/compacted=%v", codec, compacted), func(b *testing.B) {
				batch := build(b, Spec{Codec: codec}, simpleRecords(150, 0))
				rules := plainRules()
				rules.Compacted = compacted
				b.SetBytes(int64(len(batch)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := ValidateProduce(batch, 9, rules); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/150, "ns/record")
			})
		}
	}
}
