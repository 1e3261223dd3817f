package cluster

import (
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// gossipLog brings memberlist's lines to slog. What an operator must know of members is logged by gossip
// itself; of the library's own lines only errors are news, and those not more than one in errorPause, for
// it writes one per lost packet.
type gossipLog struct {
	to *slog.Logger

	mu   sync.Mutex // guards last
	last time.Time  // error that was let through
}

const errorPause = 10 * time.Second

func newGossipLogger(to *slog.Logger) *log.Logger {
	return log.New(&gossipLog{to: to.With("component", "gossip")}, "", 0)
}

// Write takes one line.
func (g *gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "] ")
	if !ok {
		level, rest = "DEBUG", text
	}
	rest = strings.TrimPrefix(rest, "memberlist: ")
	if (level == "ERR" || level == "ERROR") && g.due() {
		g.to.Warn(rest)
	} else {
		g.to.Debug(rest)
	}
	return len(line), nil
}

func (g *gossipLog) due() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.last.IsZero() && now.Sub(g.last) < errorPause {
		return false
	}
	g.last = now
	return true
}
