package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/search/query"
	index "github.com/blevesearch/bleve_index_api"
	"pgregory.net/rapid"
)

// openIndex indexes records, in memory, as a chunk would.
func openIndex(t *testing.T, m *Mapping, records []Record) (bleve.Index, index.IndexReader) {
	t.Helper()
	idx, err := bleve.NewUsing("", m.IndexMapping(), scorch.Name, scorch.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	builder, batch := m.NewBuilder(), idx.NewBatch()
	for i := range records {
		doc, _ := builder.Build(&records[i])
		if err := batch.IndexAdvanced(doc); err != nil {
			t.Fatal(err)
		}
	}
	if err := idx.Batch(batch); err != nil {
		t.Fatal(err)
	}
	advanced, err := idx.Advanced()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := advanced.Reader()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
		if err := idx.Close(); err != nil {
			t.Error(err)
		}
	})
	return idx, reader
}

// hits are the offsets that q finds, best first.
func hits(t rapid.TB, idx bleve.Index, q query.Query) (offsets []int64) {
	t.Helper()
	res, err := idx.Search(bleve.NewSearchRequestOptions(q, 1000, 0, false))
	if err != nil {
		t.Fatal(err)
	}
	for _, hit := range res.Hits {
		offset, ok := ParseOffset([]byte(hit.ID))
		if !ok {
			t.Fatalf("_id %q", hit.ID)
		}
		offsets = append(offsets, offset)
	}
	return offsets
}

