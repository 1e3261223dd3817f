package wire

import "time"

// enqueue gives a request its place in the order of replies, unless the connection has been stopped
// since it was read: then nobody would write its reply, so it must not take effect.
func (c *conn) enqueue(r *Request) *closeError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		return c.stop
	}
	c.srv.metrics.inFlight.Inc()
	if c.tail == nil {
		c.head = r
	} else {
		c.tail.next = r
	}
	c.tail = r
	c.count++
	c.bytes += int64(r.Size)
	c.current = r
	return nil
}

// publish makes an answer known. It wakes the writer if the answer is the next to go, unless the
// reader is about to write it: that saves the hop to another goroutine for each request that is
// answered inside its handler.
func (c *conn) publish(r *Request) {
	r.answeredAt = time.Now()
	c.mu.Lock()
	if c.closed || r.dropped {
		c.mu.Unlock()
		r.drop()
		return
	}
	r.ready = true
	c.readyBytes += r.wireBytes
	c.bytes += int64(r.heapBytes)
	if r.closing != nil {
		c.stopLocked(r.closing)
	}
	wake := c.head == r && c.current != r && !c.writing
	if wake && c.writerDone == nil {
		c.writerDone = make(chan struct{})
		go c.writeLoop()
	}
	c.mu.Unlock()
	if wake {
		select {
		case c.wakeWriter <- struct{}{}:
		default: // it is awake already and will look
		}
	}
}

// writeLoop is the writer goroutine; run waits for it.
func (c *conn) writeLoop() {
	defer close(c.writerDone)
	for {
		select {
		case <-c.wakeWriter:
			c.flush()
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *conn) canWriteLocked() bool {
	return !c.writing && !c.closed && c.head != nil && c.head.ready
}

// flush writes the replies that are ready, in order, until there are none. If another goroutine is at
// it, that one will see ours.
func (c *conn) flush() {
	c.mu.Lock()
	if !c.canWriteLocked() {
		c.mu.Unlock()
		return
	}
	c.writing = true
	for {
		batch, cut := c.takeLocked()
		if batch == nil && cut == nil {
			break
		}
		c.mu.Unlock()
		dropAll(cut)
		n, err := c.out.write(batch)
		now := time.Now()
		c.srv.metrics.responseBytes.Add(float64(n))
		c.mu.Lock()
		c.settleLocked(batch, now)
		c.mu.Unlock()
		dropAll(batch)
		if err != nil {
			c.abort(socketClosed(err)) // and writing stays set: nothing is written after a half-written reply
			return
		}
		c.mu.Lock()
	}
	c.writing = false
	c.mu.Unlock()
}

// takeLocked takes the run of ready requests off the head of the queue. If a Close is among them, the
// run ends there, and it and all behind it are cut off; cut holds those of them that were answered.
func (c *conn) takeLocked() (batch, cut *Request) {
	var last *Request
	for r := c.head; r != nil && r.ready && r.closing == nil; r = r.next {
		last = r
		c.readyBytes -= r.wireBytes
	}
	if last != nil {
		batch = c.head
		c.head, last.next = last.next, nil
	}
	if c.head == nil {
		c.tail = nil
	} else if c.head.ready && c.head.closing != nil {
		cut = c.cutLocked()
	}
	return batch, cut
}

func (c *conn) cutLocked() (answered *Request) {
	for r := c.head; r != nil; {
		next := r.next
		r.next = nil
		r.dropped = true
		c.count--
		c.srv.metrics.inFlight.Dec()
		c.bytes -= int64(r.Size)
		if r.ready {
			c.readyBytes -= r.wireBytes
			c.bytes -= int64(r.heapBytes)
			r.next, answered = answered, r
		}
		r = next
	}
	c.head, c.tail = nil, nil
	c.signalSpaceLocked()
	return answered
}

// settleLocked forgets requests whose replies were written, or failed to be.
func (c *conn) settleLocked(batch *Request, now time.Time) {
	for r := batch; r != nil; r = r.next {
		c.count--
		c.srv.metrics.inFlight.Dec()
		c.bytes -= int64(r.Size + r.heapBytes)
		if r.api != nil {
			r.api.metrics.observe(r, now)
		}
	}
	c.lastWrite = now
	c.signalSpaceLocked()
}

func (c *conn) signalSpaceLocked() {
	if !c.spaceWanted {
		return
	}
	c.spaceWanted = false
	select {
	case c.space <- struct{}{}:
	default:
	}
}

func dropAll(first *Request) {
	for r := first; r != nil; {
		next := r.next
		r.next = nil
		r.drop()
		r = next
	}
}

// throttle stops reading for d from now.
func (c *conn) throttle(d time.Duration) {
	c.srv.metrics.throttles.Inc()
	until := time.Now().Add(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if until.After(c.throttleUntil) {
		c.throttleUntil = until
	}
}
