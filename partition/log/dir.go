package log

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// DirOptions configures a Dir. A zero field means its default.
type DirOptions struct {
	Path string // the data directory; made if it is not there
	// FS is where files live. Default the operating system.
	FS vfs.FS
	// Now tells the wall time. Default time.Now.
	Now        func() time.Time
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil leaves metrics unregistered
	// BootID identifies this run of the kernel (/proc/sys/kernel/random/boot_id); empty is unknown. As
	// long as it stays the same, written bytes survive the death of the process unsynced.
	BootID string

	// MaxOpenFiles bounds the open segment files that are not in use; each may come with two index
	// files. Default 2000.
	MaxOpenFiles int
	// SoftFreeBytes is the free space below which producers are refused, so that replication, metadata
	// and deletion can go on. Default 5 % of the disk, at most 512 MiB. Negative: no limit.
	SoftFreeBytes int64
	// CheckpointInterval is how often offsets are written to the checkpoint files. Default 5 s.
	CheckpointInterval time.Duration
	// RetentionCheckInterval is how often retention runs (log.retention.check.interval.ms). Default 5 min.
	RetentionCheckInterval time.Duration
	// CleanerInterval is how often logs due for compaction are looked for (log.cleaner.backoff.ms).
	// Default 15 s.
	CleanerInterval time.Duration
	// CleanerDedupeBytes is the memory of a compaction (log.cleaner.dedupe.buffer.size). Default 128 MiB.
	CleanerDedupeBytes int64
	// CleanerBytesPerSecond bounds the cleaner's I/O. 0: no limit.
	CleanerBytesPerSecond float64
}

func (o DirOptions) withDefaults() DirOptions {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&o.MaxOpenFiles, 2000)
	orDefault(&o.CheckpointInterval, 5*time.Second)
	orDefault(&o.RetentionCheckInterval, 5*time.Minute)
	orDefault(&o.CleanerInterval, 15*time.Second)
	return o
}

// Stop says how the last run on a directory ended (replication.md 14.3). Exactly one field is set.
type Stop struct {
	Clean   bool // by Close, or there was no earlier run
	Intact  bool // abruptly, but the kernel lived on: all that was written is there
	Suspect bool // anything else, and always after a failed sync: acknowledged data may be missing
}

// Dir is one data directory. Its methods may be called from any goroutine; Run at most once.
type Dir struct {
	options  DirOptions
	path     string
	fs       vfs.FS
	now      func() time.Time
	logger   *slog.Logger
	metrics  *metrics
	id       uuid.ID
	previous Stop
	sameBoot bool
	started  time.Time            // by now
	elapsed  func() time.Duration // since started, by a clock that does not jump
	lock     io.Closer

	files    *fileCache
	commits  *commitQueue
	saved    *checkpoints
	cleaner  *cleaner
	names    nameSyncer // of path
	failure  atomic.Pointer[error]
	told     atomic.Bool               // the failure was written down and the listeners know
	syncing  atomic.Pointer[time.Time] // when the group commit under way began; nil without one
	full     atomic.Bool               // free space is below the soft limit
	settling chan struct{}

	mu      sync.Mutex // guards the fields below
	closed  bool
	logs    map[checkpointKey]*Log // nil while a log is being opened
	found   map[checkpointKey]foundLog
	rolled  []*Log // have segments to be settled
	unlinks []unlink
}

// ID is the storage id: random, chosen once, it tells a replaced or wiped directory from this one.
func (d *Dir) ID() uuid.ID { return d.id }

// PreviousStop tells how the last run ended.
func (d *Dir) PreviousStop() Stop { return d.previous }

// Usage tells how full the disk is.
func (d *Dir) Usage() (vfs.Usage, error) { return d.fs.Usage(d.path) }

// Failed returns the error that failed the directory in this run, wrapping ErrDirFailed, or nil.
func (d *Dir) Failed() error {
	if err := d.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// fail makes the directory failed for the rest of this run and returns the error for it. The listeners
// of all logs hear of it, and the next run finds a mark, if the disk still takes one.
func (d *Dir) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrDirFailed, cause)
	if errors.Is(cause, ErrDirFailed) {
		err = cause
	}
	if d.failure.CompareAndSwap(nil, &err) {
		d.logger.Error("the data directory has failed; nothing in it is acknowledged any more", "path", d.path, "err", cause)
		d.commits.signal()
	}
	return d.Failed()
}

// stateError judges an error of writing or renaming files: for want of space or handles the operation
// can be tried again, anything else fails the directory.
func (d *Dir) stateError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrDirFailed), errors.Is(err, ErrDiskFull):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		d.metrics.diskFull.Inc()
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return err
	}
	return d.fail(err)
}

func (d *Dir) failureToAnnounce() bool { return d.failure.Load() != nil && !d.told.Load() }

// announceFailure tries to leave the mark and tells every log's listener.
func (d *Dir) announceFailure() {
	d.told.Store(true)
	if err := d.markFailed(); err != nil {
		d.logger.Error("the failure could not be recorded", "path", d.path, "err", err)
	}
	for _, l := range d.openLogs() {
		l.notify()
	}
}

// openLogs lists the logs in no order.
func (d *Dir) openLogs() []*Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	logs := make([]*Log, 0, len(d.logs))
	for _, l := range d.logs {
		if l != nil {
			logs = append(logs, l)
		}
	}
	return logs
}

func (d *Dir) countLogs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.logs)
}

// Logs lists the partitions on disk whose topic id is known, open or not, by name.
func (d *Dir) Logs() []Ident {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := map[checkpointKey]Ident{}
	for key, f := range d.found {
		if f.known {
			ids[key] = f.ident
		}
	}
	for key, l := range d.logs {
		if l != nil {
			ids[key] = l.id
		}
	}
	list := slices.Collect(maps.Values(ids))
	slices.SortFunc(list, compareIdents)
	return list
}

// Close ends everything in order: all logs are synced, with their indexes and producers, then the
// checkpoints are written, and last the mark of a clean stop, so that the next start reads nothing it
// need not. Run must have returned. A directory that has failed is only let go.
func (d *Dir) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	var work errgroup.Group
	work.SetLimit(parallelSyncs)
	for _, l := range d.openLogs() {
		work.Go(func() error { return l.close(l.Failed() == nil) })
	}
	err := work.Wait()
	if failed := d.Failed(); failed != nil {
		if d.failureToAnnounce() {
			d.announceFailure()
		}
		return errors.Join(failed, d.lock.Close())
	}
	if err == nil {
		err = d.writeStopped()
	}
	return errors.Join(err, d.lock.Close())
}

// writeStopped leaves what makes the next start a quick one.
func (d *Dir) writeStopped() error {
	if err := d.writeCheckpoints(checkpointFiles...); err != nil {
		return err
	}
	if err := removeIfThere(d.fs, filepath.Join(d.path, failedFile)); err != nil {
		return err
	}
	return writeCleanShutdown(d.fs, d.path, unknownBrokerEpoch)
}
