package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// scriptConn is a connection whose reads return given pieces, then io.EOF.
type scriptConn struct {
	net.Conn
	pieces [][]byte
}

func (s *scriptConn) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

// noClock has no time limits.
type noClock struct{}

func (noClock) parking(bool)           {}
func (noClock) mustWake(bool) bool     { return false }
func (noClock) readTimeout(bool) error { return errors.New("timeout") }
func (noClock) gotBytes()              {}
func (noClock) memoryWait() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

// TestFramesOfAnyShape: however frames are cut into reads, whichever are held, the reader gives back
// each frame's bytes and all memory.
func TestFramesOfAnyShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(8, 100), rapid.IntRange(8, 20_000), rapid.IntRange(8, 300_000)), 0, 12).Draw(t, "sizes")
		cut := rapid.OneOf(rapid.IntRange(1, 7), rapid.IntRange(1, 70_000)).Draw(t, "cut")
		var stream []byte
		want := make([][]byte, len(sizes))
		for i, n := range sizes {
			want[i] = bytes.Repeat([]byte{byte(i + 1)}, n)
			stream = binary.BigEndian.AppendUint32(stream, uint32(n))
			stream = append(stream, want[i]...)
		}
		sc := &scriptConn{}
		for rest := stream; len(rest) > 0; {
			n := min(cut, len(rest))
			sc.pieces, rest = append(sc.pieces, rest[:n]), rest[n:]
		}
		mem := newBudget(1 << 30)
		f := newFrameReader(sc, mem, noClock{}, 1<<20, 1<<20, true)
		var held []*chunk
		var heldFrames [][]byte
		var heldWant [][]byte
		for i := range want {
			got, err := f.next()
			if err != nil || !bytes.Equal(got, want[i]) {
				t.Fatalf("frame %d of %d bytes: got %d bytes, err %v", i, len(want[i]), len(got), err)
			}
			if rapid.Bool().Draw(t, "hold") {
				f.cur.retain()
				held = append(held, f.cur)
				heldFrames, heldWant = append(heldFrames, got), append(heldWant, want[i])
			}
		}
		if _, err := f.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last frame: %v", err)
		}
		for i := range heldFrames {
			if !bytes.Equal(heldFrames[i], heldWant[i]) {
				t.Fatalf("held frame %d has changed", i)
			}
		}
		for _, c := range held {
			c.release()
		}
		f.close()
		if n := mem.used.Load(); n != 0 {
			t.Fatalf("%d bytes are still in use", n)
		}
	})
}

// TestMemoryFollowsBytesThatCame: a frame that was only announced costs one read buffer.
func TestMemoryFollowsBytesThatCame(t *testing.T) {
	mem := newBudget(1 << 30)
	announce := binary.BigEndian.AppendUint32(nil, 100<<20)
	for _, came := range []int{0, 10, 100_000, 5 << 20} {
		sc := &scriptConn{pieces: [][]byte{announce, make([]byte, came)}}
		f := newFrameReader(sc, mem, noClock{}, 100<<20, 100<<20, false)
		if _, err := f.next(); err == nil {
			t.Fatal("no error for half a frame")
		}
		if used, bound := mem.used.Load(), int64(max(readSize, 4*came)); used > bound {
			t.Errorf("%d bytes came, %d are used, want at most %d", came, used, bound)
		}
		f.close()
	}
}

func TestHostileFrames(t *testing.T) {
	s := startServer(t, Options{FirstRequestBytes: 1000, MaxRequestBytes: 5000}, heartbeatAPI(echo))
	length := func(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	good := heartbeats(0, 1)
	bystander := s.dial()
	id := int32(0)
	for name, tc := range map[string]struct {
		before, bytes []byte
	}{
		"negative":             {nil, length(-1)},
		"least negative":       {nil, length(-1 << 31)},
		"zero":                 {nil, length(0)},
		"less than a header":   {nil, append(length(7), make([]byte, 7)...)},
		"huge":                 {nil, length(1<<31 - 1)},
		"above first limit":    {nil, append(length(1001), 0, 3, 0, 1, 0, 0, 0, 1)},
		"above later limit":    {good, length(5001)},
		"http":                 {nil, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		"tls":                  {nil, []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03}},
		"garbage header":       {good, append(length(40), bytes.Repeat([]byte{0xFF}, 40)...)},
		"client id too long":   {good, append(length(10), 0, 12, 0, 4, 0, 0, 0, 1, 0x7F, 0xFF)},
		"client id negative":   {good, append(length(10), 0, 12, 0, 4, 0, 0, 0, 1, 0x80, 0x00)},
		"header tags":          {good, append(length(15), 0, 12, 0, 4, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F)},
		"body cut":             {good, append(length(12), 0, 12, 0, 4, 0, 0, 0, 1, 0xFF, 0xFF, 0, 5)},
		"unknown key":          {good, append(length(10), 0x12, 0x34, 0, 4, 0, 0, 0, 1, 0xFF, 0xFF)},
		"negative key":         {good, append(length(10), 0xFF, 0xFF, 0, 4, 0, 0, 0, 1, 0xFF, 0xFF)},
		"version from nowhere": {good, append(length(10), 0, 12, 0x7F, 0xFF, 0, 0, 0, 1, 0xFF, 0xFF)},
		"negative version":     {good, append(length(10), 0, 12, 0xFF, 0xFF, 0, 0, 0, 1, 0xFF, 0xFF)},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			c.send(tc.before, tc.bytes)
			if tc.before != nil {
				c.expectEcho(0, 1)
			}
			c.closed()
			bystander.send(heartbeats(id, id+1))
			bystander.expectEcho(id, id+1)
			id++
		})
	}
	s.finish()
	if got := metricValue(s.metrics.closed[closedBadRequest]); got != 13 {
		t.Errorf("%v connections were closed for a bad request, want 13", got)
	}
	if got := metricValue(s.metrics.closed[closedUnsupported]); got != 5 {
		t.Errorf("%v connections were closed for an unsupported key or version, want 5", got)
	}
}

