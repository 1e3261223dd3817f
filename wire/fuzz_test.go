package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzFrame cuts any stream into frames twice, in one read and in many, and compares.
func FuzzFrame(f *testing.F) {
	f.Add(heartbeats(0, 3), 5)
	f.Add([]byte{0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0}, 1)
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF}, 3)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 100)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		cut = max(1, cut)
		if len(stream) == 0 {
			return
		}
		whole, wholeErr := allFrames(t, [][]byte{stream})
		var pieces [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(cut, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		cutUp, cutErr := allFrames(t, pieces)
		if !bytes.Equal(bytes.Join(whole, []byte("|")), bytes.Join(cutUp, []byte("|"))) || errors.Is(wholeErr, io.EOF) != errors.Is(cutErr, io.EOF) {
			t.Errorf("%d frames, %v; in pieces %d frames, %v", len(whole), wholeErr, len(cutUp), cutErr)
		}
	})
}

func allFrames(t *testing.T, pieces [][]byte) (frames [][]byte, err error) {
	mem := newBudget(64 << 20)
	f := newFrameReader(&scriptConn{pieces: pieces}, mem, noClock{}, 1<<20, 1<<20, true)
	for {
		frame, err := f.next()
		if err != nil {
			f.close()
			if n := mem.used.Load(); n != 0 {
				t.Errorf("%d bytes are still in use", n)
			}
			return frames, err
		}
		frames = append(frames, bytes.Clone(frame))
	}
}

// FuzzHeader: a header that is accepted encodes to the bytes it came from.
func FuzzHeader(f *testing.F) {
	forEachRequest(func(key, version int16) {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		f.Add(frame(req, 1)[lengthSize:])
	})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < headerSize {
			return
		}
		h := readHeader(frame)
		clientID, body, err := h.readRest(frame)
		if err != nil {
			return
		}
		if h.key == keyControlledShutdown && h.version == 0 {
			if len(body) != len(frame)-headerSize {
				t.Errorf("%d bytes of body", len(body))
			}
			return
		}
		d := Dec{B: frame[headerSize:]}
		if got := d.StringBytes(); !bytes.Equal(got, clientID) || (got == nil) != (clientID == nil) {
			t.Errorf("client id %q, want %q", clientID, got)
		}
		if len(body) > len(d.B) || !bytes.HasSuffix(frame, body) {
			t.Errorf("a body of %d bytes is not the end of the frame", len(body))
		}
	})
}

// FuzzRequest decodes any bytes as the body of any request. What kmsg accepts, it encodes to bytes
// that the walk accepts to the end; nothing panics or runs away.
func FuzzRequest(f *testing.F) {
	forEachRequest(func(key, version int16) {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		f.Add(key, version, req.AppendTo(nil))
	})
	f.Add(int16(12), int16(4), append([]byte{1, 0, 0, 0, 0, 1, 0}, binary.AppendUvarint(nil, 1<<32-1)...))
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		req := kmsg.RequestForKey(key)
		if req == nil || version < 0 || version > req.MaxVersion() {
			return
		}
		req, err := decodeBody(header{key: key, version: version}, body)
		if err != nil {
			return
		}
		if err := checkBody(key, version, req.AppendTo(nil)); err != nil {
			t.Errorf("key %d version %d: re-encoded: %v", key, version, err)
		}
		reencoded(t, ErrorResponse(req, 35))
	})
}

// FuzzConn feeds any bytes to a whole connection; it must end, and leave the server sound.
func FuzzConn(f *testing.F) {
	f.Add(heartbeats(0, 3))
	f.Add(append(heartbeats(0, 1), 0xFF, 0xFF, 0xFF, 0xFF))
	f.Add(append(heartbeats(0, 1), 0, 0, 0, 10, 0, 18, 0x7F, 0xFF, 0, 0, 0, 1, 0xFF, 0xFF))
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := newTestServer(t, Options{Strict: true}, errorAPIs(everything(), func(int32) bool { return false })...)
		ours, theirs := net.Pipe()
		c := newConn(s, theirs, "", 0)
		if refused := s.addConn(c); refused != "" {
			t.Fatal(refused)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer s.removeConn(c)
			c.run()
		}()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, ours)
		}()
		_, _ = ours.Write(stream)
		ours.Close()
		<-done
		<-drained
		if n := s.budget.used.Load(); n != 0 {
			t.Errorf("%d bytes are still in use", n)
		}
		s.cancel()
	})
}
