package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// maxMarkerBytes bounds the control batches that are read to rebuild producers; they hold one record.
const maxMarkerBytes = 64 << 10

// trustIndexes leaves in the indexes of a segment only what belongs to batches below the recovery point.
// After a clean stop that is all of it, and the last entries show it.
func (s *segment) trustIndexes(w *batchWalker, point int64, clean bool) error {
	entries := s.offsets.entries() + s.times.entries()
	s.syncedIndex = entries
	if clean && s.offsets.sanity(w.end) == nil && s.times.sanity(point) == nil {
		if last, _, ok, err := s.offsets.last(); err == nil && (!ok || last < point) {
			return nil
		}
	}
	if !s.offsets.exists() && !s.times.exists() {
		return nil
	}
	// What is kept may be in memory alone: a time entry names a batch that may lie below the recovery point
	// though the entry was written later. What is cut off is cut in memory alone.
	s.syncedIndex = -1
	if entries == 0 && !s.offsets.ragged && !s.times.ragged {
		return nil
	}
	err := s.trustIndexesBelow(point, w.end)
	if err == nil {
		err = s.dropUntrueTimes(w)
	}
	if err != nil || s.checked == indexBad { // a torn entry passed for a good one: the scan makes all anew
		s.checked = indexGood
		return errors.Join(s.offsets.reset(), s.times.reset())
	}
	return nil
}

// dropUntrueTimes drops entries off the end of the time index that name no batch with their timestamp: a
// torn entry can look like one of a lower time.
func (s *segment) dropUntrueTimes(w *batchWalker) error {
	for s.times.entries() > 0 {
		ts, at, err := s.times.last()
		if err != nil {
			return err
		}
		b, ok, err := s.seek(w, at)
		if err != nil {
			return err
		}
		if ok && b.header.LastOffset() == at && b.header.MaxTimestamp() == ts {
			return nil
		}
		if err := s.times.keep(s.times.entries() - 1); err != nil {
			return err
		}
		s.times.known = false
	}
	return nil
}

// resealIndexes restores the last time entry of a segment that was closed at the very recovery point: the
// entry was written after what lies below had been synced.
func (s *segment) resealIndexes() error {
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	w := s.walk(f, s.size.Load())
	defer w.done()
	if err := s.trustIndexes(w, math.MaxInt64, false); err != nil {
		return err
	}
	s.syncedIndex = -1
	tail, err := s.readTail(w)
	if err != nil {
		return err
	}
	s.useTail(tail)
	if s.checked == indexBad || s.offsets.entries() == 0 && w.end > s.interval {
		return s.rebuildIndexes()
	}
	return s.seal()
}

// walkRecovering picks the buffer: after a clean stop there are a few headers to look at.
func (s *segment) walkRecovering(f vfs.File, size int64, clean bool) *batchWalker {
	if clean {
		return s.walk(f, size)
	}
	return s.scan(f, size)
}

// startRecovery returns the position from which on batches are to be looked at, with the segment's
// state set to what it was when the batch there was about to be appended. An index that does not lead
// to a batch is dropped.
func (s *segment) startRecovery(w *batchWalker) (int64, error) {
	s.largest, s.sinceEntry, s.firstTime = timeAt{record.NoTimestamp, s.base}, 0, record.NoTimestamp
	if first, err := w.at(0); err == nil {
		s.firstTime = first.header.MaxTimestamp()
	}
	offset, pos, ok, err := s.offsets.last()
	if err != nil {
		return 0, err
	}
	ts, at, err := s.times.last()
	if err != nil {
		return 0, err
	}
	if !ok {
		if s.times.entries() > 0 {
			s.syncedIndex = -1
		}
		return 0, s.times.reset()
	}
	if b, err := w.at(pos); err != nil || b.header.LastOffset() != offset {
		s.syncedIndex = -1
		return 0, errors.Join(s.offsets.reset(), s.times.reset())
	}
	s.largest = timeAt{ts, at}
	return pos, s.completeTimes(w, pos)
}

