package log

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// syncedFile, in the format of Kafka's checkpoints, has the offset below which each log's batches are on
// disk. It is ahead of the recovery point, below which indexes and snapshots are too: recovery scans
// from the latter, and takes damage below the former for what it is and not for a torn tail.
const syncedFile = "synced-offset-checkpoint"

// checkpointFiles are the offset checkpoints of a directory.
var checkpointFiles = []string{recoveryPointFile, syncedFile, logStartFile, highWatermarkFile}

// checkpoints is what the checkpoint files hold, and what they are to hold.
type checkpoints struct {
	writing sync.Mutex // guards the fields below; held during I/O
	files   map[string]*checkpoint
}

type checkpoint struct {
	changed atomic.Bool             // since it was written
	written map[checkpointKey]int64 // guarded by checkpoints.writing
	closed  map[checkpointKey]int64 // of logs that are not open; guarded by Dir.mu
	value   func(l *Log) int64      // 0 is left out
}

// loadCheckpoints reads the files. One that is missing or cannot be believed says nothing about any log.
func (d *Dir) loadCheckpoints() error {
	values := map[string]func(l *Log) int64{
		recoveryPointFile: func(l *Log) int64 { return l.recovery.Load() },
		syncedFile:        func(l *Log) int64 { return l.synced.Load() },
		logStartFile:      func(l *Log) int64 { return l.start.Load() },
		highWatermarkFile: func(l *Log) int64 { return l.hw.Load() },
	}
	d.saved = &checkpoints{files: map[string]*checkpoint{}}
	for _, name := range checkpointFiles {
		offsets, err := readCheckpoint(d.fs, filepath.Join(d.path, name))
		switch {
		case errors.Is(err, errStateFile):
			d.logger.Error("an offset checkpoint cannot be believed; logs are recovered without it", "err", err)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("read checkpoint: %w", err)
		}
		c := &checkpoint{written: offsets, closed: maps.Clone(offsets), value: values[name]}
		if c.closed == nil {
			c.closed = map[checkpointKey]int64{}
		}
		d.saved.files[name] = c
	}
	return nil
}

// changed notes that the file has to be written with the next checkpoint.
func (d *Dir) changed(name string) { d.saved.files[name].changed.Store(true) }

// savedOf is what the checkpoints say about a log that is not open.
func (d *Dir) savedOf(key checkpointKey) savedOffsets {
	d.mu.Lock()
	defer d.mu.Unlock()
	return savedOffsets{
		recovery:      d.saved.files[recoveryPointFile].closed[key],
		synced:        d.saved.files[syncedFile].closed[key],
		start:         d.saved.files[logStartFile].closed[key],
		highWatermark: d.saved.files[highWatermarkFile].closed[key],
	}
}

// forgetSavedLocked drops what the checkpoints say about a log that is no more, or is open and speaks for
// itself. The caller holds Dir.mu.
func (d *Dir) forgetSavedLocked(key checkpointKey) {
	for _, c := range d.saved.files {
		delete(c.closed, key)
	}
}

// forgetDurably makes sure that the files say nothing about key, before a new log takes that name: the
// offsets of its predecessor would make it look damaged.
func (d *Dir) forgetDurably(key checkpointKey) error {
	d.mu.Lock()
	d.forgetSavedLocked(key)
	d.mu.Unlock()
	for _, name := range checkpointFiles {
		d.saved.writing.Lock()
		_, there := d.saved.files[name].written[key]
		d.saved.writing.Unlock()
		if !there {
			continue
		}
		if err := d.writeCheckpoints(name); err != nil {
			return err
		}
	}
	return nil
}

// writeCheckpoints writes the files, as far as they would differ from what was written last.
func (d *Dir) writeCheckpoints(names ...string) error {
	d.saved.writing.Lock()
	defer d.saved.writing.Unlock()
	if err := d.Failed(); err != nil {
		return err
	}
	for _, name := range names {
		c := d.saved.files[name]
		c.changed.Store(false) // a change from here on will be seen, or be written twice
		offsets := d.collect(c)
		if maps.Equal(offsets, c.written) {
			continue
		}
		if err := writeCheckpoint(d.fs, filepath.Join(d.path, name), offsets); err != nil {
			c.changed.Store(true)
			return fmt.Errorf("write checkpoint: %w", d.stateError(err))
		}
		c.written = offsets
	}
	return nil
}

func (d *Dir) collect(c *checkpoint) map[checkpointKey]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	offsets := make(map[checkpointKey]int64, len(d.logs)+len(c.closed))
	maps.Copy(offsets, c.closed)
	for key, l := range d.logs {
		if l == nil {
			continue
		}
		if offset := c.value(l); offset > 0 {
			offsets[key] = offset
		} else {
			delete(offsets, key)
		}
	}
	return offsets
}

// writeChanged writes the checkpoints in which something changed.
func (d *Dir) writeChanged() error {
	for _, name := range checkpointFiles {
		if !d.saved.files[name].changed.Load() {
			continue
		}
		if err := d.writeCheckpoints(name); err != nil {
			return err
		}
	}
	return nil
}
