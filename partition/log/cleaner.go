package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// CleanStats tells what one compaction of a log did.
type CleanStats struct {
	DirtyFrom         int64 // first offset whose keys had not been seen before
	CleanedTo         int64 // first offset whose keys are still unseen; the next DirtyFrom
	Keys              int   // distinct keys in [DirtyFrom, CleanedTo)
	SegmentsRead      int
	SegmentsWritten   int // fewer than read: small ones merge; groups in which nothing changed stay
	BytesRead         int64
	BytesWritten      int64
	RecordsRead       int64
	RecordsKept       int64
	TombstonesRemoved int64
	BatchesRebuilt    int64
	Duration          time.Duration
}

// compactionConfig is what a topic's config says about compaction.
type compactionConfig struct {
	segmentBytes    int64 // segment.bytes: how far cleaned segments merge
	indexBytes      int64 // segment.index.bytes
	indexInterval   int64 // index.interval.bytes
	deleteRetention int64 // delete.retention.ms
	minLag          int64 // min.compaction.lag.ms
	maxLag          int64 // max.compaction.lag.ms; math.MaxInt64 is none
	minDirtyRatio   float64
}

// sealedSegment is a segment that gets no more appends, as the cleaner sees it. Its file does not
// change while it is cleaned.
type sealedSegment struct {
	base        int64
	next        int64 // its offsets are [base, next); next is the base of the segment after it
	size        int64 // bytes of its file
	largestTime int64 // largest timestamp of its records in ms, record.NoTimestamp if unknown
	firstTime   int64 // largest timestamp of its first batch
	generation  int64 // Log.generation when it was listed: a truncation since then voids it
}

// dirtiness says how much a log would gain by compaction (Kafka's LogToClean).
type dirtiness struct {
	from       int64 // first offset whose keys have not been seen
	to         int64 // where compaction must end: a segment border
	cleanBytes int64
	dirtyBytes int64
	overdue    bool // a record has been dirty for more than max.compaction.lag.ms
}

// ratio is the dirty share of all bytes that may be compacted.
func (d dirtiness) ratio() float64 {
	if d.dirtyBytes == 0 {
		return 0
	}
	return float64(d.dirtyBytes) / float64(d.dirtyBytes+d.cleanBytes)
}

// due tells whether the log should be compacted now.
func (d dirtiness) due(cfg compactionConfig) bool {
	return d.dirtyBytes > 0 && (d.overdue || d.ratio() >= cfg.minDirtyRatio)
}

// assess measures a log whose sealed segments are given in order. cleanedTo is the cleaner's checkpoint
// and stable the first offset that may still change or is not committed: neither it nor a segment with
// records younger than min.compaction.lag.ms, nor any after that, is touched. A checkpoint outside
// the log, after a truncation say, counts as none.
func assess(segments []sealedSegment, cleanedTo, stable int64, cfg compactionConfig, now time.Time) dirtiness {
	if len(segments) == 0 {
		return dirtiness{}
	}
	first, end := segments[0].base, segments[len(segments)-1].next
	d := dirtiness{from: cleanedTo, to: first}
	if cleanedTo < first || cleanedTo > end {
		d.from = first
	}
	nowMs := now.UnixMilli()
	for _, s := range segments {
		if s.next > stable || (cfg.minLag > 0 && s.largestTime > nowMs-cfg.minLag) {
			break
		}
		d.to = s.next
		if s.next <= d.from {
			d.cleanBytes += s.size
			continue
		}
		d.dirtyBytes += s.size
		if cfg.maxLag < math.MaxInt64 && s.firstTime > 0 && s.firstTime < nowMs-cfg.maxLag {
			d.overdue = true
		}
	}
	return d
}

// compaction is one run of the cleaner over one log. It reads sealed segments and writes new ones
// beside them; replace makes the log take a new one for a group of old ones.
type compaction struct {
	fs         vfs.FS
	dir        string
	cfg        compactionConfig
	dedupBytes int64 // most memory for the offset map
	budget     *ioBudget
	now        time.Time
	newest     map[int64]int64 // see batchFilter

	// replace swaps the segments of group for the .cleaned files of the first one's base offset. It
	// writes the manifest first; if it fails before, the .cleaned files are removed here.
	replace func(group []sealedSegment) error

	scanner batchScanner
	out     []byte
	stats   CleanStats
}

// cleanerLimits are wider than those for what a client sends: a batch that is in the log may not stop
// the cleaner only because it compresses well.
var cleanerLimits = record.Limits{MaxBytes: 256 << 20, MaxRatio: math.MaxInt32}

// errStop ends a scan early without being an error.
var errStop = errors.New("stop")

