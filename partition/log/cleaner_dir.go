package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/wire/record"
)

// defaultDedupeBytes is log.cleaner.dedupe.buffer.size: room for 4.4 million keys a run.
const defaultDedupeBytes = 128 << 20

// cleaner compacts the logs of a directory, one at a time, and remembers how far it came in each. A Dir
// has one, made by newCleaner when it is opened, in its field cleaner; its maintenance calls cleanDue,
// and whoever cuts, resets or removes a log calls lower before.
type cleaner struct {
	dir        *Dir
	file       string // the checkpoint
	dedupBytes int64
	budget     *ioBudget
	turn       chan struct{} // holds a token while no compaction runs

	mu        sync.Mutex // guards the fields below
	cleanedTo map[checkpointKey]int64
	refused   map[*Log]error // logs that cannot be compacted as they are; tried again after a restart
}

// newCleaner reads how far the logs of d, which lies at path, were compacted. Without a believable
// checkpoint they count as dirty, which costs time only. dedupBytes bounds the memory of a run
// (log.cleaner.dedupe.buffer.size; 0 is its default) and bytesPerSecond its reads and writes
// (log.cleaner.io.max.bytes.per.second; 0 is no limit).
func newCleaner(d *Dir, path string, dedupBytes int64, bytesPerSecond float64) (*cleaner, error) {
	c := &cleaner{
		dir:        d,
		file:       filepath.Join(path, cleanerCheckpoint),
		dedupBytes: dedupBytes,
		budget:     newIOBudget(bytesPerSecond, d.now),
		turn:       make(chan struct{}, 1),
		refused:    map[*Log]error{},
	}
	if dedupBytes <= 0 {
		c.dedupBytes = defaultDedupeBytes
	}
	c.turn <- struct{}{}
	cleanedTo, err := readCheckpoint(d.fs, c.file)
	switch {
	case errors.Is(err, errStateFile):
		d.logger.Warn("the cleaner's checkpoint cannot be read; logs are compacted from their start", "err", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if c.cleanedTo = cleanedTo; cleanedTo == nil {
		c.cleanedTo = map[checkpointKey]int64{}
	}
	return c, nil
}

// Compact runs the cleaner over the log's closed segments now, however clean they are, unless compaction
// is off. It waits for a compaction that runs in the same directory. Offsets do not change.
func (l *Log) Compact(ctx context.Context) (CleanStats, error) {
	if !l.config().Compact {
		return CleanStats{}, fmt.Errorf("%s is not compacted: cleanup.policy says so", l.id)
	}
	return l.dir.cleaner.compact(ctx, l)
}

// cleanDue compacts the logs that are due, the dirtiest first, until none is or ctx ends.
func (c *cleaner) cleanDue(ctx context.Context) error {
	done := map[*Log]bool{}
	for ctx.Err() == nil {
		l := c.dirtiest(done)
		if l == nil {
			return nil
		}
		done[l] = true // if its map was too small for all keys, the rest waits for the next round
		if _, err := c.compact(ctx, l); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			c.dir.logger.Warn("compaction failed", "log", l.id.String(), "err", err)
			if err := c.dir.Failed(); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// dirtiest returns the log that gains most from compaction, of those that are due and not in done, or
// nil. One that is overdue comes before all that are not.
func (c *cleaner) dirtiest(done map[*Log]bool) *Log {
	var best *Log
	var bestRatio float64
	for _, l := range c.dir.openLogs() {
		if !l.config().Compact || done[l] || c.refusal(l) != nil {
			continue
		}
		_, d, err := c.assess(l)
		if err != nil {
			c.dir.logger.Warn("cannot tell whether to compact", "log", l.id.String(), "err", err)
			continue
		}
		ratio := d.ratio()
		if d.overdue {
			ratio++
		}
		if d.due(compactionConfigOf(l.config())) && (best == nil || ratio > bestRatio) {
			best, bestRatio = l, ratio
		}
	}
	return best
}

func (c *cleaner) refusal(l *Log) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[l]
}

// assess measures one log.
func (c *cleaner) assess(l *Log) ([]sealedSegment, dirtiness, error) {
	segments, err := l.sealedSegments()
	if err != nil {
		return nil, dirtiness{}, err
	}
	c.mu.Lock()
	cleanedTo := c.cleanedTo[l.key]
	c.mu.Unlock()
	stable := min(l.HighWatermark(), l.FirstUnstableOffset())
	d := assess(segments, cleanedTo, stable, compactionConfigOf(l.config()), c.dir.retentionClock())
	return segments, d, nil
}

// compact runs one compaction of l when it is its turn, and writes the checkpoint.
func (c *cleaner) compact(ctx context.Context, l *Log) (CleanStats, error) {
	select {
	case <-ctx.Done():
		return CleanStats{}, ctx.Err()
	case <-c.turn:
	}
	defer func() { c.turn <- struct{}{} }()
	if err := l.Failed(); err != nil {
		return CleanStats{}, err
	}
	l.mu.Lock()
	closed, newest := l.closed, l.producers.lastOffsets()
	l.mu.Unlock()
	if closed {
		return CleanStats{}, ErrClosed
	}
	segments, d, err := c.assess(l)
	if err != nil || d.to <= d.from {
		return CleanStats{DirtyFrom: d.from, CleanedTo: d.from}, err
	}
	run := &compaction{
		fs:         c.dir.fs,
		dir:        l.path,
		cfg:        compactionConfigOf(l.config()),
		dedupBytes: c.dedupBytes,
		budget:     c.budget,
		now:        c.dir.retentionClock(),
		newest:     newest,
		replace:    l.replaceSegments,
	}
	started := c.dir.now()
	stats, err := run.run(ctx, segments, d)
	stats.Duration = c.dir.now().Sub(started)
	if err != nil {
		c.noteFailure(l, err)
		return stats, fmt.Errorf("compact %s: %w", l.id, err)
	}
	c.dir.logger.Info("compacted log", "log", l.id.String(), "from", stats.DirtyFrom, "to", stats.CleanedTo, "keys", stats.Keys,
		"records", stats.RecordsRead, "kept", stats.RecordsKept, "read_bytes", stats.BytesRead, "written_bytes", stats.BytesWritten, "took", stats.Duration)
	return stats, c.checkpoint(l, segments[0].generation, stats.CleanedTo)
}

// noteFailure keeps the cleaner from reading a log again and again whose bytes it cannot work with.
func (c *cleaner) noteFailure(l *Log, err error) {
	if errors.Is(err, record.ErrCorrupt) || errors.Is(err, record.ErrInvalid) || errors.Is(err, record.ErrTooLarge) || errors.Is(err, record.ErrUnsupported) {
		c.mu.Lock()
		c.refused[l] = err
		c.mu.Unlock()
	}
}

// checkpoint records how far l is compacted, unless it was cut or removed meanwhile: that came with a
// call of lower, which must have the last word.
func (c *cleaner) checkpoint(l *Log, generation, cleanedTo int64) error {
	l.structure.Lock()
	defer l.structure.Unlock()
	l.mu.Lock()
	void := l.closed || l.generation != generation
	l.mu.Unlock()
	if void {
		return nil
	}
	c.mu.Lock()
	c.cleanedTo[l.key] = cleanedTo
	c.mu.Unlock()
	return c.writeCheckpoint()
}

// lower must be called, and return, before a log is cut to end, and with 0 before it is removed or
// reset: what is appended there afterwards was not seen by the cleaner. A checkpoint that outlived its
// records would let tombstones go while older values of their keys are still there.
func (c *cleaner) lower(l *Log, end int64) error {
	c.mu.Lock()
	known := c.cleanedTo[l.key]
	if end > 0 {
		c.cleanedTo[l.key] = min(known, end)
	} else {
		delete(c.cleanedTo, l.key)
	}
	delete(c.refused, l)
	c.mu.Unlock()
	if known <= end {
		return nil
	}
	return c.writeCheckpoint()
}

func (c *cleaner) writeCheckpoint() error {
	c.mu.Lock()
	offsets := maps.Clone(c.cleanedTo)
	c.mu.Unlock()
	if err := writeCheckpoint(c.dir.fs, c.file, offsets); err != nil {
		return fmt.Errorf("write the cleaner's checkpoint: %w", c.dir.stateError(err))
	}
	return nil
}

func compactionConfigOf(cfg *Config) compactionConfig {
	c := compactionConfig{
		segmentBytes:    cfg.SegmentBytes,
		indexBytes:      cfg.SegmentIndexBytes,
		indexInterval:   cfg.IndexIntervalBytes,
		deleteRetention: cfg.DeleteRetention.Milliseconds(),
		minLag:          cfg.MinCompactionLag.Milliseconds(),
		maxLag:          math.MaxInt64,
		minDirtyRatio:   cfg.MinCleanableRatio,
	}
	if cfg.MaxCompactionLag > 0 {
		c.maxLag = max(1, int64(cfg.MaxCompactionLag/time.Millisecond))
	}
	return c
}
