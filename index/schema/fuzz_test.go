package schema

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzTerm asks for any text in a field of any kind: a term that comes is in the range from the text to
// itself, in no range that leaves out an end, and comes back as a value that has the same term.
func FuzzTerm(f *testing.F) {
	for _, seed := range []string{
		"7", "-7.50e1", "1e308", "9223372036854775807", "2026-01-31T12:30:45.123+01:00", "2026", "-12", "true", "10.0.0.1",
		"::ffff:1.2.3.4", "", "x", "9007199254740993.0", "-0", "1e-400", "0.000e9", "99999999999999999999e-19",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for kind := Keyword; kind <= Timestamp; kind++ {
			field := Field{Path: "f", Kind: kind}
			term, some, err := field.Term(text)
			if err != nil || !some {
				continue
			}
			for _, gt := range []bool{false, true} {
				for _, lt := range []bool{false, true} {
					i, err := field.Range(&Bound{text, gt}, &Bound{text, lt})
					if err != nil || i.Contains([]byte(term)) != (!gt && !lt) {
						t.Fatalf("%s %q: gt %t lt %t: %+v %v", kind, text, gt, lt, i, err)
					}
				}
			}
			checkValue(t, field, text, term)
		}
	})
}

func checkValue(t *testing.T, field Field, text, term string) {
	value := field.Value([]byte(term))
	again := fmt.Sprint(value)
	switch v := value.(type) {
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			t.Fatalf("%q became %v", text, v)
		}
	case int64:
		again = fmt.Sprintf("%+d", v) // in four digits it would be a year
	}
	if back, some, err := field.Term(again); err != nil || !some || back != term {
		t.Fatalf("%s %q became %v, which is %q, not %q (%t, %v)", field.Kind, text, value, back, term, some, err)
	}
}

// FuzzFields reads any mapping: one that is taken is written in the same words and read again as the same.
func FuzzFields(f *testing.F) {
	f.Add("level:keyword,msg:text(analyzer=en,positions=true),latency_ms:long,ts:date,user.id:keyword,_value:text")
	f.Add("a:text(,)b:ip")
	f.Add(" x : text ( positions = false ) ")
	f.Fuzz(func(t *testing.T, raw string) {
		fields, err := ParseFields(raw)
		if err != nil {
			return
		}
		written := ""
		for i, field := range fields {
			if i > 0 {
				written += ","
			}
			written += field.String()
		}
		again, err := ParseFields(written)
		if diff := cmp.Diff(fields, again); err != nil || diff != "" {
			t.Fatalf("%q became %q: %v %s", raw, written, err, diff)
		}
	})
}