// run compacts the segments, which are all of the log below d.to, in two passes: the keys of the dirty
// part are mapped to their last offset, then every segment is copied without the records that the map
// shows to be outdated. Segments are replaced from the start of the log on, so that at no time a
// tombstone is gone and an older value is still there.
func (c *compaction) run(ctx context.Context, segments []sealedSegment, d dirtiness) (CleanStats, error) {
	c.stats = CleanStats{DirtyFrom: d.from, CleanedTo: d.from}
	keys := newOffsetMap(c.dedupBytes)
	mappedTo, err := c.mapKeys(ctx, keys, segments, d)
	if err != nil {
		return c.stats, fmt.Errorf("map keys: %w", err)
	}
	c.stats.Keys = keys.len()
	if mappedTo == d.from {
		return c.stats, nil
	}
	filter := &batchFilter{
		keys:            keys,
		mappedTo:        mappedTo,
		now:             c.now,
		deleteRetention: c.cfg.deleteRetention,
		newest:          c.newest,
		builder:         record.NewBuilder(record.Spec{}),
		stats:           &c.stats,
	}
	for _, group := range groupSegments(segments, mappedTo, c.cfg) {
		if err := c.cleanGroup(ctx, group, filter); err != nil {
			return c.stats, fmt.Errorf("clean segment %d and %d more: %w", group[0].base, len(group)-1, err)
		}
	}
	c.stats.CleanedTo = mappedTo
	return c.stats, nil
}

// mapKeys fills keys from [d.from, d.to) and returns how far it came: it stops when the map is full,
// and at a transactional batch, since without the index of aborted transactions nobody can tell
// whether its records may replace others.
func (c *compaction) mapKeys(ctx context.Context, keys *offsetMap, segments []sealedSegment, d dirtiness) (mappedTo int64, err error) {
	mappedTo = d.from
	for _, s := range segments {
		if s.next <= d.from {
			continue
		}
		if s.base >= d.to {
			break
		}
		err := c.scan(ctx, s, func(b record.Batch) error {
			if b.LastOffset() < d.from || b.IsControl() {
				return nil
			}
			if b.IsTransactional() {
				mappedTo = max(d.from, b.BaseOffset())
				return errStop
			}
			return b.Each(cleanerLimits, func(r *record.Record) error {
				if r.Key == nil || r.Offset < d.from || keys.put(hashKey(r.Key), r.Offset) {
					return nil
				}
				// Tombstones of a batch share one time to go, so a batch is seen as a whole. What the map
				// has of this one does no harm. Only a batch with more keys than fit is seen in parts.
				if mappedTo = b.BaseOffset(); mappedTo <= d.from {
					mappedTo = r.Offset
				}
				return errStop
			})
		})
		if errors.Is(err, errStop) {
			return mappedTo, nil
		}
		if err != nil {
			return mappedTo, err
		}
		mappedTo = s.next
	}
	return mappedTo, nil
}

// scan reads one segment.
func (c *compaction) scan(ctx context.Context, s sealedSegment, fn func(b record.Batch) error) (err error) {
	f, err := c.fs.OpenFile(segmentPath(c.dir, s.base, ".log"), os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c.scanner.budget = c.budget
	err = c.scanner.scan(ctx, f, 0, s.size, func(b record.Batch, _ int64) error { return fn(b) })
	if err != nil && !errors.Is(err, errStop) {
		return fmt.Errorf("segment %d: %w", s.base, err)
	}
	return err
}

// groupSegments cuts the segments that begin below end into runs that fit one segment: by size, and
// because an index entry holds an offset as 31 bits above its segment's base.
func groupSegments(segments []sealedSegment, end int64, cfg compactionConfig) [][]sealedSegment {
	var groups [][]sealedSegment
	start, size := 0, int64(0)
	for i, s := range segments {
		if s.base >= end {
			segments = segments[:i]
			break
		}
		if i > start && (size+s.size > cfg.segmentBytes || s.next-segments[start].base > math.MaxInt32) {
			groups = append(groups, segments[start:i])
			start, size = i, 0
		}
		size += s.size
	}
	if start < len(segments) {
		groups = append(groups, segments[start:])
	}
	return groups
}

// cleanGroup replaces one group, unless nothing would change.
func (c *compaction) cleanGroup(ctx context.Context, group []sealedSegment, filter *batchFilter) (err error) {
	out, err := newCleanedSegment(c.fs, c.dir, group[0].base, c.cfg, c.out)
	if err != nil {
		return err
	}
	swapped := false
	defer func() {
		c.out = out.buf
		if !swapped {
			err = errors.Join(err, out.abandon())
		}
	}()
	changed, err := c.copyGroup(ctx, group, filter, out)
	if err != nil || !changed {
		return err
	}
	if err := out.finish(ctx, c.budget); err != nil {
		return err
	}
	if err := c.replace(group); err != nil {
		return err
	}
	swapped = true
	c.stats.SegmentsWritten++
	c.stats.BytesWritten += out.size
	return nil
}

// copyGroup filters the group's batches into out. The very last batch stays even if empty, so that a
// segment ends where the next begins, in its bytes as in its name. changed is false if the copy is no
// different from its one original.
func (c *compaction) copyGroup(ctx context.Context, group []sealedSegment, filter *batchFilter, out *cleanedSegment) (changed bool, err error) {
	changed = len(group) > 1
	for i, s := range group {
		c.stats.SegmentsRead++
		c.stats.BytesRead += s.size
		var seen int64
		err := c.scan(ctx, s, func(b record.Batch) error {
			seen += int64(len(b))
			at := len(out.buf)
			var err error
			if out.buf, err = filter.apply(out.buf, b, i == len(group)-1 && seen == s.size); err != nil {
				return err
			}
			if kept := len(out.buf) - at; kept == 0 {
				changed = true
				return nil
			}
			changed = changed || record.Batch(out.buf[at:]).CRC() != b.CRC()
			return out.add(ctx, at, c.budget)
		})
		if err != nil {
			return false, err
		}
	}
	return changed, nil
}
