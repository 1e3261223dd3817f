package partition

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/partition/log"
)

// Errors that callers branch on, beside those of package log. The protocol's own are core's.
var (
	ErrNotLeader         = core.ErrNotLeader
	ErrFencedEpoch       = core.ErrFencedEpoch
	ErrUnknownEpoch      = core.ErrUnknownEpoch
	ErrNotEnoughReplicas = core.ErrNotEnoughReplicas
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

// Isolation says how far a reader may see.
type Isolation int8

// The isolation levels of Kafka, numbered as on the wire.
const (
	ReadUncommitted Isolation = 0 // up to the high watermark
	ReadCommitted   Isolation = 1 // up to the last stable offset
)

// AnyEpoch is the current leader epoch of a client that does not know it.
const AnyEpoch = core.AnyEpoch

// Replica is one replica of one partition. Its methods may be called from any goroutine.
//
// It leads, follows or does neither; Lead, Follow and Resign, called by whoever applies the metadata in
// order, say which. The protocol itself is in package core.
type Replica struct {
	log *log.Log // immutable; its own locks come after mu

	// role is held while the role changes, and by a follower while it changes its log: an answer of the
	// old leader can then never arrive in the log of a new one. It comes before mu.
	role sync.Mutex

	mu     sync.Mutex              // guards the fields below; never held across I/O other than the append itself
	core   *core.Replica[ackEntry] // the protocol: role, epoch, high watermark, who waits for an ack
	wakers wakers                  // wait for the high watermark
	tails  wakers                  // wait for the log end: followers
	isrDue func()                  // see OnISR
}

// ackEntry is who waits for an acknowledgement, and of what.
type ackEntry struct {
	appended log.Appended
	waiter   AckWaiter
}

// Offsets are a replica's positions at one moment.
type Offsets struct {
	Start, HighWatermark, LastStable, End int64
	LeaderEpoch                           int32
	// Settled is false for a new leader that does not know the true high watermark yet: an earlier one
	// may have shown more (replication.md 8.3).
	Settled bool
}

// New wraps an open log. The replica neither leads nor follows; it owns the log's listener from here on,
// the caller keeps owning the log.
func New(l *log.Log) *Replica {
	r := &Replica{log: l, core: core.NewReplica[ackEntry](l), wakers: wakers{}, tails: wakers{}, isrDue: func() {}}
	r.core.StartAt(l.HighWatermark())
	l.SetListener(r.logMoved)
	return r
}

// Log is the replica's log.
func (r *Replica) Log() *log.Log { return r.log }

// OnISR sets what is called, without locks and without blocking, when a change of the ISR may be due
// because a follower has caught up: the owner then asks ProposeISR. It is set before the replica leads.
func (r *Replica) OnISR(due func()) { r.isrDue = due }

// Lead makes this replica, on broker self, the leader of the partition as view describes it. The log
// knows the epoch durably before anything is served in it (replication.md 10.7). Leading already in that
// epoch, it adopts what else view says.
func (r *Replica) Lead(self int32, view core.View, now time.Time) error {
	r.role.Lock()
	defer r.role.Unlock()
	if known, err := r.adopt(view, now); known || err != nil {
		return err
	}
	r.settle(ErrNotLeader, false) // what waits was appended in an earlier epoch
	if err := r.startEpoch(view); err != nil {
		return fmt.Errorf("start leader epoch %d: %w", view.LeaderEpoch, err)
	}
	r.mu.Lock()
	r.core.Lead(self, view, now)
	r.mu.Unlock()
	r.logMoved() // alone in the ISR, the leader's own durable end is the high watermark
	if view.Recovering {
		r.isrDue()
	}
	return nil
}

// adopt takes over what a view says about the epoch that this replica leads in already.
func (r *Replica) adopt(view core.View, now time.Time) (known bool, _ error) {
	r.mu.Lock()
	known, err := r.core.Adopt(view, now)
	r.mu.Unlock()
	if known {
		r.logMoved() // a smaller ISR may have committed more
	}
	return known, err
}

// startEpoch writes the epoch down. Without followers there is nobody who could learn of it before the
// first batch makes it durable.
func (r *Replica) startEpoch(view core.View) error {
	if err := r.log.StartEpoch(view.LeaderEpoch); err != nil || len(view.Replicas) <= 1 {
		return err
	}
	return r.log.Sync()
}

// Follow makes this replica a follower in epoch: until the next change it accepts what the leader of
// that epoch sends. unclean is the epoch of the newest unclean election, or -1. It reports whether that
// is news.
func (r *Replica) Follow(epoch, unclean int32) (news bool) {
	r.role.Lock()
	defer r.role.Unlock()
	r.mu.Lock()
	news = r.core.IsNews(epoch)
	r.mu.Unlock()
	if !news {
		return false
	}
	r.settle(ErrNotLeader, false)
	r.log.ForgetEmptyEpochs()
	r.mu.Lock()
	r.core.Follow(epoch, unclean)
	r.mu.Unlock()
	return true
}

// Resign ends leadership or following: in epoch the partition has no leader. What waited for an
// acknowledgement is told ErrNotLeader: the batch may yet survive under the next leader, or not.
func (r *Replica) Resign(epoch int32) {
	r.role.Lock()
	defer r.role.Unlock()
	r.settle(ErrNotLeader, false)
	r.mu.Lock()
	r.core.Resign(epoch)
	r.mu.Unlock()
}

// GiveUp tells all who wait for an acknowledgement that this replica may not lead any more, ErrNotLeader, while
// nothing is known: their batches may yet be committed, here or under the next leader. The role stays.
func (r *Replica) GiveUp() {
	r.mu.Lock()
	waiters := r.core.TakeWaiting()
	r.mu.Unlock()
	for _, e := range waiters {
		e.waiter.Acked(e.appended, ErrNotLeader)
	}
}

// Close ends the replica's service for good, before its log is closed or removed.
func (r *Replica) Close() {
	r.role.Lock()
	defer r.role.Unlock()
	r.settle(ErrNotLeader, true)
}

func (r *Replica) settle(reason error, closing bool) {
	r.mu.Lock()
	waiters := r.core.StepDown(closing)
	woken := append(r.wakers.take(), r.tails.take()...)
	r.mu.Unlock()
	for _, e := range waiters {
		e.waiter.Acked(e.appended, reason)
	}
	wake(woken)
}

// Append writes one or more validated batches at the end of the log. On an error nothing was written
// and waiter is not called. Otherwise waiter, unless acks is AcksNone, is told once when the batch is
// acknowledged or can no longer be in this epoch; that may be before Append returns. A duplicate of a
// remembered batch is not written again, and is acknowledged like the original (replication.md 16).
func (r *Replica) Append(batch []byte, acks Acks, waiter AckWaiter) (log.Appended, error) {
	r.mu.Lock()
	if err := r.core.MayAppend(acks == AcksAll); err != nil {
		r.mu.Unlock()
		return log.Appended{}, err
	}
	appended, err := r.log.Append(batch, log.AppendOptions{LeaderEpoch: r.core.Epoch()})
	if err != nil {
		r.mu.Unlock()
		return log.Appended{}, err
	}
	woken := append(r.advanceLocked(), r.tails.take()...)
	acked := acks != AcksNone && !r.core.Wait(acks == AcksAll, appended.Next, ackEntry{appended, waiter})
	r.mu.Unlock()
	wake(woken)
	if acked {
		waiter.Acked(appended, nil)
	}
	return appended, nil
}

// logMoved is the log's listener: its durable end or its start rose, or it failed.
func (r *Replica) logMoved() {
	r.mu.Lock()
	woken := r.advanceLocked()
	var acked []ackEntry
	var reason error
	if err := r.log.Failed(); err != nil {
		reason = fmt.Errorf("%w: %w", ErrStorage, err)
		acked = r.core.TakeWaiting()
		woken = append(r.wakers.take(), r.tails.take()...)
	} else {
		acked = r.core.TakeAcked()
		if r.core.Following() {
			woken = append(woken, r.tails.take()...) // the fetcher waits for what it appended to be durable
		}
	}
	r.mu.Unlock()
	for _, e := range acked {
		e.waiter.Acked(e.appended, reason)
	}
	wake(woken)
}

// advanceLocked raises the high watermark as far as the replicas that count allow. Whoever raises it must
// wake those it returns, and answer core's TakeAcked, once the lock is released.
func (r *Replica) advanceLocked() (woken []Waker) {
	if !r.core.Advance() {
		return nil
	}
	r.log.SetHighWatermark(r.core.HighWatermark())
	return r.wakers.take()
}

// WakeAbove arranges for w to be woken once when the high watermark exceeds hw, or the replica changes
// its role or fails. It reports false, and does nothing, if that is so already.
func (r *Replica) WakeAbove(hw int64, w Waker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.core.Leader() == nil && !r.core.Following() || r.core.HighWatermark() > hw {
		return false
	}
	r.wakers[w] = struct{}{}
	return true
}

// WakeAboveEnd is WakeAbove for a follower's fetch, which waits for the log end.
func (r *Replica) WakeAboveEnd(end int64, w Waker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.core.Leader() == nil || r.log.EndOffset() > end {
		return false
	}
	r.tails[w] = struct{}{}
	return true
}

// Forget withdraws w. A Wake under way may still arrive.
func (r *Replica) Forget(w Waker) {
	r.mu.Lock()
	delete(r.wakers, w)
	delete(r.tails, w)
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
		HighWatermark: r.core.HighWatermark(),
		LastStable:    min(r.core.HighWatermark(), r.log.FirstUnstableOffset()),
		End:           r.log.EndOffset(),
		LeaderEpoch:   r.core.Epoch(),
		Settled:       r.core.Settled(),
	}
}

