package partition

import (
	"errors"
	"fmt"
	"sync"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/partition/log"
)

// Errors that callers branch on.
var (
	ErrNotLeader         = errors.New("not the leader of this partition")
	ErrFencedEpoch       = errors.New("leader epoch is older than the partition's")
	ErrUnknownEpoch      = errors.New("leader epoch is newer than this broker knows")
	ErrNotEnoughReplicas = errors.New("fewer replicas in sync than min.insync.replicas")
	ErrClosed            = errors.New("the replica is closed")
	// ErrStorage is indeterminate after an append: the batch may be in the log or not.
	ErrStorage = errors.New("the log directory has failed")
)

// Acks says what an append waits for.
type Acks int8

// The values of Kafka's acks.
const (
	AcksAll    Acks = -1 // every in-sync replica has it durable: hw has passed it
	AcksNone   Acks = 0  // nothing
	AcksLeader Acks = 1  // the leader has it, durable as its flush mode says
)

// AckWaiter is told once what became of an append. The call comes from whatever goroutine settled it,
// possibly before Append returns, without locks held, and must not block.
type AckWaiter interface {
	Acked(appended log.Appended, err error)
}

// Waker is told once that a partition it waits for has moved. It must not block.
type Waker interface{ Wake() }

// Isolation says how far a reader may see.
type Isolation int8

// The isolation levels of Kafka, numbered as on the wire.
const (
	ReadUncommitted Isolation = 0 // up to the high watermark
	ReadCommitted   Isolation = 1 // up to the last stable offset
)

// AnyEpoch is the current leader epoch of a client that does not know it.
const AnyEpoch int32 = -1

// Replica is one replica of one partition. Its methods may be called from any goroutine.
type Replica struct {
	log *log.Log // immutable; its own locks come after mu

	mu        sync.Mutex // guards the fields below; never held across I/O other than the append itself
	leading   bool
	closed    bool
	epoch     int32
	hw        int64
	durable   ackQueue // waits for the leader's own copy
	committed ackQueue // waits for hw
	wakers    map[Waker]struct{}
}

// Offsets are a replica's positions at one moment.
type Offsets struct {
	Start, HighWatermark, LastStable, End int64
	LeaderEpoch                           int32
}

// New wraps an open log. The replica follows until Lead; it owns the log's listener from here on, the
// caller keeps owning the log.
func New(l *log.Log) *Replica {
	r := &Replica{log: l, hw: l.HighWatermark(), wakers: map[Waker]struct{}{}}
	l.SetListener(r.logMoved)
	return r
}

// Log is the replica's log.
func (r *Replica) Log() *log.Log { return r.log }

// Lead makes this replica the leader in epoch, which the log knows before anything is served in it
// (replication.md 10.7). Leading again in the same epoch changes nothing.
func (r *Replica) Lead(epoch int32) error {
	r.mu.Lock()
	known := r.leading && r.epoch == epoch
	older := epoch < r.epoch
	r.mu.Unlock()
	if known {
		return nil
	}
	if older {
		return fmt.Errorf("%w: told to lead in %d after %d", ErrFencedEpoch, epoch, r.epoch)
	}
	if err := r.log.StartEpoch(epoch); err != nil {
		return fmt.Errorf("start leader epoch %d: %w", epoch, err)
	}
	r.mu.Lock()
	r.leading, r.epoch = true, epoch
	r.mu.Unlock()
	r.logMoved() // alone in the ISR, the leader's own durable end is the high watermark
	return nil
}

// Resign ends leadership. What waited for an acknowledgement is told ErrNotLeader: the batch may yet
// survive under the next leader, or not.
func (r *Replica) Resign() { r.settle(ErrNotLeader, false) }

// Close ends the replica's service for good, before its log is closed or removed.
func (r *Replica) Close() { r.settle(ErrNotLeader, true) }

func (r *Replica) settle(reason error, closing bool) {
	r.mu.Lock()
	r.leading = false
	r.closed = r.closed || closing
	waiters := append(r.durable.takeAll(), r.committed.takeAll()...)
	wakers := r.takeWakersLocked()
	r.mu.Unlock()
	for _, e := range waiters {
		e.waiter.Acked(e.appended, reason)
	}
	wake(wakers)
}

