package exec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/index/schema"
)

func TestHighlights(t *testing.T) {
	m := testMapping(t, testFields)
	value := `{"level":["warn","error"],"msg":["Disk /dev/sda1 is full; <b>disk</b> swapped. ` + strings.Repeat("filler ", 30) + `and the last disk is fuller still","no match here"],"said":"alpha beta alpha gamma","n":7}`
	record := &schema.Record{Offset: 3, Timestamp: 1000, Value: []byte(value)}
	for name, c := range map[string]struct{ body, want string }{
		"fragments": {`{"query":{"match":{"msg":"disk"}},"highlight":{"fields":{"msg":{"fragment_size":40}}}}`,
			`map[msg:[<em>Disk</em> /dev/sda1 is full; <b><em>disk</em></b> filler and the last <em>disk</em> is fuller still]]`},
		"best first": {`{"query":{"match":{"msg":"last disk still"}},"highlight":{"order":"score","number_of_fragments":1,"fields":{"msg":{"fragment_size":40}}}}`,
			`map[msg:[filler and the <em>last</em> <em>disk</em> is fuller <em>still</em>]]`},
		"tags and html": {`{"query":{"match":{"msg":"swapped"}},"highlight":{"pre_tags":"[","post_tags":["]"],"encoder":"html","fields":{"msg":{"fragment_size":30}}}}`,
			`map[msg:[disk&lt;/b&gt; [swapped]. filler]]`},
		"whole field": {`{"query":{"term":{"level":"error"}},"highlight":{"fields":{"*":{"number_of_fragments":0}}}}`, `map[level:[<em>error</em>]]`},
		"phrase":      {`{"query":{"match_phrase":{"said":"alpha gamma"}},"highlight":{"fields":{"said":{}}}}`, `map[said:[alpha beta <em>alpha</em> <em>gamma</em>]]`},
		"prefix":      {`{"query":{"prefix":{"said":"ga"}},"highlight":{"fields":{"sa*":{}}}}`, `map[said:[alpha beta alpha <em>gamma</em>]]`},
		"fuzzy":       {`{"query":{"fuzzy":{"said":"btea"}},"highlight":{"fields":{"said":{}}}}`, `map[said:[alpha <em>beta</em> alpha gamma]]`},
		"other field": {`{"query":{"match":{"msg":"beta"}},"highlight":{"fields":{"said":{}}}}`, `map[]`},
		"any field":   {`{"query":{"match":{"msg":"beta"}},"highlight":{"require_field_match":false,"fields":{"said":{}}}}`, `map[said:[alpha <em>beta</em> alpha gamma]]`},
		"not what is excluded": {`{"query":{"bool":{"must":{"match":{"said":"gamma"}},"must_not":{"match":{"said":"beta"}}}},"highlight":{"fields":{"said":{}}}}`,
			`map[said:[alpha beta alpha <em>gamma</em>]]`},
		"own query": {`{"query":{"match_all":{}},"highlight":{"highlight_query":{"match":{"said":"beta"}},"fields":{"said":{}}}}`, `map[said:[alpha <em>beta</em> alpha gamma]]`},
		"beginning": {`{"query":{"match_all":{}},"highlight":{"no_match_size":12,"fields":{"said":{},"level":{},"nothing":{}}}}`, `map[level:[warn] said:[alpha beta]]`},
		"nothing":   {`{"query":{"match_all":{}},"highlight":{"fields":{"said":{}}}}`, `map[]`},
	} {
		plan, err := NewPlan(parse(t, c.body), "t", m, DefaultLimits())
		if err != nil {
			t.Fatal(name, err)
		}
		if got := fmt.Sprint(plan.NewHighlighter().Highlight(record)); got != c.want {
			t.Errorf("%s:\n%s, not\n%s", name, got, c.want)
		}
	}
	plan, _ := NewPlan(parse(t, `{}`), "t", m, DefaultLimits())
	if plan.NewHighlighter() != nil {
		t.Error("a highlighter that nobody asked for")
	}
}

// Marked text without its marks is the text.
func FuzzHighlight(f *testing.F) {
	m := testMapping(f, "msg:text")
	f.Add("Disk full, disk swapped; the disk is gone", 10, 3)
	f.Add("ÄÖ disk \xff\x00 dısk İstanbul", 1, 0)
	f.Fuzz(func(t *testing.T, text string, size, fragments int) {
		if size < 0 || fragments < 0 {
			return
		}
		s := parse(t, `{"query":{"fuzzy":{"msg":{"value":"disk","prefix_length":1}}},"highlight":{"fields":{"msg":{"pre_tags":"\u0001","post_tags":"\u0002"}}}}`)
		s.Highlight[0].FragmentSize, s.Highlight[0].NumberOfFragments = size, fragments
		plan, err := NewPlan(s, "t", m, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.ToValidUTF8(text, "\uFFFD")
		h := &Highlighter{plan.marks, newRecordReader(m, map[string]schema.Field{"msg": plan.marks[0].field})}
		values := []recordValue{{text: whole, tokens: schema.Analyze(schema.DefaultAnalyzer, []byte(whole))}}
		for _, fragment := range h.markings[0].fragments(values) {
			if plain := strings.NewReplacer("\x01", "", "\x02", "").Replace(fragment); !strings.ContainsAny(text, "\x01\x02") && !strings.Contains(whole, plain) {
				t.Fatalf("%q is no part of %q", plain, whole)
			}
		}
	})
}
