package main

import (
	"context"
	"errors"
	"time"
)

// flushMode says what an acknowledged record has been through. A figure without it says nothing.
type flushMode string

const (
	flushOS   flushMode = "os"    // in the page cache
	flushSync flushMode = "sync"  // on the disk
	flushAsIs flushMode = "as is" // of a broker that somebody else has started
)

// Target is a broker under measurement: one process on this machine, with its data. It is used from one
// goroutine. Another product becomes a second implementation; the workloads know only this.
type Target interface {
	// Start runs the broker on the data it has and returns, once it serves, how long that took from exec.
	Start(ctx context.Context) (time.Duration, error)
	// Addr is where Kafka clients connect, while it runs.
	Addr() string
	// PID is the process whose CPU and memory count, while it runs.
	PID() int
	// Kill ends the process as kill -9 does; the data stays.
	Kill() error
	// Stop ends the process in an orderly way; the data stays. Of a stopped broker it does nothing.
	Stop() error
	// Close stops the broker and removes its data.
	Close() error
	// Trouble is what the broker's log says at its end, for the reader of a failure.
	Trouble() string
}

// errNotOurs is what a broker that somebody else has started cannot be made to do.
var errNotOurs = errors.New("this broker was not started by bench")

// external is a broker that was running before: it can be measured, not restarted.
type external struct {
	addr string
	pid  int
}

func (e *external) Start(context.Context) (time.Duration, error) { return 0, nil }
func (e *external) Addr() string                                 { return e.addr }
func (e *external) PID() int                                     { return e.pid }
func (e *external) Kill() error                                  { return errNotOurs }
func (e *external) Stop() error                                  { return nil }
func (e *external) Close() error                                 { return nil }
func (e *external) Trouble() string                              { return "" }
