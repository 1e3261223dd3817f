package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// forEachRequest calls fn for every key and version that kmsg knows.
func forEachRequest(fn func(key, version int16)) {
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		for version := int16(0); version <= kmsg.RequestForKey(key).MaxVersion(); version++ {
			fn(key, version)
		}
	}
}

// fillRandom sets every field that kmsg encodes to something drawn, so that arrays have elements and
// pointers are sometimes nil.
func fillRandom(t *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Name == "Version" && depth == 0 || f.Type == reflect.TypeFor[kmsg.Tags]() {
				continue
			}
			fillRandom(t, v.Field(i), depth+1)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "present") {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandom(t, v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "n")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillRandom(t, v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fillRandom(t, v.Index(i), depth+1)
		}
	case reflect.String:
		v.SetString(rapid.StringN(0, 8, 32).Draw(t, "s"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "b"))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rapid.Int8().Draw(t, "i")))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(rapid.Uint8().Draw(t, "u")))
	case reflect.Float64:
		v.SetFloat(float64(rapid.Int8().Draw(t, "f")))
	default:
		panic(fmt.Sprint("field of kind ", v.Kind()))
	}
}

func randomRequest(t *rapid.T, key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	fillRandom(t, reflect.ValueOf(req).Elem(), 0)
	req.SetVersion(version)
	return req
}

// TestBodySpecs holds the table against kmsg: whatever kmsg encodes, the walk consumes to the last
// byte, and it misses every truncation.
func TestBodySpecs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		forEachRequest(func(key, version int16) {
			req := randomRequest(t, key, version)
			body := req.AppendTo(nil)
			flexible, reply := req.IsFlexible(), req.ResponseKind().IsFlexible()
			if want := version >= firstFlexible(key); flexible != want || reply != want {
				t.Fatalf("key %d version %d: flexible is %v, of the response %v", key, version, flexible, reply)
			}
			spec, _ := bodySpec(key, version)
			w := bodyWalk{Dec: Dec{B: body, Flexible: flexible}, left: maxElements}
			if w.structure(spec); w.err != nil || len(w.B) != 0 {
				t.Fatalf("key %d version %d: %v, %d of %d bytes left over: %x", key, version, w.err, len(w.B), len(body), body)
			}
			if len(body) == 0 {
				return
			}
			cut := body[:rapid.IntRange(0, len(body)-1).Draw(t, "cut")]
			if err := checkBody(key, version, cut); err == nil {
				t.Fatalf("key %d version %d: %d of %d bytes pass", key, version, len(cut), len(body))
			}
		})
	})
}

// TestHostileLengths sends the counts that kmsg alone would follow.
func TestHostileLengths(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<32-1)
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	millions := make([]byte, 4<<20)
	for _, tc := range []struct {
		name         string
		key, version int16
		body         []byte
		want         error
	}{
		{"tags", 12, 4, join([]byte{1, 0, 0, 0, 0, 1, 0}, huge), errTooMany},
		{"tags in a known tag", 1, 15, join(make([]byte, 21), []byte{1, 1, 1, 1, 1, 17}, make([]byte, 12), huge), errTooMany},
		{"array", 3, 1, []byte{0x7F, 0xFF, 0xFF, 0xFF}, errTooMany},
		{"array of wide elements", 8, 2, join([]byte{0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 8), []byte{0, 0, 0, 9}, make([]byte, 20)), errShort},
		{"many small elements", 15, 0, join([]byte{0, 0x1E, 0x84, 0x80}, millions), errTooMany},
		{"negative", 15, 0, []byte{0xFF, 0xFF, 0xFF, 0xFE}, errNegative},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			if err := checkBody(tc.key, tc.version, tc.body); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}
