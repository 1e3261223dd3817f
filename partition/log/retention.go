package log

import (
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/wire/record"
)

// retentionClock tells the time by which records expire. It is the wall clock or what the wall clock
// would show had it only ticked since the start, whichever is earlier: a clock that jumps ahead must not
// delete anything (I34). A clock that is corrected ahead by right delays deletion until the next start.
func (d *Dir) retentionClock() time.Time {
	ticked := d.started.Add(d.elapsed())
	if now := d.now(); now.Before(ticked) {
		return now
	}
	return ticked
}

// retain lets go of what the logs need not keep any more: first the starts rise, then that becomes
// durable for all of them at once, then files go. A crash between can only leave too many files.
func (d *Dir) retain() error {
	if err := d.Failed(); err != nil {
		return err
	}
	now := d.retentionClock()
	var errs []error
	var due []*Log
	for _, l := range d.openLogs() {
		remove, err := l.expireStart(now)
		if err != nil {
			errs = append(errs, fmt.Errorf("retention of %s: %w", l.id, err))
		}
		if remove {
			due = append(due, l)
		}
	}
	if len(due) == 0 {
		return errors.Join(errs...)
	}
	if err := d.writeCheckpoints(logStartFile); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, l := range due {
		if err := l.removeBelowStart(); err != nil {
			errs = append(errs, fmt.Errorf("retention of %s: %w", l.id, err))
		}
		l.notify()
	}
	return errors.Join(errs...)
}

// expireStart raises the start above the segments that age and size let go, and above nothing that is
// not below the high watermark. remove tells whether a segment lies wholly below the start.
func (l *Log) expireStart(now time.Time) (remove bool, err error) {
	l.structure.Lock()
	defer l.structure.Unlock()
	if l.Failed() != nil {
		return false, nil
	}
	cfg := l.config()
	l.mu.Lock()
	l.producers.expire(l.dir.now(), cfg.ProducerExpiration)
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return false, nil
	}
	if cfg.Delete {
		start, err := l.expiredBelow(cfg, now)
		if err != nil {
			return false, err
		}
		if start > l.start.Load() {
			l.raiseStart(start)
		}
	}
	list := l.list()
	return len(list) > 1 && list[1].base <= l.start.Load(), nil
}

// expiredBelow is the offset below which everything has expired, at a segment's border. If that is all
// of the log, the active segment is rolled, so that it can go too.
func (l *Log) expiredBelow(cfg *Config, now time.Time) (int64, error) {
	list, hw := l.list(), l.hw.Load()
	excess := int64(-1)
	if cfg.RetentionBytes >= 0 {
		excess = l.Size() - cfg.RetentionBytes
	}
	border := list[0].base
	for i, s := range list {
		size := s.size.Load()
		if size == 0 {
			break
		}
		old, err := l.expired(s, cfg, now)
		if err != nil {
			return border, err
		}
		excess -= size
		if !old && (cfg.RetentionBytes < 0 || excess < 0) {
			break
		}
		next := l.end.Load()
		if i < len(list)-1 {
			next = list[i+1].base
		} else if !old {
			break // by size the active segment always stays
		}
		if next > hw {
			break
		}
		if i == len(list)-1 {
			if next, err = l.rollExpired(s, next); err != nil {
				return border, err
			}
		}
		border = next
	}
	return border, nil
}

// expired tells whether the newest record of the segment is older than retention.ms.
func (l *Log) expired(s *segment, cfg *Config, now time.Time) (bool, error) {
	if cfg.Retention < 0 {
		return false, nil
	}
	l.mu.Lock()
	largest, err := s.largestTime()
	l.mu.Unlock()
	if err != nil {
		return false, err
	}
	newest := time.UnixMilli(largest.ts)
	if largest.ts == record.NoTimestamp {
		info, err := l.dir.fs.Stat(s.path(logSuffix))
		if err != nil {
			return false, err
		}
		newest = info.ModTime()
	}
	return now.Sub(newest) > cfg.Retention, nil
}

// rollExpired closes the active segment s unless it has grown past end, and returns its end or, if it
// did grow, its base.
func (l *Log) rollExpired(s *segment, end int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.activeLocked() != s || l.end.Load() != end {
		return s.base, nil
	}
	return end, l.rollLocked(end)
}

// removeBelowStart removes the segments that lie wholly below the start, which is on disk by now.
func (l *Log) removeBelowStart() error {
	l.structure.Lock()
	defer l.structure.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	list, start := l.list(), l.start.Load()
	n := 0
	for n+1 < len(list) && list[n+1].base <= start {
		n++
	}
	gone := list[:n]
	l.setSegmentsLocked(list[n:])
	for _, s := range gone {
		if s.pinned {
			s.pinned = false
			s.file.release()
		}
	}
	l.mu.Unlock()
	return l.deleteSegments(gone, list[n].base)
}

// deleteSegments renames the files of segments that are in the list no more, and has them unlinked
// later. Snapshots below border go with them, but for the newest.
func (l *Log) deleteSegments(gone []*segment, border int64) error {
	var names []string
	l.layout.Lock()
	for _, s := range gone {
		renamed, err := s.markDeleted()
		names = append(names, renamed...)
		if err != nil {
			l.layout.Unlock()
			return l.dir.stateError(err)
		}
	}
	l.layout.Unlock()
	l.dir.unlinkLater(l.config().FileDeleteDelay, names...)
	l.dir.metrics.deleted.Add(float64(len(gone)))
	l.mu.Lock()
	var old []int64
	for len(l.snapshots) > 1 && l.snapshots[0] < border {
		old = append(old, l.snapshots[0])
		l.snapshots = l.snapshots[1:]
	}
	l.mu.Unlock()
	for _, offset := range old {
		if err := removeIfThere(l.dir.fs, snapshotPath(l.path, offset)); err != nil {
			return l.dir.stateError(err)
		}
	}
	if len(gone) > 0 {
		l.dir.logger.Info("deleted segments", "log", l.id.String(), "segments", len(gone), "start", l.start.Load())
	}
	return nil
}
