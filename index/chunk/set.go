package chunk

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/index/schema"
)

var (
	// ErrClosed is returned by a Set after Close, and by parts of its views.
	ErrClosed = errors.New("index is closed")
	// ErrNotNext says that a batch does not begin where the index goes on. After any error of Index, ask
	// Next and Pending again: the index may have had to go back.
	ErrNotNext = errors.New("batch does not begin at the next offset")
)

// Range is the offsets in [From, End).
type Range struct{ From, End int64 }

// Options configures a Set. A zero field below Start means its default.
type Options struct {
	Dir     string // of this partition alone
	TopicID string // chunks of another topic of the same name are removed
	Config  schema.Config
	Pool    *Pool
	Start   int64 // where a row without any chunk begins
	Logger  *slog.Logger
	Now     func() time.Time

	// A chunk ends at the border of a log segment once it has RollDocs documents or RollBytes of input, and
	// at MaxDocs in any case. Smaller chunks make queries slower, larger ones cost more to build again.
	// Default 64k, 64 MiB, 1M.
	RollDocs  int64
	RollBytes int64
	MaxDocs   int64

	// RebuildShare is the part of a chunk's documents, in percent, above which those that compaction took
	// make it worth building again. Default 30.
	RebuildShare int64
	// TrimDocs is how many documents a truncation deletes one by one; for more, the chunk is built again.
	// Default 50k.
	TrimDocs int64

	// atStep is called between the steps of what a crash may cut short. Tests look at the directory then.
	atStep func(step string)

	SealTimeout  time.Duration // of the merge before a seal; default 5 min
	BatchTimeout time.Duration // after which Bleve is taken for dead; default 1 min
}

func (o *Options) setDefaults() {
	o.Dir = filepath.Clean(o.Dir)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.atStep == nil {
		o.atStep = func(string) {}
	}
	setDefault(&o.RollDocs, 64<<10)
	setDefault(&o.RollBytes, 64<<20)
	setDefault(&o.MaxDocs, 1_000_000)
	setDefault(&o.RebuildShare, 30)
	setDefault(&o.TrimDocs, 50_000)
	setDefault(&o.SealTimeout, 5*time.Minute)
	setDefault(&o.BatchTimeout, time.Minute)
}

func setDefault[T ~int64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Set is the index of one replica: a row of chunks without gaps, the last of which is open at its end. All
// methods may be called by any goroutine. Those that write wait for each other, but for Seal and Scrub, which
// go on beside them.
type Set struct {
	opt Options // Config behind mu

	writer gate            // held by whoever changes the row or indexes; comes first
	life   context.Context // ends with Close
	end    context.CancelFunc
	tasks  sync.WaitGroup // goroutines that heal and remove

	mu      sync.Mutex // guards the fields below and those that chunk names; never held across I/O
	row     []*chunk   // ascending; each begins where the one before ends
	lastN   int        // the highest number of a chunk's directory
	mapping *schema.Mapping
	closed  bool
	stats   Stats
}

// Stats is what a Set has done since it was opened, and has now.
type Stats struct {
	Chunks, Sealed, Open int   // now
	Docs                 int64 // now
	IndexBytes           int64 // of sealed chunks, now
	MemoryBytes          int64 // of chunks being built: what Bleve holds, most of it not yet on disk

	Indexed, Skipped   int64 // records; values left out of their documents
	Poisoned           int64 // records left out because building their document panicked
	InputBytes         int64
	Batches            int64
	BatchTime          time.Duration
	Seals, SealErrors  int64
	SealTime           time.Duration
	Removed            int64            // chunks dropped with the log's start, by truncation or replaced
	Quarantined        map[string]int64 // chunks found damaged, by how
	AsyncErrors        int64            // indexes closed because a goroutine of Bleve failed
	Abandoned          int64            // calls of Bleve that never came back, goroutines lost with them
	Scrubbed, ScrubBad int64            // chunks
}

// Next is the offset to index next.
func (s *Set) Next() int64 { return s.Checkpoint().Next }

// Checkpoint says how far the index has come. What is below its Next and not yet on disk is indexed again
// after a crash.
func (s *Set) Checkpoint() Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.row[len(s.row)-1].state.Checkpoint
	for i := len(s.row) - 1; last.Epoch < 0 && i > 0; i-- { // a new chunk has the epoch of the one before
		last.Epoch = s.row[i-1].state.Epoch
	}
	return last
}

// Start is where the index begins.
func (s *Set) Start() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.row[0].base, s.row[0].state.Low)
}