func TestByteByByte(t *testing.T) {
	s := startServer(t, Options{Strict: true}, heartbeatAPI(echo))
	c := s.dial()
	for _, b := range heartbeats(0, 3) {
		c.send([]byte{b})
	}
	c.expectEcho(0, 3)
}

func TestTrailingBytesAreTolerated(t *testing.T) {
	s := startServer(t, Options{}, heartbeatAPI(echo))
	c := s.dial()
	f := append(frame(heartbeat(), 0), 1, 2, 3)
	setFrameLength(f, len(f)-lengthSize)
	c.send(f, frame(heartbeat(), 1))
	c.expectEcho(0, 2)
}

func TestHalfAFrameThenGone(t *testing.T) {
	s := startServer(t, Options{Strict: true}, heartbeatAPI(echo))
	whole := frame(heartbeat(), 1)
	for n := range len(whole) {
		c := s.dial()
		c.send(frame(heartbeat(), 0), whole[:n])
		c.expectEcho(0, 1)
		c.nc.Close()
	}
}

// TestClientIDMayBeNull in the classic form that it has in every header version.
func TestClientIDMayBeNull(t *testing.T) {
	col := newCollector()
	s := startServer(t, Options{}, heartbeatAPI(col.handle))
	c := s.dial()
	for id, version := range []int16{3, 4} {
		req := heartbeat()
		req.Version = version
		c.send(kmsg.NewRequestFormatter().AppendRequest(nil, req, int32(id)))
		r := col.next(t)
		if r.ClientID != "" || r.Body.(*kmsg.HeartbeatRequest).Group != "group" {
			t.Errorf("version %d: client %q, body %+v", version, r.ClientID, r.Body)
		}
		echo(r)
		c.receive(req, int32(id))
	}
}

// TestHeaderTagsAreSkipped: nobody defined one yet, but a client may send them.
func TestHeaderTagsAreSkipped(t *testing.T) {
	s := startServer(t, Options{}, heartbeatAPI(echo))
	c := s.dial()
	f := frame(heartbeat(), 0)
	at := lengthSize + headerSize + 2 + len("tester")
	f = append(f[:at:at], append([]byte{2, 0, 3, 'a', 'b', 'c', 0x85, 1, 0}, f[at+1:]...)...)
	setFrameLength(f, len(f)-lengthSize)
	c.send(f)
	c.expectEcho(0, 1)
}

// TestGarbage sends noise on many connections; a good one goes on being served.
func TestGarbage(t *testing.T) {
	s := startServer(t, Options{FirstRequestBytes: 1 << 10}, heartbeatAPI(echo))
	good := s.dial()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for id := range int32(100) {
		noise := make([]byte, 1+rng.IntN(200))
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		bad := s.dial()
		if id%2 == 0 { // a believable frame around the noise
			noise = append(binary.BigEndian.AppendUint32(nil, uint32(len(noise))), noise...)
		}
		bad.trySend(noise)
		bad.nc.Close()
		good.send(heartbeats(id, id+1))
		good.expectEcho(id, id+1)
	}
}

func TestBadLengthHints(t *testing.T) {
	f := &frameReader{limit: 100}
	for text, want := range map[string]string{"GET /": "HTTP", "\x16\x03\x01\x00": "TLS", "\xff\xff\xff\xff": "-1 bytes"} {
		f.cur = &chunk{b: []byte(text)}
		f.r, f.w = 0, len(text)
		if got := f.badLength(f.announced()).Error(); !strings.Contains(got, want) {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestAFirstProduceMayBeLarge: clients that know no ApiVersions begin with one. Nothing else may be.
func TestAFirstProduceMayBeLarge(t *testing.T) {
	const size = 4 << 20
	for _, c := range []struct {
		key, version int16
		size         int
		ok           bool
	}{
		{0, 0, size, true}, {0, newestProduce, size, true},
		{0, newestProduce + 1, size, false}, {0, -1, size, false}, {3, 1, size, false}, {0, 2, 2 * size, false},
	} {
		raw := binary.BigEndian.AppendUint32(nil, uint32(c.size))
		raw = binary.BigEndian.AppendUint16(raw, uint16(c.key))
		raw = binary.BigEndian.AppendUint16(raw, uint16(c.version))
		raw = append(raw, make([]byte, c.size-4)...)
		mem := newBudget(64 << 20)
		// The header comes in two pieces, so that the decision has to wait for it.
		f := newFrameReader(&scriptConn{pieces: [][]byte{raw[:6], raw[6:9], raw[9:]}}, mem, noClock{}, 1<<10, size, true)
		frame, err := f.next()
		if (err == nil) != c.ok || (c.ok && len(frame) != c.size) {
			t.Errorf("key %d version %d, %d bytes: %d bytes, %v", c.key, c.version, c.size, len(frame), err)
		}
		f.drop()
	}
}