// Append writes one or more validated batches at the end of the log. On an error nothing was written
// and waiter is not called. Otherwise waiter, unless acks is AcksNone, is told once when the batch is
// acknowledged or can no longer be in this epoch; that may be before Append returns. A duplicate of a
// remembered batch is not written again, and is acknowledged like the original (replication.md 16).
func (r *Replica) Append(batch []byte, acks Acks, waiter AckWaiter) (log.Appended, error) {
	r.mu.Lock()
	if !r.leading {
		r.mu.Unlock()
		return log.Appended{}, ErrNotLeader
	}
	appended, err := r.log.Append(batch, log.AppendOptions{LeaderEpoch: r.epoch})
	if err != nil {
		r.mu.Unlock()
		return log.Appended{}, err
	}
	woken := r.advanceLocked()
	acked := acks != AcksNone && !r.queueLocked(acks, ackEntry{appended, waiter})
	r.mu.Unlock()
	wake(woken)
	if acked {
		waiter.Acked(appended, nil)
	}
	return appended, nil
}

// queueLocked makes e wait for what acks asks for. It reports false if that is so already.
func (r *Replica) queueLocked(acks Acks, e ackEntry) bool {
	queue, reached := &r.committed, r.hw
	if acks == AcksLeader {
		queue, reached = &r.durable, r.log.DurableOffset()
	}
	if reached >= e.appended.Next {
		return false
	}
	queue.push(e)
	return true
}

func wake(wakers map[Waker]struct{}) {
	for w := range wakers {
		w.Wake()
	}
}

// logMoved is the log's listener: its durable end or its start rose, or it failed.
func (r *Replica) logMoved() {
	r.mu.Lock()
	woken := r.advanceLocked()
	var acked []ackEntry
	var reason error
	if err := r.log.Failed(); err != nil {
		reason = fmt.Errorf("%w: %w", ErrStorage, err)
		acked = append(r.durable.takeAll(), r.committed.takeAll()...)
		woken = r.takeWakersLocked()
	} else {
		acked = append(r.durable.takeUpTo(r.log.DurableOffset()), r.committed.takeUpTo(r.hw)...)
	}
	r.mu.Unlock()
	for _, e := range acked {
		e.waiter.Acked(e.appended, reason)
	}
	wake(woken)
}

// advanceLocked raises the high watermark to the lowest durable end among the replicas that count.
// The ISR of a one-replica partition is its leader, so that is the leader's own durable end. Whoever
// raises it must wake those it returns, once the lock is released.
func (r *Replica) advanceLocked() (woken map[Waker]struct{}) {
	if !r.leading {
		return nil
	}
	if low := r.log.DurableOffset(); low > r.hw {
		r.hw = low
		r.log.SetHighWatermark(low)
		woken = r.takeWakersLocked()
	}
	invariant.Check(r.hw <= r.log.EndOffset(), "hw %d is past the log end %d", r.hw, r.log.EndOffset())
	return woken
}

func (r *Replica) takeWakersLocked() map[Waker]struct{} {
	if len(r.wakers) == 0 {
		return nil
	}
	taken := r.wakers
	r.wakers = map[Waker]struct{}{}
	return taken
}

// WakeAbove arranges for w to be woken once when the high watermark exceeds hw, or the replica stops
// leading or fails. It reports false, and does nothing, if that is so already.
func (r *Replica) WakeAbove(hw int64, w Waker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading || r.hw > hw {
		return false
	}
	r.wakers[w] = struct{}{}
	return true
}

// Forget withdraws w. A Wake under way may still arrive.
func (r *Replica) Forget(w Waker) {
	r.mu.Lock()
	delete(r.wakers, w)
	r.mu.Unlock()
}

// Offsets returns the replica's positions, all of one moment.
func (r *Replica) Offsets() Offsets {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offsetsLocked()
}

func (r *Replica) offsetsLocked() Offsets {
	return Offsets{
		Start:         r.log.StartOffset(),
		HighWatermark: r.hw,
		LastStable:    min(r.hw, r.log.FirstUnstableOffset()),
		End:           r.log.EndOffset(),
		LeaderEpoch:   r.epoch,
	}
}

// LeaderOffsets is Offsets for a client that believes the leader epoch to be current (or AnyEpoch). The
// epoch is judged before leadership, so that a stale client learns that it is stale.
func (r *Replica) LeaderOffsets(current int32) (Offsets, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case current != AnyEpoch && current < r.epoch:
		return Offsets{}, ErrFencedEpoch
	case current != AnyEpoch && current > r.epoch:
		return Offsets{}, ErrUnknownEpoch
	case !r.leading:
		return Offsets{}, ErrNotLeader
	}
	return r.offsetsLocked(), nil
}

// Visible is the end of what a reader at the isolation level may see.
func (o Offsets) Visible(level Isolation) int64 {
	if level == ReadCommitted {
		return o.LastStable
	}
	return o.HighWatermark
}
