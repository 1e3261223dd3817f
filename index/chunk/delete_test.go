package chunk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/index/schema"
)

// truncate is an unclean election: the log goes on from offset with other records.
func (l *modelLog) truncate(offset int64) {
	l.end, l.generation = offset, l.generation+1
}

func TestTruncateTo(t *testing.T) {
	for _, offset := range []int64{0, 1, 100, 250, 300, 330, 350} {
		t.Run(fmt.Sprint(offset), func(t *testing.T) {
			dir, l := builtRow(t)
			s := open(t, testOptions(t, dir))
			if err := s.TruncateTo(t.Context(), offset); err != nil {
				t.Fatal(err)
			}
			if want := min(offset, 350); s.Next() != want {
				t.Errorf("next = %d, want %d", s.Next(), want)
			}
			l.end = min(offset, l.end)
			l.check(t, s)
			l.reopensFrom(t, copyDir(t, dir)) // durable when it returns
			closeSet(t, s)
		})
	}
}

// After a truncation the offsets come again with other records: nothing of the old ones may be found.
func TestTruncatedRecordsDoNotComeBack(t *testing.T) {
	dir, l := builtRow(t)
	s := open(t, testOptions(t, dir))
	if err := s.TruncateTo(t.Context(), 200); err != nil {
		t.Fatal(err)
	}
	l.truncate(200)
	v, err := s.Acquire(0, openEnd)
	if err != nil {
		t.Fatal(err)
	}
	if got := offsetsOf(t, v); got[len(got)-1] >= 200 {
		t.Errorf("found %d", got[len(got)-1])
	}
	v.Release()
	before := l.generation - 1
	l.end = 320
	l.catchUp(t, s)
	v, err = s.Acquire(200, openEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	l.checkTerms(t, v)
	(&modelLog{generation: before}).checkTermsGone(t, v)
}

func (l *modelLog) checkTermsGone(t *testing.T, v *View) {
	t.Helper()
	for _, p := range v.Parts {
		r, err := p.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ids, err := r.DocIDReaderOnly([]string{schema.OffsetTerm(p.Base)})
		if err != nil {
			t.Fatal(err)
		}
		defer ids.Close()
		// "0" stands in the text of generation 0 of every record; of the newer ones in none from 200 on.
		if found, err := r.TermFieldReader(t.Context(), fmt.Append(nil, l.generation), "msg", false, false, false); err != nil || found.Count() > 0 {
			t.Errorf("[%d, %d): %v documents of generation %d, err %v", p.Base, p.End, found.Count(), l.generation, err)
		}
	}
}

func TestTruncationOfMuchBuildsAgain(t *testing.T) {
	dir, l := builtRow(t)
	o := testOptions(t, dir)
	o.TrimDocs = 10
	s := open(t, o)
	if err := s.TruncateTo(t.Context(), 150); err != nil {
		t.Fatal(err)
	}
	if got := s.Pending(); !slices.Equal(got, []Range{{100, 150}}) {
		t.Errorf("pending %v", got)
	}
	l.end = 150
	l.catchUp(t, s)
	l.check(t, s)
}

func TestDeleteBefore(t *testing.T) {
	for _, offset := range []int64{1, 100, 250, 320, 350, 500} {
		t.Run(fmt.Sprint(offset), func(t *testing.T) {
			dir, l := builtRow(t)
			s := open(t, testOptions(t, dir))
			if err := s.DeleteBefore(t.Context(), offset); err != nil {
				t.Fatal(err)
			}
			if s.Start() != offset {
				t.Errorf("start = %d", s.Start())
			}
			l.start, l.end = offset, max(l.end, offset)
			l.check(t, s)
			l.reopensFrom(t, copyDir(t, dir))
			if n := s.Unsealed(); n != 0 {
				t.Errorf("%d chunks are left unsealed", n)
			}
		})
	}
}

func TestDeleteBeforeInsideAGapShortensIt(t *testing.T) {
	dir, l := builtRow(t)
	if err := errorsOf(os.RemoveAll, dir, nameOf(100, 2)); err != nil {
		t.Fatal(err)
	}
	s := open(t, testOptions(t, dir))
	if err := s.DeleteBefore(t.Context(), 150); err != nil {
		t.Fatal(err)
	}
	if got := s.Pending(); !slices.Equal(got, []Range{{150, 200}}) || s.Start() != 150 {
		t.Errorf("pending %v, start %d", got, s.Start())
	}
	l.start = 150
	l.catchUp(t, s)
	l.check(t, s)
}

func TestDeleteTakesCompactedRecordsOutAndSaysWhenItIsMuch(t *testing.T) {
	dir, l := builtRow(t)
	s := open(t, testOptions(t, dir))
	l.gone = map[int64]bool{}
	remove := func(from, end int64) {
		var offsets []int64
		for o := from; o < end; o++ {
			offsets, l.gone[o] = append(offsets, o), true
		}
		if err := s.Delete(t.Context(), offsets); err != nil {
			t.Fatal(err)
		}
		l.check(t, s)
	}
	remove(90, 120)
	remove(310, 320)
	if got := s.Stale(); len(got) != 0 {
		t.Errorf("stale %v", got)
	}
	remove(90, 140)
	if got := s.Stale(); !slices.Equal(got, []Range{{100, 200}}) {
		t.Errorf("stale %v", got)
	}
	l.reopensFrom(t, copyDir(t, dir))
	if err := s.Rebuild(t.Context(), Range{100, 200}); err != nil {
		t.Fatal(err)
	}
	remove(150, 160) // from the old one, which answers, too
	l.catchUp(t, s)
	sealAll(t, s)
	l.check(t, s)
	if got := s.Stale(); len(got) != 0 {
		t.Errorf("stale %v", got)
	}
}

func TestRebuildBeforeStartExtendsTheIndex(t *testing.T) {
	o := testOptions(t, t.TempDir())
	o.Start = 120
	s := open(t, o)
	l := &modelLog{start: 120, end: 200}
	l.catchUp(t, s)
	l.check(t, s)
	if err := s.Rebuild(t.Context(), Range{0, 130}); err != nil {
		t.Fatal(err)
	}
	l.start = 0
	l.catchUp(t, s)
	l.check(t, s)
}

func TestRemoveAll(t *testing.T) {
	dir, _ := builtRow(t)
	s := open(t, testOptions(t, dir))
	if err := s.RemoveAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exists(dir) {
		t.Error("the directory is still there")
	}
	if _, err := s.Acquire(0, 1); err != ErrClosed {
		t.Errorf("acquire: %v", err)
	}
	if _, err := s.Index(t.Context(), Batch{}); err != ErrClosed {
		t.Errorf("index: %v", err)
	}
}

// Whatever is done in whatever order, with crashes between: the index has what the log has.
func TestRandomWorkAgreesWithTheLog(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(4) {
		t.Run(fmt.Sprint(seed+i), func(t *testing.T) { randomWork(t, rand.New(rand.NewPCG(seed+i, 0))) })
	}
}

func randomWork(t *testing.T, random *rand.Rand) {
	dir := t.TempDir()
	o := testOptions(t, dir)
	o.RollDocs, o.MaxDocs, o.TrimDocs = 40, 90, 20
	s := open(t, o)
	l := &modelLog{gone: map[int64]bool{}, border: 50}
	ctx := t.Context()
	var done []string
	for range 30 {
		what := random.IntN(9)
		at := l.start + random.Int64N(l.end-l.start+1)
		done = append(done, fmt.Sprintf("%d at %d", what, at))
		var err error
		switch what {
		case 0, 1, 2:
			l.end += random.Int64N(80)
			for s.Next() < l.end && random.IntN(12) > 0 {
				mustIndex(t, s, l.batch(s.Next(), l.end))
			}
			if pending := s.Pending(); len(pending) > 0 {
				mustIndex(t, s, l.batch(pending[0].From, pending[0].End))
			}
		case 3:
			err = s.Seal(ctx)
		case 4:
			if at > l.end-100 {
				l.truncate(at)
				err = s.TruncateTo(ctx, at)
			}
		case 5:
			at = min(at, l.start+60)
			l.start = at
			err = s.DeleteBefore(ctx, at)
		case 6:
			l.gone[at], l.gone[at+9] = true, true
			err = s.Delete(ctx, []int64{at, at + 9})
		case 7:
			err = s.Rebuild(ctx, Range{at, at + 30})
		case 8: // a crash, and what the owner does then
			crashed := copyDir(t, dir)
			closeSet(t, s)
			o.Dir, dir = crashed, crashed
			s = open(t, o)
			err = s.DeleteBefore(ctx, l.start)
			if err == nil {
				err = s.TruncateTo(ctx, l.end)
			}
		}
		if err != nil {
			t.Fatalf("%v: %v", done, err)
		}
	}
	l.catchUp(t, s)
	// Deletions that had not reached the disk when it crashed are stale hits: the log drops them.
	if err := s.Delete(ctx, slices.Collect(func(yield func(int64) bool) {
		for o := range l.gone {
			if !yield(o) {
				return
			}
		}
	})); err != nil {
		t.Fatal(err)
	}
	l.checkOffsets(t, s)
	sealAll(t, s)
	if l.checkOffsets(t, s); t.Failed() {
		t.Log(done)
	}
}

func TestReadersDuringRollSealDropAndRemoval(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, dir)
	o.Pool = NewPool(2)
	t.Cleanup(o.Pool.Close)
	s := open(t, o)
	l := &modelLog{end: 700, border: 100}
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				v, err := s.Acquire(0, openEnd)
				if err != nil {
					t.Error(err)
					return
				}
				if got := offsetsOf(t, v); !slices.IsSorted(got) || len(slices.Compact(got)) != len(got) {
					t.Error("a document was found twice")
				}
				v.Release()
			}
		})
	}
	readers.Go(func() {
		for ctx.Err() == nil {
			if err := s.Seal(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for start := int64(0); s.Next() < l.end; {
		mustIndex(t, s, l.batch(s.Next(), l.end))
		if next := s.Next(); next%50 == 0 && next > 300 {
			start = next - 260
			if err := s.DeleteBefore(t.Context(), start); err != nil {
				t.Fatal(err)
			}
			l.start = start
		}
	}
	cancel()
	readers.Wait()
	l.check(t, s)
	sealAll(t, s)
	l.check(t, s)
	eventually(t, "dropped chunks are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(dir, removedPrefix+"*"))
		return err == nil && len(left) == 0
	})
	if n := o.Pool.Open(); n > 2 {
		t.Errorf("%d chunks are open", n)
	}
}

// A view keeps what it has: a chunk that is dropped can still be opened, and read after Release and Close.
func TestViewOutlivesDropAndClose(t *testing.T) {
	dir, _ := builtRow(t)
	s := open(t, testOptions(t, dir))
	v, err := s.Acquire(0, openEnd)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBefore(t.Context(), 350); err != nil {
		t.Fatal(err)
	}
	if got := offsetsOf(t, v); len(got) != 300 {
		t.Errorf("%d documents", len(got))
	}
	r, err := v.Parts[1].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.Release()
	closeSet(t, s)
	if n, err := r.DocCount(); err != nil || n == 0 {
		t.Errorf("%d documents, err %v", n, err)
	}
	ids, err := r.DocIDReaderAll()
	if err != nil {
		t.Fatal(err)
	}
	if id, err := ids.Next(); err != nil || id == nil {
		t.Errorf("no document: %v", err)
	}
	ids.Close()
	r.Close()
}

func TestSealOfAChunkWithoutDocuments(t *testing.T) {
	dir, l := builtRow(t)
	s := open(t, testOptions(t, dir))
	l.gone = map[int64]bool{}
	for o := range int64(100) {
		l.gone[100+o] = true
	}
	if err := s.Rebuild(t.Context(), Range{100, 101}); err != nil {
		t.Fatal(err)
	}
	l.catchUp(t, s)
	sealAll(t, s)
	l.check(t, s)
	l.reopensFrom(t, copyDir(t, dir))
}

func TestSecondSetOnADirectoryIsRefused(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	if _, err := Open(t.Context(), o); err == nil {
		t.Error("it was opened twice")
	}
	closeSet(t, s)
	open(t, o)
}

func TestSealEndsWithItsContextAndGoesOnLater(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	l := &modelLog{end: 230, border: 100}
	l.catchUp(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Seal(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("seal: %v", err)
	}
	l.check(t, s)
	sealAll(t, s)
	l.check(t, s)
}

// Indexing goes back while a view is held that was made when the chunk was closed.
func TestPartOfAChunkThatWentBackFails(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	l := &modelLog{end: 50}
	l.catchUp(t, s)
	c := s.chunks(false)[0]
	s.mu.Lock()
	h, st := c.handle, c.state
	c.handle = nil
	c.state.Next += 10 // as if that had been indexed, and lost
	s.mu.Unlock()
	v, err := s.Acquire(0, openEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	s.mu.Lock()
	c.handle, c.state = h, st
	s.mu.Unlock()
	if r, err := v.Parts[0].Open(t.Context()); err == nil {
		r.Close()
		t.Error("the part opens with less than it promised")
	}
}

// A truncation that fails halfway is finished by whoever writes next, before anything else.
func TestFailedTruncationIsFinished(t *testing.T) {
	for _, offset := range []int64{0, 250, 310} {
		t.Run(fmt.Sprint(offset), func(t *testing.T) {
			dir, l := builtRow(t)
			o := testOptions(t, dir)
			ctx, cancel := context.WithCancel(t.Context())
			o.atStep = func(step string) {
				if step == "write: unsealed" || step == "restart: fresh made" {
					cancel()
				}
			}
			s := open(t, o)
			if err := s.TruncateTo(ctx, offset); !errors.Is(err, context.Canceled) {
				t.Fatalf("truncate: %v", err)
			}
			if s.Next() > offset {
				if err := s.TruncateTo(t.Context(), offset); err != nil {
					t.Fatal(err)
				}
			}
			l.truncate(offset)
			l.end = 340
			mustIndex(t, s, l.batch(s.Next(), l.end))
			l.catchUp(t, s)
			sealAll(t, s)
			l.checkOffsets(t, s)
			closeSet(t, s)
			s = open(t, testOptions(t, dir))
			l.checkOffsets(t, s)
		})
	}
}
