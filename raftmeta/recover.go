package raftmeta

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hashicorp/raft"
)

// ErrNoState means that a directory holds no metadata log.
var ErrNoState = errors.New("there is no metadata log")

// Remains is what a stopped server's directory holds of its group.
type Remains struct {
	// LastTerm and LastIndex name the last entry. Of several survivors the one with the largest term,
	// and among those the largest index, knows most.
	LastTerm, LastIndex uint64
	Members             []Member
}

// Examine reads the directory of a server that is not running.
func Examine(dir string, logger *slog.Logger) (r Remains, err error) {
	d, err := openRemains(dir, logger)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.store.Close()) }()
	return d.read()
}

// Recover makes one server the only voter of its group, from what its directory holds: for the day on
// which a majority of the voters is gone for good. The server must be a member and not be running, and no
// other may ever come back with the log that it has: two groups would then each be the cluster.
//
// Entries that may not have been committed count as committed, and those that only lost servers held are
// lost. It returns the table that the server then starts from. After an error nothing has changed, or the
// same call finishes what was begun.
func Recover(dir, serverID string, logger *slog.Logger) (im *Image, err error) {
	d, err := openRemains(dir, logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.store.Close()) }()
	r, err := d.read()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(r.Members, func(m Member) bool { return m.ID == serverID })
	if at < 0 {
		return nil, fmt.Errorf("recover %s: server %s is none of its members", dir, serverID)
	}
	self := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(serverID), Address: raft.ServerAddress(r.Members[at].Address)}
	machine := d.machine()
	err = raft.RecoverCluster(d.config, machine, d.store, d.store, d.snapshots, d.transport(), raft.Configuration{Servers: []raft.Server{self}})
	if err != nil {
		return nil, fmt.Errorf("recover %s: %w", dir, err)
	}
	return machine.feed.image.Load(), nil
}

// remains is an open directory of a server that is not running.
type remains struct {
	config    *raft.Config
	store     store // its lock keeps a running server out
	snapshots raft.SnapshotStore
}

func openRemains(dir string, logger *slog.Logger) (*remains, error) {
	exists, err := HasState(dir)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoState)
	}
	o := Options{Dir: dir, ServerID: "nobody", Logger: logger}
	o = o.withDefaults()
	d := &remains{config: o.raftConfig()}
	if d.store, err = openStore(dir); err != nil {
		return nil, err
	}
	d.snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, d.config.Logger)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open snapshots: %w", err), d.store.Close())
	}
	return d, nil
}

// machine is for one use. An entry that it cannot apply makes it refuse the snapshot, and with that the
// recovery.
func (d *remains) machine() *fsm {
	return &fsm{feed: newFeed(), metrics: newMetrics(nil), fatal: func(error) {}}
}

func (d *remains) transport() raft.Transport {
	_, nowhere := raft.NewInmemTransport("")
	return nowhere
}

func (d *remains) read() (r Remains, err error) {
	configuration, err := raft.GetConfiguration(d.config, d.machine(), d.store, d.store, d.snapshots, d.transport())
	if err != nil {
		return r, fmt.Errorf("read Raft state: %w", err)
	}
	for _, s := range configuration.Servers {
		r.Members = append(r.Members, Member{Server{ID: string(s.ID), Address: string(s.Address)}, s.Suffrage == raft.Voter})
	}
	kept, err := d.snapshots.List()
	if err != nil {
		return r, fmt.Errorf("list snapshots: %w", err)
	}
	if len(kept) > 0 {
		r.LastIndex, r.LastTerm = kept[0].Index, kept[0].Term
	}
	last, err := d.store.LastIndex()
	if err != nil {
		return r, fmt.Errorf("read Raft log: %w", err)
	}
	if last > r.LastIndex {
		var entry raft.Log
		if err := d.store.GetLog(last, &entry); err != nil {
			return r, fmt.Errorf("read Raft log: entry %d: %w", last, err)
		}
		r.LastIndex, r.LastTerm = entry.Index, entry.Term
	}
	return r, nil
}
