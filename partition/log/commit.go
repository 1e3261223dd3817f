package log

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/deadline"
)

const (
	directSyncs   = 2  // up to so many dirty logs are synced one after the other: nothing is gained by more
	parallelSyncs = 16 // see performance-notes.md section 1, group commit
)

// commitQueue collects the logs in which something happened since the last group commit. While one
// commit syncs, the next fills; a log is in it once however much was appended. Its bound is the number
// of logs.
type commitQueue struct {
	wake chan struct{} // has room for one
	due  *deadline.Queue

	mu      sync.Mutex // guards the fields below and commitState of every log
	pending []*Log
	blocked []*Log // could not be synced for want of space; tried again by maintenance
}

// commitState is a log's place in the commitQueue.
type commitState struct {
	queued  bool
	sync    bool            // not only the listener is to be called
	timer   *deadline.Entry // of mode interval; nil if none is set
	blocked bool
}

func newCommitQueue() *commitQueue {
	return &commitQueue{wake: make(chan struct{}, 1), due: deadline.New()}
}

// add queues a log for the next commit: to be synced, or only to have its listener called.
func (q *commitQueue) add(l *Log, sync bool) {
	q.mu.Lock()
	l.commit.sync = l.commit.sync || sync
	queued := l.commit.queued
	if !queued {
		l.commit.queued = true
		q.pending = append(q.pending, l)
	}
	q.mu.Unlock()
	if !queued {
		q.signal()
	}
}

// addAfter queues a log to be synced within delay, and now to have its listener called.
func (q *commitQueue) addAfter(l *Log, delay time.Duration) {
	q.mu.Lock()
	if l.commit.timer == nil {
		l.commit.timer = q.due.At(time.Now().Add(delay), func() {
			q.mu.Lock()
			l.commit.timer = nil
			q.mu.Unlock()
			q.add(l, true)
		})
	}
	q.mu.Unlock()
	q.add(l, false)
}

func (q *commitQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// commitJob is one log's part in a group commit.
type commitJob struct {
	log  *Log
	sync bool
}

// take empties the queue.
func (q *commitQueue) take(jobs []commitJob) []commitJob {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, l := range q.pending {
		jobs = append(jobs, commitJob{l, l.commit.sync})
		l.commit.queued, l.commit.sync = false, false
		q.pending[i] = nil
	}
	q.pending = q.pending[:0]
	return jobs
}

// block remembers a log whose sync found no space.
func (q *commitQueue) block(l *Log) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !l.commit.blocked {
		l.commit.blocked = true
		q.blocked = append(q.blocked, l)
	}
}

// retryBlocked queues the logs that block remembered.
func (q *commitQueue) retryBlocked() {
	q.mu.Lock()
	blocked := q.blocked
	q.blocked = nil
	for _, l := range blocked {
		l.commit.blocked = false
	}
	q.mu.Unlock()
	for _, l := range blocked {
		q.add(l, true)
	}
}

// runCommits commits until ctx ends. It is the only goroutine that calls listeners, but for methods
// that say so.
func (d *Dir) runCommits(ctx context.Context) {
	var jobs []commitJob
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.commits.wake:
		}
		jobs = d.commits.take(jobs[:0])
		d.commit(jobs)
		clear(jobs)
		if d.failureToAnnounce() {
			d.announceFailure()
		}
	}
}

// commit syncs the logs of one group and tells their listeners. A log is told as soon as it is synced
// itself: a slow file delays the next group, not its neighbours.
func (d *Dir) commit(jobs []commitJob) {
	var workers errgroup.Group
	workers.SetLimit(parallelSyncs)
	syncs := 0
	for _, job := range jobs {
		if job.sync {
			syncs++
		}
	}
	started := time.Now()
	d.syncing.Store(&started)
	defer d.syncing.Store(nil)
	for _, job := range jobs {
		if !job.sync || syncs <= directSyncs {
			job.run()
			continue
		}
		workers.Go(func() error {
			job.run()
			return nil
		})
	}
	_ = workers.Wait() // errors are handled by run
	if syncs > 0 {
		d.metrics.committed(syncs, time.Since(started))
	}
}

