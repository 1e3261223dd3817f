package log

import (
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// sealedSegments lists what may be compacted: the segments that are closed and on disk with all that
// belongs to them, from the start of the log on.
func (l *Log) sealedSegments() ([]sealedSegment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list()
	var sealed []sealedSegment
	for i := 0; i+1 < len(list) && list[i+1].base <= l.recovery.Load(); i++ {
		s := list[i]
		largest, err := s.largestTime()
		if err != nil {
			return nil, err
		}
		first, err := s.firstBatchTime()
		if err != nil {
			return nil, err
		}
		sealed = append(sealed, sealedSegment{base: s.base, next: list[i+1].base, size: s.size.Load(), largestTime: largest.ts, firstTime: first, generation: l.generation})
	}
	return sealed, nil
}

// firstBatchTime reads the largest timestamp of the first batch.
func (s *segment) firstBatchTime() (int64, error) {
	if s.firstTime >= 0 || s.size.Load() == 0 {
		return s.firstTime, nil
	}
	f, err := s.file.acquire()
	if err != nil {
		return 0, err
	}
	defer s.file.release()
	w := s.walk(f, s.size.Load())
	defer w.done()
	b, err := w.at(0)
	if err != nil {
		return 0, err
	}
	s.firstTime = b.header.MaxTimestamp()
	return s.firstTime, nil
}

// replaceSegments puts the compacted segment whose files are there under .cleaned names, and are synced,
// in the place of a run of sealed segments. After an error the log has the old ones; once the manifest
// is written, what fails is the directory, and recovery finishes the swap.
func (l *Log) replaceSegments(group []sealedSegment) error {
	l.structure.Lock()
	defer l.structure.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	l.mu.Lock()
	list, generation, closed := l.list(), l.generation, l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	at := floorIndex(list, group[0].base)
	if at < 0 || at+len(group) >= len(list) {
		return fmt.Errorf("%w: segment %d is not there any more", ErrOffsetOutOfRange, group[0].base)
	}
	bases := make([]int64, len(group))
	for i, g := range group {
		if s := list[at+i]; s.base != g.base || generation != g.generation {
			return fmt.Errorf("%w: segment %d has changed", ErrOffsetOutOfRange, g.base)
		}
		bases[i] = g.base
	}
	if err := writeManifest(l.dir.fs, l.path, bases); err != nil {
		return l.dir.stateError(err)
	}
	if err := l.swapIn(at, bases); err != nil {
		return l.dir.fail(fmt.Errorf("swap in compacted segment %d of %s: %w", bases[0], l.id, err))
	}
	return nil
}

// swapIn carries out a manifest that is on disk. Readers wait: for the few syncs that it takes, the
// names of the files and what the log knows of them do not agree.
func (l *Log) swapIn(at int, bases []int64) error {
	l.layout.Lock()
	defer l.layout.Unlock()
	old := l.list()[at : at+len(bases)]
	var names []string
	for i, s := range old {
		if i == 0 { // its names are taken over
			if err := s.close(); err != nil {
				return err
			}
			continue
		}
		renamed, err := s.markDeleted()
		names = append(names, renamed...)
		if err != nil {
			return err
		}
	}
	if err := finishSwap(l.dir.fs, l.path, bases); err != nil {
		return err
	}
	s, err := openSegment(l, bases[0])
	if err != nil {
		return err
	}
	s.sealed.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	s.syncedSize = s.size.Load()
	s.syncedIndex = s.offsets.entries() + s.times.entries()
	list := l.list() // appends may have rolled meanwhile
	invariant.Check(list[at].base == bases[0], "segments of %s moved during a swap", l.id)
	replaced := append(make([]*segment, 0, len(list)), list[:at]...)
	replaced = append(replaced, s)
	l.setSegmentsLocked(append(replaced, list[at+len(bases):]...))
	l.snapshots = slices.DeleteFunc(l.snapshots, func(offset int64) bool { return slices.Contains(bases[1:], offset) })
	l.dir.unlinkLater(l.config().FileDeleteDelay, names...)
	return nil
}
