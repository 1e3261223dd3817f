package exec

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/index/dsl"
)

// wireSearch has one aggregation of each shape.
const wireSearch = `{"size":3,"aggs":{
	"levels":{"terms":{"field":"level"},"aggs":{"n":{"stats":{"field":"n"}},"distinct":{"cardinality":{"field":"n","precision_threshold":4}}}},
	"spread":{"percentiles":{"field":"n"}},
	"days":{"date_histogram":{"field":"@timestamp","fixed_interval":"10s"}},
	"steps":{"histogram":{"field":"n","interval":25}},
	"sides":{"filters":{"filters":{"a":{"match_all":{}}},"other_bucket":true}},
	"low":{"range":{"field":"n","ranges":[{"to":10}]}}}}`

// What a peer is sent comes out as it went in, whatever was found, and in one way only.
func TestPartialsTravel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, d := drawWorld(t, 5), drawer{t}
		s := d.search()
		plan, err := NewPlan(s, "t", w.mapping, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		part, err := plan.Run(t.Context(), w.chunks[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := part.Append(nil, s)
		got, err := DecodePartial(s, DefaultLimits(), sent)
		if err != nil {
			t.Fatal(err)
		}
		if again := got.Append(nil, s); !bytes.Equal(sent, again) {
			t.Fatalf("%s:\n%x\n%x", show(s), sent, again)
		}
		for cut := range min(len(sent), 200) {
			if _, err := DecodePartial(s, DefaultLimits(), sent[:cut]); err == nil {
				t.Fatalf("%d of %d bytes are taken for a whole", cut, len(sent))
			}
		}
	})
}

// In whatever order and groups parts are merged, the answer is the same.
func TestMergingIsAssociative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, d := drawWorld(t, 5), drawer{t}
		s := d.search()
		s.Aggs = d.aggs(2)
		s.Query = d.query(2, false)
		s.PostFilter = nil
		plan, err := NewPlan(s, "t", w.mapping, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		part := func(i int) *Partial {
			p, err := plan.Run(t.Context(), w.chunks[i], NewStatistics())
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		merge := func(parts ...*Partial) *Partial {
			p, err := Merge(s, DefaultLimits(), parts...)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		result := func(p *Partial) string {
			aggs, err := Aggregations(s, DefaultLimits(), p)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(p.Total, offsets(p), showResults(aggs, ""))
		}
		flat := result(merge(part(0), part(1), part(2)))
		if left := result(merge(part(2), merge(part(1), part(0)))); left != flat {
			t.Fatalf("%s: %s\n%s", show(s), flat, left)
		}
	})
}

// FuzzDecodePartial feeds what a hostile peer may send: it is refused, or it is something that can be merged and
// shown.
func FuzzDecodePartial(f *testing.F) {
	s, err := dsl.ParseSearch([]byte(wireSearch), dsl.DefaultLimits(), now)
	if err != nil {
		f.Fatal(err)
	}
	m := testMapping(f, testFields)
	c := openChunk(f, m, Info{Topic: "t", Base: 0, End: 12}, logLines(0, 0, 12), nil)
	plan, err := NewPlan(s, "t", m, DefaultLimits())
	if err != nil {
		f.Fatal(err)
	}
	part, err := plan.Run(f.Context(), c, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(part.Append(nil, s))
	f.Add(plan.Nothing().Append(nil, s))
	f.Add([]byte{version, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodePartial(s, DefaultLimits(), data)
		if err != nil {
			return
		}
		for i := range p.Hits {
			_, _ = SortValues(s, &p.Hits[i]) // an error is fine
		}
		again, err := DecodePartial(s, DefaultLimits(), p.Append(nil, s))
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if p, err = Merge(s, DefaultLimits(), p, again, plan.Nothing()); err == nil {
			_, _ = Aggregations(s, DefaultLimits(), p)
		}
	})
}

func FuzzDecodeStatistics(f *testing.F) {
	s := NewStatistics()
	s.fields["msg"] = fieldStatistics{3, 40}
	s.terms[fieldTerm{"msg", "disk"}] = 2
	f.Add(s.Append(nil))
	f.Add([]byte{version, 0xff, 0xff, 0x03})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeStatistics(data)
		if err != nil {
			return
		}
		again, err := DecodeStatistics(s.Append(nil))
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%v: %v", s, err)
		}
	})
}
