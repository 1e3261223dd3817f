package groups

import (
	"container/heap"
	"sync"
	"time"
)

// timers is the one queue of deadlines for all groups. An entry may be due earlier than its group
// needs: heartbeats move a group's deadline back without a word to the queue, and the tick that comes
// too early sets the next one. So a heartbeat costs no queue operation, and a group one tick per
// session timeout.
type timers struct {
	wake chan struct{} // holds a token when the earliest deadline came nearer

	mu   sync.Mutex // guards heap, and due and heapIndex of every entry
	heap dueHeap
}

func newTimers() *timers { return &timers{wake: make(chan struct{}, 1)} }

// schedule makes e due at the given time, or leaves it due earlier. The zero time means not at all.
func (t *timers) schedule(e *entry, at time.Time) {
	if at.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case e.heapIndex < 0:
		e.due = at
		heap.Push(&t.heap, e)
	case at.Before(e.due):
		e.due = at
		heap.Fix(&t.heap, e.heapIndex)
	default:
		return
	}
	if e.heapIndex == 0 {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// drop forgets e.
func (t *timers) drop(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.heapIndex >= 0 {
		heap.Remove(&t.heap, e.heapIndex)
	}
}

// next takes an entry that is due at now, or else tells how long until the first one is; negative if
// there is none.
func (t *timers) next(now time.Time) (*entry, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return nil, -1
	}
	if wait := t.heap[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&t.heap).(*entry), 0
}

// dueHeap orders entries by due; it is a heap.Interface.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i, j
}

func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.heapIndex = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.heapIndex = -1
	return e
}
