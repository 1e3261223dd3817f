package wire

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// errorAPIs serves every key of serve with handlers that answer each request with its correlation id
// as the error code: inside Handle, or later if late is set for that id.
func errorAPIs(serve []Range, late func(id int32) bool) (apis []API) {
	for _, r := range serve {
		apis = append(apis, API{Key: r.Key, Min: r.Min, Max: r.Max, Handle: func(r *Request) {
			resp := ErrorResponse(r.Body, int16(r.CorrelationID))
			if late(r.CorrelationID) {
				go r.Reply(resp)
				return
			}
			r.Reply(resp)
		}})
	}
	return apis
}

func everything() (all []Range) {
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		all = append(all, Range{Key: key, Max: kmsg.RequestForKey(key).MaxVersion()})
	}
	return all
}

// TestEveryKeyAndVersion: the reply to each carries its id, its header version and its error.
func TestEveryKeyAndVersion(t *testing.T) {
	s := startServer(t, Options{}, errorAPIs(everything(), func(id int32) bool { return id%3 == 0 })...)
	var requests []kmsg.Request
	forEachRequest(func(key, version int16) {
		req := kmsg.RequestForKey(key)
		fillOnes(reflect.ValueOf(req).Elem(), 0)
		req.SetVersion(version)
		requests = append(requests, req)
	})
	if err := playPipelined(s.dial(), requests); err != nil {
		t.Fatal(err)
	}
}

func TestRandomRequests(t *testing.T) {
	s := startServer(t, Options{}, errorAPIs(everything(), func(id int32) bool { return id%3 == 0 })...)
	rapid.Check(t, func(rt *rapid.T) {
		requests := make([]kmsg.Request, rapid.IntRange(1, 20).Draw(rt, "n"))
		for i := range requests {
			key := rapid.Int16Range(0, kmsg.MaxKey).Draw(rt, "key")
			version := rapid.Int16Range(0, kmsg.RequestForKey(key).MaxVersion()).Draw(rt, "version")
			requests[i] = randomRequest(rt, key, version)
		}
		if err := playPipelined(s.dial(), requests); err != nil {
			rt.Fatal(err)
		}
	})
}

// playPipelined sends all requests at once, to errorAPIs, and checks each reply.
func playPipelined(c *client, requests []kmsg.Request) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for id, req := range requests {
			c.trySend(frame(req, int32(id)))
		}
	}()
	defer func() {
		c.nc.Close()
		<-done
	}()
	for id, req := range requests {
		name := fmt.Sprintf("%s v%d", kmsg.NameForKey(req.Key()), req.GetVersion())
		resp, err := c.tryReceive(req, int32(id))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		arrived := kmsg.RequestForKey(req.Key()) // without the fields that its version does not have
		arrived.SetVersion(req.GetVersion())
		if err := arrived.ReadFrom(req.AppendTo(nil)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		want := ErrorResponse(arrived, int16(id))
		if got, want := resp.AppendTo(nil), want.AppendTo(nil); !bytes.Equal(got, want) {
			return fmt.Errorf("%s: got %x, want %x", name, got, want)
		}
	}
	return nil
}

// step is one request of a script and what must come of it.
type step struct {
	name   string
	bytes  []byte
	req    kmsg.Request // whose response is expected, or nil
	code   int16        // in that response's top level, if not 0
	closes bool         // the connection ends after earlier replies
}

// drawStep draws one request against a server that serves the ranges.
func drawStep(t *rapid.T, serve map[int16]Range, id int32) step {
	kind := rapid.SampledFrom([]string{"good", "good", "good", "version", "unserved", "unknown", "cut"}).Draw(t, "kind")
	key := rapid.Int16Range(0, kmsg.MaxKey).Draw(t, "key")
	r, served := serve[key]
	newest := kmsg.RequestForKey(key).MaxVersion()
	switch kind {
	case "unknown":
		f := frame(heartbeat(), id)
		f[4], f[5] = 0x40, byte(key)
		return step{name: "unknown key", bytes: f, closes: true}
	case "good", "cut":
		if !served {
			return drawStep(t, serve, id)
		}
		req := randomRequest(t, key, rapid.Int16Range(r.Min, r.Max).Draw(t, "version"))
		f := frame(req, id)
		if kind == "good" {
			return step{name: "good", bytes: f, req: req}
		}
		body := req.AppendTo(nil)
		if len(body) == 0 {
			return drawStep(t, serve, id)
		}
		f = f[:len(f)-1-rapid.IntRange(0, len(body)-1).Draw(t, "cut")]
		setFrameLength(f, len(f)-lengthSize)
		return step{name: "undecodable", bytes: f, closes: true}
	}
	version := rapid.Int16Range(0, newest+3).Draw(t, "version")
	if served && version >= r.Min && version <= r.Max {
		return drawStep(t, serve, id)
	}
	return unservedStep(t, key, version, r, served, id)
}

