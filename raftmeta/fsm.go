package raftmeta

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// outcome is what one command of an entry came to.
type outcome struct {
	result Result
	err    error // nil or a Rejection
}

// fsm applies the committed log to the feed's image. The Raft library calls it from one goroutine; only
// Persist of a snapshot runs beside it, on an image that does not change.
type fsm struct {
	feed    *feed
	metrics *metrics
	fatal   func(error)
	recent  *outcomes // for forwarded entries; nil in a cluster of one
	halted  error     // set when the log cannot be applied any further
}

var _ raft.BatchingFSM = (*fsm)(nil)

var errHalted = errors.New("metadata is not applied any further")

// Apply applies one entry.
func (f *fsm) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies entries in order and publishes the image once, before any proposer hears of its
// command: an answered write can be read. The response to an entry is its []outcome, or an error if
// it was not applied, which ends the process: going on would make this node differ from the others.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	start := time.Now()
	responses := make([]any, len(logs))
	var applied []entryOutcome
	e := newEdit(f.feed.image.Load())
	for i, log := range logs {
		if log.Type != raft.LogCommand {
			continue // a change of the Raft configuration, which the library keeps itself
		}
		if f.halted != nil {
			responses[i] = f.halted
			continue
		}
		outcomes, err := applyEntry(e, log)
		if err != nil {
			f.halted = fmt.Errorf("%w: entry %d: %w", errHalted, log.Index, err)
			responses[i] = f.halted
			continue
		}
		responses[i] = outcomes
		applied = append(applied, entryOutcome{log.Index, outcomes})
	}
	f.feed.publish(e.done(), &e.dirty)
	if f.recent != nil {
		f.recent.note(applied, logs[len(logs)-1].Index)
	}
	f.metrics.applySeconds.Observe(time.Since(start).Seconds())
	if f.halted != nil {
		f.fatal(f.halted)
	}
	return responses
}

func applyEntry(e *edit, log *raft.Log) ([]outcome, error) {
	s, commands, err := decodeEntry(log.Data)
	if err != nil {
		return nil, err
	}
	e.at(log.Index, log.Term)
	if !e.admit(s) {
		return e.supersededOutcomes(len(commands)), nil
	}
	outcomes := make([]outcome, len(commands))
	for i, cmd := range commands {
		outcomes[i].result, outcomes[i].err = e.applyCommand(cmd)
	}
	return outcomes, nil
}

// Snapshot captures the image, which costs nothing.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.halted != nil {
		return nil, f.halted // the library counts an entry as applied that the image does not hold
	}
	return &imageSnapshot{f.feed.image.Load(), f.metrics}, nil
}

// Restore replaces the image and tells every reconciler to look at everything (replication.md 4.6).
func (f *fsm) Restore(r io.ReadCloser) error {
	im, err := readSnapshot(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	f.metrics.restores.Inc()
	f.feed.publish(im, &dirtySet{all: true})
	if f.recent != nil {
		f.recent.note(nil, im.Index())
	}
	return nil
}

// imageSnapshot is an image about to be written.
type imageSnapshot struct {
	im      *Image
	metrics *metrics
}

// Persist writes the image; the sink makes it durable when it is closed.
func (s *imageSnapshot) Persist(sink raft.SnapshotSink) error {
	start := time.Now()
	if err := writeSnapshot(sink, s.im); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	s.metrics.snapshotSeconds.Observe(time.Since(start).Seconds())
	return nil
}

// Release has nothing to release.
func (s *imageSnapshot) Release() {}
