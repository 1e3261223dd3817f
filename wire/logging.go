package wire

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// logEvery spaces the log lines of one kind: what a peer can cause it could cause a million times.
const logEvery = time.Second

// logLimit lets one line through per logEvery and counts the others.
type logLimit struct {
	mu       sync.Mutex // guards the fields below
	next     time.Time
	withheld int
}

func (l *logLimit) warn(log *slog.Logger, msg string, args ...any) {
	l.line(log, slog.LevelWarn, msg, args...)
}

func (l *logLimit) line(log *slog.Logger, level slog.Level, msg string, args ...any) {
	if !log.Enabled(context.Background(), level) {
		return
	}
	now := time.Now()
	l.mu.Lock()
	if now.Before(l.next) {
		l.withheld++
		l.mu.Unlock()
		return
	}
	withheld := l.withheld
	l.next, l.withheld = now.Add(logEvery), 0
	l.mu.Unlock()
	if withheld > 0 {
		args = append(args, "more_not_logged", withheld)
	}
	log.Log(context.Background(), level, msg, args...)
}

// logClosed tells why a connection ended. The ends that are part of a client's life are for debugging
// only; a panic was logged with its stack already.
func (s *Server) logClosed(c *conn, end *closeError) {
	level := slog.LevelWarn
	switch end.reason {
	case closedByClient, closedIdle, closedShutdown, closedByPanic, closedByHandler, resetByHandler:
		level = slog.LevelDebug
	}
	args := []any{
		"listener", s.o.Listener, "conn", c.session.ConnID, "remote", c.session.RemoteAddr, "client", c.clientID,
		"reason", end.reason.String(), "err", end.err,
	}
	if level == slog.LevelDebug {
		s.o.Logger.Debug("connection closed", args...)
		return
	}
	s.logs.closed.line(s.o.Logger, level, "connection closed", args...)
}

func (s *Server) logUnserved(c *conn, r *Request) {
	s.logs.unserved.warn(s.o.Logger, "request of a key or version that is not served",
		"listener", s.o.Listener, "remote", c.session.RemoteAddr, "client", r.ClientID,
		"key", r.Key, "api", kmsg.NameForKey(r.Key), "version", r.Version)
}