// completeTimes finds the largest timestamp up to the batch at last, from the last time entry on. There
// is seldom far to go; a time index that was lost is so replaced.
func (s *segment) completeTimes(w *batchWalker, last int64) error {
	found := s.largest
	b, more, err := s.seek(w, s.largest.offset)
	for err == nil && more && b.pos <= last {
		if ts := b.header.MaxTimestamp(); ts > s.largest.ts {
			s.largest = timeAt{ts, b.header.LastOffset()}
		}
		if b.pos == last {
			break // what follows may be torn
		}
		b, more, err = w.after(b)
	}
	if s.largest != found && err == nil {
		err = s.times.maybeAppend(s.largest.ts, s.largest.offset)
	}
	return err
}

// segmentTail is what an active segment knows of its end.
type segmentTail struct {
	largest    timeAt
	sinceEntry int64
	firstTime  int64
}

// readTail walks from the last index entry to the end of a segment that becomes active again.
func (s *segment) readTail(w *batchWalker) (segmentTail, error) {
	var t segmentTail
	pos, err := s.startRecovery(w)
	if err != nil {
		return t, err
	}
	t = segmentTail{s.largest, 0, s.firstTime}
	for pos < w.end {
		b, err := w.at(pos)
		if err != nil {
			return t, err
		}
		if ts := b.header.MaxTimestamp(); ts > t.largest.ts {
			t.largest = timeAt{ts, b.header.LastOffset()}
		}
		t.sinceEntry += b.size
		pos = b.next()
	}
	return t, nil
}

func (s *segment) useTail(t segmentTail) {
	s.largest, s.largestOK = t.largest, true
	s.sinceEntry, s.firstTime = t.sinceEntry, t.firstTime
}

// cut removes what lies behind a tear, durably, before anything new can take its place.
func (r *recovery) cut(last *segment, gone []*segment) error {
	l := r.log
	for i := len(gone) - 1; i >= 0; i-- {
		if err := gone[i].remove(); err != nil {
			return err
		}
	}
	f, err := last.file.acquire()
	if err != nil {
		return err
	}
	defer last.file.release()
	if err := f.Truncate(last.size.Load()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return l.dir.fail(err)
	}
	l.suspect.Store(r.doubtful)
	return l.dir.syncNames(l.path)
}

// restart begins an empty log at the start offset, when all that is left ends below it: the start was
// made durable, the batches that led there were not.
func (r *recovery) restart() error {
	l := r.log
	if err := l.startAnew(r.start); err != nil {
		return err
	}
	r.end = r.start
	return nil
}

// finish brings leader epochs and producers in line with the segments, and makes durable what was
// found above the last sync.
func (r *recovery) finish() error {
	l := r.log
	if err := r.recoverEpochs(); err != nil {
		return err
	}
	if err := r.recoverProducers(); err != nil {
		return err
	}
	l.hw.Store(min(max(r.highWatermark, l.start.Load()), r.end))
	if r.highWatermark > r.end {
		l.suspect.Store(true) // replication.md 14.4, 6
	}
	if !l.dir.previous.Clean && !r.fresh {
		// What this start finds, or no longer finds, may be so in memory alone: the name of a segment just
		// rolled, a tail or a snapshot that was just cut off. The next sync has to cover it.
		l.namesDirty++
		list := l.list()
		list[len(list)-1].syncedSize = -1
	}
	if r.end > l.synced.Load() {
		l.markUnsynced(l.synced.Load())
		return l.syncData()
	}
	return nil
}

// markUnsynced has the segments with batches at or above offset synced again: their bytes may be in
// memory alone.
func (l *Log) markUnsynced(offset int64) {
	list := l.list()
	for _, s := range list[max(0, floorIndex(list, offset)):] {
		s.syncedSize = 0
	}
}

