package chunk

import (
	"context"
	"errors"
	"fmt"

	"github.com/blevesearch/bleve/v2/document"
	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/schema"
)

// Batch is what one call of Index adds: the records of [From, To) that are to be found, in order.
type Batch struct {
	From    int64 // Set.Next, or where a range of Pending begins
	To      int64
	Records []schema.Record // offsets may have gaps

	Epoch      int32 // leader epoch of the batch of the log before To
	LastStable int64
	Border     bool // a segment of the log ends at To, so a chunk may
}

// Indexed says what became of a batch.
type Indexed struct {
	Docs     int
	Skipped  schema.Skipped
	Poisoned int // records that could not be made documents at all
}

// Index adds a batch. It can be searched when Index returns, and is on disk some time after that. If Index
// fails, the index may have gone back to what is on disk: ask Next and Pending again, after a while.
func (s *Set) Index(ctx context.Context, b Batch) (Indexed, error) {
	if err := s.begin(ctx); err != nil {
		return Indexed{}, err
	}
	defer s.writer.leave()
	c := s.at(b.From)
	if c == nil || b.To < b.From {
		return Indexed{}, fmt.Errorf("%w: [%d, %d) where that is %d", ErrNotNext, b.From, b.To, s.Next())
	}
	if err := c.gate.enter(ctx); err != nil {
		return Indexed{}, err
	}
	defer c.gate.leave()
	if c.retired() {
		if err := s.roll(c); err != nil {
			return Indexed{}, err
		}
		if c = s.at(b.From); c == nil {
			return Indexed{}, ErrNotNext
		}
		if err := c.gate.enter(ctx); err != nil {
			return Indexed{}, err
		}
		defer c.gate.leave()
	}
	done, err := c.index(ctx, b)
	if isDamaged(err) {
		c.quarantine("open", err)
	}
	if err == nil && c.full(b.Border) {
		err = s.roll(c)
	}
	return done, err
}

// at is the chunk that goes on at offset: only one can.
func (s *Set) at(offset int64) *chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.row) - 1; i >= 0; i-- {
		if c := s.row[i]; !c.completeLocked() && !c.dropped && c.state.Next == offset {
			return c
		}
	}
	return nil
}

// index makes documents of the records and commits them. The caller holds the gate.
func (c *chunk) index(ctx context.Context, b Batch) (Indexed, error) {
	s, began := c.set, c.set.opt.Now()
	h, err := c.writable(ctx)
	if err != nil {
		return Indexed{}, err
	}
	s.mu.Lock()
	st, end := c.state.clone(), c.end
	s.mu.Unlock()
	if st.Next != b.From || b.To > end {
		return Indexed{}, fmt.Errorf("%w: [%d, %d) for [%d, %d)", ErrNotNext, b.From, b.To, st.Next, end)
	}
	var done Indexed
	batch := index.NewBatch()
	for i := range b.Records {
		c.add(batch, &b.Records[i], &st, &done)
	}
	before := st.InputBytes
	for i := range b.Records {
		st.InputBytes += size(&b.Records[i])
	}
	st.Docs += int64(done.Docs)
	st.Checkpoint = Checkpoint{Next: b.To, Epoch: b.Epoch, LastStable: b.LastStable}
	if len(c.builder.Learned()) != len(st.Learned) {
		st.Learned = c.builder.Learned()
	}
	if err := c.apply(ctx, h, batch, st, c.careful); err != nil {
		return Indexed{}, err
	}
	c.careful = false
	s.count(func(total *Stats) {
		total.Batches++
		total.Indexed += int64(done.Docs)
		total.Poisoned += int64(done.Poisoned)
		for _, n := range done.Skipped {
			total.Skipped += int64(n)
		}
		total.InputBytes += st.InputBytes - before
		total.BatchTime += s.opt.Now().Sub(began)
	})
	return done, nil
}

// add puts the document of r into batch. It is analysed here, not by Bleve's worker, where a panic over one
// record would take the process with it, at every start anew; here it takes the record. So its terms are
// known before the batch is committed, too.
func (c *chunk) add(batch *index.Batch, r *schema.Record, st *state, done *Indexed) {
	var doc *document.Document
	var skipped schema.Skipped
	err := guarded(func() error {
		doc, skipped = c.builder.Build(r)
		doc.VisitFields(func(f index.Field) { f.Analyze() })
		return nil
	})
	if err != nil {
		c.set.opt.Logger.Error("record left out of the index", "dir", c.set.opt.Dir, "offset", r.Offset, "err", err)
		c.builder = c.mapping.With(c.builder.Learned()).NewBuilder() // the old one stopped midway
		done.Poisoned++
		return
	}
	batch.Update(doc)
	st.addTimestamp(r.Timestamp)
	doc.VisitFields(func(f index.Field) {
		if !f.Options().SkipFreqNorm() { // a text
			st.addTokens(f.Name(), f.AnalyzedLength())
		}
	})
	done.Docs++
	for i, n := range skipped {
		done.Skipped[i] += n
	}
}

func size(r *schema.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return int64(n)
}

// full says that c is to end where it is. One that replaces another ends where that did.
func (c *chunk) full(border bool) bool {
	s := c.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.old != nil || c.completeLocked() {
		return false
	}
	return c.state.Docs >= s.opt.MaxDocs ||
		border && (c.state.Docs >= s.opt.RollDocs || c.state.InputBytes >= s.opt.RollBytes)
}

// retired says that c is the last chunk and has a mapping that is not the topic's any more.
func (c *chunk) retired() bool {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	return c.end == openEnd && c.mapping.String() != c.set.mapping.String()
}

// roll ends c where it is and puts a new chunk behind it. The caller holds the gate. If the process dies
// between the two steps, Open takes the base of the new one for the end of c.
func (s *Set) roll(c *chunk) error {
	s.mu.Lock()
	at, end := c.state.Next, c.end
	s.mu.Unlock()
	next := s.newChunk(at, end)
	if err := next.create(); err != nil {
		return errors.Join(err, removeAll(next))
	}
	s.opt.atStep("roll: next made")
	if at == c.base { // nothing in it
		s.replace(c, next)
		return s.discard(c)
	}
	if err := c.rewrite(func() { c.end = at }); err != nil {
		return errors.Join(err, removeAll(next))
	}
	s.replace(c, c, next)
	return nil
}

// replace puts others in the place of c in the row, if it is there.
func (s *Set) replace(c *chunk, others ...*chunk) (done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var row []*chunk // a new one: views and callers may walk the old
	for _, r := range s.row {
		if r == c {
			row, done = append(row, others...), true
		} else {
			row = append(row, r)
		}
	}
	s.row = row
	return done
}