func unservedStep(t *rapid.T, key, version int16, r Range, served bool, id int32) step {
	name := fmt.Sprintf("%s v%d, unserved", kmsg.NameForKey(key), version)
	newest := kmsg.RequestForKey(key).MaxVersion()
	req := randomRequest(t, key, min(version, newest))
	f := frame(req, id)
	f[6], f[7] = byte(version>>8), byte(version)
	if key == 18 && served {
		if version < r.Min {
			return step{name: name, bytes: f, closes: true}
		}
		v0 := kmsg.NewPtrApiVersionsRequest()
		return step{name: name, bytes: f, req: v0, code: 35}
	}
	if version <= newest && setTopLevelError(req.ResponseKind(), 35) {
		return step{name: name, bytes: f, req: req, code: 35}
	}
	return step{name: name, bytes: f, closes: true}
}

// TestScriptsOfGoodAndBadRequests pipelines requests of every kind. Replies come in order, each with the
// id of its own request, until a request that cannot be answered ends the connection.
func TestScriptsOfGoodAndBadRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		serve := map[int16]Range{18: {18, 0, 3}}
		list := []Range{serve[18]}
		for _, r := range everything() {
			if r.Key != 18 && rapid.Bool().Draw(rt, "served") {
				r.Min = rapid.Int16Range(0, r.Max).Draw(rt, "min")
				r.Max = rapid.Int16Range(r.Min, r.Max).Draw(rt, "max")
				serve[r.Key] = r
				list = append(list, r)
			}
		}
		late := rapid.Int32().Draw(rt, "late")
		s := newTestServer(t, Options{MaxInFlight: 8}, errorAPIs(list, func(id int32) bool { return late>>(uint(id)%32)&1 == 1 })...)
		ln := newPipeListener()
		ends := serveScript(s, ln)
		defer ends()

		n := rapid.IntRange(1, 20).Draw(rt, "requests")
		steps := make([]step, n)
		for i := range steps {
			steps[i] = drawStep(rt, serve, int32(i))
		}
		if err := playScript(ln.dial(t), steps); err != nil {
			rt.Fatal(err)
		}
	})
}

func playScript(c *client, steps []step) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, s := range steps {
			c.trySend(s.bytes)
		}
	}()
	defer func() {
		c.nc.Close()
		<-done
	}()
	for id, s := range steps {
		if s.closes {
			if _, err := c.next(); err == nil {
				return fmt.Errorf("step %d (%s) got a reply instead of the end", id, s.name)
			}
			return nil
		}
		resp, err := c.tryReceive(s.req, int32(id))
		if err != nil {
			return fmt.Errorf("step %d (%s): %w", id, s.name, err)
		}
		if err := checkStep(s, resp); err != nil {
			return fmt.Errorf("step %d (%s): %w", id, s.name, err)
		}
	}
	return nil
}

func checkStep(s step, resp kmsg.Response) error {
	if s.code == 0 {
		return nil
	}
	if got := reflect.ValueOf(resp).Elem().FieldByName("ErrorCode").Int(); got != int64(s.code) {
		return fmt.Errorf("error code %d, want %d", got, s.code)
	}
	versions, ok := resp.(*kmsg.ApiVersionsResponse)
	if !ok {
		return nil
	}
	want := []kmsg.ApiVersionsResponseApiKey{{ApiKey: 18, MaxVersion: 3}}
	if diff := cmp.Diff(want, versions.ApiKeys, cmp.AllowUnexported(kmsg.Tags{})); diff != "" {
		return fmt.Errorf("ApiVersions must name its own range (-want +got)\n%s", diff)
	}
	return nil
}

// serveScript serves ln until the returned function is called.
func serveScript(s *Server, ln net.Listener) (end func()) {
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(context.Background(), ln)
	}()
	return func() {
		_ = s.Shutdown(context.Background())
		<-served
	}
}
