package groups

import (
	"context"
	"sync"
	"time"
)

// Run loads the groups that have members, so that their sessions run, and then drives deadlines,
// saves and the expiry of offsets until ctx ends. When it returns everybody who waited has an answer.
// It may be called once.
func (c *Coordinator) Run(ctx context.Context) error {
	for g := range c.opts.Store.AllGroups() {
		if len(g.Members) > 0 {
			c.find(groupKey{g.Tenant, g.ID}, false)
		}
	}
	c.persister.start(ctx)
	var sweeper sync.WaitGroup
	sweeper.Go(func() { c.sweepLoop(ctx) })
	c.tickLoop(ctx)
	sweeper.Wait()
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
		e.mu.Lock()
		var fx effects
		e.g.close(c.opts.Now(), errClosed, &fx)
		e.mu.Unlock()
		fx.deliver()
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
