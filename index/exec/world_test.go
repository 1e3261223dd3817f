package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

// now is the moment of all searches in tests.
var now = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// testFields are one of each kind.
const testFields = "level:keyword,msg:text,said:text(positions=true),n:long,d:double,ok:boolean,at:date,ip:ip,_value:text"

func testMapping(t rapid.TB, fields string) *schema.Mapping {
	t.Helper()
	config, err := schema.ParseConfig(map[string]string{schema.KeyFields: fields, schema.KeyHeaders: "true"})
	if err != nil {
		t.Fatal(err)
	}
	return schema.NewMapping(config)
}

// record is a record and what the model knows of it.
type record struct {
	partition int32
	offset    int64
	timestamp int64
	key       string // empty: none
	doc       doc
}

// doc is the value of a record.
type doc struct {
	Level []string  `json:"level,omitempty"`
	Msg   []string  `json:"msg,omitempty"`
	Said  []string  `json:"said,omitempty"`
	N     []int64   `json:"n,omitempty"`
	D     []float64 `json:"d,omitempty"`
	OK    []bool    `json:"ok,omitempty"`
	At    []int64   `json:"at,omitempty"`
	IP    []string  `json:"ip,omitempty"`
}

func (r *record) schema() schema.Record {
	value, err := json.Marshal(r.doc)
	if err != nil {
		panic(err)
	}
	s := schema.Record{Offset: r.offset, Timestamp: r.timestamp, Value: value}
	if r.key != "" {
		s.Key = []byte(r.key)
	}
	return s
}

func (r *record) id() string { return fmt.Sprintf("%d-%d", r.partition, r.offset) }

// cleanTB is a test that cleans up behind itself, of rapid's or Go's.
type cleanTB interface {
	rapid.TB
	Cleanup(func())
}

// openChunk indexes records in memory, in a few batches so that there are several segments, and deletes some.
func openChunk(t cleanTB, m *schema.Mapping, info Info, records []*record, deleted []int64) *Chunk {
	t.Helper()
	idx, err := bleve.NewUsing("", m.IndexMapping(), scorch.Name, scorch.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Chunk{Info: info, Tokens: map[string]uint64{}}
	c.MinTimestamp, c.MaxTimestamp = 1<<62, -1
	builder, batch := m.NewBuilder(), idx.NewBatch()
	for i, r := range records {
		s := r.schema()
		if s.Timestamp == schema.NoTimestamp {
			c.Untimed = true
		} else {
			c.MinTimestamp, c.MaxTimestamp = min(c.MinTimestamp, s.Timestamp), max(c.MaxTimestamp, s.Timestamp)
		}
		document, _ := builder.Build(&s)
		if err := batch.IndexAdvanced(document); err != nil {
			t.Fatal(err)
		}
		x := m.NewExtractor("msg", "said", "_value")
		x.Read(&s)
		for _, path := range []string{"msg", "said", "_value"} {
			for _, text := range x.Texts(path) {
				c.Tokens[path] += uint64(len(words(text)))
			}
		}
		if i%max(5, len(records)/8) == 4 {
			if err := idx.Batch(batch); err != nil {
				t.Fatal(err)
			}
			batch.Reset()
		}
	}
	for _, offset := range deleted {
		batch.Delete(schema.OffsetTerm(offset))
	}
	if err := idx.Batch(batch); err != nil {
		t.Fatal(err)
	}
	advanced, err := idx.Advanced()
	if err != nil {
		t.Fatal(err)
	}
	if c.Reader, err = advanced.Reader(); err != nil {
		t.Fatal(err)
	}
	c.Learned = builder.Learned()
	t.Cleanup(func() {
		if err := errors.Join(c.Reader.Close(), idx.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// words are the terms of ASCII text, the test's own way.
func words(text string) (words []string) {
	word := ""
	for _, c := range strings.ToLower(text) + " " {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
			word += string(c)
		} else if word != "" {
			words = append(words, word)
			word = ""
		}
	}
	return words
}

// parse reads a search body.
func parse(t rapid.TB, body string) *dsl.Search {
	t.Helper()
	s, err := dsl.ParseSearch([]byte(body), dsl.DefaultLimits(), now)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return s
}

// search runs s over chunks as a coordinator does: statistics first, each part over the wire, then merged.
func search(t rapid.TB, s *dsl.Search, m *schema.Mapping, chunks ...*Chunk) (*Plan, *Partial) {
	t.Helper()
	plan, found, err := trySearch(s, m, chunks...)
	if err != nil {
		t.Fatal(err)
	}
	return plan, found
}

func trySearch(s *dsl.Search, m *schema.Mapping, chunks ...*Chunk) (*Plan, *Partial, error) {
	plan, err := NewPlan(s, "t", m, DefaultLimits())
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	stats := NewStatistics()
	if plan.NeedsStatistics() {
		for _, c := range chunks {
			one, err := plan.Statistics(ctx, c)
			if err != nil {
				return nil, nil, err
			}
			sent, err := DecodeStatistics(one.Append(nil))
			if err != nil || !sent.Equal(one) {
				return nil, nil, fmt.Errorf("statistics over the wire: %v", err)
			}
			stats.Merge(sent)
		}
	}
	parts := []*Partial{plan.Nothing()}
	for _, c := range chunks {
		if plan.Prune(c.Info) {
			continue
		}
		part, err := plan.Run(ctx, c, stats)
		if err != nil {
			return nil, nil, err
		}
		if part, err = DecodePartial(s, DefaultLimits(), part.Append(nil, s)); err != nil {
			return nil, nil, err
		}
		parts = append(parts, part)
	}
	found, err := Merge(s, DefaultLimits(), parts...)
	return plan, found, err
}
