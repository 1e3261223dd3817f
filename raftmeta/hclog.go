package raftmeta

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLogger lets the Raft library log through slog. What the library calls informative is about its
// own steps, so it becomes debug; warnings and errors stay what they are, but while a peer is away the
// library says so ten times a second, which the log does not repeat.
type raftLogger struct {
	to      *slog.Logger
	name    string
	implied []any
	said    *repeats
}

// repeats remembers what was said lately.
type repeats struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

const (
	repeatAfter = 30 * time.Second // the same is said again
	maxRepeats  = 256              // what is remembered
)

func newRaftLogger(to *slog.Logger) *raftLogger {
	return &raftLogger{to: to, name: "raft", said: &repeats{last: map[string]time.Time{}}}
}

// again tells whether a line was said lately. Of the arguments the first counts: whom it is about.
func (r *repeats) again(msg string, args []any, now time.Time) bool {
	key := msg
	if len(args) > 1 {
		key = fmt.Sprint(msg, args[1])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.last[key]; ok && now.Sub(at) < repeatAfter {
		return true
	}
	if len(r.last) >= maxRepeats {
		clear(r.last)
	}
	r.last[key] = now
	return false
}

var _ hclog.Logger = (*raftLogger)(nil)

// electionStart is how the library warns of every election, the first one of a fresh start too. It is no
// trouble by itself; an election that fails has warnings of its own.
const electionStart = "heartbeat timeout reached, starting election"

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	}
	return slog.LevelDebug
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	if level == hclog.Off {
		return
	}
	at := slogLevel(level)
	if msg == electionStart {
		at = slog.LevelDebug
	}
	if !l.to.Enabled(context.Background(), at) || at >= slog.LevelWarn && l.said.again(msg, args, time.Now()) {
		return
	}
	for i, arg := range args { // the library's own formatter prints these lazily
		if f, ok := arg.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	l.to.Log(context.Background(), at, msg, args...)
}

func (l *raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLogger) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), slogLevel(level))
}

func (l *raftLogger) IsTrace() bool { return false }
func (l *raftLogger) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l *raftLogger) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l *raftLogger) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l *raftLogger) IsError() bool { return l.enabled(hclog.Error) }

func (l *raftLogger) ImpliedArgs() []any { return l.implied }
func (l *raftLogger) Name() string       { return l.name }

func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{l.to.With(args...), l.name, append(l.implied[:len(l.implied):len(l.implied)], args...), l.said}
}

func (l *raftLogger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l *raftLogger) ResetNamed(name string) hclog.Logger {
	return &raftLogger{l.to, name, l.implied, l.said}
}

// SetLevel does nothing: the slog handler decides.
func (l *raftLogger) SetLevel(hclog.Level) {}

func (l *raftLogger) GetLevel() hclog.Level {
	switch {
	case l.IsDebug():
		return hclog.Debug
	case l.IsWarn():
		return hclog.Warn
	}
	return hclog.Error
}

func (l *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelDebug)
}

func (l *raftLogger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(opts).Writer()
}
