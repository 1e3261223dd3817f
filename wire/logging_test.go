package wire

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is written by the server and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestBadRequestsAreNamedOnce: the log says what was wrong and with whom, and a flood of it is one line.
func TestBadRequestsAreNamedOnce(t *testing.T) {
	var out lockedBuffer
	s := startServer(t, Options{Logger: slog.New(slog.NewTextHandler(&out, nil))}, heartbeatAPI(echo))
	unknown := frame(heartbeat(), 0)
	binary.BigEndian.PutUint16(unknown[lengthSize:], 4321)
	tooNew := frame(heartbeat(), 1)
	binary.BigEndian.PutUint16(tooNew[lengthSize+2:], 99)
	unserved := produce(13, nil) // known to kmsg, without a place for an error on top
	for _, f := range [][]byte{unknown, tooNew, frame(unserved, 2), unknown, unknown} {
		c := s.dial()
		c.send(f)
		c.closed()
	}
	s.finish()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) > 3 { // more only if the machine stood still for seconds
		t.Errorf("%d lines for 5 bad requests", len(lines))
	}
	for _, want := range []string{"4321", "tester", "reason=unsupported", "127.0.0.1"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("%q is missing in %s", want, lines[0])
		}
	}
}

func TestLogLimitCountsWhatItWithholds(t *testing.T) {
	var out lockedBuffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var l logLimit
	for range 5 {
		l.warn(log, "one")
	}
	l.next = time.Time{}
	l.warn(log, "two")
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 2 || !strings.Contains(got[1], "more_not_logged=4") {
		t.Errorf("%q", got)
	}
}
