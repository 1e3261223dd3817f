package raftmeta

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// store is the Raft log and the stable values (term and vote) in one.
type store interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// storeFile lies in Options.Dir, beside the directory "snapshots".
const storeFile = "raft.db"

// openStore opens the bbolt file, whose lock keeps a second process out. Every write is synced; the
// free list is not written with each transaction but rebuilt when opening, and kept as a map, because
// a log that is cut at its head makes it large (performance-notes.md section 2).
func openStore(dir string) (store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create Raft directory: %w", err)
	}
	options := *bbolt.DefaultOptions
	options.Timeout = time.Second
	options.NoFreelistSync = true
	options.FreelistType = bbolt.FreelistMapType
	s, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, storeFile), BoltOptions: &options})
	if err != nil {
		return nil, fmt.Errorf("open Raft store: %w", err)
	}
	for _, name := range []string{dir, filepath.Dir(dir)} { // the file's name, and the directory's
		if err := syncDir(name); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", name, err)
	}
	return nil
}

// guardedStore ends the process on the first failed write or sync (replication.md 4.5). The Raft
// library would only step down and go on with a store whose content nobody knows: after a failed sync
// the kernel may drop the dirty pages and call the next sync a success. If fatal returns, as it does
// in tests, every later write fails as the first did.
type guardedStore struct {
	store
	fatal  func(error)
	failed atomic.Pointer[error]
}

func (g *guardedStore) write(act string, do func() error) error {
	if err := g.failed.Load(); err != nil {
		return *err
	}
	err := do()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("raft store: %s: %w", act, err)
	g.failed.Store(&err)
	g.fatal(err)
	return err
}

func (g *guardedStore) StoreLog(log *raft.Log) error {
	return g.write("append", func() error { return g.store.StoreLog(log) })
}

func (g *guardedStore) StoreLogs(logs []*raft.Log) error {
	return g.write("append", func() error { return g.store.StoreLogs(logs) })
}

func (g *guardedStore) DeleteRange(min, max uint64) error {
	return g.write("delete range", func() error { return g.store.DeleteRange(min, max) })
}

func (g *guardedStore) Set(key, value []byte) error {
	return g.write("set", func() error { return g.store.Set(key, value) })
}

func (g *guardedStore) SetUint64(key []byte, value uint64) error {
	return g.write("set", func() error { return g.store.SetUint64(key, value) })
}
