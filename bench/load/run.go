package load

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Progress counts what went through.
type Progress struct {
	Batches, Records, Bytes int64 // Bytes of record batches, without requests and frames around them
}

// Minus returns what came after earlier.
func (p Progress) Minus(earlier Progress) Progress {
	return Progress{p.Batches - earlier.Batches, p.Records - earlier.Records, p.Bytes - earlier.Bytes}
}

// run is what producers and consumers share: connections and goroutines that end together, at the
// first fault or when asked, and a window in which latencies count.
type run struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	conns  []net.Conn
	undo   []func() bool

	stop   atomic.Bool
	window atomic.Bool
}

func (r *run) init(ctx context.Context) { r.ctx, r.cancel = context.WithCancelCause(ctx) }

// attach makes the end of the run, or limit, the end of conn.
func (r *run) attach(conn net.Conn, limit time.Duration) {
	r.conns = append(r.conns, conn)
	r.undo = append(r.undo, context.AfterFunc(r.ctx, func() { conn.Close() }))
	_ = conn.SetDeadline(time.Now().Add(limit)) // fails only on a closed connection, which the first use reports
}

// settle takes the end of one goroutine; a fault ends all others.
func (r *run) settle(err error) {
	if err != nil {
		r.cancel(err)
	}
}

func (r *run) stopping() bool  { return r.stop.Load() || r.ctx.Err() != nil }
func (r *run) measuring() bool { return r.window.Load() }

// Measure opens or closes the window in which latencies count.
func (r *run) Measure(on bool) { r.window.Store(on) }

// Failed is closed when the run has ended by a fault, which Stop then tells, or with its context.
func (r *run) Failed() <-chan struct{} { return r.ctx.Done() }

// finish asks the goroutines to end, waits for them and returns the first fault.
func (r *run) finish() error {
	r.stop.Store(true)
	return r.wait()
}

func (r *run) wait() error {
	r.wg.Wait()
	err := context.Cause(r.ctx)
	return errors.Join(err, r.abandon())
}

// abandon closes the connections of a run without goroutines.
func (r *run) abandon() error {
	var errs []error
	for i, conn := range r.conns {
		if r.undo[i]() { // otherwise the end of the context has closed it
			errs = append(errs, conn.Close())
		}
	}
	r.cancel(nil)
	return errors.Join(errs...)
}
