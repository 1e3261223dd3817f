package chaos

import (
	"sync"
	"time"
)

// Ledger collects a History while the workload runs. It may be used from any goroutine.
type Ledger struct {
	began time.Time

	mu      sync.Mutex // guards the fields below
	history History
	seen    map[Partition]map[int64]Read // the first read of each offset
	acked   map[Partition]int            // acknowledgements so far
}

// NewLedger begins a history now.
func NewLedger() *Ledger {
	return &Ledger{began: time.Now(), seen: map[Partition]map[int64]Read{}, acked: map[Partition]int{}, history: History{
		Reads: map[Partition][]Read{}, Ends: map[Partition][]EndSeen{}, Commits: map[string][]Commit{},
		Committed: map[string][]CommittedSeen{}, Assigned: map[string][]Assigned{}, Final: map[Partition][]Read{},
	}}
}

// Now is the time since the ledger began, by the monotonic clock.
func (l *Ledger) Now() time.Duration { return time.Since(l.began) }

// Open begins a stream and returns its number.
func (l *Ledger) Open(kind Kind, p Partition) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.Streams = append(l.history.Streams, Stream{Kind: kind, Partition: p})
	return int32(len(l.history.Streams) - 1)
}

// Begin enters an attempt to write the stream's next record.
func (l *Ledger) Begin(stream int32) ID {
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.history.Streams[stream]
	s.Attempts = append(s.Attempts, Attempt{Start: now})
	return ID{stream, int32(len(s.Attempts) - 1)}
}

// Settle enters how an attempt ended.
func (l *Ledger) Settle(id ID, outcome Outcome, offset int64, code int16) {
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.history.Streams[id.Stream]
	a := &s.Attempts[id.Seq]
	a.End, a.Outcome, a.Offset, a.Code = now, outcome, offset, code
	if outcome == Acked {
		l.acked[s.Partition]++
	}
}

// SawRecord enters a record that a consumer was given. Of equal reads of an offset the first is kept.
func (l *Ledger) SawRecord(p Partition, r Read) {
	r.At = l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[p] == nil {
		l.seen[p] = map[int64]Read{}
	}
	first, known := l.seen[p][r.Offset]
	if known && first.ID == r.ID && first.Epoch == r.Epoch {
		return
	}
	if !known {
		l.seen[p][r.Offset] = r
	}
	l.history.Reads[p] = append(l.history.Reads[p], r)
}

// SawEnd enters an answer about the latest offset.
func (l *Ledger) SawEnd(p Partition, e EndSeen) {
	e.End = l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.Ends[p] = append(l.history.Ends[p], e)
}

// SawCommit enters an attempt to commit that began at c.Start and ended now.
func (l *Ledger) SawCommit(group string, c Commit) {
	c.End = l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.Commits[group] = append(l.history.Commits[group], c)
}

// SawCommitted enters an answer about a committed offset.
func (l *Ledger) SawCommitted(group string, s CommittedSeen) {
	s.End = l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.Committed[group] = append(l.history.Committed[group], s)
}

// SawAssigned enters what a member was given.
func (l *Ledger) SawAssigned(group string, a Assigned) {
	a.At = l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.Assigned[group] = append(l.history.Assigned[group], a)
}

// SawAdmin enters an admin operation that began at o.Start and ended now.
func (l *Ledger) SawAdmin(o AdminOp) {
	o.End = l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.Admin = append(l.history.Admin, o)
}

// adminChanges counts the admin operations that changed something and were acknowledged.
func (l *Ledger) adminChanges() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, o := range l.history.Admin {
		if o.Result == Done && !o.Kind.reads() {
			n++
		}
	}
	return n
}

// Complain enters an error that breaks an invariant by itself.
func (l *Ledger) Complain(invariant string, p Partition, text string) {
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.Complaints = append(l.history.Complaints, Complaint{invariant, p, text, now})
}

// Acked counts the acknowledgements in a partition.
func (l *Ledger) Acked(p Partition) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[p]
}

// History ends the ledger: nothing may be entered afterwards.
func (l *Ledger) History() *History {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &l.history
}

// longestWait is the longest time that an acknowledged record of an idempotent producer, or one still without an
// answer, has waited within a window: how long the partition was of no use to it.
func (l *Ledger) longestWait(from, to time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	for _, s := range l.history.Streams {
		if s.Kind != Idempotent {
			continue
		}
		for i := len(s.Attempts) - 1; i >= 0; i-- {
			a := s.Attempts[i]
			end := a.End
			if a.Outcome == Pending {
				end = to
			}
			if end < from {
				break // records of a producer are acknowledged in their order
			}
			if a.Start <= to {
				longest = max(longest, end-a.Start)
			}
		}
	}
	return longest
}
