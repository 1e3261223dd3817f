package raftmeta

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestOnlyTheLeaderProposesAsLeader(t *testing.T) {
	c := newCluster(t)
	leader := c.leader(t)
	if _, err := leader.ProposeAsLeader(testContext(t), &InitCluster{testID(200)}); err != nil {
		t.Fatal(err)
	}
	if leader.Image().ClusterID() != testID(200) {
		t.Error("answered before it was applied")
	}
	if _, err := leader.ProposeAsLeader(testContext(t), &InitCluster{testID(201)}); !errors.Is(err, ErrClusterIDMismatch) {
		t.Errorf("a rejected command: %v", err)
	}
	for id, n := range c.nodes {
		if n == leader {
			continue
		}
		if _, err := n.ProposeAsLeader(testContext(t), &InitCluster{testID(200)}); !errors.Is(err, ErrNotLeader) {
			t.Errorf("follower %s: %v", id, err)
		}
		if at := n.LastContact(); time.Since(at) > testDeadline {
			t.Errorf("follower %s heard of the leader at %v", id, at)
		}
	}
	if p := leader.Progress(); p.LastIndex < p.AppliedIndex || p.AppliedIndex == 0 || p.Term == 0 {
		t.Errorf("progress %+v", p)
	}
}

// dialled is a stream layer that notes whom it was asked for.
type dialled struct {
	net.Listener
	to chan raft.ServerAddress
}

func (d dialled) Dial(to raft.ServerAddress, _ time.Duration) (net.Conn, error) {
	d.to <- to
	return nil, errors.New("nobody there")
}

func TestStreamLayerHearsWhoIsMeant(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream := dialled{listener, make(chan raft.ServerAddress, 1)}
	o := Options{Dir: t.TempDir(), ServerID: "1-test", Stream: stream, Fatal: func(err error) { t.Error(err) }}
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	transport := n.transport.(interface {
		raft.Transport
		raft.WithPreVote
	})
	for name, send := range map[string]func() error{
		"entries": func() error {
			return transport.AppendEntries("2-x", "h:1", &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{})
		},
		"vote": func() error {
			return transport.RequestVote("2-x", "h:1", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
		},
		"pre-vote": func() error {
			return transport.RequestPreVote("2-x", "h:1", &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{})
		},
		"snapshot": func() error {
			return transport.InstallSnapshot("2-x", "h:1", &raft.InstallSnapshotRequest{}, &raft.InstallSnapshotResponse{}, nil)
		},
		"timeout now": func() error {
			return transport.TimeoutNow("2-x", "h:1", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{})
		},
	} {
		if err := send(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if to := <-stream.to; to != "h:1/2-x" {
			t.Errorf("%s: dialled %q", name, to)
		}
	}
	if _, err := transport.AppendEntriesPipeline("2-x", "h:1"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("a pipeline, in which the library can get stuck: %v", err)
	}
}
