package log

import (
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// settlePlan is what has to reach the disk before the recovery point may move to target.
type settlePlan struct {
	target    int64
	segments  []*segment
	snapshots map[int64][]byte
}

// settle moves the recovery point to the end of what is closed, or with all to the end of the log, after
// syncing segments, indexes, leader epochs and producer snapshots below it (replication.md 14.1). The
// log goes on taking appends. Modes other than sync settle all only at a clean stop.
func (l *Log) settle(all bool) error {
	l.structure.Lock()
	defer l.structure.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	p, due := l.planSettle(all)
	if !due {
		return nil
	}
	if err := l.carryOutSettle(p); err != nil {
		return fmt.Errorf("move recovery point of %s to %d: %w", l.id, p.target, err)
	}
	l.mu.Lock()
	obsolete := l.settledLocked(p)
	l.mu.Unlock()
	l.dir.changed(recoveryPointFile)
	for _, offset := range obsolete { // one that comes back after a crash does no harm: it is still true
		if err := removeIfThere(l.dir.fs, snapshotPath(l.path, offset)); err != nil {
			return l.dir.stateError(err)
		}
	}
	return nil
}

func (l *Log) planSettle(all bool) (p settlePlan, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return p, false
	}
	list := l.list()
	p.target = l.activeLocked().base
	if all {
		p.target = l.end.Load()
	}
	due = p.target > l.recovery.Load() || len(l.pending) > 0 || l.namesDirty > l.namesSynced
	// The segment that ends at the recovery point may have been closed since, and got its last time entry.
	for _, s := range list[max(0, floorIndex(list, l.recovery.Load()-1)):] {
		if s.base < p.target {
			p.segments = append(p.segments, s)
			due = due || s.indexesUnsynced()
		}
	}
	if !due {
		return p, false
	}
	p.snapshots = maps.Clone(l.pending)
	if all && !slices.Contains(l.snapshots, p.target) && p.target > list[0].base {
		if p.snapshots == nil {
			p.snapshots = map[int64][]byte{}
		}
		p.snapshots[p.target] = l.producers.encodeSnapshot()
	}
	return p, true
}

func (l *Log) carryOutSettle(p settlePlan) error {
	if err := l.syncData(); err != nil {
		return err
	}
	newNames := false
	for _, s := range p.segments {
		if !s.indexesUnsynced() {
			continue
		}
		newNames = newNames || s.syncedIndex <= 0
		if err := s.syncIndexes(); err != nil {
			return l.dir.stateError(err)
		}
	}
	for _, offset := range slices.Sorted(maps.Keys(p.snapshots)) {
		if err := vfs.WriteFileAtomic(l.dir.fs, snapshotPath(l.path, offset), p.snapshots[offset]); err != nil {
			return l.dir.stateError(fmt.Errorf("save producer snapshot: %w", err))
		}
		newNames = false // that has synced the directory
	}
	if newNames {
		return l.dir.syncNames(l.path)
	}
	return nil
}

// settledLocked notes what was done and returns the snapshots that are not needed any more. One at each
// segment's base is kept, for truncations, and the newest.
func (l *Log) settledLocked(p settlePlan) (obsolete []int64) {
	l.recovery.Store(max(l.recovery.Load(), p.target))
	for offset := range p.snapshots {
		delete(l.pending, offset)
		if !slices.Contains(l.snapshots, offset) {
			l.snapshots = append(l.snapshots, offset)
		}
	}
	slices.Sort(l.snapshots)
	if len(l.snapshots) == 0 {
		return nil
	}
	newest, list := l.snapshots[len(l.snapshots)-1], l.list()
	l.snapshots = slices.DeleteFunc(l.snapshots, func(offset int64) bool {
		i := floorIndex(list, offset)
		if offset == newest || i >= 0 && list[i].base == offset {
			return false
		}
		obsolete = append(obsolete, offset)
		return true
	})
	return obsolete
}

// close settles everything and gives back all files. The caller is Dir.Close or Dir.Remove.
func (l *Log) close(settle bool) error {
	var err error
	if settle {
		err = l.settle(true)
	}
	l.structure.Lock()
	defer l.structure.Unlock()
	l.mu.Lock()
	l.closed = true
	list := l.list()
	for _, s := range list {
		if s.pinned {
			s.pinned = false
			s.file.release()
		}
	}
	l.mu.Unlock()
	l.layout.Lock()
	defer l.layout.Unlock()
	for _, s := range list {
		if closeErr := s.close(); err == nil && l.Failed() == nil {
			err = closeErr
		}
	}
	return err
}
