package log

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	maintenanceTick = time.Second
	// settlesPerCheckpoint bounds how many logs have their recovery point moved to their end at each
	// checkpoint: a handful of syncs each. The others are scanned a little further after a crash.
	settlesPerCheckpoint = 32
	// maxSoftFree is the most free space that is kept by default.
	maxSoftFree = 512 << 20
)

// Run serves the directory until ctx ends: group commit, checkpoints, retention, compaction, deferred
// deletion and the watch over free space. Nothing becomes durable in mode sync, other than by Log.Sync,
// unless it runs.
func (d *Dir) Run(ctx context.Context) error {
	var work errgroup.Group
	work.Go(func() error { return d.commits.due.Run(ctx) })
	work.Go(func() error { d.runCommits(ctx); return nil })
	work.Go(func() error { d.runMaintenance(ctx); return nil })
	work.Go(func() error { d.runCleaner(ctx); return nil })
	return work.Wait()
}

// wakeMaintenance has the segments that l has closed settled soon. It does not block.
func (d *Dir) wakeMaintenance(l *Log) {
	d.mu.Lock()
	if !slices.Contains(d.rolled, l) {
		d.rolled = append(d.rolled, l)
	}
	d.mu.Unlock()
	select {
	case d.settling <- struct{}{}:
	default:
	}
}

func (d *Dir) runMaintenance(ctx context.Context) {
	tick := time.NewTicker(maintenanceTick)
	defer tick.Stop()
	checkpoint := time.NewTicker(d.options.CheckpointInterval)
	defer checkpoint.Stop()
	retention := time.NewTicker(d.options.RetentionCheckInterval)
	defer retention.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-d.settling:
			err = d.settleRolled(ctx)
		case <-tick.C:
			d.unlinkDue()
			d.commits.retryBlocked()
			err = d.checkSpace()
		case <-checkpoint.C:
			err = errors.Join(d.settleSome(ctx), d.writeChanged())
		case <-retention.C:
			err = d.retain()
		}
		if err != nil && d.Failed() == nil {
			d.logger.Warn("maintenance of the data directory failed and will be tried again", "path", d.path, "err", err)
		}
	}
}

func (d *Dir) runCleaner(ctx context.Context) {
	tick := time.NewTicker(d.options.CleanerInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.cleaner.cleanDue(ctx); err != nil && d.Failed() == nil && ctx.Err() == nil {
			d.logger.Warn("compaction failed and will be tried again", "path", d.path, "err", err)
		}
	}
}

// settleRolled moves the recovery points of logs that have closed segments.
func (d *Dir) settleRolled(ctx context.Context) error {
	d.mu.Lock()
	rolled := d.rolled
	d.rolled = nil
	d.mu.Unlock()
	var errs []error
	for _, l := range rolled {
		if ctx.Err() != nil {
			break // Close settles them
		}
		if err := l.settle(false); err != nil && d.Failed() == nil {
			errs = append(errs, err)
			d.mu.Lock()
			d.rolled = append(d.rolled, l) // with the next roll or checkpoint
			d.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// settleSome moves the recovery points of some logs whose batches are synced beyond them, those that lag
// most first.
func (d *Dir) settleSome(ctx context.Context) error {
	err := d.settleRolled(ctx)
	type lagging struct {
		log *Log
		lag int64
	}
	var logs []lagging
	for _, l := range d.openLogs() {
		if lag := l.synced.Load() - l.recovery.Load(); lag > 0 && l.config().FlushMode != OS && l.Failed() == nil {
			logs = append(logs, lagging{l, lag})
		}
	}
	slices.SortFunc(logs, func(a, b lagging) int { return cmp.Compare(b.lag, a.lag) })
	for _, next := range logs[:min(len(logs), settlesPerCheckpoint)] {
		if ctx.Err() != nil {
			break
		}
		err = errors.Join(err, next.log.settle(true))
	}
	return err
}

// checkSpace refuses producers while free space is below the soft limit, and takes them back when there
// is a quarter more than that, so that it does not flap.
func (d *Dir) checkSpace() error {
	if d.options.SoftFreeBytes < 0 {
		return nil
	}
	usage, err := d.Usage()
	if err != nil {
		return err
	}
	limit := d.options.SoftFreeBytes
	if limit == 0 {
		limit = min(usage.Total/20, maxSoftFree)
	}
	switch full := d.full.Load(); {
	case !full && usage.Free < limit:
		d.full.Store(true)
		d.logger.Error("free space is below the limit; producers are refused", "path", d.path, "free_bytes", usage.Free, "limit_bytes", limit)
	case full && usage.Free >= limit+limit/4:
		d.full.Store(false)
		d.logger.Info("there is free space again; producers are accepted", "path", d.path, "free_bytes", usage.Free)
	}
	return nil
}