// recoverEpochs reads the leader epochs, drops what lies outside the log or what batches contradict, and
// adds what the scan met. An unusable file is rebuilt from the whole log. Epochs without records survive
// only in the file, one at the very end of the log included.
func (r *recovery) recoverEpochs() error {
	l := r.log
	epochs, err := loadEpochs(l.dir.fs, l.path)
	found := r.epochs
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errStateFile):
		if found, err = l.epochsOfBatches(); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	changed := epochs.truncateFrom(r.end + 1)
	for i, e := range found {
		until := r.end
		if i+1 < len(found) {
			until = found[i+1].start
		}
		changed = epochs.contradict(e.epoch, until) || changed
		if epochs.epochAt(e.start) != e.epoch { // the scan may have begun in the middle of an epoch
			changed = epochs.assign(e.epoch, e.start) || changed
		}
	}
	epochs.truncateBefore(l.start.Load()) // saved with the next change
	l.epochs, l.epochsDirty = epochs, changed
	return nil
}

// epochsOfBatches collects the leader epochs from the headers of all batches.
func (l *Log) epochsOfBatches() ([]epochEntry, error) {
	var found []epochEntry
	last := int32(-1)
	err := l.eachHeader(l.list()[0].base, func(_ *batchWalker, b batchAt) error {
		if epoch := b.header.LeaderEpoch(); epoch > last {
			last = epoch
			found = append(found, epochEntry{epoch, b.header.BaseOffset()})
		}
		return nil
	})
	return found, err
}

// eachHeader goes through the batches from the one that holds or follows offset to the end. The
// segments must not change meanwhile.
func (l *Log) eachHeader(offset int64, fn func(w *batchWalker, b batchAt) error) error {
	list := l.list()
	for _, s := range list[max(0, floorIndex(list, offset)):] {
		if s.size.Load() == 0 {
			continue
		}
		if err := s.eachHeader(offset, fn); err != nil {
			return err
		}
	}
	return nil
}

func (s *segment) eachHeader(offset int64, fn func(w *batchWalker, b batchAt) error) error {
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	w := s.scan(f, s.size.Load())
	defer w.done()
	for b, more, err := s.seek(w, offset); ; b, more, err = w.after(b) {
		if err != nil || !more {
			return err
		}
		if err := fn(w, b); err != nil {
			return err
		}
	}
}

// recoverProducers drops the snapshots of offsets that the log does not have any more and rebuilds the
// producers.
func (r *recovery) recoverProducers() error {
	l := r.log
	before := len(l.snapshots)
	if err := l.dropSnapshotsAbove(r.end); err != nil {
		return err
	}
	if len(l.snapshots) < before {
		if err := l.dir.syncNames(l.path); err != nil {
			return err
		}
	}
	var err error
	l.producers, err = l.rebuildProducers(r.end)
	l.unstable.Store(len(l.producers.txns) > 0)
	return err
}

// rebuildProducers gives the state of the producers at end, which is the end of the log: the newest
// snapshot that can be believed, and the batches after it.
func (l *Log) rebuildProducers(end int64) (producerStates, error) {
	var p producerStates
	now := l.dir.now()
	from := l.list()[0].base
	for _, offset := range slices.Backward(l.snapshots) {
		if offset > end || offset < from {
			continue
		}
		loaded, err := loadSnapshot(l.dir.fs, l.path, offset, now)
		if errors.Is(err, errStateFile) || errors.Is(err, fs.ErrNotExist) {
			l.dir.logger.Warn("a producer snapshot cannot be used", "log", l.id.String(), "offset", offset, "err", err)
			continue
		}
		if err != nil {
			return p, err
		}
		p, from = loaded, offset
		break
	}
	if from >= end {
		return p, nil
	}
	var buf []byte
	err := l.eachHeader(from, func(w *batchWalker, b batchAt) error {
		if b.header.BaseOffset() < from || b.header.ProducerID() == record.NoProducer {
			return nil
		}
		batch := b.header
		if b.header.IsControl() {
			whole, err := w.whole(b, buf, maxMarkerBytes)
			if err != nil {
				return err
			}
			buf, batch = whole, whole
		}
		return p.update(batch, now)
	})
	if err != nil {
		return producerStates{}, fmt.Errorf("rebuild producers: %w", err)
	}
	return p, nil
}
