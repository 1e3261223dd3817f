package wire

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// plainFile hides the descriptor of a file, as the in-memory file system of tests does.
type plainFile struct{ vfs.File }

func openTestFile(t testing.TB, size int) (vfs.File, []byte) {
	t.Helper()
	content := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(content)
	name := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.OS{}.OpenFile(name, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, content
}

// partsAPI replies with the parts that next returns, as the body of SaslHandshake v0, which is never
// flexible.
func partsAPI(next func() ([]Part, func())) API {
	return API{Key: 17, Min: 0, Max: 0, Handle: func(r *Request) { r.ReplyParts(next()) }}
}

func handshake(id int32) []byte { return frame(kmsg.NewPtrSASLHandshakeRequest(), id) }

// TestPartsArriveWhole draws replies of byte and file parts of all sizes, several in a row, over TCP and
// over a connection without a descriptor.
func TestPartsArriveWhole(t *testing.T) {
	const fileSize = 3 << 20
	file, content := openTestFile(t, fileSize)
	var mu sync.Mutex
	var replies [][]Part
	released := make(chan struct{}, 100)
	api := partsAPI(func() ([]Part, func()) {
		mu.Lock()
		defer mu.Unlock()
		parts := replies[0]
		replies = replies[1:]
		return parts, func() { released <- struct{}{} }
	})
	s := startServer(t, Options{}, api)
	pipes := newPipeListener()
	s.serveUntilEnd(t, pipes)

	lengths := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 70_000), rapid.IntRange(60_000, 140_000), rapid.IntRange(0, 1<<20))
	rapid.Check(t, func(rt *rapid.T) {
		var want [][]byte
		var all [][]Part
		for range rapid.IntRange(1, 4).Draw(rt, "replies") {
			var parts []Part
			var body []byte
			for range rapid.IntRange(0, 4).Draw(rt, "parts") {
				n := lengths.Draw(rt, "len")
				off := rapid.IntRange(0, fileSize-n).Draw(rt, "off")
				piece := content[off : off+n]
				body = append(body, piece...)
				switch rapid.IntRange(0, 2).Draw(rt, "kind") {
				case 0:
					parts = append(parts, Part{Bytes: piece})
				case 1:
					parts = append(parts, Part{File: file, Off: int64(off), Len: int64(n)})
				case 2:
					parts = append(parts, Part{File: plainFile{file}, Off: int64(off), Len: int64(n)})
				}
			}
			want, all = append(want, body), append(all, parts)
		}
		mu.Lock()
		replies = all
		mu.Unlock()
		var c *client
		if rapid.Bool().Draw(rt, "tcp") {
			c = s.dial()
		} else {
			c = pipes.dial(t)
		}
		var requests []byte
		for id := range want {
			requests = append(requests, handshake(int32(id))...)
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			c.trySend(requests)
		}()
		for id, body := range want {
			got, err := c.next()
			if err != nil || got[3] != byte(id) || !bytes.Equal(got[4:], body) {
				rt.Fatalf("reply %d of %d bytes: got %d, err %v", id, len(body), len(got)-4, err)
			}
		}
		for range want {
			<-released
		}
		<-sent
		c.nc.Close()
	})
	if len(released) != 0 {
		t.Errorf("%d releases too many", len(released))
	}
}

// TestSharedDescriptor: many connections send from one file at once.
func TestSharedDescriptor(t *testing.T) {
	const size = 4 << 20
	file, content := openTestFile(t, size)
	s := startServer(t, Options{}, partsAPI(func() ([]Part, func()) {
		off := rand.Int64N(size / 2)
		return []Part{{Bytes: []byte{byte(off >> 16), byte(off >> 8), byte(off)}}, {File: file, Off: off, Len: size / 2}}, nil
	}))
	var wg sync.WaitGroup
	for range 8 {
		c := s.dial()
		wg.Go(func() {
			for id := range int32(5) {
				c.trySend(handshake(id))
				got, err := c.next()
				if err != nil || len(got) != 7+size/2 {
					t.Errorf("%d bytes, err %v", len(got), err)
					return
				}
				off := int(got[4])<<16 | int(got[5])<<8 | int(got[6])
				if !bytes.Equal(got[7:], content[off:off+size/2]) {
					t.Errorf("the range at %d has other bytes", off)
				}
			}
		})
	}
	wg.Wait()
}

// TestFileThatIsTooShort: the frame's length was promised, so the connection must end.
func TestFileThatIsTooShort(t *testing.T) {
	file, _ := openTestFile(t, 100_000)
	for _, f := range []vfs.File{file, plainFile{file}} {
		released := make(chan struct{}, 1)
		s := startServer(t, Options{}, partsAPI(func() ([]Part, func()) {
			return []Part{{File: f, Off: 10, Len: 100_000}}, func() { released <- struct{}{} }
		}))
		c := s.dial()
		c.send(handshake(0))
		if got, err := io.ReadAll(c.nc); err != nil || len(got) >= 100_008 {
			t.Errorf("%d bytes, err %v", len(got), err)
		}
		<-released
	}
}

// TestReplyPartsOfFlexibleVersions have the tag byte in their header.
func TestReplyPartsOfFlexibleVersions(t *testing.T) {
	s := startServer(t, Options{}, heartbeatAPI(func(r *Request) {
		resp := echoResponse(r)
		resp.SetVersion(r.Version)
		r.ReplyParts([]Part{{Bytes: resp.AppendTo(nil)}}, nil)
	}))
	c := s.dial()
	for version := range int16(5) {
		req := heartbeat()
		req.Version = version
		c.send(frame(req, int32(version)))
		c.receive(req, int32(version))
	}
}

// countingConn counts the writes of a connection.
type countingConn struct {
	net.Conn
	writes [][]byte
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes = append(c.writes, bytes.Clone(p))
	return c.Conn.Write(p)
}

// TestRepliesAreCoalesced: requests that arrive together are answered with one write, and a header goes
// with the file range behind it.
func TestRepliesAreCoalesced(t *testing.T) {
	s := newTestServer(t, Options{}, heartbeatAPI(echo))
	ours, theirs := net.Pipe()
	counting := &countingConn{Conn: theirs}
	c := newClient(t, ours)
	s.running.Add(1)
	conn := newConn(s, counting, "", 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.removeConn(conn)
		conn.run()
	}()
	c.send(heartbeats(0, 8)) // fits the one small read
	c.expectEcho(0, 8)
	c.nc.Close()
	<-done
	if n := len(counting.writes); n != 1 {
		t.Errorf("%d writes for 8 small replies, want 1", n)
	}
}
