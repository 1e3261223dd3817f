package raftmeta

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// Member is a server of the group as committed.
type Member struct {
	Server
	Voter bool
}

// Members lists the group's servers as this node knows them.
func (n *Node) Members() ([]Member, error) {
	future := n.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, fmt.Errorf("read Raft configuration: %w", err)
	}
	var list []Member
	for _, s := range future.Configuration().Servers {
		list = append(list, Member{Server{ID: string(s.ID), Address: string(s.Address)}, s.Suffrage == raft.Voter})
	}
	return list, nil
}

// AddNonvoter lets a server follow the log without a vote; a known one gets the new address. Like all
// changes of the group it can be made on the leader only (ErrNotLeader elsewhere).
func (n *Node) AddNonvoter(ctx context.Context, s Server) error {
	return n.change(ctx, "add a server", func() raft.Future {
		return n.raft.AddNonvoter(raft.ServerID(s.ID), raft.ServerAddress(s.Address), 0, 0)
	})
}

// Promote gives a server a vote. It counts for the quorum at once, so it must have caught up (4.7).
func (n *Node) Promote(ctx context.Context, s Server) error {
	return n.change(ctx, "promote a server", func() raft.Future {
		return n.raft.AddVoter(raft.ServerID(s.ID), raft.ServerAddress(s.Address), 0, 0)
	})
}

// RemoveServer takes a server out of the group.
func (n *Node) RemoveServer(ctx context.Context, id string) error {
	return n.change(ctx, "remove a server", func() raft.Future {
		return n.raft.RemoveServer(raft.ServerID(id), 0, 0)
	})
}

// TransferLeadership hands the lead to the server that has most of the log, or to the one that is named.
func (n *Node) TransferLeadership(ctx context.Context, to *Server) error {
	return n.change(ctx, "transfer leadership", func() raft.Future {
		if to == nil {
			return n.raft.LeadershipTransfer()
		}
		return n.raft.LeadershipTransferToServer(raft.ServerID(to.ID), raft.ServerAddress(to.Address))
	})
}

func (n *Node) change(ctx context.Context, what string, change func() raft.Future) error {
	err := n.ask(ctx, change)
	switch {
	case err == nil:
		return nil
	case notProposed(err):
		return fmt.Errorf("%s: %w: %w", what, ErrNotLeader, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Term is Raft's current term: a leader of an older one acts no more.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }
