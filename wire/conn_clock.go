package wire

import (
	"context"
	"time"
)

// The read deadline of the socket is moved rarely: setting it for each request would cost as much as a
// small handler. It stands at or before the time when something may be due; when it passes, readTimeout
// finds out what is due by lastRead and lastWrite, and sets the next one.

// longAgo makes a read return at once.
var longAgo = time.Unix(1, 0)

// mustWake implements readClock.
func (c *conn) mustWake(midFrame bool) bool {
	return c.deadline.IsZero() || midFrame && c.deadline.After(c.lastRead.Add(c.srv.o.FrameTimeout))
}

// parking implements readClock.
func (c *conn) parking(midFrame bool) {
	timeout := c.srv.o.IdleTimeout
	if midFrame {
		timeout = c.srv.o.FrameTimeout
	}
	c.setReadDeadline(c.lastRead.Add(timeout))
}

// gotBytes implements readClock.
func (c *conn) gotBytes() { c.lastRead = time.Now() }

// readTimeout implements readClock.
func (c *conn) readTimeout(midFrame bool) error {
	c.mu.Lock()
	end, outstanding, since := c.stop, c.count > 0, c.lastWrite
	c.mu.Unlock()
	if end != nil {
		return end
	}
	now := time.Now()
	if midFrame {
		due := c.lastRead.Add(c.srv.o.FrameTimeout)
		if !now.Before(due) {
			return closing(closedFrameTimeout, "nothing came for %v in the middle of a request", c.srv.o.FrameTimeout)
		}
		c.setReadDeadline(due)
		return nil
	}
	if c.lastRead.After(since) {
		since = c.lastRead
	}
	due := since.Add(c.srv.o.IdleTimeout)
	switch {
	case outstanding:
		c.setReadDeadline(now.Add(c.srv.o.IdleTimeout))
	case !now.Before(due):
		return closing(closedIdle, "idle for %v", c.srv.o.IdleTimeout)
	default:
		c.setReadDeadline(due)
	}
	return nil
}

// memoryWait implements readClock.
func (c *conn) memoryWait() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.readCtx, c.srv.o.FrameTimeout)
}

// setReadDeadline moves the deadline, unless the reader is to be stopped.
func (c *conn) setReadDeadline(t time.Time) {
	c.deadline = t
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		t = longAgo
	}
	c.setDeadlineLocked(t)
}

// interruptLocked wakes the reader from a read.
func (c *conn) interruptLocked() { c.setDeadlineLocked(longAgo) }

// setDeadlineLocked ignores the error: it says that the socket is closed, which the next read sees.
func (c *conn) setDeadlineLocked(t time.Time) { _ = c.nc.SetReadDeadline(t) }