// Pending lists what else is to be indexed than what comes at Next: first the gaps, then what is built again
// while an old chunk answers, each newest first. A range begins at the offset to index next in it (Batch.From).
func (s *Set) Pending() []Range {
	again := s.ranges(func(c *chunk) bool { return c.end != openEnd && !c.completeLocked() && c.old != nil })
	return slices.Concat(s.Missing(), again)
}

// Missing lists, newest first, the ranges below Next about which the index knows nothing.
func (s *Set) Missing() []Range {
	return s.ranges(func(c *chunk) bool { return c.end != openEnd && !c.completeLocked() && c.old == nil })
}

// Stale lists, newest first, the ranges of sealed chunks that are worth building again (Rebuild): their
// mapping is not the topic's any more, or compaction took much of them.
func (s *Set) Stale() []Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stale []Range
	mapping := s.mapping.String()
	for i := len(s.row) - 1; i >= 0; i-- {
		if c := s.row[i]; c.sealedLocked() && (c.stale || c.mapping.String() != mapping || s.hollowLocked(c)) {
			stale = append(stale, Range{c.base, c.end})
		}
	}
	return stale
}

func (s *Set) hollowLocked(c *chunk) bool {
	return c.state.Deleted*100 > s.opt.RebuildShare*(c.state.Docs+c.state.Deleted)
}

func (s *Set) ranges(which func(c *chunk) bool) (list []Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.row) - 1; i >= 0; i-- {
		if c := s.row[i]; which(c) {
			list = append(list, Range{c.state.Next, c.end})
		}
	}
	return list
}

// SetConfig changes the mapping for chunks to come. The chunk that is being written ends with the next batch.
func (s *Set) SetConfig(config schema.Config) {
	mapping := schema.NewMapping(config)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opt.Config, s.mapping = config, mapping
}

// Stats is a snapshot of the counters.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Quarantined = make(map[string]int64, len(s.stats.Quarantined))
	for how, n := range s.stats.Quarantined {
		st.Quarantined[how] = n
	}
	st.Chunks = len(s.row)
	for _, c := range s.row {
		st.Docs += c.state.Docs
		if c.handle != nil {
			st.Open++
		}
		if c.sealedLocked() {
			st.Sealed++
			for _, f := range c.files {
				st.IndexBytes += f.Bytes
			}
		} else if c.handle != nil {
			st.MemoryBytes += int64(min(c.handle.scorch.MemoryUsed(), math.MaxInt64))
		}
	}
	return st
}

// count changes the counters.
func (s *Set) count(change func(st *Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// abandon counts a call of Bleve that was given up.
func (s *Set) abandon(err error) {
	if errors.Is(err, errStuck) {
		s.count(func(st *Stats) { st.Abandoned++ })
	}
	if err != nil {
		s.opt.Logger.Warn("close index", "dir", s.opt.Dir, "err", err)
	}
}

// begin takes the writer's gate. A truncation that failed halfway is finished then: no chunk goes beyond its end,
// and the row ends open.
func (s *Set) begin(ctx context.Context) error {
	if err := s.writer.enter(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	closed, end := s.closed, s.row[len(s.row)-1].end
	s.mu.Unlock()
	var err error
	switch {
	case closed:
		err = ErrClosed
	case end != openEnd:
		err = s.append(end, openEnd)
	}
	if err == nil {
		err = s.trimAll(ctx)
	}
	if err != nil {
		s.writer.leave()
	}
	return err
}

// chunks lists the row, or with olds also what still answers in place of a chunk being built.
func (s *Set) chunks(olds bool) (list []*chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.row {
		if list = append(list, c); olds && c.old != nil {
			list = append(list, c.old)
		}
	}
	return list
}

// Flush makes durable all that is indexed.
func (s *Set) Flush(ctx context.Context) error {
	var errs error
	for _, c := range s.chunks(false) {
		if err := c.gate.enter(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		h, building := c.handle, c.files == nil && !c.dropped
		s.mu.Unlock()
		if h != nil && building {
			errs = errors.Join(errs, c.flush(ctx, h))
		}
		c.gate.leave()
	}
	return errs
}

// Close closes all indexes, flushed if ctx allows, and waits for the goroutines of the Set. Readers of views
// stay good.
func (s *Set) Close(ctx context.Context) error {
	err := s.Flush(ctx)
	s.end() // stops a Seal, too
	if enterErr := s.writer.enter(context.WithoutCancel(ctx)); enterErr != nil {
		return enterErr
	}
	defer s.writer.leave()
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return err
	}
	defer openDirs.Delete(s.opt.Dir)
	for _, c := range s.chunks(true) {
		if enterErr := c.gate.enter(context.WithoutCancel(ctx)); enterErr == nil {
			err = errors.Join(err, c.closeHandle())
			c.gate.leave()
		}
	}
	s.tasks.Wait()
	return err
}
