package groups

import (
	"context"
	"sync"
	"time"
)

// Run drives deadlines, saves, the loading of gained shards and the expiry of offsets until ctx ends. When
// it returns everybody who waited has an answer. It may be called once.
func (c *Coordinator) Run(ctx context.Context) error {
	c.persister.start(ctx)
	var others sync.WaitGroup
	others.Go(func() { c.loadLoop(ctx) })
	others.Go(func() { c.sweepLoop(ctx) })
	c.tickLoop(ctx)
	others.Wait()
	c.close()
	return nil
}

// tickLoop ticks each group at its deadline.
func (c *Coordinator) tickLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		e, wait := c.timers.next(c.opts.Now())
		if e != nil {
			c.tick(e)
			continue
		}
		if wait >= 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case <-c.timers.wake:
		case <-timer.C:
		}
	}
}

func (c *Coordinator) tick(e *entry) {
	e.mu.Lock()
	if e.gone {
		e.mu.Unlock()
		return
	}
	var fx effects
	before := e.g.state
	e.g.tick(c.opts.Now(), &fx)
	c.unlock(e, before, &fx)
}

// close answers everybody who waits. Run's context has ended.
func (c *Coordinator) close() {
	c.closed.Store(true)
	c.persister.stop()
	for _, e := range c.loaded() { // complete: since closed was set nothing is added
		c.drop(e, errClosed)
	}
}

// loaded returns the groups in memory.
func (c *Coordinator) loaded() []*entry {
	var all []*entry
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, e := range s.groups {
			all = append(all, e)
		}
		s.mu.Unlock()
	}
	return all
}
