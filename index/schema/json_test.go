package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leafList is a visitor that notes all it is shown.
type leafList []string

func (l *leafList) leaf(_ *node, path []byte, kind leafKind, text []byte) {
	*l = append(*l, fmt.Sprintf("%s %d %s", path, kind, text))
}

func scanAll(in []byte) (leaves leafList, ok bool) {
	s := scanner{visitor: &leaves, all: true, keepPath: true}
	ok = s.scan(in, nil)
	return leaves, ok
}

// oracle reads the same leaves by encoding/json; tooDeep says that ours may refuse them.
func oracle(in []byte) (leaves leafList, tooDeep, ok bool) {
	if !json.Valid(in) {
		return nil, false, false
	}
	dec := json.NewDecoder(bytes.NewReader(in))
	dec.UseNumber()
	deepest := 0
	readValue(dec, nil, 0, &deepest, &leaves)
	return leaves, deepest > maxDepth, true
}

func readValue(dec *json.Decoder, keys []string, depth int, deepest *int, leaves *leafList) {
	token, err := dec.Token()
	if err == io.EOF {
		return
	}
	if err != nil {
		panic(err)
	}
	note := func(kind leafKind, text string) {
		leaves.leaf(nil, []byte(strings.Join(keys, ".")), kind, []byte(text))
	}
	switch v := token.(type) {
	case json.Delim:
		*deepest = max(*deepest, depth+1)
		for dec.More() {
			inner := keys
			if v == '{' {
				key, err := dec.Token()
				if err != nil {
					panic(err)
				}
				inner = append(keys[:len(keys):len(keys)], key.(string))
			}
			readValue(dec, inner, depth+1, deepest, leaves)
		}
		if _, err := dec.Token(); err != nil {
			panic(err)
		}
	case string:
		note(stringLeaf, v)
	case json.Number:
		note(numberLeaf, v.String())
	case bool:
		note(booleanLeaf, fmt.Sprint(v))
	}
}

// FuzzScan holds the scanner against encoding/json: the same inputs are JSON, and they have the same leaves.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{"level":"warn","user":{"id":"u-1","tags":["a","b",{"c":1.5e-3}]},"ok":true,"none":null}`,
		`{"user.id":7,"":{"":"x"},"a":{"":1}}`, `[[1,-0,0.5],[]]`, `"\u00e9\ud83d\ude00\ud83d \"\\\/\b\f\n\r\t"`,
		"\"\xff\xc3\x28\" ", "{\"\xff\":1}", `01`, `-`, `1.`, `1e`, `1e+`, `{"a":1,}`, `{"a" 1}`, `[1 2]`, `tru`, `"\u12"`, `"\x"`,
		"\"\x01\"", `{"a":1}}`, "", " ", "\x00", strings.Repeat("[", 65) + strings.Repeat("]", 65),
		strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64), `"\ud800\u0041"`, `"\ud800\ud800\udc00"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, ok := scanAll(in)
		want, tooDeep, valid := oracle(in)
		if valid && tooDeep {
			valid = false
		}
		if ok != valid {
			t.Fatalf("%q: is JSON: %t, encoding/json: %t", in, ok, valid)
		}
		if !ok {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: %s", in, diff)
		}
		buildAny(t, in)
	})
}

// buildAny builds a document of any value and holds it to what is promised of all documents.
func buildAny(t *testing.T, in []byte) {
	b := newMapping(t, map[string]string{
		KeyFields:  "level:keyword,user.id:keyword,n:long,x:double,at:date,ok:boolean,src:ip,msg:text(positions=true),_value:text",
		KeyDynamic: "true", KeyMaxFields: "10",
	}).NewBuilder()
	for range 2 { // a builder that has seen it must make the same of it
		doc, _ := b.Build(&Record{Timestamp: NoTimestamp, Value: in})
		checkDocument(t, doc)
	}
}

// A mapped path is found however its dots are written, through arrays too, and nothing else is shown.
func TestScannerVisitsOnlyMappedPaths(t *testing.T) {
	var root node
	for i, path := range []string{"user", "user.id", "a.b.c"} {
		root.add(path, i)
	}
	for in, want := range map[string]leafList{
		`{"user":{"id":7,"name":"x"},"id":1}`:                   {" 1 7"},
		`{"user.id":7}`:                                         {" 1 7"},
		`{"user":"u","user":{"id":"v"}}`:                        {" 0 u", " 0 v"},
		`{"user":[{"id":1},{"id":[2,3]},"w",null]}`:             {" 1 1", " 1 2", " 1 3", " 0 w"},
		`{"a.b":{"c":true},"a":{"b.c":false},"a.b.c":"x"}`:      {" 2 true", " 2 false", " 0 x"},
		`{"a":{"b":{"c":{"d":1}}},"a.":1,".a":1,"a..b":1,"":1}`: nil,
		`[{"\u0075ser":1}]`:                                     {" 1 1"},
	} {
		var got leafList
		s := scanner{visitor: &got}
		if !s.scan([]byte(in), &root) {
			t.Errorf("%s is refused", in)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}
