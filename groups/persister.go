package groups

import (
	"context"
	"sync"
)

// persister carries out operations on the Store, several at a time, each group's one after another:
// the core has at most one in flight, so the queue is never longer than there are groups. Workers
// exist while there is work.
type persister struct {
	limit int
	do    func(context.Context, job)

	mu      sync.Mutex // guards the fields below
	ctx     context.Context
	jobs    []job
	workers int
	stopped bool           // no worker may start any more
	wg      sync.WaitGroup // the workers
}

type job struct {
	entry *entry
	op    *operation
}

// start lets workers run until ctx ends. What was enqueued before waits for it.
func (p *persister) start(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ctx = ctx
	for range p.jobs {
		p.spawnLocked()
	}
}

func (p *persister) enqueue(j job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs, j)
	p.spawnLocked()
}

func (p *persister) spawnLocked() {
	if p.ctx == nil || p.stopped || p.workers >= p.limit {
		return
	}
	p.workers++
	p.wg.Go(p.work)
}

func (p *persister) work() {
	for {
		j, ok := p.take()
		if !ok {
			return
		}
		p.do(p.ctx, j)
	}
}

// take returns the next job, or ends the worker that asks.
func (p *persister) take() (job, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.jobs) == 0 || p.ctx.Err() != nil {
		p.workers--
		return job{}, false
	}
	j := p.jobs[0]
	p.jobs[0] = job{}
	if p.jobs = p.jobs[1:]; len(p.jobs) == 0 {
		p.jobs = nil
	}
	return j, true
}

// stop returns when all workers have ended, for which start's context must have. Jobs not begun by
// then are never carried out.
func (p *persister) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.wg.Wait()
}
