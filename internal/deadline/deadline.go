// Package deadline gives every waiting request its time limit without a timer or a goroutine each:
// one heap, one goroutine, one timer for the node (performance-notes.md, decision 10).
package deadline

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Queue calls functions when their time has come. The zero Queue is not usable; see New.
type Queue struct {
	mu      sync.Mutex // guards the fields below
	entries entryHeap
	expired bool          // everything is due
	wake    chan struct{} // has room for one; filled when the earliest deadline became earlier
}

// Entry is one pending call.
type Entry struct {
	at    time.Time
	call  func()
	index int // in the heap, or -1 once fired or stopped
}

// New makes a queue; its calls happen while Run runs.
func New() *Queue { return &Queue{wake: make(chan struct{}, 1)} }

// At arranges for call to run at or soon after t, on the queue's goroutine: it must not block.
func (q *Queue) At(t time.Time, call func()) *Entry {
	e := &Entry{at: t, call: call}
	q.mu.Lock()
	heap.Push(&q.entries, e)
	first := e.index == 0 || q.expired
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return e
}

// Stop withdraws e. It reports whether it came in time: false means that the call has been or is
// being made. Stopping a nil entry does nothing.
func (q *Queue) Stop(e *Entry) bool {
	if e == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.index < 0 {
		return false
	}
	heap.Remove(&q.entries, e.index)
	return true
}

// Expire makes everything due, now and from here on: waiting is over.
func (q *Queue) Expire() {
	q.mu.Lock()
	q.expired = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Len is the number of pending calls.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries)
}

// Run makes the calls until ctx ends. Calls still pending then are never made.
func (q *Queue) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(q.fireDue(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// fireDue makes every call that is due and returns how long to sleep.
func (q *Queue) fireDue(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.entries) > 0 {
		e := q.entries[0]
		if wait := e.at.Sub(now); wait > 0 && !q.expired {
			return wait
		}
		heap.Pop(&q.entries)
		q.mu.Unlock() // the call may use the queue
		e.call()
		q.mu.Lock()
	}
	return time.Hour
}

type entryHeap []*Entry

func (h entryHeap) Len() int           { return len(h) }
func (h entryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h entryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *entryHeap) Push(x any) {
	e := x.(*Entry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *entryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}