// LeaderOffsets is Offsets for a client that believes the leader epoch to be current (or AnyEpoch). The
// epoch is judged before leadership, so that a stale client learns that it is stale.
func (r *Replica) LeaderOffsets(current int32) (Offsets, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.core.CheckEpoch(current); err != nil {
		return Offsets{}, err
	}
	if r.core.Leader() == nil {
		return Offsets{}, ErrNotLeader
	}
	return r.offsetsLocked(), nil
}

// EpochEnd answers OffsetForLeaderEpoch for a client that believes the leader epoch to be current (or AnyEpoch): the
// largest known epoch that is not above the asked one, and the offset at which it ends, or (-1, -1).
func (r *Replica) EpochEnd(current, asked int32) (epoch int32, end int64, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.core.CheckEpoch(current); err != nil {
		return -1, -1, err
	}
	if err := r.core.CheckHistory(asked); err != nil {
		return -1, -1, err
	}
	if r.core.Leader() == nil {
		return -1, -1, ErrNotLeader
	}
	epoch, end = r.log.EpochEnd(asked)
	return epoch, end, nil
}

// Visible is the end of what a reader at the isolation level may see.
func (o Offsets) Visible(level Isolation) int64 {
	if level == ReadCommitted {
		return o.LastStable
	}
	return o.HighWatermark
}
