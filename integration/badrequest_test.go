package integration

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fillRequest gives every field a small value and every array one element, so that cutting the bytes anywhere cuts
// something. Waiting times are a millisecond.
func fillRequest(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fillRequest(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Version" && f.Name != "UnknownTags" {
				fillRequest(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillRequest(v.Index(0))
	case reflect.String:
		v.SetString("cut")
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	}
}

// requestFrame is a whole request of any API, in the version that it is set to.
func requestFrame(req kmsg.Request, body []byte) []byte {
	var h wireBuf
	h.i16(req.Key())
	h.i16(req.GetVersion())
	h.i32(1)
	h.str("raw")
	if req.IsFlexible() {
		h.i8(0) // no tags
	}
	return append(sized(int32(len(h)+len(body)), h), body...)
}

// offered asks the broker which versions it serves.
func offered(t *testing.T, addr string) *kmsg.ApiVersionsResponse {
	t.Helper()
	c, err := dialRaw(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.call(int16(kmsg.ApiVersions), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(r.b); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("ApiVersions: error code %d, %v", resp.ErrorCode, err)
	}
	return resp
}

// testTruncated cuts requests of every API that is offered, in its lowest and highest version, at many places. The
// frame's size is that of the cut request. Each is answered or costs its sender the connection.
func testTruncated(t *testing.T, b *broker) {
	sent := 0
	for _, api := range offered(t, b.kafka).ApiKeys {
		for _, version := range []int16{api.MinVersion, api.MaxVersion} {
			req := kmsg.RequestForKey(api.ApiKey)
			if req == nil || version > req.MaxVersion() {
				continue
			}
			req.SetVersion(version)
			fillRequest(reflect.ValueOf(req))
			body := req.AppendTo(nil)
			step := max(1, len(body)/25)
			for cut := 0; cut < len(body); cut += step {
				sent++
				if got := react(t, b.kafka, requestFrame(req, body[:cut])); got == silent {
					t.Errorf("%s v%d cut at byte %d of %d: the broker is silent", kmsg.NameForKey(api.ApiKey), version, cut, len(body))
				}
			}
		}
	}
	t.Logf("%d cut requests", sent)
}
