package chunk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/schema"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// closeLimit is how long the goroutines of an index get to end.
const closeLimit = 30 * time.Second

// chunk is one index over [base, end). It is being built until state.Next has come to end, complete then, and
// sealed once its files are final and their CRCs known.
type chunk struct {
	set     *Set
	base    int64
	n       int
	mapping *schema.Mapping // without learned fields
	config  schema.Config

	// gate is held by the one who opens, closes, writes or moves the index, or changes the chunk's place in
	// the row. It comes after Set.writer and before Set.mu.
	gate     gate
	builder  *schema.Builder // behind gate; nil until there is something to build
	panics   int             // behind gate: how often goroutines of Bleve died over it
	verified bool            // behind gate: its segments were read since it was sealed, or since the start
	careful  bool            // behind gate: Bleve failed to persist, so the next batch waits until it has

	// The fields below are guarded by Set.mu.
	dir     string
	end     int64
	state   state
	files   map[string]fileSum // of a sealed chunk; nil of any other
	handle  *handle            // nil while closed
	old     *chunk             // sealed, over the same range: it answers until this one is sealed
	refs    int                // of views and of work that reads the files
	dropped bool               // not in the row any more
	removed bool               // its directory goes with the last reference
	sealing context.CancelFunc // ends the merge in progress; nil if there is none
	stale   bool               // to be built again, though it answers well
}

func (c *chunk) manifestLocked() *manifest {
	m := &manifest{
		Format: manifestFormat, TopicID: c.set.opt.TopicID, Base: c.base, End: c.end,
		Mapping: c.mapping.String(), Config: c.config, Bleve: bleveVersion(), Zap: zapVersion(),
	}
	if c.files != nil {
		m.Sealed = &seal{State: c.state, Files: c.files}
	}
	return m
}

func (c *chunk) sealedLocked() bool   { return c.files != nil }
func (c *chunk) completeLocked() bool { return c.end != openEnd && c.state.Next >= c.end }

// create makes the chunk's directory. Before chunk.json is there, it is nothing (Open removes it).
func (c *chunk) create() error {
	c.set.mu.Lock()
	dir, m := c.dir, c.manifestLocked()
	c.set.mu.Unlock()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := m.write(dir); err != nil {
		return err
	}
	return vfs.OS{}.SyncDir(filepath.Dir(dir))
}

// rewrite replaces chunk.json after change, which is called with Set.mu held. If that fails nothing changed.
func (c *chunk) rewrite(change func()) error {
	s := c.set
	s.mu.Lock()
	end, files, st := c.end, c.files, c.state
	change()
	dir, m := c.dir, c.manifestLocked()
	s.mu.Unlock()
	err := m.write(dir)
	if err != nil {
		s.mu.Lock()
		c.end, c.files, c.state = end, files, st
		s.mu.Unlock()
	}
	return err
}

// writable gives the handle of a chunk that is being built, and opens it if it is closed. By then state says
// what the index holds: less than before if it was closed over a failure.
func (c *chunk) writable(ctx context.Context) (*handle, error) {
	s := c.set
	s.mu.Lock()
	h, dir := c.handle, filepath.Join(c.dir, indexName)
	s.mu.Unlock()
	if h != nil {
		return h, nil
	}
	if !exists(filepath.Join(filepath.Dir(dir), manifestName)) { // there was no room for it before
		if err := c.create(); err != nil {
			return nil, err
		}
	}
	found, err := checkIndex(ctx, s.opt.Pool, dir)
	if err != nil {
		return nil, err
	}
	if h, err = openHandle(s.opt.Pool, dir, false, c.failedAsync); err != nil {
		return nil, err
	}
	if found.none {
		found.state = newState(c.base)
	}
	s.mu.Lock()
	c.state, c.handle = found.state, h
	s.mu.Unlock()
	c.builder = c.mapping.With(found.state.Learned).NewBuilder()
	return h, nil
}

// read gives a reader, of whatever kind of handle the chunk has or needs. The reader is taken before the pool
// hears of the handle: from then on another may have it closed. If that happened to one that was found open,
// the next is opened here.
func (c *chunk) read(ctx context.Context) (index.IndexReader, error) {
	s := c.set
	s.mu.Lock()
	h, sealed := c.handle, c.sealedLocked()
	s.mu.Unlock()
	var r index.IndexReader
	err := errHandleClosed
	if h != nil {
		r, err = h.reader()
	}
	if err == errHandleClosed {
		h, r, sealed, err = c.reopen(ctx)
	}
	if err == nil && sealed {
		c.touch(h)
	}
	return r, err
}

// touch notes the use of h in the pool, and closes what has to make room for it.
func (c *chunk) touch(h *handle) {
	for _, other := range c.set.opt.Pool.touch(c) {
		other.closeIdle()
	}
	c.set.mu.Lock()
	closed := c.handle != h
	c.set.mu.Unlock()
	if closed {
		c.set.opt.Pool.forget(c)
	}
}

// reopen opens the chunk if it is closed.
func (c *chunk) reopen(ctx context.Context) (h *handle, r index.IndexReader, sealed bool, err error) {
	if err := c.gate.enter(ctx); err != nil {
		return nil, nil, false, err
	}
	defer c.gate.leave()
	s := c.set
	s.mu.Lock()
	h, sealed = c.handle, c.sealedLocked()
	closed, gone, bad := s.closed, c.removed && c.refs == 0, c.dropped && !c.removed
	dir := c.dir
	s.mu.Unlock()
	switch {
	case closed, gone:
		return nil, nil, false, ErrClosed
	case bad:
		return nil, nil, false, damaged(dir, errors.New("quarantined"))
	case h != nil: // by another, just now
		if r, err = h.reader(); err != errHandleClosed {
			return h, r, sealed, err
		}
	}
	if sealed {
		h, err = c.openSealed(ctx)
	} else {
		h, err = c.writable(ctx)
	}
	if isDamaged(err) {
		c.quarantine("open", err)
	}
	if err == nil {
		r, err = h.reader()
	}
	return h, r, sealed, err
}

