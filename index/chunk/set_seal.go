package chunk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Seal makes final what is complete, one chunk after the other: one segment, known CRCs, opened to read only.
// It is the merge of a whole chunk, so it takes seconds of CPU. Indexing goes on beside it.
func (s *Set) Seal(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	var errs error
	for _, c := range s.chunks(false) {
		if ctx.Err() != nil {
			return errors.Join(errs, ctx.Err())
		}
		errs = errors.Join(errs, c.sealIfComplete(ctx))
	}
	return errs
}

// Unsealed says how many chunks Seal would seal.
func (s *Set) Unsealed() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.row {
		if c.completeLocked() && !c.sealedLocked() {
			n++
		}
	}
	return n
}

func (c *chunk) sealIfComplete(ctx context.Context) error {
	s, began := c.set, c.set.opt.Now()
	if err := c.gate.enter(ctx); err != nil {
		return err
	}
	defer c.gate.leave()
	merging, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	due := c.completeLocked() && !c.sealedLocked() && !c.dropped
	c.sealing = cancel
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		c.sealing = nil
		s.mu.Unlock()
	}()
	if !due {
		return nil
	}
	err := c.seal(merging, nil)
	if err != nil && merging.Err() != nil && ctx.Err() == nil {
		return nil // it gives way to one who drops the chunk, or deletes from it
	}
	if isDamaged(err) {
		c.quarantine("seal", err)
	}
	s.count(func(st *Stats) {
		st.SealTime += s.opt.Now().Sub(began)
		if st.Seals++; err != nil {
			st.SealErrors++
		}
	})
	if err != nil {
		return fmt.Errorf("seal chunk %s: %w", nameOf(c.base, c.n), err)
	}
	return nil
}

// seal merges and seals. Until chunk.json says so the chunk is as it was, only merged. The caller holds the
// gate. known are the files of an earlier seal: segments never change, so those need not be read again.
func (c *chunk) seal(ctx context.Context, known map[string]fileSum) error {
	h, err := c.writable(ctx)
	if err != nil {
		return err
	}
	c.set.mu.Lock()
	next, end := c.state.Next, c.end
	c.set.mu.Unlock()
	if next != end { // it failed and went back, or a truncation has not been finished
		return fmt.Errorf("it is at %d, and ends at %d", next, end)
	}
	if err := c.flush(ctx, h); err != nil {
		return err
	}
	found, err := h.content()
	for tries := 0; err == nil && len(found.segments)+found.memory > 1; tries++ {
		if tries == 3 {
			return fmt.Errorf("%d segments are left after merging", len(found.segments)+found.memory)
		}
		if err := h.merge(ctx, c.set.opt.SealTimeout); err != nil {
			return err
		}
		if err := c.flush(ctx, h); err != nil { // the list of segments, too
			return err
		}
		found, err = h.content()
	}
	if err != nil {
		return err
	}
	c.set.opt.atStep("seal: merged")
	return c.finish(ctx, known)
}

// finish closes the index, reads what is on disk, and seals that. The caller holds the gate.
func (c *chunk) finish(ctx context.Context, known map[string]fileSum) error {
	s := c.set
	if err := c.closeHandle(); err != nil {
		return err
	}
	s.mu.Lock()
	dir, want := filepath.Join(c.dir, indexName), c.state
	s.mu.Unlock()
	if _, err := checkBolt(dir); err != nil {
		return damaged(dir, err)
	}
	h, err := openHandle(s.opt.Pool, dir, true, c.failedAsync)
	if err != nil {
		return err
	}
	found, err := h.content()
	if err == nil && (found.none || found.state.Checkpoint != want.Checkpoint || found.state.Docs != want.Docs) {
		err = fmt.Errorf("at %d, not at %d", found.state.Next, want.Next)
	}
	var files map[string]fileSum
	if err == nil {
		err = removeStrays(dir, found.segments)
	}
	if err == nil {
		files, err = sumFiles(ctx, dir, known, nil)
	}
	if err != nil {
		s.abandon(h.close(closeLimit))
		return damaged(dir, err)
	}
	s.opt.atStep("seal: closed")
	if err := c.rewrite(func() { c.files, c.state = files, found.state }); err != nil {
		s.abandon(h.close(closeLimit))
		return err
	}
	s.mu.Lock()
	old := c.old
	c.handle, c.old = h, nil
	s.mu.Unlock()
	c.builder, c.verified = nil, true
	c.touch(h)
	if old != nil {
		s.opt.atStep("replace: sealed")
		return s.drop(ctx, old)
	}
	return nil
}

// removeStrays removes the segments that were merged into others.
func removeStrays(dir string, segments []string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if filepath.Ext(e.Name()) == segmentSuffix && !slices.Contains(segments, e.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// Scrub reads all files of sealed chunks, at bytesPerSecond (0 is no limit), and quarantines what is not what
// was sealed. Bleve itself never looks at a CRC. After a start it also saves the first queries from doing that.
func (s *Set) Scrub(ctx context.Context, bytesPerSecond int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	p := &pace{bytesPerSecond: bytesPerSecond}
	for _, c := range s.chunks(true) {
		if err := c.scrub(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *chunk) scrub(ctx context.Context, p *pace) error {
	s := c.set
	s.mu.Lock()
	dir, files, dropped := filepath.Join(c.dir, indexName), c.files, c.dropped
	s.mu.Unlock()
	if files == nil || dropped {
		return nil
	}
	got, err := sumFiles(ctx, dir, nil, p)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && !maps.Equal(got, files) {
		err = errors.New("files are not what was sealed")
	}
	s.count(func(st *Stats) { st.Scrubbed++ })
	if err != nil {
		if err = damaged(dir, err); !isDamaged(err) {
			return err
		}
	}
	if enterErr := c.gate.enter(ctx); enterErr != nil {
		return enterErr
	}
	defer c.gate.leave()
	s.mu.Lock()
	same := !c.dropped && maps.Equal(files, c.files) // nobody wrote to it meanwhile
	s.mu.Unlock()
	switch {
	case same && err == nil:
		c.verified = true
	case same:
		s.count(func(st *Stats) { st.ScrubBad++ })
		c.quarantine("scrub", err)
	}
	return nil
}
