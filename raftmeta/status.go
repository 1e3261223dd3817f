package raftmeta

import (
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// RaftStatus is what a node knows of its Raft group, in the form of GET /v1/raft.
type RaftStatus struct {
	State        string         `json:"state"` // leader, follower, candidate, shutdown
	Term         uint64         `json:"term"`
	Leader       string         `json:"leader"` // server id, empty if unknown
	LastIndex    uint64         `json:"last_index"`
	CommitIndex  uint64         `json:"commit_index"`
	AppliedIndex uint64         `json:"applied_index"`
	Servers      []ServerStatus `json:"servers"`
	Snapshot     SnapshotStatus `json:"snapshot"` // newest on disk, zero if there is none
}

// ServerStatus is one member of the group. LastContactMs is how long ago this node heard of the server,
// 0 for itself, -1 if it does not know: a follower only hears from the leader.
type ServerStatus struct {
	ID            string `json:"id"`
	Address       string `json:"address"`
	Suffrage      string `json:"suffrage"` // voter, nonvoter, staging
	LastContactMs int64  `json:"last_contact_ms"`
}

// SnapshotStatus names a snapshot by the last entry it holds.
type SnapshotStatus struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

// Stats describes the node's Raft state. The numbers are read one after the other, not at one instant.
func (n *Node) Stats() RaftStatus {
	_, leader := n.raft.LeaderWithID()
	s := RaftStatus{
		State:        strings.ToLower(n.raft.State().String()),
		Term:         n.raft.CurrentTerm(),
		Leader:       string(leader),
		LastIndex:    n.raft.LastIndex(),
		CommitIndex:  n.raft.CommitIndex(),
		AppliedIndex: n.raft.AppliedIndex(),
		Servers:      []ServerStatus{},
	}
	configuration := n.raft.GetConfiguration()
	if configuration.Error() == nil {
		for _, server := range configuration.Configuration().Servers {
			s.Servers = append(s.Servers, n.serverStatus(server, leader))
		}
	}
	if kept, err := n.snapshots.List(); err == nil && len(kept) > 0 {
		s.Snapshot = SnapshotStatus{Index: kept[0].Index, Term: kept[0].Term}
	}
	return s
}

func (n *Node) serverStatus(server raft.Server, leader raft.ServerID) ServerStatus {
	contact := int64(-1)
	switch {
	case server.ID == n.id:
		contact = 0
	case server.ID == leader && !n.raft.LastContact().IsZero():
		contact = time.Since(n.raft.LastContact()).Milliseconds()
	}
	return ServerStatus{
		ID: string(server.ID), Address: string(server.Address),
		Suffrage: strings.ToLower(server.Suffrage.String()), LastContactMs: contact,
	}
}
