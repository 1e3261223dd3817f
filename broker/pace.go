package broker

import (
	"context"
	"sync"
	"time"
)

// pace spreads bytes over time: who has taken some waits until they would have come at the rate allowed.
// All who share one are slowed down together.
type pace struct {
	mu   sync.Mutex // guards next
	next time.Time  // when everything taken so far is paid for
}

// take pays for bytes at a rate of perSecond, at least 1, and waits until that is done or ctx ends.
func (p *pace) take(ctx context.Context, bytes, perSecond int64, now time.Time) {
	p.mu.Lock()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(bytes) / float64(perSecond) * float64(time.Second)))
	wait := p.next.Sub(now)
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
