package raftmeta

import (
	"io"

	"github.com/hashicorp/raft"
)

// namedTransport dials HOST:PORT/SERVER-ID instead of the bare address. The library tells a transport whom
// it means and the transport forgets it; but at an address another server may live by now, a wiped one
// above all, whose vote or sync must never count for its predecessor (replication.md 4.7, I24). With the
// id the stream layer can make sure who answers.
type namedTransport struct{ *raft.NetworkTransport }

func named(id raft.ServerID, target raft.ServerAddress) raft.ServerAddress {
	return target + "/" + raft.ServerAddress(id)
}

// AppendEntriesPipeline offers none. The library's decoder of a pipeline may leave, on an answer of a newer term or a gap,
// while its sender waits for room that only the decoder makes; the sender then stays for ever, and Shutdown waits for it.
// Group commit has one entry under way at a time, so there is little to overlap.
func (t namedTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (t namedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, named(id, target), args, resp)
}

func (t namedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, named(id, target), args, resp)
}

func (t namedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, named(id, target), args, resp)
}

func (t namedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, named(id, target), args, resp, data)
}

func (t namedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, named(id, target), args, resp)
}