// openSealed opens the index to read. It is what it was when it was sealed, or damaged. All of it is read the
// first time (1.8 GB/s).
func (c *chunk) openSealed(ctx context.Context) (*handle, error) {
	s := c.set
	s.mu.Lock()
	dir, files, want := filepath.Join(c.dir, indexName), c.files, c.state
	s.mu.Unlock()
	if err := checkSealed(ctx, dir, files, c.verified); err != nil {
		return nil, damaged(dir, err)
	}
	c.verified = true
	h, err := openHandle(s.opt.Pool, dir, true, c.failedAsync)
	if err != nil {
		return nil, err
	}
	found, err := h.content()
	if err == nil && (found.none && want.Docs > 0 || !found.none && found.state.Checkpoint != want.Checkpoint) {
		err = fmt.Errorf("it is at %d, not at %d", found.state.Next, want.Next)
	}
	if err != nil {
		s.abandon(h.close(closeLimit))
		return nil, damaged(dir, err)
	}
	s.mu.Lock()
	c.handle = h
	s.mu.Unlock()
	return h, nil
}

// closeIdle closes a sealed chunk that others need the place of. Its readers do not mind.
func (c *chunk) closeIdle() {
	c.set.mu.Lock()
	h := c.handle
	if h == nil || !c.sealedLocked() {
		c.set.mu.Unlock()
		return
	}
	c.handle = nil
	c.set.mu.Unlock()
	c.set.abandon(h.close(closeLimit))
}

// closeHandle closes the index, whoever reads it. The caller holds the gate.
func (c *chunk) closeHandle() error {
	c.set.mu.Lock()
	h := c.handle
	c.handle = nil
	c.set.mu.Unlock()
	c.set.opt.Pool.forget(c) // after that, see touch
	if h == nil {
		return nil
	}
	err := h.close(closeLimit)
	c.set.abandon(err)
	return err
}

// apply commits batch together with st, and then st is the state. The caller holds the gate.
func (c *chunk) apply(ctx context.Context, h *handle, batch *index.Batch, st state, durable bool) error {
	batch.SetInternal(checkpointKey, st.encode())
	err := h.apply(ctx, batch, durable, c.set.opt.BatchTimeout)
	if err == nil {
		c.set.mu.Lock()
		c.state = st
		c.set.mu.Unlock()
		return nil
	}
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		h.fail(err) // what the index holds is to be read from it again
	} else {
		c.set.mu.Lock()
		c.state = st // applied, only not known to be on disk
		c.set.mu.Unlock()
	}
	return fmt.Errorf("batch of chunk %s: %w", nameOf(c.base, c.n), err)
}

// flush makes durable what was applied.
func (c *chunk) flush(ctx context.Context, h *handle) error {
	c.set.mu.Lock()
	st := c.state
	c.set.mu.Unlock()
	return c.apply(ctx, h, index.NewBatch(), st, true)
}

// deleteBatch is how many deletions are committed together.
const deleteBatch = 5000

// deleteIDs deletes the documents among ids that are there, durably. also is what else a batch changes; the
// last one commits all of it.
func (c *chunk) deleteIDs(ctx context.Context, h *handle, ids []string, also func(st *state, gone int64, last bool)) error {
	for {
		part := ids[:min(len(ids), deleteBatch)]
		ids = ids[len(part):]
		live, err := h.live(part)
		if err != nil {
			return err
		}
		c.set.mu.Lock()
		st := c.state.clone()
		c.set.mu.Unlock()
		batch := index.NewBatch()
		for _, id := range live {
			batch.Delete(id)
		}
		st.Docs -= int64(len(live))
		also(&st, int64(len(live)), len(ids) == 0)
		if err := c.apply(ctx, h, batch, st, len(ids) == 0); err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
	}
}

// live lists those of ids that have a document.
func (h *handle) live(ids []string) (live []string, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	r, err := h.reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return liveOf(r, ids)
}

func liveOf(r index.IndexReader, ids []string) (live []string, err error) {
	err = guarded(func() error {
		docs, err := r.DocIDReaderOnly(ids)
		if err != nil {
			return err
		}
		defer docs.Close()
		for {
			id, err := docs.Next()
			if err != nil || id == nil {
				return err
			}
			name, err := r.ExternalID(id)
			if err != nil {
				return err
			}
			live = append(live, name)
		}
	})
	return live, err
}

// idsBetween lists the ids in [from, end) that the index knows, deleted ones perhaps among them.
func (h *handle) idsBetween(from, end int64) (ids []string, err error) {
	if from >= end {
		return nil, nil
	}
	r, err := h.reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	last := int64(math.MaxInt64)
	if end != openEnd {
		last = end - 1
	}
	err = guarded(func() error {
		dict, err := r.FieldDictRange(schema.IDField, []byte(schema.OffsetTerm(from)), []byte(schema.OffsetTerm(last)))
		if err != nil {
			return err
		}
		defer dict.Close()
		for {
			entry, err := dict.Next()
			if err != nil || entry == nil {
				return err
			}
			ids = append(ids, entry.Term)
		}
	})
	return ids, err
}
