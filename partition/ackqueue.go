package partition

import "github.com/chronik-stream/chronik/partition/log"

// ackQueue holds waiters in the order of the offsets they wait for. Appends queue up in offset order;
// only the ack of a duplicate may come behind a later one, and then waits a little longer than it must.
type ackQueue struct {
	entries []ackEntry
}

// ackEntry is satisfied once the offset that its queue follows reaches appended.Next.
type ackEntry struct {
	appended log.Appended
	waiter   AckWaiter
}

func (q *ackQueue) push(e ackEntry) { q.entries = append(q.entries, e) }

// takeUpTo removes and returns the entries at the front that offset satisfies.
func (q *ackQueue) takeUpTo(offset int64) []ackEntry {
	n := 0
	for n < len(q.entries) && q.entries[n].appended.Next <= offset {
		n++
	}
	return q.take(n)
}

func (q *ackQueue) takeAll() []ackEntry { return q.take(len(q.entries)) }

func (q *ackQueue) take(n int) []ackEntry {
	if n == 0 {
		return nil
	}
	taken := append([]ackEntry(nil), q.entries[:n]...)
	rest := copy(q.entries, q.entries[n:])
	clear(q.entries[rest:]) // let the waiters go
	q.entries = q.entries[:rest]
	return taken
}
