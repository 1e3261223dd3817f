package log

import (
	"context"
	"sync"
	"time"
)

// ioBudget spreads the cleaner's reads and writes over time (log.cleaner.io.max.bytes.per.second), so
// that compaction does not take the disk away from producers and consumers. A nil budget is unlimited.
type ioBudget struct {
	bytesPerSecond float64
	now            func() time.Time

	mu   sync.Mutex
	free time.Time // when all that was taken so far will have been paid for
}

// newIOBudget returns a budget; bytesPerSecond <= 0 is unlimited.
func newIOBudget(bytesPerSecond float64, now func() time.Time) *ioBudget {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &ioBudget{bytesPerSecond: bytesPerSecond, now: now}
}

// take pays for n bytes of I/O and waits until earlier ones are paid for. It returns early with the
// error of ctx.
func (b *ioBudget) take(ctx context.Context, n int) error {
	if b == nil {
		return ctx.Err()
	}
	b.mu.Lock()
	now := b.now()
	if b.free.Before(now) {
		b.free = now
	}
	wait := b.free.Sub(now)
	b.free = b.free.Add(time.Duration(float64(n) / b.bytesPerSecond * float64(time.Second)))
	b.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