// Syncing is how long the group commit under way has taken so far, 0 without one.
func (d *Dir) Syncing() time.Duration {
	if since := d.syncing.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}

func (j commitJob) run() {
	if j.sync {
		j.log.flush()
	}
	j.log.notify()
}

// flush syncs what was appended. A log that cannot be synced for want of space is tried again.
func (l *Log) flush() {
	if err := l.syncData(); err != nil && l.Failed() == nil {
		l.dir.commits.block(l)
		l.dir.logger.Warn("a log could not be made durable yet", "log", l.id.String(), "err", err)
	}
}

// Sync makes everything below the present end durable, whatever the mode, and returns when it is. It
// does not need Dir.Run.
func (l *Log) Sync() error {
	if err := l.Failed(); err != nil {
		return err
	}
	err := l.syncData()
	l.notify()
	return err
}

// syncPlan is what has to reach the disk before the log is durable up to end.
type syncPlan struct {
	end        int64
	generation int64
	names      int64 // Log.namesDirty then; 0 if all names are durable
	parts      []syncPart
	one        [1]syncPart // the usual case without an allocation
}

// syncPart is one segment with unsynced bytes.
type syncPart struct {
	seg    *segment
	size   int64
	pinned bool // the plan has taken over the segment's reference
}

func (l *Log) planSync(p *syncPlan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.end, p.generation = l.end.Load(), l.generation
	if l.namesDirty > l.namesSynced {
		p.names = l.namesDirty
	}
	p.parts = p.one[:0]
	list := l.list()
	first := len(list) // unsynced segments are the last ones; the active may be empty
	for first > 0 && (first == len(list) || list[first-1].size.Load() > list[first-1].syncedSize) {
		first--
	}
	for _, s := range list[first:] {
		if size := s.size.Load(); size > s.syncedSize {
			p.parts = append(p.parts, syncPart{s, size, s.pinned})
			s.pinned = false
		}
	}
	l.unflushed = 0
}

// syncData makes the data durable: segments, their names, and the leader epochs of the batches. Several
// may run at once.
func (l *Log) syncData() error {
	var p syncPlan
	l.planSync(&p)
	if len(p.parts) == 0 && p.names == 0 && p.end == l.synced.Load() {
		return nil
	}
	err := l.carryOut(&p)
	for _, part := range p.parts {
		if part.pinned {
			part.seg.file.release()
		}
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.truncating || l.generation != p.generation {
		return nil // what was synced may be cut off; the truncation itself syncs what is left
	}
	for _, part := range p.parts {
		part.seg.syncedSize = max(part.seg.syncedSize, part.size)
	}
	l.namesSynced = max(l.namesSynced, p.names)
	if p.end > l.synced.Load() {
		l.synced.Store(p.end)
		l.dir.changed(syncedFile)
	}
	return nil
}

func (l *Log) carryOut(p *syncPlan) error {
	for _, part := range p.parts {
		if err := l.dir.syncSegment(part.seg); err != nil {
			return err
		}
	}
	return l.saveState(p.names > 0)
}

// syncSegment syncs the bytes of one segment file. A failure is one of the directory: the kernel may
// have dropped what it could not write, and would report success next time (replication.md 15.3).
func (d *Dir) syncSegment(s *segment) error {
	if err := d.Failed(); err != nil {
		return err
	}
	f, err := s.file.acquire()
	if err == errSegmentGone { // deleted meanwhile, on purpose
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync segment: %w", d.stateError(err))
	}
	defer s.file.release()
	if err := f.Sync(); err != nil {
		return d.fail(fmt.Errorf("sync %s: %w", s.path(logSuffix), err))
	}
	d.metrics.syncs.Inc()
	return nil
}

func (d *Dir) syncNames(path string) error {
	if err := d.Failed(); err != nil {
		return err
	}
	if err := d.fs.SyncDir(path); err != nil {
		return d.fail(fmt.Errorf("sync directory %s: %w", path, err))
	}
	d.metrics.syncs.Inc()
	return nil
}
