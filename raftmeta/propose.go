package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/semaphore"

	"github.com/chronik-stream/chronik/internal/invariant"
)

const (
	// maxInFlight is how many entries are under way at once. While they are, the next one collects. More
	// than one was measured (BenchmarkPropose): the entries only get smaller, and 16 to 256 callers slower
	// by a quarter, because the library syncs one entry after the other anyway. And an entry that arrives
	// behind a later one is dropped; see stamp.
	maxInFlight = 1
	// maxQueuedBytes bounds what proposals hold, in flight included; further ones wait for room.
	maxQueuedBytes = 64 << 20
	// proposalOverhead is what a proposal weighs besides its command.
	proposalOverhead = 256
)

// proposal is one command on its way.
type proposal struct {
	command []byte
	weight  int64
	answer  chan answer // holds one
	// taken decides between the caller who gives up and the sender: whoever sets it first.
	taken atomic.Bool
}

type answer struct {
	result Result
	err    error
}

// proposals is the group commit: each of its senders takes all that has queued up, as far as it fits
// into an entry, and waits until that is applied. An idle sender takes a proposal at once; while all
// are busy the next entry collects.
type proposals struct {
	apply   func(entry []byte) (any, error) // commits an entry and returns the fsm's response
	metrics *metrics
	room    *semaphore.Weighted // bytes
	senders sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	work   sync.Cond  // queue is not empty, or closed
	queue  []*proposal
	closed bool
	last   stamp // of the newest entry; zero while entries are not numbered
}

func newProposals(apply func([]byte) (any, error), m *metrics, senders int) *proposals {
	p := &proposals{apply: apply, metrics: m, room: semaphore.NewWeighted(maxQueuedBytes)}
	p.work.L = &p.mu
	for range senders {
		p.senders.Go(p.send)
	}
	return p
}

func (p *proposals) propose(ctx context.Context, cmd Command) (Result, error) {
	command, err := appendCommand(nil, cmd)
	if err == nil && len(command) > MaxCommandBytes {
		err = fmt.Errorf("%w: %d bytes", ErrTooLarge, len(command))
	}
	if err != nil {
		return Result{}, p.notProposed(err)
	}
	one := &proposal{command: command, weight: int64(len(command) + proposalOverhead), answer: make(chan answer, 1)}
	if err := p.room.Acquire(ctx, one.weight); err != nil {
		return Result{}, p.notProposed(fmt.Errorf("wait for room in the proposal queue: %w", err))
	}
	if !p.enqueue(one) {
		p.room.Release(one.weight)
		return Result{}, p.notProposed(ErrClosed)
	}
	select {
	case a := <-one.answer:
		return a.result, a.err
	case <-ctx.Done():
	}
	if one.taken.CompareAndSwap(false, true) {
		return Result{}, p.notProposed(fmt.Errorf("wait in the proposal queue: %w", ctx.Err()))
	}
	p.metrics.unknown.Inc()
	return Result{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ctx.Err())
}

func (p *proposals) notProposed(err error) error {
	p.metrics.notProposed.Inc()
	return fmt.Errorf("propose: %w", err)
}

func (p *proposals) enqueue(one *proposal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.queue = append(p.queue, one)
	p.metrics.queued.Add(float64(one.weight))
	p.work.Signal()
	return true
}

// send is one sender.
func (p *proposals) send() {
	for {
		batch, ok := p.next()
		if !ok {
			return
		}
		p.sendBatch(batch)
	}
}

// next waits for proposals and takes as many as fit into one entry, at least one.
func (p *proposals) next() ([]*proposal, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.closed {
			return nil, false
		}
		p.work.Wait()
	}
	n, size := 0, 0
	for n < len(p.queue) && (n == 0 || size+len(p.queue[n].command) <= maxEntryBytes) {
		size += len(p.queue[n].command)
		n++
	}
	batch := p.queue[:n:n]
	p.queue = p.queue[n:]
	if len(p.queue) > 0 {
		p.work.Signal() // for another sender
	} else {
		p.queue = nil
	}
	return batch, true
}

// sendBatch commits one entry and answers its proposers.
func (p *proposals) sendBatch(batch []*proposal) {
	sent := batch[:0]
	for _, one := range batch {
		if one.taken.CompareAndSwap(false, true) {
			sent = append(sent, one)
		} else {
			p.release(one) // its caller gave up
		}
	}
	if len(sent) == 0 {
		return
	}
	entry := beginEntry(p.nextStamp())
	for _, one := range sent {
		entry = appendToEntry(entry, one.command)
	}
	p.metrics.batchCommands.Observe(float64(len(sent)))
	p.metrics.batchBytes.Observe(float64(len(entry)))
	start := time.Now()
	response, err := p.apply(entry)
	p.metrics.commitSeconds.Observe(time.Since(start).Seconds())
	outcomes, err := entryOutcomes(response, err, len(sent))
	for i, one := range sent {
		if err != nil {
			p.settle(one, answer{err: err})
		} else {
			p.settle(one, answer{outcomes[i].result, outcomes[i].err})
		}
	}
}

// entryOutcomes tells apart what became of an entry: applied, refused before it was appended, or unknown.
func entryOutcomes(response any, err error, n int) ([]outcome, error) {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return nil, fmt.Errorf("propose: %w: %w", ErrNotLeader, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	if err, ok := response.(error); ok {
		return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	outcomes, ok := response.([]outcome)
	invariant.Check(ok && len(outcomes) == n, "%d commands were answered by %T", n, response)
	return outcomes, nil
}

// settle answers a proposal that was sent.
func (p *proposals) settle(one *proposal, a answer) {
	switch {
	case a.err == nil:
		p.metrics.committed.Inc()
	case rejected(a.err):
		p.metrics.rejected.Inc()
	case errors.Is(a.err, ErrOutcomeUnknown):
		p.metrics.unknown.Inc()
	default:
		p.metrics.notProposed.Inc()
	}
	one.answer <- a
	p.release(one)
}

func (p *proposals) release(one *proposal) {
	p.metrics.queued.Sub(float64(one.weight))
	p.room.Release(one.weight)
}

// close refuses what comes from now on and what no entry holds yet. What is in flight goes on.
func (p *proposals) close() {
	p.mu.Lock()
	waiting := p.queue
	p.queue, p.closed = nil, true
	p.work.Broadcast()
	p.mu.Unlock()
	for _, one := range waiting {
		if one.taken.CompareAndSwap(false, true) {
			p.settle(one, answer{err: fmt.Errorf("propose: %w", ErrClosed)})
		} else {
			p.release(one)
		}
	}
}

// wait returns when no sender runs any more.
func (p *proposals) wait() { p.senders.Wait() }
