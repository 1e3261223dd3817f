package chunk

import (
	"context"
	"errors"
	"os"

	"github.com/chronik-stream/chronik/index/schema"
)

// TruncateTo forgets all from offset on, durably: the log was cut there, by an unclean election. After an
// error, or a crash, call it again while Next is above the end of the log.
func (s *Set) TruncateTo(ctx context.Context, offset int64) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.writer.leave()
	if offset >= s.Next() {
		return nil
	}
	if row := s.chunks(false); offset <= row[0].base {
		return s.restart(ctx, offset)
	}
	for {
		row := s.chunks(false)
		last := row[len(row)-1]
		if last.base < offset {
			return s.cut(ctx, last, offset)
		}
		if err := s.dropWithOld(ctx, last); err != nil {
			return err
		}
		s.replace(last)
	}
}

// restart leaves nothing but an empty chunk at offset. A chunk leaves the row once it is off the disk: what was
// truncated must not come back with the next start.
func (s *Set) restart(ctx context.Context, offset int64) error {
	fresh := s.newChunk(offset, openEnd)
	if err := fresh.create(); err != nil {
		return errors.Join(err, removeAll(fresh))
	}
	s.opt.atStep("restart: fresh made")
	for {
		row := s.chunks(false)
		last := row[len(row)-1]
		if err := s.dropWithOld(ctx, last); err != nil {
			return errors.Join(err, removeAll(fresh))
		}
		if len(row) > 1 {
			s.replace(last)
		} else if s.replace(last, fresh) {
			return nil
		}
	}
}

func (s *Set) dropWithOld(ctx context.Context, c *chunk) error {
	s.mu.Lock()
	old := c.old
	s.mu.Unlock()
	err := s.drop(ctx, c)
	if old != nil {
		err = errors.Join(err, s.drop(ctx, old))
	}
	return err
}

// cut ends the last chunk at offset. First chunk.json says so: from then on Open goes on with it.
func (s *Set) cut(ctx context.Context, c *chunk, offset int64) error {
	c, err := s.keepOld(ctx, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	inside := offset < c.end
	s.mu.Unlock()
	if inside {
		if err := s.modify(ctx, c, offset, func(h *handle) error { return c.trim(ctx, h) }); err != nil {
			return err
		}
	}
	s.opt.atStep("truncate: cut")
	return s.append(offset, openEnd)
}

// keepOld gives up building c where an old chunk still answers.
func (s *Set) keepOld(ctx context.Context, c *chunk) (*chunk, error) {
	s.mu.Lock()
	old := c.old
	s.mu.Unlock()
	if old == nil {
		return c, nil
	}
	s.replace(c, old)
	s.mu.Lock()
	old.stale = true
	s.mu.Unlock()
	return old, s.drop(ctx, c)
}

// modify writes to a chunk once chunk.json says that it is not sealed, and ends at end. What was sealed is sealed
// again; if that fails it is left to Seal.
func (s *Set) modify(ctx context.Context, c *chunk, end int64, write func(h *handle) error) error {
	s.mu.Lock()
	if c.sealing != nil {
		c.sealing()
	}
	s.mu.Unlock()
	if err := c.gate.enter(ctx); err != nil {
		return err
	}
	defer c.gate.leave()
	s.mu.Lock()
	known, sealed, same := c.files, c.sealedLocked(), c.end == end
	s.mu.Unlock()
	if sealed || !same {
		if err := c.rewrite(func() { c.end, c.files = end, nil }); err != nil {
			return err
		}
	}
	s.opt.atStep("write: unsealed")
	if sealed {
		if err := c.closeHandle(); err != nil {
			return err
		}
	}
	h, err := c.writable(ctx)
	if err == nil {
		err = write(h)
	}
	s.mu.Lock()
	reseal := sealed && c.completeLocked() && !c.dropped
	s.mu.Unlock()
	s.opt.atStep("write: done")
	if err == nil && reseal {
		err = c.seal(ctx, known)
	}
	if isDamaged(err) {
		c.quarantine("write", err)
		return nil // what was to be deleted is gone
	}
	return err
}

func (s *Set) trimAll(ctx context.Context) error {
	for _, c := range s.chunks(false) {
		s.mu.Lock()
		next, end := c.state.Next, c.end
		s.mu.Unlock()
		if next <= end {
			continue
		}
		if err := s.modify(ctx, c, end, func(h *handle) error { return c.trim(ctx, h) }); err != nil {
			return err
		}
	}
	return nil
}

// trim deletes what a chunk holds from its end on. If that is much it is built again. The caller holds the
// gate.
func (c *chunk) trim(ctx context.Context, h *handle) error {
	s := c.set
	s.mu.Lock()
	next, end := c.state.Next, c.end
	s.mu.Unlock()
	if next <= end {
		return nil
	}
	ids, err := h.idsBetween(end, openEnd)
	if err != nil {
		return err
	}
	if int64(len(ids)) > s.opt.TrimDocs {
		fresh := s.newChunk(c.base, end)
		if err := fresh.create(); err != nil {
			return errors.Join(err, removeAll(fresh))
		}
		s.replace(c, fresh)
		return s.discard(c)
	}
	return c.deleteIDs(ctx, h, ids, func(st *state, _ int64, last bool) {
		if last {
			st.Next = end
		}
	})
}

// DeleteBefore forgets what is below offset, the new start of the log. Chunks that end there go as a whole; of
// one that begins before it and ends after it documents are deleted, without getting their space back. After a
// crash call it again with the log's start.
func (s *Set) DeleteBefore(ctx context.Context, offset int64) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.writer.leave()
	if offset <= s.Start() {
		return nil
	}
	if offset >= s.Next() {
		return s.restart(ctx, offset)
	}
	for {
		c := s.chunks(false)[0]
		s.mu.Lock()
		whole := c.end <= offset
		s.mu.Unlock()
		if !whole {
			return s.deletePart(ctx, c, offset)
		}
		if err := s.dropWithOld(ctx, c); err != nil {
			return err
		}
		s.replace(c)
	}
}

