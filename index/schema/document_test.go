package schema

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2/document"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func newMapping(t testing.TB, settings map[string]string) *Mapping {
	t.Helper()
	config, err := ParseConfig(settings)
	if err != nil {
		t.Fatal(err)
	}
	return NewMapping(config)
}

// listing shows an analysed document: each field with its options, then its terms in order, a count where
// there are frequencies, and places where there are positions.
func listing(doc *document.Document) string {
	var out strings.Builder
	fmt.Fprintf(&out, "_id %s\n", doc.ID())
	for _, f := range doc.Fields {
		f.Analyze()
		fmt.Fprintf(&out, "%s  [%s]\n", f.Name(), f.Options())
		freqs := f.AnalyzedTokenFrequencies()
		for _, term := range slices.Sorted(maps.Keys(freqs)) {
			fmt.Fprintf(&out, "    %s", term)
			if n := freqs[term].Frequency(); n > 0 {
				fmt.Fprintf(&out, " x%d", n)
			}
			for _, at := range freqs[term].Locations {
				fmt.Fprintf(&out, " @%v:%d(%d-%d)", at.ArrayPositions, at.Position, at.Start, at.End)
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// checkDocument holds a document to what this package promises of all.
func checkDocument(t testing.TB, doc *document.Document) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range doc.Fields {
		if seen[f.Name()] {
			t.Fatalf("field %s is there twice", f.Name())
		}
		seen[f.Name()] = true
		if f.Options().IsStored() || !f.Options().IsIndexed() {
			t.Fatalf("field %s has options %s", f.Name(), f.Options())
		}
		f.Analyze()
		for term, freq := range f.AnalyzedTokenFrequencies() {
			if !utf8.ValidString(term) || string(freq.Term) != term || len(term) > MaxKeyword+40 {
				t.Fatalf("field %s has the term %.80q", f.Name(), term)
			}
			if counted := freq.Frequency() > 0; counted == f.Options().SkipFreqNorm() {
				t.Fatalf("field %s counts the term %s: %t", f.Name(), term, counted)
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// sample has every kind of field, several values, an escape, nesting, and a value of the wrong type.
const sample = `{"level":"warn","msg":"Disk FULL on /var\u002flog\nretry","latency_ms":312,"ratio":-0.25,` +
	`"ts":"2026-01-01T00:00:00.250+01:00","ok":true,"user":{"id":"u-1","roles":["admin","ops","admin"]},` +
	`"src":["10.0.0.1","2001:db8::1"],"size":"17","unmapped":{"deep":"Größe"},"bad":"x","gone":null}`

const sampleFields = "level:keyword,msg:text(analyzer=en,positions=true),latency_ms:long,ratio:double,ts:date," +
	"ok:boolean,user.id:keyword,user.roles:keyword,src:ip,size:long,bad:long,gone:keyword,_value:text"

func sampleRecord() *Record {
	return &Record{
		Offset: 4711, Timestamp: 1767225600000, Key: []byte("host-7"), Value: []byte(sample),
		Headers: []Header{{[]byte("trace"), []byte{0xca, 0xfe}}, {[]byte("app"), []byte("api")}, {[]byte("empty"), nil}},
	}
}

func TestDocumentOfASampleRecord(t *testing.T) {
	m := newMapping(t, map[string]string{KeyFields: sampleFields, KeyHeaders: "true"})
	doc, skipped := m.NewBuilder().Build(sampleRecord())
	if want := (Skipped{WrongType: 1}); skipped != want {
		t.Errorf("skipped %v, not %v", skipped, want)
	}
	first := listing(doc)
	golden(t, "sample.txt", first)
	if diff := cmp.Diff(first, listing(doc)); diff != "" {
		t.Error("analysed again, as after a batch that failed:", diff)
	}
}

func TestDocumentOfText(t *testing.T) {
	b := newMapping(t, nil).NewBuilder()
	doc, _ := b.Build(&Record{Offset: 1, Timestamp: NoTimestamp, Value: []byte("GET /café/v1.2 \xff {GET}")})
	golden(t, "text.txt", listing(doc))
}

// A dynamic topic learns what its records hold, up to the limit, and keeps what a field once was.
func TestDynamicFieldsAreLearned(t *testing.T) {
	m := newMapping(t, map[string]string{KeyFields: "level:keyword", KeyDynamic: "true", KeyMaxFields: "5"})
	b := m.NewBuilder()
	doc, skipped := b.Build(&Record{Timestamp: NoTimestamp, Value: []byte(
		`{"level":"a","n":5,"s":"x","deep":{"yes":true},"_id":"no","a#r":1,"":2,"_value":3,"_header.h":4,"@timestamp":"2026-01-31T12:00:00Z"}`)})
	if want := (Skipped{BadName: 4}); skipped != want {
		t.Errorf("skipped %v, not %v", skipped, want)
	}
	golden(t, "dynamic.txt", listing(doc))
	_, skipped = b.Build(&Record{Timestamp: NoTimestamp, Value: []byte(`{"n":"many","s":7,"more":1,"most":2}`)})
	if want := (Skipped{WrongType: 1, TooManyFields: 1}); skipped != want {
		t.Errorf("skipped %v, not %v", skipped, want)
	}
	want := []Field{{Path: "@timestamp", Kind: Date}, {Path: "deep.yes", Kind: Boolean}, {Path: "more", Kind: Double}, {Path: "n", Kind: Double}, {Path: "s", Kind: Keyword}}
	if diff := cmp.Diff(want, b.Learned()); diff != "" {
		t.Error(diff)
	}
	kept, err := json.Marshal(b.Learned())
	if err != nil {
		t.Fatal(err)
	}
	var learned []Field
	if err := json.Unmarshal(kept, &learned); err != nil {
		t.Fatal(err)
	}
	again := m.With(learned)
	if f, ok := again.Field("deep.yes"); !ok || f.Kind != Boolean {
		t.Error("a learned field is not known:", f, ok)
	}
	if diff := cmp.Diff(want, again.NewBuilder().Learned()); diff != "" {
		t.Error("a builder made with learned fields:", diff)
	}
	if again.String() != m.String() {
		t.Error("what was learned changes the mapping's name")
	}
}

// Text that only begins like JSON is text, as a whole: nothing of the attempt remains.
func TestBrokenJSONLeavesNoTrace(t *testing.T) {
	broken := &Record{Timestamp: NoTimestamp, Value: []byte(`{"level":"warn","n":"x","new":1,"new2":[1,2`)}
	build := func(format Format) (string, Skipped, []Field) {
		b := newMapping(t, map[string]string{KeyFields: "level:keyword,n:long,_value:text", KeyDynamic: "true", KeyFormat: string(format)}).NewBuilder()
		doc, skipped := b.Build(broken)
		return listing(doc), skipped, b.Learned()
	}
	asText, _, _ := build(FormatText)
	got, skipped, learned := build(FormatAuto)
	if diff := cmp.Diff(asText, got); diff != "" || skipped != (Skipped{}) || learned != nil {
		t.Error(diff, skipped, learned)
	}
	got, skipped, learned = build(FormatJSON)
	if got != "_id 0000000000000000\n" || skipped != (Skipped{NotJSON: 1}) || learned != nil {
		t.Error(got, skipped, learned)
	}
}

func TestWhatDoesNotFitIsLeftOutAndCounted(t *testing.T) {
	long := strings.Repeat("k", MaxKeyword+1)
	many := strings.Repeat(`"x",`, maxValues) + `"y","z"`
	for value, want := range map[string]Skipped{
		`{"n":1.5}`: {WrongType: 1}, `{"n":9223372036854775808}`: {WrongType: 1}, `{"n":true}`: {WrongType: 1},
		`{"n":[1,"2",3e2,"x",{}]}`: {WrongType: 1}, `{"x":1e999}`: {WrongType: 1}, `{"x":"NaN"}`: {WrongType: 1},
		`{"ok":1}`: {WrongType: 1}, `{"ok":"true"}`: {}, `{"at":"2026-02-30"}`: {WrongType: 1}, `{"at":2026}`: {},
		`{"src":"10.0.0.256"}`: {WrongType: 1}, `{"src":1}`: {WrongType: 1}, `{"src":"fe80::1%eth0"}`: {WrongType: 1},
		`{"k":"` + long + `"}`: {TooLong: 1}, `{"k":5}`: {}, `{"k":""}`: {}, `{"k":[` + many + `]}`: {TooManyValues: 2},
		`{"n":null,"k":null}`: {}, `{"n":{"k":1}}`: {},
	} {
		b := newMapping(t, map[string]string{KeyFields: "n:long,x:double,ok:boolean,at:date,src:ip,k:keyword"}).NewBuilder()
		doc, skipped := b.Build(&Record{Timestamp: NoTimestamp, Value: []byte(value)})
		if skipped != want {
			t.Errorf("%.60s: skipped %v, not %v", value, skipped, want)
		}
		checkDocument(t, doc)
	}
}

// Work is linear in the record also where someone means it not to be: under a key of half a megabyte each
// of 100,000 leaves has a path of that length.
func TestLongPathsCostNothing(t *testing.T) {
	value := `{"` + strings.Repeat("k", 1<<19) + `":{"a":1` + strings.Repeat(`,"a":1`, 100_000) + "}}"
	b := newMapping(t, map[string]string{KeyDynamic: "true"}).NewBuilder()
	if _, skipped := b.Build(&Record{Value: []byte(value)}); skipped != (Skipped{BadName: 100_001}) {
		t.Error(skipped)
	}
	if got := FilterSource([]byte(value), []string{"*.b"}, []string{"*.c"}); string(got) != "{}" {
		t.Errorf("%.40s", got)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	b := newMapping(t, map[string]string{KeyHeaders: "true", KeyMaxFields: "2"}).NewBuilder()
	_, skipped := b.Build(&Record{Timestamp: NoTimestamp, Headers: []Header{
		{[]byte("a"), []byte("1")}, {[]byte("a"), []byte("2")}, {[]byte("\xff"), []byte("1")},
		{[]byte(strings.Repeat("n", 256)), []byte("1")}, {nil, []byte("1")}, {[]byte("b"), []byte("1")}, {[]byte("c"), []byte("1")},
	}})
	if want := (Skipped{BadName: 3, TooManyFields: 1}); skipped != want {
		t.Errorf("skipped %v, not %v", skipped, want)
	}
}

func TestFieldsByName(t *testing.T) {
	m := newMapping(t, map[string]string{KeyFields: "user.id:keyword,user.name:text,n:long"}).With([]Field{{Path: "user.age", Kind: Double}})
	for pattern, want := range map[string]string{
		"user.*": "user.age user.id user.name", "*": "user.name", "*a*": "user.age user.name", "x*": "",
	} {
		if got := strings.Join(m.Expand(pattern), " "); got != want {
			t.Errorf("%s: %s, not %s", pattern, got, want)
		}
	}
	if got := strings.Join(newMapping(t, map[string]string{KeyFields: "a:text,_value:text"}).Expand("*"), " "); got != ValueField {
		t.Error(got)
	}
	if got := strings.Join(newMapping(t, map[string]string{KeyFields: "a:long,b:ip"}).Expand("*"), " "); got != "a b" {
		t.Error(got)
	}
	for path, want := range map[string]string{
		"@timestamp": "_timestamp:date", "_key": "_key:keyword", "_fields": "_fields:keyword", "user.id": "user.id:keyword",
		"user": ":", "_header.a": ":", "_value": ":", "user.age": "user.age:double",
	} {
		f, ok := m.Field(path)
		if got := f.Path + ":"; ok != (want != ":") || ok && got+f.Kind.String() != want {
			t.Errorf("%s is %s, not %s", path, got, want)
		}
	}
	if f, ok := newMapping(t, map[string]string{KeyHeaders: "true", KeyKey: "false"}).Field("_header.a.b"); !ok || f.Kind != Keyword || !f.DocValues() {
		t.Error(f, ok)
	}
	if f, ok := newMapping(t, map[string]string{KeyFields: "@timestamp:date"}).Field("@timestamp"); !ok || f.Path != "@timestamp" {
		t.Error("a mapped @timestamp is not the record's own:", f)
	}
}
