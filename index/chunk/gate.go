package chunk

import (
	"context"
	"time"
)

// gate lets one in at a time, like a lock, for work that may be long: waiting ends with the context.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }

// pace holds a reader to a rate; a nil one does not.
type pace struct {
	bytesPerSecond int64
	owed           time.Duration
}

// wait sleeps off what n bytes took too little time for. It saves up to sleeps that timers can do.
func (p *pace) wait(ctx context.Context, n int) error {
	if p == nil || p.bytesPerSecond <= 0 {
		return ctx.Err()
	}
	p.owed += time.Duration(float64(n) / float64(p.bytesPerSecond) * float64(time.Second))
	if p.owed < 10*time.Millisecond {
		return ctx.Err()
	}
	timer := time.NewTimer(p.owed)
	defer timer.Stop()
	p.owed = 0
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
