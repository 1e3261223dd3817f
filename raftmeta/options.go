package raftmeta

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// Options configures a Node. A zero field means its default.
type Options struct {
	// Dir is the Raft store's own directory: raft.db and snapshots/. It is created. Required. The Raft
	// library names files itself, so this is the operating system's file system and not internal/vfs.
	Dir string
	// ServerID is this server's Raft identity: node id and storage id, so that a wiped voter comes back
	// as somebody else and can never vote twice (replication.md 4.7). Required.
	ServerID string
	// Stream carries Raft's RPCs. It is asked to dial HOST:PORT/SERVER-ID, and must reach nobody but that
	// server: another one may live at the address by now. Nil makes a server that nobody can reach: a cluster of one.
	Stream raft.StreamLayer
	// Forward reaches the server that leads, for proposals made on this one. Without it they fail with
	// ErrNotLeader anywhere but on the leader.
	Forward Forward
	// Bootstrap lists the first voters. It is used only if Dir holds no Raft state yet. Empty waits to
	// be added by others. For a cluster of one it is this server alone.
	Bootstrap []Server
	// Timeouts of elections. Default: 20 ms without Stream, where they only delay the start; otherwise
	// 400 ms and a lease of 250 ms. AloneTimeouts are those of a server that is its whole group.
	Timeouts Timeouts
	// SnapshotThreshold is how many entries make a snapshot due. Smaller ones make restarts faster and
	// write more. Default 16384.
	SnapshotThreshold uint64
	// SnapshotInterval is how often that is looked at, randomly stretched up to twice. Default 60 s.
	SnapshotInterval time.Duration
	// TrailingLogs is how many entries stay in the log behind a snapshot, for followers that lag a
	// little. Default 10240.
	TrailingLogs uint64
	// Fatal is called when this node's state cannot be trusted any further: a write or sync of the Raft
	// store failed, or the log holds a command of a newer release. It must not return. Default: log and
	// exit with status 1.
	Fatal func(error)
	// Logger gets what an operator should know. Nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics. Nil keeps them unregistered.
	Registerer prometheus.Registerer

	transport raft.Transport    // tests connect nodes in one process; takes the place of Stream
	wrapStore func(store) store // tests make the store fail
	inFlight  int               // benchmarks compare; default maxInFlight
}

// Server is a member of the Raft group.
type Server struct {
	ID      string
	Address string // of its peer listener; empty for a cluster of one
}

// Timeouts are Raft's. All or none are set.
type Timeouts struct {
	Heartbeat time.Duration // silence after which a follower suspects the leader
	Election  time.Duration // at least Heartbeat
	Lease     time.Duration // without a majority for this long, a leader steps down; at most Heartbeat
}

// AloneTimeouts are for a server that is the only voter: nobody else can want to lead.
var AloneTimeouts = Timeouts{Heartbeat: 20 * time.Millisecond, Election: 20 * time.Millisecond, Lease: 20 * time.Millisecond}
var clusterTimeouts = Timeouts{Heartbeat: 400 * time.Millisecond, Election: 400 * time.Millisecond, Lease: 250 * time.Millisecond}

// Validate reports all mistakes at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("option Dir is required"))
	}
	if o.ServerID == "" {
		errs = append(errs, errors.New("option ServerID is required"))
	}
	alone := o.Stream == nil && o.transport == nil
	if alone && o.Forward != nil {
		errs = append(errs, errors.New("option Forward needs the option Stream"))
	}
	if alone && len(o.Bootstrap) > 1 {
		errs = append(errs, errors.New("several servers need the option Stream"))
	}
	if alone && len(o.Bootstrap) == 1 && o.Bootstrap[0].ID != o.ServerID {
		errs = append(errs, fmt.Errorf("a cluster of one must be this server, not %q", o.Bootstrap[0].ID))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("metadata node options: %w", err)
	}
	return nil
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	if o.Timeouts == (Timeouts{}) {
		o.Timeouts = clusterTimeouts
		if o.Stream == nil && o.transport == nil {
			o.Timeouts = AloneTimeouts
		}
	}
	if o.SnapshotThreshold == 0 {
		o.SnapshotThreshold = 16384
	}
	if o.SnapshotInterval == 0 {
		o.SnapshotInterval = time.Minute
	}
	if o.TrailingLogs == 0 {
		o.TrailingLogs = 10240
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Fatal == nil {
		logger := o.Logger
		o.Fatal = func(err error) {
			logger.Error("metadata cannot be trusted any further, stopping", "err", err)
			os.Exit(1)
		}
	}
	if o.inFlight == 0 {
		o.inFlight = maxInFlight
	}
	return o
}

// raftConfig is the library's configuration. Pre-vote and the leader lease stay on (replication.md 4.10).
func (o *Options) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.ServerID)
	c.HeartbeatTimeout = o.Timeouts.Heartbeat
	c.ElectionTimeout = o.Timeouts.Election
	c.LeaderLeaseTimeout = o.Timeouts.Lease
	// Followers learn what is committed with the next entry, or after this time and up to twice as long: before,
	// a new partition leader does not serve, and a proposal made on a follower is not answered. Smaller is
	// faster, and costs an idle group a message to every follower each time. The library's default is 50 ms.
	c.CommitTimeout = 10 * time.Millisecond
	c.MaxAppendEntries = 512
	// The queue in front of the library is ours: proposals are coalesced before. A buffer behind it would
	// only hold entries that nobody answers when the library shuts down.
	c.BatchApplyCh = false
	c.SnapshotThreshold = o.SnapshotThreshold
	c.SnapshotInterval = o.SnapshotInterval
	c.TrailingLogs = o.TrailingLogs
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLogger(o.Logger.With("component", "raft"))
	return c
}
