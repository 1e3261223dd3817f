package chunk

import (
	"context"
	"fmt"
	"sync"

	"github.com/blevesearch/bleve/v2/index/scorch"
	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/schema"
)

// Info is what can be known of a chunk without opening it.
type Info struct {
	Base, End  int64 // it knows all of [Base, End)
	Sealed     bool  // End is as far as it goes: from now on it can only lose documents
	Checkpoint Checkpoint
	Docs       int64
	InputBytes int64

	// The timestamps of its documents in ms since 1970, both included; documents without one do not count.
	// Min is above Max if there is none.
	MinTimestamp, MaxTimestamp int64

	// Tokens counts the terms of each text field, those of deleted documents included, for the average length.
	Tokens  map[string]int64
	Mapping *schema.Mapping // what its documents look like, with learned fields
}

// View is a stable set of chunks. What it lists can be read until Release, whatever happens to the row; only
// documents that are deleted meanwhile may be gone from a part that is opened after that.
type View struct {
	Parts   []*Part // newest first
	Missing []Range // below Next, newest first, and within what was asked for

	set  *Set
	once sync.Once
}

// Part is one chunk of a View.
type Part struct {
	Info

	chunk  *chunk
	reader index.IndexReader // of a chunk that is being built, as it was when the view was made
}

// Acquire gives a view of what touches the offsets in [from, end). Parts may hold more than that.
func (s *Set) Acquire(from, end int64) (*View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	v := &View{set: s}
	for i := len(s.row) - 1; i >= 0; i-- {
		c := s.row[i]
		if c.old != nil {
			c = c.old
		}
		if c.end <= from || c.base >= end || c.dropped {
			continue
		}
		p := c.partLocked()
		if p.End > from && p.End > p.Base {
			c.refs++
			v.Parts = append(v.Parts, p)
		} else if p.reader != nil {
			p.reader.Close()
		}
		if c.end != openEnd && p.End < c.end {
			if gap := (Range{max(p.End, from), min(c.end, end)}); gap.From < gap.End {
				v.Missing = append(v.Missing, gap)
			}
		}
	}
	return v, nil
}

// partLocked describes c. If it is being built, that is by a reader of now: the next batch may come before the
// part is opened.
func (c *chunk) partLocked() *Part {
	p := &Part{chunk: c}
	st := c.state
	if c.handle != nil && !c.sealedLocked() {
		if r, err := c.handle.reader(); err == nil {
			if found, err := contentOf(r); err == nil && !found.none {
				p.reader, st = r, found.state
			} else {
				r.Close()
			}
		}
	}
	p.Info = Info{
		Base: max(c.base, st.Low), End: min(st.Next, c.end), Sealed: c.sealedLocked(), Checkpoint: st.Checkpoint,
		Docs: st.Docs, InputBytes: st.InputBytes, MinTimestamp: st.MinTimestamp, MaxTimestamp: st.MaxTimestamp,
		Tokens: st.Tokens, Mapping: c.mapping,
	}
	if len(st.Learned) > 0 {
		p.Mapping = c.mapping.With(st.Learned)
	}
	return p
}

// Open gives a reader, which the caller closes; Open is not called after Release. It may have to open the chunk first. An error concerns this
// chunk only; if the chunk is damaged it is on its way to be built again. What a reader does may panic over
// damage in segments that was not found so far, or fault in memory that maps them: run it under recover, with
// debug.SetPanicOnFault.
func (p *Part) Open(ctx context.Context) (index.IndexReader, error) {
	if p.reader != nil {
		p.reader.(*scorch.IndexSnapshot).AddRef() // Close takes it back
		return p.reader, nil
	}
	r, err := p.chunk.read(ctx)
	if err == nil && !p.Sealed {
		err = p.reaches(r)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// reaches closes r again if it has less than the part promises: the index failed, and went back to what was on
// disk.
func (p *Part) reaches(r index.IndexReader) error {
	found, err := contentOf(r)
	if err == nil && (found.none || found.state.Next < p.End) {
		err = fmt.Errorf("chunk %s went back to %d", nameOf(p.chunk.base, p.chunk.n), found.state.Next)
	}
	if err != nil {
		r.Close()
	}
	return err
}

// Release gives the chunks back. Readers that are still open stay good.
func (v *View) Release() {
	v.once.Do(func() {
		for _, p := range v.Parts {
			if p.reader != nil {
				p.reader.Close()
			}
		}
		v.set.mu.Lock()
		defer v.set.mu.Unlock()
		for _, p := range v.Parts {
			p.chunk.refs--
			v.set.removeUnusedLocked(p.chunk)
		}
	})
}
