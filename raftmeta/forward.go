package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Forward sends an entry to the server that leads the group, which is to answer with what its ApplyEntry
// returns. An error that wraps ErrNotLeader says that the entry was not proposed; after any other its
// outcome is unknown.
type Forward func(ctx context.Context, leader Server, entry []byte) (index uint64, err error)

const (
	// leaderPatience is how long an entry waits for a leader that would take it. An election takes a second.
	leaderPatience = 5 * time.Second
	leaderPoll     = 10 * time.Millisecond
	// forwardWait bounds one attempt to have the leader commit an entry, and the wait to apply it here.
	forwardWait = 10 * time.Second
	// outcomesKept is how many entries back a forwarded one can be before what it came to is forgotten.
	outcomesKept = 4096
)

// ApplyEntry commits an entry that another server forwards, and returns its index. It fails with
// ErrNotLeader if this server does not lead, ErrCorrupt or ErrUnsupportedCommand if the entry holds what
// no server of this release sends, and else with ErrOutcomeUnknown.
func (n *Node) ApplyEntry(ctx context.Context, entry []byte) (uint64, error) {
	if _, _, err := decodeEntry(entry); err != nil {
		return 0, err
	}
	var future raft.ApplyFuture
	err := n.ask(ctx, func() raft.Future {
		future = n.raft.Apply(entry, 0)
		return future
	})
	if err == nil {
		return future.Index(), nil
	}
	_, err = entryOutcomes(nil, err, 0)
	return 0, err
}

// apply commits an entry, here or through the leader, and returns what the fsm of this node made of it.
// An entry that was not proposed is tried again until a leader takes it.
func (n *Node) apply(entry []byte) (any, error) {
	patience := time.NewTimer(leaderPatience)
	defer patience.Stop()
	for {
		response, err := n.applyOnce(entry)
		if !notProposed(err) || n.forward == nil {
			return response, err
		}
		select {
		case <-patience.C:
			return nil, err
		case <-n.closed:
			return nil, err
		case <-time.After(leaderPoll):
		}
	}
}

func notProposed(err error) bool {
	return errors.Is(err, raft.ErrNotLeader) || errors.Is(err, ErrNotLeader) || errors.Is(err, raft.ErrLeadershipTransferInProgress)
}

func (n *Node) applyOnce(entry []byte) (any, error) {
	leader, known := n.Leader()
	switch {
	case n.forward == nil || n.IsLeader():
		return n.applyHere(entry)
	case !known || leader.ID == string(n.id):
		return nil, raft.ErrNotLeader
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardWait)
	defer cancel()
	stop := context.AfterFunc(n.life, cancel)
	defer stop()
	index, err := n.forward(ctx, leader, entry)
	if err != nil {
		return nil, err
	}
	return n.outcomes.wait(ctx, index)
}

// applyHere commits an entry as the leader.
func (n *Node) applyHere(entry []byte) (any, error) {
	var future raft.ApplyFuture // written before the answer comes, read only after
	err := n.await(context.Background(), func() raft.Future {
		future = n.raft.Apply(entry, 0) // the senders' contexts bound the waiting, the library none (4.3)
		return future
	})
	if err != nil {
		return nil, err
	}
	return future.Response(), nil
}

// outcomes remembers what the newest entries came to on this node. Every node computes the same from the
// same log, so a proposer that went through the leader needs to learn nothing but the entry's index.
type outcomes struct {
	mu    sync.Mutex // guards the fields below
	ring  [outcomesKept]entryOutcome
	last  uint64        // index applied last
	moved chan struct{} // closed when last rises
}

type entryOutcome struct {
	index    uint64
	outcomes []outcome
}

func newOutcomes() *outcomes { return &outcomes{moved: make(chan struct{})} }

// note remembers entries that were applied, in order, up to last.
func (o *outcomes) note(entries []entryOutcome, last uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range entries {
		o.ring[e.index%outcomesKept] = e
	}
	o.last = max(o.last, last)
	close(o.moved)
	o.moved = make(chan struct{})
}

// wait returns the outcomes of the entry at index once it is applied here.
func (o *outcomes) wait(ctx context.Context, index uint64) ([]outcome, error) {
	for {
		o.mu.Lock()
		kept, last, moved := o.ring[index%outcomesKept], o.last, o.moved
		o.mu.Unlock()
		switch {
		case kept.index == index:
			return kept.outcomes, nil
		case last >= index: // a snapshot took the place of the entry
			return nil, fmt.Errorf("entry %d was committed, what it came to is not known here", index)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for entry %d to be applied here: %w", index, ctx.Err())
		}
	}
}
