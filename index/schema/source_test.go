package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSource(t *testing.T) {
	deep := strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1)
	for _, c := range []struct {
		format      Format
		value, want string
	}{
		{FormatAuto, ` {"b": 1.50, "a":[ ] }`, ` {"b": 1.50, "a":[ ] }`},
		{FormatAuto, `{"b":`, `{"value":"{\"b\":"}`},
		{FormatAuto, `[1]`, `{"value":"[1]"}`},
		{FormatAuto, "a <b> & \"c\"\n", `{"value":"a <b> & \"c\"\n"}`},
		{FormatAuto, "", `{"value":""}`},
		{FormatAuto, "\xff\x00", `{"value_base64":"/wA="}`},
		{FormatAuto, "{\"a\":\"\xff\"}", "{\"a\":\"\uFFFD\"}"},
		{FormatAuto, deep, `{"value":` + string(quoted(deep)) + `}`},
		{FormatJSON, `[1, 2]`, `{"value":[1, 2]}`},
		{FormatJSON, `{"a":1}`, `{"a":1}`},
		{FormatJSON, `no`, `{"value":"no"}`},
		{FormatText, `{"a":1}`, `{"value":"{\"a\":1}"}`},
		{FormatNone, `{"a":1}`, `{"a":1}`},
	} {
		m := NewMapping(Config{Format: c.format})
		if got := string(m.Source([]byte(c.value))); got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("%s %.40q: %.60s, not %.60s", c.format, c.value, got, c.want)
		}
	}
	if got := string(NewMapping(DefaultConfig()).Source(nil)); got != `{"value":null}` {
		t.Error(got)
	}
}

func TestFilterSource(t *testing.T) {
	const source = ` {"a": 1.0, "user" : {"id":"u","name":"n","tags":["x",{"k":1,"l":2}]}, "list":[{"p":1},{"q":2},3], "d.e":{"f":[]},"o":{} }`
	for _, c := range []struct{ includes, excludes, want string }{
		{"", "", source},
		{"a", "", `{"a":1.0}`},
		{"user", "", `{"user":{"id":"u","name":"n","tags":["x",{"k":1,"l":2}]}}`},
		{"user.id", "", `{"user":{"id":"u"}}`},
		{"user.*", "*.tags,*.name", `{"user":{"id":"u"}}`},
		{"*.id,a", "", `{"a":1.0,"user":{"id":"u"}}`},
		{"user.tags.k", "", `{"user":{"tags":[{"k":1}]}}`},
		{"", "user", `{"a":1.0,"list":[{"p":1},{"q":2},3],"d.e":{"f":[]},"o":{}}`},
		{"", "list.p,user.*,d.e.f", `{"a":1.0,"user":{},"list":[{},{"q":2},3],"d.e":{},"o":{}}`},
		{"list", "", `{"list":[{"p":1},{"q":2},3]}`},
		{"d.e", "", `{"d.e":{"f":[]}}`},
		{"o", "", `{"o":{}}`},
		{"nothing", "", `{}`},
		{"*", "*", `{}`},
	} {
		got := string(FilterSource([]byte(source), list(c.includes), list(c.excludes)))
		if got != c.want {
			t.Errorf("includes %s excludes %s:\n%s, not\n%s", c.includes, c.excludes, got, c.want)
		}
	}
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// Whatever is filtered stays JSON, and a filter that takes all changes nothing but blanks.
func TestFilteredSourceIsJSON(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		scalar := rapid.SampledFrom([]any{nil, true, "s", 1.5, ""})
		if depth == 0 {
			return scalar
		}
		inner := rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) })
		return rapid.OneOf(scalar,
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(v []any) any { return v }),
			rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "a.b", "c"}), inner, 0, 3), func(v map[string]any) any { return v }))
	}
	patterns := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a.*", "*.b", "c", "a.b", "*"}), 0, 2)
	rapid.Check(t, func(t *rapid.T) {
		object := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), value(3), 0, 3).Draw(t, "object")
		source, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		got := FilterSource(source, patterns.Draw(t, "includes"), patterns.Draw(t, "excludes"))
		if !json.Valid(got) || got[0] != '{' {
			t.Fatalf("%s became %s", source, got)
		}
		if all := FilterSource(source, []string{"*"}, nil); string(all) != string(source) {
			t.Fatalf("%s became %s", source, all)
		}
	})
}

func TestExtractorReadsWhatWasIndexed(t *testing.T) {
	m := newMapping(t, map[string]string{KeyFields: sampleFields, KeyHeaders: "true"})
	x := m.NewExtractor("msg", "user.roles", "latency_ms", "ratio", "ts", "ok", "src", "_timestamp", "_key", "_header.trace", "unmapped", "bad", "msg")
	x.Read(&Record{Timestamp: 1, Value: []byte("text leaves nothing behind")})
	x.Read(sampleRecord())
	for path, want := range map[string][]any{
		"msg": {"Disk FULL on /var/log\nretry"}, "user.roles": {"admin", "ops", "admin"}, "latency_ms": {int64(312)}, "ratio": {-0.25},
		"ts": {int64(1767222000250)}, "ok": {true}, "src": {"10.0.0.1", "2001:db8::1"}, "_timestamp": {int64(1767225600000)},
		"_key": {"host-7"}, "_header.trace": {"0xcafe"}, "unmapped": nil, "bad": nil, "level": nil, "_header.app": nil,
	} {
		if diff := cmp.Diff(want, x.Values(path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	whole := m.NewExtractor(ValueField)
	whole.Read(sampleRecord())
	if got, want := fmt.Sprint(len(whole.Texts(ValueField)), whole.Texts(ValueField)[:3]), "14 [warn Disk FULL on /var/log\nretry 312]"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
	whole.Read(&Record{Value: []byte("pla\xffin")})
	if got := whole.Texts(ValueField); len(got) != 1 || got[0] != "pla\uFFFDin" {
		t.Errorf("%q", got)
	}
	learned := newMapping(t, map[string]string{KeyDynamic: "true"}).With([]Field{{Path: "n", Kind: Double}})
	x = learned.NewExtractor("n", "@timestamp")
	x.Read(&Record{Timestamp: 5, Value: []byte(`{"n":3,"m":4}`)})
	if got := fmt.Sprint(x.Values("n"), x.Values("@timestamp"), x.Values("m")); got != "[3] [5] []" {
		t.Error(got)
	}
}