// deletePart deletes what c, the first chunk, holds below offset.
func (s *Set) deletePart(ctx context.Context, c *chunk, offset int64) error {
	if c.base >= offset {
		return nil
	}
	c, err := s.keepOld(ctx, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	next, end, low := c.state.Next, c.end, c.state.Low
	s.mu.Unlock()
	if next <= offset { // it is a gap that has not been filled so far
		fresh := s.newChunk(offset, end)
		if err := fresh.create(); err != nil {
			return errors.Join(err, removeAll(fresh))
		}
		s.replace(c, fresh)
		return s.drop(ctx, c)
	}
	return s.modify(ctx, c, end, func(h *handle) error {
		ids, err := h.idsBetween(low, offset)
		if err != nil {
			return err
		}
		return c.deleteIDs(ctx, h, ids, func(st *state, _ int64, last bool) {
			if last {
				st.Low = offset
			}
		})
	})
}

// Delete forgets the records at offsets, which compaction removed from the log.
func (s *Set) Delete(ctx context.Context, offsets []int64) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.writer.leave()
	var errs error
	for _, c := range s.chunks(true) {
		s.mu.Lock()
		end := min(c.state.Next, c.end)
		s.mu.Unlock()
		var ids []string
		for _, offset := range offsets {
			if c.base <= offset && offset < end {
				ids = append(ids, schema.OffsetTerm(offset))
			}
		}
		if len(ids) > 0 {
			errs = errors.Join(errs, s.deleteFrom(ctx, c, ids))
		}
	}
	return errs
}

func (s *Set) deleteFrom(ctx context.Context, c *chunk, ids []string) error {
	r, err := c.read(ctx)
	if isDamaged(err) {
		return nil // it is quarantined, and built without them
	}
	if err != nil {
		return err
	}
	ids, err = liveOf(r, ids)
	if closeErr := r.Close(); err != nil || len(ids) == 0 { // opening to write costs more than to look
		return errors.Join(err, closeErr)
	}
	s.mu.Lock()
	end := c.end
	s.mu.Unlock()
	return s.modify(ctx, c, end, func(h *handle) error {
		return c.deleteIDs(ctx, h, ids, func(st *state, gone int64, _ bool) { st.Deleted += gone })
	})
}

// Rebuild makes the chunks that r touches be indexed again: their ranges come up in Pending. Sealed ones
// answer until they are replaced. A part of r before Start is added to the index.
func (s *Set) Rebuild(ctx context.Context, r Range) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.writer.leave()
	for _, c := range s.chunks(false) {
		if err := s.rebuild(ctx, c, r); err != nil {
			return err
		}
	}
	first := s.chunks(false)[0]
	if r.From >= first.base {
		return nil
	}
	before := s.newChunk(r.From, first.base)
	if err := before.create(); err != nil {
		return errors.Join(err, removeAll(before))
	}
	s.replace(first, before, first)
	return nil
}

func (s *Set) rebuild(ctx context.Context, c *chunk, r Range) error {
	if err := c.gate.enter(ctx); err != nil {
		return err
	}
	defer c.gate.leave()
	s.mu.Lock()
	end, sealed := c.end, c.sealedLocked()
	begun := c.old != nil || c.state.Next == c.base || c.dropped
	s.mu.Unlock()
	if begun || r.From >= end || r.End <= c.base {
		return nil
	}
	fresh := s.newChunk(c.base, end)
	if sealed {
		fresh.old = c
	}
	if err := fresh.create(); err != nil {
		return errors.Join(err, removeAll(fresh))
	}
	s.replace(c, fresh)
	s.opt.atStep("rebuild: made")
	if sealed {
		return nil
	}
	return s.discard(c)
}

// RemoveAll closes the Set and removes its directory.
func (s *Set) RemoveAll(ctx context.Context) error {
	return errors.Join(s.Close(ctx), os.RemoveAll(s.opt.Dir))
}
