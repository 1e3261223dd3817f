package schema

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConfigReadsItsSettings(t *testing.T) {
	got, err := ParseConfig(map[string]string{
		KeyFields: " user.id:keyword, msg:text(analyzer=en, positions=true) ,latency_ms:long,_value:text,src:ip,@timestamp:date",
		KeyFormat: "json", KeyHeaders: "TRUE", KeyKey: "false", KeyDynamic: "true",
		KeyMaxFields: "8", KeyLinger: "250", KeyStart: "latest", "retention.ms": "no concern of ours",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Fields: []Field{
			{Path: "@timestamp", Kind: Date},
			{Path: "_value", Kind: Text, Analyzer: DefaultAnalyzer},
			{Path: "latency_ms", Kind: Long},
			{Path: "msg", Kind: Text, Analyzer: "en", Positions: true},
			{Path: "src", Kind: IP},
			{Path: "user.id", Kind: Keyword},
		},
		Format: FormatJSON, Headers: true, Dynamic: true, MaxFields: 8, Linger: 250 * time.Millisecond, Start: StartLatest,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	name := NewMapping(got).String()
	if want := "layout=1 format=json key=false headers=true dynamic=true max.fields=8 fields=" +
		"@timestamp:date,_value:text,latency_ms:long,msg:text(analyzer=en,positions=true),src:ip,user.id:keyword"; name != want {
		t.Errorf("the mapping calls itself\n%s, not\n%s", name, want)
	}
	again, err := ParseFields(name[strings.Index(name, "fields=@")+len("fields="):])
	if diff := cmp.Diff(want.Fields, again); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestConfigHasDefaults(t *testing.T) {
	got, err := ParseConfig(nil)
	if diff := cmp.Diff(DefaultConfig(), got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if got, err := ParseConfig(map[string]string{KeyFields: ""}); err != nil || len(got.Fields) != 0 {
		t.Error("an empty mapping is one without fields:", got, err)
	}
}

// Each mistake is named, with what would be right, and all of them at once.
func TestConfigNamesMistakes(t *testing.T) {
	for raw, want := range map[string]string{
		"level":                          `"level" is not of the form path:kind`,
		"level:string":                   `"string" is no kind; there are keyword, text, long, double, date, boolean, ip`,
		"level:":                         `"" is no kind`,
		"a:long,a:keyword":               `field "a" is mapped twice`,
		"_value:keyword":                 `its kind can only be text`,
		"_timestamp:date":                `"_timestamp": the name belongs to every document`,
		"_header.trace:keyword":          `"_header.trace": the name belongs to every document`,
		"a..b:long":                      `a key between dots is empty`,
		"a b:long":                       `a path has no blanks`,
		"a#r:long":                       `none of , : ( ) = # * "`,
		":long":                          `a path has 1 to 255 bytes`,
		"m:text(analyzer=klingon)":       `"klingon" is no analyzer; there are chronik, keyword, simple, standard, ar`,
		"m:text(positions=yes)":          `positions is "yes", neither true nor false`,
		"m:text(boost=2)":                `"boost" is no option of text; there are analyzer and positions`,
		"m:text(positions=true":          `no closing bracket`,
		"m:keyword(positions=true)":      `keyword has no options`,
		"x:long,,y:long":                 `"" is not of the form path:kind`,
		strings.Repeat("x", 256) + ":ip": `a path has 1 to 255 bytes`,
	} {
		if _, err := ParseConfig(map[string]string{KeyFields: raw}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, which does not say %s", raw, err, want)
		}
	}
	_, err := ParseConfig(map[string]string{
		KeyFields: "a:b,c:d", KeyFormat: "avro", KeyKey: "yes", KeyMaxFields: "0", KeyLinger: "10001", KeyStart: "now",
	})
	for _, want := range []string{
		`field "a"`, `field "c"`, `search.format: "avro" is none of auto, json, text, none`,
		`search.key: "yes" is neither true nor false`, `search.max.fields: "0" is no whole number from 1 to 1000`,
		`search.linger.ms: "10001" is no whole number from 5 to 10000`, `search.start: "now" is none of earliest, latest`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}
