package fleet

import (
	"sync"
	"sync/atomic"
	"time"
)

// Condition is how bytes travel in one direction between two nodes. The zero value is a good network.
type Condition struct {
	Cut    bool          // nothing arrives; connections stay half open, and what was sent arrives when the cut has healed
	Refuse bool          // with Cut: new connections are reset instead of hanging
	Delay  time.Duration // between the sending and the arrival of a byte
	Rate   int64         // bytes a second; 0 has no limit
}

// Traffic counts what happened in one direction. Chunks are pieces as they were read from a socket.
type Traffic struct {
	Bytes   int64 // that arrived
	Held    int64 // chunks and new connections that met a cut
	Refused int64 // connections that were reset because of a cut
	Slowed  int64 // chunks that had to wait for Delay or Rate
}

// gate lets the bytes of one direction through.
type gate struct {
	mu        sync.Mutex // guards the fields below
	condition Condition
	changed   chan struct{} // closed and replaced when the condition changes
	free      time.Time     // when the link has sent all that it was given, at its Rate

	bytes, held, refused, slowed atomic.Int64
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

func (g *gate) set(c Condition) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.condition, g.free = c, time.Time{}
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) now() Condition {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.condition
}

func (g *gate) traffic() Traffic {
	return Traffic{Bytes: g.bytes.Load(), Held: g.held.Load(), Refused: g.refused.Load(), Slowed: g.slowed.Load()}
}

// pass waits until n bytes that were sent at the given time may arrive. It reports false when done or gone is closed first.
func (g *gate) pass(n int, sent time.Time, done, gone <-chan struct{}) bool {
	counted := false
	for {
		wait, changed, cut := g.wait(n, sent)
		if !cut && wait <= 0 {
			g.bytes.Add(int64(n))
			return true
		}
		if !counted {
			counted = true
			if cut {
				g.held.Add(1)
			} else {
				g.slowed.Add(1)
			}
		}
		var timer *time.Timer
		var due <-chan time.Time
		if !cut {
			timer = time.NewTimer(wait)
			due = timer.C
		}
		select {
		case <-due:
			g.bytes.Add(int64(n))
			return true
		case <-changed:
		case <-done:
			return false
		case <-gone:
			return false
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// wait is how long n bytes still travel under the present condition.
func (g *gate) wait(n int, sent time.Time) (wait time.Duration, changed <-chan struct{}, cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.condition
	if c.Cut {
		return 0, g.changed, true
	}
	arrival := sent.Add(c.Delay)
	if c.Rate > 0 {
		if g.free.Before(sent) {
			g.free = sent
		}
		g.free = g.free.Add(time.Duration(int64(n) * int64(time.Second) / c.Rate))
		arrival = g.free.Add(c.Delay)
	}
	return time.Until(arrival), g.changed, false
}
