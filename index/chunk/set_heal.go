package chunk

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/blevesearch/bleve/v2/index/scorch"
)

// maxPanics is after how many deaths of Bleve's goroutines over a chunk whose files are sound it is built
// again all the same.
const maxPanics = 3

// failedAsync is told by scorch that persisting, merging or introducing failed. Its loops try again without a
// pause, so the index must be closed, but not here: closing waits for them.
func (c *chunk) failedAsync(h *handle, cause error) {
	s := c.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.stats.AsyncErrors++
	s.tasks.Go(func() { c.heal(h, cause) })
}

// heal closes an index that failed and opens it again, at what had reached the disk, if its files are sound.
// So a full disk costs a few batches, not the chunk.
func (c *chunk) heal(h *handle, cause error) {
	s := c.set
	if c.gate.enter(s.life) != nil {
		return // Close closes it
	}
	defer c.gate.leave()
	s.mu.Lock()
	current, sealed := c.handle == h && !c.dropped, c.sealedLocked()
	s.mu.Unlock()
	if !current {
		return
	}
	s.opt.Logger.Warn("index failed", "dir", h.dir, "err", cause)
	c.careful = true
	if errors.Is(cause, scorch.ErrAsyncPanic) || errors.Is(cause, errStuck) {
		c.panics++
	}
	err := c.closeHandle()
	if c.panics >= maxPanics || errors.Is(err, errStuck) { // if stuck its lock is still held
		c.quarantine("panic", cause)
		return
	}
	if sealed {
		return // the next reader opens it
	}
	if _, err := c.writable(s.life); isDamaged(err) {
		c.quarantine("async", err)
	} else if err != nil {
		s.opt.Logger.Warn("index stays closed", "dir", h.dir, "err", err)
	}
}

// quarantine takes c out of the row and puts an empty chunk in its place, to be filled from the log. First the
// new one is on disk, then the old one is renamed: if the process dies between, c is met again, and so is its
// damage. The caller holds the gate.
func (c *chunk) quarantine(how string, cause error) {
	s := c.set
	s.mu.Lock()
	place, end, dir, gone := s.placeLocked(c), c.end, c.dir, c.dropped
	s.mu.Unlock()
	if gone || place == nil {
		return
	}
	s.opt.Logger.Error("chunk of the index quarantined", "dir", dir, "how", how, "err", cause)
	s.abandon(c.closeHandle())
	var err error
	if place == c {
		fresh := s.newChunk(c.base, end)
		fresh.old = c.old
		err = fresh.create()
		s.replace(c, fresh)
		s.opt.atStep("quarantine: empty one made")
	}
	if err == nil {
		dir, err = moveAside(dir, quarantinedPrefix)
	}
	if err == nil {
		err = removeOldQuarantined(s.opt.Dir)
	}
	s.mu.Lock()
	if place != c {
		place.old = nil
	}
	c.dropped, c.dir = true, dir
	s.stats.Quarantined[how]++
	s.mu.Unlock()
	if err != nil {
		s.opt.Logger.Error("quarantine", "dir", dir, "err", err)
	}
}

// placeLocked is the chunk in the row at whose place c answers: itself, or the one that is to replace it.
func (s *Set) placeLocked(c *chunk) *chunk {
	for _, r := range s.row {
		if r == c || r.old == c {
			return r
		}
	}
	return nil
}

// drop removes a chunk that is not to be in the row any more. It may be called again after an error.
func (s *Set) drop(ctx context.Context, c *chunk) error {
	s.mu.Lock()
	if c.sealing != nil {
		c.sealing()
	}
	s.mu.Unlock()
	if err := c.gate.enter(ctx); err != nil {
		return err
	}
	defer c.gate.leave()
	return s.discard(c)
}

// discard is drop for the holder of the gate. When it returns, Open will not find c. Views that have it may
// still open and read it: the files go with the last of them.
func (s *Set) discard(c *chunk) error {
	err := c.closeHandle()
	s.mu.Lock()
	dir, again := c.dir, c.removed
	s.mu.Unlock()
	if again {
		return err
	}
	dir, moveErr := moveAside(dir, removedPrefix)
	if errors.Is(moveErr, fs.ErrNotExist) {
		moveErr = nil
	}
	s.opt.atStep("drop: renamed")
	s.mu.Lock()
	defer s.mu.Unlock()
	if moveErr == nil {
		c.dir, c.dropped, c.removed = dir, true, true
		s.stats.Removed++
		s.removeUnusedLocked(c)
	}
	return errors.Join(err, moveErr)
}

// removeUnusedLocked removes the files of a chunk that was dropped and has no references.
func (s *Set) removeUnusedLocked(c *chunk) {
	if !c.removed || c.refs > 0 || s.closed {
		return // after Close it is the next Open that removes it
	}
	h, dir := c.handle, c.dir
	c.handle = nil
	s.tasks.Go(func() {
		s.opt.Pool.forget(c)
		if h != nil {
			s.abandon(h.close(closeLimit))
		}
		if err := os.RemoveAll(dir); err != nil {
			s.opt.Logger.Warn("remove chunk of the index", "dir", dir, "err", err)
		}
	})
}
