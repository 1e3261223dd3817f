package raftmeta

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// ProposeAsLeader is Propose for the controller: it goes through this node's own Raft leadership or fails
// with ErrNotLeader, and is never forwarded. A decision of a leader that has lost its office must not reach
// the log by way of its successor, who judges anew (replication.md 4.4, I23).
func (n *Node) ProposeAsLeader(ctx context.Context, cmd Command) (Result, error) {
	command, err := appendCommand(nil, cmd)
	if err == nil && len(command) > MaxCommandBytes {
		err = fmt.Errorf("%w: %d bytes", ErrTooLarge, len(command))
	}
	if err != nil {
		return Result{}, fmt.Errorf("propose: %w", err)
	}
	var future raft.ApplyFuture // written before the answer comes, read only after
	err = n.ask(ctx, func() raft.Future {
		future = n.raft.Apply(appendToEntry(beginEntry(stamp{}), command), 0)
		return future
	})
	var response any
	if err == nil {
		response = future.Response()
	}
	outcomes, err := entryOutcomes(response, err, 1)
	if err != nil {
		return Result{}, err
	}
	return outcomes[0].result, outcomes[0].err
}

// ServerID is this node's Raft identity.
func (n *Node) ServerID() string { return string(n.id) }

// LastContact is when this node last heard from a leader of the group: now if it leads, zero if never.
func (n *Node) LastContact() time.Time {
	if n.IsLeader() {
		return time.Now()
	}
	return n.raft.LastContact()
}

// Progress is how far a server's log goes.
type Progress struct {
	Term         uint64 // Raft's current term
	LastIndex    uint64 // of its log, committed or not
	AppliedIndex uint64
}

// Progress reads a few counters; unlike Stats it touches no disk.
func (n *Node) Progress() Progress {
	return Progress{Term: n.raft.CurrentTerm(), LastIndex: n.raft.LastIndex(), AppliedIndex: n.raft.AppliedIndex()}
}
