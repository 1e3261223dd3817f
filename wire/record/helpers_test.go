package record

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// testNow is the time of all tests, in ms.
const testNow = int64(1_700_000_000_000)

var allCodecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// tester is what *testing.T, *testing.B, *testing.F and *rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// clone is a copy of r that outlives the call it was lent for.
func (r *Record) clone() Record {
	c := *r
	c.Key, c.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	c.Headers = nil
	for _, h := range r.Headers {
		c.Headers = append(c.Headers, Header{bytes.Clone(h.Key), bytes.Clone(h.Value)})
	}
	return c
}

// each is a walk over records, such as Batch.Each.
type each func(fn func(*Record) error) error

func collect(t tester, walk each) []Record {
	t.Helper()
	records, err := tryCollect(walk)
	if err != nil {
		t.Fatalf("after %d records: %v", len(records), err)
	}
	return records
}

func tryCollect(walk each) (records []Record, err error) {
	err = walk(func(r *Record) error {
		records = append(records, r.clone())
		return nil
	})
	return records, err
}

func (b Batch) all(t tester) []Record {
	t.Helper()
	return collect(t, func(fn func(*Record) error) error { return b.Each(Limits{}, fn) })
}

func build(t tester, spec Spec, records []Record) Batch {
	t.Helper()
	b := NewBuilder(spec)
	for i := range records {
		if err := b.Add(&records[i]); err != nil {
			t.Fatalf("add record %d: %v", i, err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	if err := Batch(out).Check(); err != nil {
		t.Fatalf("built batch: %v", err)
	}
	return out
}

// mustEqual tells nil slices from empty ones: null is not empty.
func mustEqual(t tester, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) { // cmp is for the report: it takes a microsecond per byte
		t.Fatalf("%s (-want +got):\n%s", what, cmp.Diff(want, got))
	}
}

func mustBe(t tester, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("error %v, want %v", got, want)
	}
}

// simpleRecords are n records of one key and value each, at dense offsets from base.
func simpleRecords(n int, base int64) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{
			Offset:    base + int64(i),
			Timestamp: testNow + int64(i),
			Key:       fmt.Appendf(nil, "key-%d", i),
			Value:     bytes.Repeat([]byte{byte('a' + i%26)}, 80),
		}
	}
	return records
}

func genBytes(nullable bool) *rapid.Generator[[]byte] {
	some := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 40),
		rapid.Map(rapid.IntRange(0, 5000), func(n int) []byte { return bytes.Repeat([]byte("ab"), n) }),
	)
	if !nullable {
		return some
	}
	return rapid.OneOf(some, rapid.Just([]byte(nil)))
}

// genRecords draws records at offsets that rise from base, with gaps if there may be any.
func genRecords(base int64, gaps, headers bool) *rapid.Generator[[]Record] {
	return rapid.Custom(func(t *rapid.T) []Record {
		var records []Record
		for range rapid.IntRange(1, 12).Draw(t, "records") {
			if gaps {
				base += rapid.Int64Range(0, 300).Draw(t, "gap")
			}
			r := Record{Offset: base, Timestamp: testNow + rapid.Int64Range(-5000, 5000).Draw(t, "time")}
			r.Key = genBytes(true).Draw(t, "key")
			r.Value = genBytes(true).Draw(t, "value")
			for range rapid.IntRange(0, 3).Draw(t, "headers") {
				if headers {
					r.Headers = append(r.Headers, Header{genBytes(false).Draw(t, "header"), genBytes(true).Draw(t, "value")})
				}
			}
			records = append(records, r)
			base++
		}
		return records
	})
}

var kgoDecompressor = kgo.DefaultDecompressor()

// kgoReads reads what a fetch returned as franz-go does, from the given offset on.
func kgoReads(t tester, fetched []byte, from int64) []Record {
	t.Helper()
	part, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, Topic: "t"},
		&kmsg.FetchResponseTopicPartition{RecordBatches: fetched}, kgoDecompressor, nil)
	if part.Err != nil {
		t.Fatalf("franz-go: %v", part.Err)
	}
	var records []Record
	for _, r := range part.Records {
		got := Record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			got.Headers = append(got.Headers, Header{[]byte(h.Key), h.Value})
		}
		records = append(records, got)
	}
	return records
}

func withoutHeaders(records []Record) []Record {
	out := slices.Clone(records)
	for i := range out {
		out[i].Headers = nil
	}
	return out
}

func withTime(records []Record, time int64) []Record {
	out := slices.Clone(records)
	for i := range out {
		out[i].Timestamp = time
	}
	return out
}
