package core

// waits holds those who wait for an offset, in the order of the offsets. Appends queue up in offset
// order; only the ack of a duplicate may come behind a later one, and then waits a little longer than it
// must.
type waits[W any] struct{ entries []wait[W] }

type wait[W any] struct {
	next int64 // satisfied from here on
	w    W
}

func (q *waits[W]) push(next int64, w W) { q.entries = append(q.entries, wait[W]{next, w}) }

// takeUpTo removes and returns those at the front that offset satisfies.
func (q *waits[W]) takeUpTo(offset int64) []W {
	n := 0
	for n < len(q.entries) && q.entries[n].next <= offset {
		n++
	}
	return q.take(n)
}

func (q *waits[W]) takeAll() []W { return q.take(len(q.entries)) }

func (q *waits[W]) take(n int) []W {
	if n == 0 {
		return nil
	}
	taken := make([]W, n)
	for i := range n {
		taken[i] = q.entries[i].w
	}
	rest := copy(q.entries, q.entries[n:])
	clear(q.entries[rest:]) // let the waiters go
	q.entries = q.entries[:rest]
	return taken
}