// covered are the offsets that a cover finds, through the dictionary, postings and doc values alone.
func covered(t rapid.TB, reader index.IndexReader, f Field, i Interval) (offsets []int64) {
	t.Helper()
	c := f.Cover(i)
	for _, span := range c.Whole {
		dict, err := reader.FieldDictRange(f.RangeName(), []byte(span.First), []byte(span.Last))
		if err != nil {
			t.Fatal(err)
		}
		for entry, err := dict.Next(); entry != nil || err != nil; entry, err = dict.Next() {
			if err != nil {
				t.Fatal(err)
			}
			offsets = append(offsets, posting(t, reader, f, entry.Term, nil)...)
		}
		if err := dict.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, edge := range c.Edges {
		offsets = append(offsets, posting(t, reader, f, edge, &i)...)
	}
	slices.Sort(offsets)
	return slices.Compact(offsets)
}

// posting are the offsets of the documents with a term of the range field, and with a doc value in i.
func posting(t rapid.TB, reader index.IndexReader, f Field, term string, i *Interval) (offsets []int64) {
	t.Helper()
	docs, err := reader.TermFieldReader(context.Background(), []byte(term), f.RangeName(), false, false, false)
	if err != nil {
		t.Fatal(err)
	}
	values, err := reader.DocValueReader([]string{f.Path})
	if err != nil {
		t.Fatal(err)
	}
	for doc, err := docs.Next(nil); doc != nil || err != nil; doc, err = docs.Next(nil) {
		if err != nil {
			t.Fatal(err)
		}
		inside := i == nil
		if err := values.VisitDocValues(doc.ID, func(_ string, value []byte) { inside = inside || i.Contains(value) }); err != nil {
			t.Fatal(err)
		}
		id, err := reader.ExternalID(doc.ID)
		if err != nil {
			t.Fatal(err)
		}
		if offset, ok := ParseOffset([]byte(id)); ok && inside {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

func TestScorchFindsWhatWasIndexed(t *testing.T) {
	m := newMapping(t, map[string]string{
		KeyFields:  "level:keyword,msg:text(analyzer=en),said:text(positions=true),n:long,user.id:keyword,src:ip,_value:text",
		KeyHeaders: "true",
	})
	idx, _ := openIndex(t, m, []Record{
		{Offset: 10, Timestamp: 1000, Key: []byte{0xff, 0}, Value: []byte(`{"level":"warn","msg":"disks are failing slowly","n":[7,-7],"user":{"id":"a b"}}`)},
		{Offset: 11, Timestamp: 2000, Value: []byte(`{"level":"","msg":"disk full, disk!","said":["alpha beta","gamma"],"src":"10.1.2.3"}`)},
		{Offset: 12, Timestamp: NoTimestamp, Key: []byte("k"), Value: []byte(`plain tëxt`), Headers: []Header{{[]byte("app.name"), []byte("api")}}},
	})
	term := func(path, text string) query.Query {
		f, ok := m.Field(path)
		if !ok {
			t.Fatal("no field", path)
		}
		term, some, err := f.Term(text)
		if err != nil || !some {
			t.Fatal(path, text, some, err)
		}
		q := bleve.NewTermQuery(term)
		q.SetField(f.Path)
		return q
	}
	match := func(path, text string) query.Query {
		q := bleve.NewMatchQuery(text)
		q.SetField(path)
		return q
	}
	phrase := func(text string) query.Query {
		q := bleve.NewMatchPhraseQuery(text)
		q.SetField("said")
		return q
	}
	for name, c := range map[string]struct {
		q    query.Query
		want string
	}{
		"keyword":             {term("level", "warn"), "[10]"},
		"empty keyword":       {term("level", ""), "[11]"},
		"blanks in a keyword": {term("user.id", "a b"), "[10]"},
		"each of two values":  {term("n", "-7"), "[10]"},
		"ip":                  {term("src", "::ffff:10.1.2.3"), "[11]"},
		"binary key":          {term("_key", "0xff00"), "[10]"},
		"header":              {term("_header.app.name", "api"), "[12]"},
		"timestamp":           {term("@timestamp", "1970-01-01T00:00:02Z"), "[11]"},
		"exists":              {term("_fields", "said"), "[11]"},
		"stemmed, by score":   {match("msg", "DISK"), "[11 10]"},
		"whole value":         {match("_value", "FULL Alpha"), "[11]"},
		"text":                {match("_value", "TËXT"), "[12]"},
		"keyword by match":    {match("_header.app.name", "api"), "[12]"},
		"phrase":              {phrase("Alpha beta"), "[11]"},
		"phrase over values":  {phrase("beta gamma"), "[]"},
		"numbers in _value":   {match("_value", "7"), "[10]"},
		"keys are no text":    {match("_value", "level"), "[]"},
	} {
		if got := fmt.Sprint(hits(t, idx, c.q)); got != c.want {
			t.Errorf("%s: found %s, not %s", name, got, c.want)
		}
	}
	if fields, err := idx.Fields(); err != nil || slices.ContainsFunc(fields, func(f string) bool { return f == "_all" || strings.HasSuffix(f, "r#r") }) {
		t.Error(fields, err)
	}
}

// A range over real postings and doc values finds what comparing numbers finds.
func TestCoverOverScorch(t *testing.T) {
	m := newMapping(t, map[string]string{KeyFields: "n:long"})
	f, _ := m.Field("n")
	var records []Record
	var values [][2]int64
	for i := range int64(600) {
		v := [2]int64{i*i*37 - 100_000, -i * 1000}
		values = append(values, v)
		records = append(records, Record{Offset: i, Timestamp: i, Value: fmt.Appendf(nil, `{"n":[%d,%d]}`, v[0], v[1])})
	}
	_, reader := openIndex(t, m, records)
	rapid.Check(t, func(rt *rapid.T) {
		lo := rapid.Int64Range(-700_000, 14_000_000).Draw(rt, "lo")
		hi := lo + rapid.Int64Range(0, 1_000_000).Draw(rt, "width")
		interval, err := f.Range(&Bound{Text: fmt.Sprint(lo)}, &Bound{Text: fmt.Sprint(hi), Exclusive: true})
		if err != nil {
			rt.Fatal(err)
		}
		var want []int64
		for i, v := range values {
			if lo <= v[0] && v[0] < hi || lo <= v[1] && v[1] < hi {
				want = append(want, int64(i))
			}
		}
		if got := covered(rt, reader, f, interval); !slices.Equal(got, want) {
			rt.Fatalf("[%d, %d): found %v, not %v", lo, hi, got, want)
		}
	})
	if got := covered(t, reader, Field{Path: TimestampField, Kind: Timestamp}, Interval{}); len(got) != len(records) {
		t.Errorf("%d of %d records have a timestamp", len(got), len(records))
	}
}

// A chunk that is opened again finds the mapping in its own files.
func TestIndexMappingIsKeptByBleve(t *testing.T) {
	var fields []string
	for _, analyzer := range Analyzers() {
		fields = append(fields, "text."+analyzer+":text(analyzer="+analyzer+")")
	}
	m := newMapping(t, map[string]string{KeyFields: strings.Join(fields, ",") + ",text:keyword,n:long"})
	dir := t.TempDir()
	idx, err := bleve.NewUsing(dir+"/index", m.IndexMapping(), scorch.Name, scorch.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := m.NewBuilder().Build(&Record{Offset: 3, Value: []byte(`{"text":{"en":"Running"}}`)})
	batch := idx.NewBatch()
	if err := batch.IndexAdvanced(doc); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(idx.Batch(batch), idx.Close()); err != nil {
		t.Fatal(err)
	}
	if idx, err = bleve.Open(dir + "/index"); err != nil {
		t.Fatal(err)
	}
	defer idx.Close()
	for _, f := range m.Fields() {
		want := f.Analyzer
		if f.Kind != Text {
			want = "keyword"
		}
		if got := idx.Mapping().AnalyzerNameForPath(f.Path); got != want {
			t.Errorf("%s is analysed by %s", f, got)
		}
	}
	if got := idx.Mapping().AnalyzerNameForPath("_header.any.name"); got != "keyword" {
		t.Error("headers are analysed by", got)
	}
	q := bleve.NewMatchQuery("runs")
	q.SetField("text.en")
	if got := fmt.Sprint(hits(t, idx, q)); got != "[3]" {
		t.Error(got)
	}
}
