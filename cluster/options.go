package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Options configures a Node. A zero field means its default, except where it is required.
type Options struct {
	// NodeID is the broker id. Required, at least 1.
	NodeID int32
	// DirectoryID is that of the data directory. Required.
	DirectoryID uuid.ID
	// ClusterID is zero if the directory belongs to no cluster yet.
	ClusterID uuid.ID
	// HasState says that the Raft store of this directory holds something: it is never bootstrapped again.
	HasState bool

	// DataDir takes the pledge, one small file. Required.
	DataDir string
	// FS is where DataDir lies. Default the operating system's.
	FS vfs.FS

	// PeerListener is the peer port, which the node takes over. Required. PeerAdvertise is where others
	// connect, HOST:PORT; default the listener's address.
	PeerListener  net.Listener
	PeerAdvertise string
	// TLS is for both ends of a connection between nodes, which prove themselves to each other. Nil is
	// plain TCP.
	TLS *tls.Config
	// Dial connects to the peer ports of others, within ctx. Default a net.Dialer that calls from the
	// address of PeerListener.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// GossipListen is HOST:PORT for TCP and UDP; port 0 picks a free one. Default 127.0.0.1:0.
	// GossipAdvertise is where others send to; default where it listens.
	GossipListen, GossipAdvertise string
	// GossipKey encrypts and authenticates gossip: 16, 24 or 32 bytes, the same on all nodes. It may be
	// missing only if gossip stays on loopback addresses (replication.md 4.9).
	GossipKey []byte
	// GossipTransport carries gossip, as if it listened on GossipListen, and is shut down with the node.
	// Default TCP and UDP.
	GossipTransport GossipTransport
	// Join are gossip addresses of any members.
	Join []string
	// BootstrapExpect is how many nodes without a cluster must have met before they form one: 1, 3, 5 …
	// The same number on all of them. A node with Join and an expectation of 1 never forms one, it joins.
	// Default 1.
	BootstrapExpect int

	// IsolationGrace is how long a node without a Raft leader goes on to serve what it knows. Longer rides
	// out more, and lets clients of a cut-off node read old data for longer. Default 10 s.
	IsolationGrace time.Duration
	// SessionTimeout is the silence after which a broker is fenced. Shorter fails over faster, and takes a
	// pause of a healthy broker for its end. Default 1.2 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is at most a third of SessionTimeout. Default 200 ms.
	HeartbeatInterval time.Duration
	// BalanceInterval is how often the controller moves leaders and coordinators back to where they
	// belong. Default 5 s.
	BalanceInterval time.Duration
	// KeepLeaders leaves leaders where elections have put them: only coordinators are balanced.
	KeepLeaders bool
	// Voters is how many servers vote in the Raft group at most; others only follow. It is odd. More
	// survive more failures at once and make every decision slower. Default 5.
	Voters int
	// PromoteAfter is how long a server must have kept up before it gets a vote. Default 10 s.
	PromoteAfter time.Duration

	// Fatal is called when this node must not go on: its metadata differ from the others', or another
	// process runs under its id. It must not return. Default: log and exit with status 1.
	Fatal func(error)
	// Now is the clock of liveness; its monotonic part counts. Default time.Now.
	Now func() time.Time
	// Logger gets what an operator should know. Nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics. Nil keeps them unregistered.
	Registerer prometheus.Registerer

	// crash stops the protocol at a named line, as if the process had died there. Tests only.
	crash func(line string) error
}

// maxExpect bounds BootstrapExpect. More than seven voters are of no use.
const maxExpect = 15

// Validate reports all mistakes at once.
func (o *Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.NodeID >= 1, "node id %d: want at least 1", o.NodeID)
	check(!o.DirectoryID.IsZero(), "option DirectoryID is required")
	check(o.DataDir != "", "option DataDir is required")
	check(o.PeerListener != nil, "option PeerListener is required")
	check(o.BootstrapExpect >= 0 && o.BootstrapExpect <= maxExpect, "bootstrap-expect %d: want 1 to %d", o.BootstrapExpect, maxExpect)
	check(o.Voters == 0 || o.Voters > 0 && o.Voters%2 == 1, "%d voters: want an odd number", o.Voters)
	check(3*o.HeartbeatInterval <= o.SessionTimeout, "a session of %v needs heartbeats more often than every %v", o.SessionTimeout, o.HeartbeatInterval)
	switch len(o.GossipKey) {
	case 0, 16, 24, 32:
	default:
		check(false, "a gossip key of %d bytes: want 16, 24 or 32", len(o.GossipKey))
	}
	for _, address := range []string{o.GossipListen, o.GossipAdvertise} {
		if address == "" {
			continue
		}
		_, _, err := splitHostPort(address)
		check(err == nil, "gossip address %q: %w", address, err)
		check(err != nil || len(o.GossipKey) > 0 || isLoopback(address),
			"gossip on %s needs a key: without one anybody who reaches it can introduce nodes", address)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cluster options: %w", err)
	}
	return nil
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	setDefault(&o.FS, vfs.FS(vfs.OS{}))
	setDefault(&o.GossipListen, "127.0.0.1:0")
	setDefault(&o.BootstrapExpect, 1)
	setDefault(&o.IsolationGrace, 10*time.Second)
	setDefault(&o.SessionTimeout, 1200*time.Millisecond)
	setDefault(&o.HeartbeatInterval, 200*time.Millisecond)
	setDefault(&o.BalanceInterval, 5*time.Second)
	setDefault(&o.Voters, 5)
	setDefault(&o.PromoteAfter, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.crash == nil {
		o.crash = func(string) error { return nil }
	}
	if o.Fatal == nil {
		logger := o.Logger
		o.Fatal = func(err error) {
			logger.Error("this node must not go on, stopping", "err", err)
			os.Exit(1)
		}
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func splitHostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	number, err := strconv.ParseUint(text, 10, 16)
	return host, int(number), err
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
