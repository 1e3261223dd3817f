package log

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

var testIdent = Ident{Topic: "topic", Partition: 3, TopicID: uuid.ID{1, 2, 3}}

// testConfig makes segments of a few batches and index entries every other one.
func testConfig() Config {
	return Config{SegmentBytes: 4 << 10, IndexIntervalBytes: 400, Retention: -1, RetentionBytes: -1, Delete: true}
}

// storedBatch is a batch that a log was given, as it must be stored.
type storedBatch struct {
	base, next int64
	ts         int64 // largest
	data       record.Batch
}

// history is what a log must hold: the naive model, a list of batches.
type history struct {
	batches []storedBatch
	start   int64
	durable int64 // everything below was acknowledged in mode sync
	epoch   int32
	next    map[int64]int32 // sequence by producer
}

func (h *history) end() int64 {
	if len(h.batches) == 0 {
		return h.start
	}
	return h.batches[len(h.batches)-1].next
}

func (h *history) clone() history {
	c := *h
	c.batches, c.next = slices.Clone(h.batches), maps.Clone(h.next)
	return c
}

// cut forgets the batches that reach past end, and recounts sequences.
func (h *history) cut(end int64) {
	for len(h.batches) > 0 && h.batches[len(h.batches)-1].next > end {
		h.batches = h.batches[:len(h.batches)-1]
	}
	h.next = map[int64]int32{}
	for _, b := range h.batches {
		if b.data.ProducerID() != record.NoProducer {
			h.next[b.data.ProducerID()] = record.AddSequence(b.data.LastSequence(), 1)
		}
	}
}

// bytes are the batches of [from, limit), from the one that holds from on.
func (h *history) bytes(from, limit int64) []byte {
	var out []byte
	for _, b := range h.batches {
		if b.next > from && b.next <= limit {
			out = append(out, b.data...)
		}
	}
	return out
}

// logWorld is a data directory on a Mem with one log, and its model.
type logWorld struct {
	m       *vfs.Mem
	d       *Dir
	l       *Log
	cfg     Config
	now     time.Time
	options DirOptions
	history
}

func newLogWorld(cfg Config) (*logWorld, error) {
	w := &logWorld{m: vfs.NewMem(), cfg: cfg, now: testNow}
	for _, dir := range []string{"/data", "/data/log"} {
		if err := errors.Join(w.m.MkdirAll(dir), w.m.SyncDir(filepath.Dir(dir))); err != nil {
			return nil, err
		}
	}
	w.history.next = map[int64]int32{}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *logWorld) open() error {
	o := w.options
	o.Path, o.FS, o.Now = "/data/log", w.m, func() time.Time { return w.now }
	if o.MaxOpenFiles == 0 {
		o.MaxOpenFiles = 2 // so that files are closed and opened again all the time
	}
	d, err := OpenDir(o)
	if err != nil {
		return err
	}
	w.d = d
	w.l, err = d.Open(testIdent, w.cfg)
	return err
}

// makeBatch draws a batch of one to five records. Some are of idempotent producers, some compressed.
func (w *logWorld) makeBatch(rng *rand.Rand) (record.Batch, error) {
	spec := record.Spec{}
	if rng.IntN(4) == 0 {
		spec.Codec = record.LZ4
	}
	count := 1 + rng.IntN(5)
	if id := int64(rng.IntN(6)); id < 3 {
		spec.Producer = &record.Producer{ID: id, Epoch: 1, Sequence: w.history.next[id]}
	}
	builder := record.NewBuilder(spec)
	for i := range count {
		value := make([]byte, rng.IntN(120))
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		ts := w.now.UnixMilli() + w.end() + int64(i) - int64(rng.IntN(8))
		if err := builder.Add(&record.Record{Offset: int64(i), Timestamp: ts, Value: value, Headers: []record.Header{}}); err != nil {
			return nil, err
		}
	}
	b, err := builder.Build(nil)
	return b, err
}

// append adds one batch to log and model, the model first: from the first byte that is written on a
// crash may leave the batch.
func (w *logWorld) append(rng *rand.Rand) error {
	b, err := w.makeBatch(rng)
	if err != nil {
		return err
	}
	w.remember(b)
	end := w.l.EndOffset()
	got, err := w.l.Append(b, AppendOptions{LeaderEpoch: w.epoch})
	if err != nil {
		w.cut(end)
		return err
	}
	if last := w.batches[len(w.batches)-1]; got.Base != last.base || got.Next != last.next || got.Duplicate {
		return fmt.Errorf("appended at [%d, %d) duplicate %v, want [%d, %d)", got.Base, got.Next, got.Duplicate, last.base, last.next)
	}
	return nil
}

func (w *logWorld) remember(b record.Batch) {
	stored := slices.Clone(b)
	stored.Stamp(w.end(), w.epoch)
	w.batches = append(w.batches, storedBatch{stored.BaseOffset(), stored.NextOffset(), stored.MaxTimestamp(), stored})
	if stored.ProducerID() != record.NoProducer {
		w.history.next[stored.ProducerID()] = record.AddSequence(stored.LastSequence(), 1)
	}
}

func (w *logWorld) sync() error {
	if err := w.l.Sync(); err != nil {
		return err
	}
	w.durable = w.l.DurableOffset()
	w.l.SetHighWatermark(w.durable)
	return nil
}

// truncate cuts the log somewhere at or above its start.
func (w *logWorld) truncate(rng *rand.Rand) error {
	to := w.start + rng.Int64N(w.end()-w.start+1)
	end := w.start
	for _, b := range w.batches {
		if b.next <= to {
			end = max(end, b.next)
		}
	}
	w.durable = min(w.durable, end)
	if err := w.l.TruncateTo(to); err != nil {
		return fmt.Errorf("truncate to %d: %w", to, err)
	}
	if w.l.EndOffset() != end {
		return fmt.Errorf("truncated to %d, end is %d, want %d", to, w.l.EndOffset(), end)
	}
	w.cut(end)
	if w.end() < w.start {
		w.batches = nil
	}
	return nil
}

// checkReads compares every way of reading with the model.
func (w *logWorld) checkReads(rng *rand.Rand) error {
	l := w.l
	if l.StartOffset() != w.start || l.EndOffset() != w.end() {
		return fmt.Errorf("log is [%d, %d), model [%d, %d)", l.StartOffset(), l.EndOffset(), w.start, w.end())
	}
	if err := checkContent(l, &w.history, 1+rng.IntN(3000)); err != nil {
		return err
	}
	for _, from := range []int64{w.start - 1, w.end() + 1} {
		if _, err := l.Read(from, w.end(), 100, true); !errors.Is(err, ErrOffsetOutOfRange) {
			return fmt.Errorf("read at %d of [%d, %d): %v", from, w.start, w.end(), err)
		}
	}
	for range 3 {
		if err := w.checkRead(rng); err != nil {
			return err
		}
		if err := w.checkTimes(rng); err != nil {
			return err
		}
	}
	return nil
}

func (w *logWorld) checkRead(rng *rand.Rand) error {
	from := w.start + rng.Int64N(w.end()-w.start+1)
	limit := from + rng.Int64N(w.end()-from+1)
	size, atLeastOne := rng.IntN(2000), rng.IntN(2) == 0
	v, err := w.l.Read(from, limit, size, atLeastOne)
	if err != nil {
		return fmt.Errorf("read [%d, %d): %w", from, limit, err)
	}
	defer v.Release()
	got, err := v.Bytes(nil)
	if err != nil {
		return err
	}
	all := w.bytes(from, limit)
	if !bytes.HasPrefix(all, got) || v.Size() != len(got) {
		return fmt.Errorf("read [%d, %d) returned %d bytes that are not the first of %d", from, limit, len(got), len(all))
	}
	first, _, err := record.Next(all)
	if err != nil {
		return expectSize(got, 0, 0)
	}
	if len(first) > size {
		if atLeastOne {
			return expectSize(got, len(first), len(first))
		}
		return expectSize(got, 0, 0)
	}
	return expectSize(got, len(first), size)
}

func expectSize(got []byte, least, most int) error {
	if len(got) < least || len(got) > most {
		return fmt.Errorf("view of %d bytes, want %d to %d", len(got), least, most)
	}
	return nil
}

// checkTimes compares searches by time with a walk through all records.
func (w *logWorld) checkTimes(rng *rand.Rand) error {
	limit := w.start + rng.Int64N(w.end()-w.start+1)
	target := w.now.UnixMilli() + w.start + rng.Int64N(w.end()-w.start+20) - 10
	var first, largest TimedOffset
	haveFirst, haveLargest := false, false
	for _, b := range w.batches {
		err := b.data.Each(record.Limits{}, func(r *record.Record) error {
			if r.Offset < w.start || r.Offset >= limit || b.base >= limit {
				return nil
			}
			at := TimedOffset{r.Offset, r.Timestamp, b.data.LeaderEpoch()}
			if r.Timestamp >= target && !haveFirst {
				first, haveFirst = at, true
			}
			if b.next <= limit && b.base >= w.start && (!haveLargest || r.Timestamp > largest.Timestamp) {
				largest, haveLargest = at, true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	got, ok, err := w.l.OffsetForTime(target, limit)
	if err != nil || ok != haveFirst || ok && got != first {
		return fmt.Errorf("OffsetForTime(%d, %d) = %+v, %v, %v, want %+v, %v", target, limit, got, ok, err, first, haveFirst)
	}
	got, ok, err = w.l.MaxTimestamp(limit)
	if err != nil || haveLargest && (!ok || got.Timestamp < largest.Timestamp) {
		return fmt.Errorf("MaxTimestamp(%d) = %+v, %v, %v, want %+v, %v", limit, got, ok, err, largest, haveLargest)
	}
	return nil
}

// checkContent reads a whole log in steps of size and compares it with a model of which it may be a
// prefix.
func checkContent(l *Log, h *history, size int) error {
	var got []byte
	start := l.StartOffset()
	for from := start; from < l.EndOffset(); {
		v, err := l.Read(from, l.EndOffset(), size, true)
		if err != nil {
			return err
		}
		at := len(got)
		got, err = v.Bytes(got)
		v.Release()
		if err != nil {
			return err
		}
		if len(got) == at {
			return fmt.Errorf("nothing at offset %d of [%d, %d)", from, start, l.EndOffset())
		}
		for rest := got[at:]; len(rest) > 0; {
			b, after, err := record.Next(rest)
			if err != nil {
				return fmt.Errorf("at offset %d: %w", from, err)
			}
			if err := b.Check(); err != nil {
				return fmt.Errorf("at offset %d: %w", from, err)
			}
			from, rest = b.NextOffset(), after
		}
	}
	if want := h.bytes(start, l.EndOffset()); !bytes.Equal(got, want) {
		return fmt.Errorf("log [%d, %d) has %d bytes that differ from the %d of the model", start, l.EndOffset(), len(got), len(want))
	}
	return nil
}

// checkDerived compares indexes, leader epochs and producers with what the batches say (I30).
func checkDerived(l *Log) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.list() {
		if err := checkIndexes(s, i == len(l.list())-1); err != nil {
			return fmt.Errorf("segment %d: %w", s.base, err)
		}
	}
	found, err := l.epochsOfBatches()
	if err != nil {
		return err
	}
	for _, e := range found {
		if got := l.epochs.epochAt(max(e.start, l.start.Load())); e.start >= l.start.Load() && got != e.epoch {
			return fmt.Errorf("epoch at %d is %d, the batch has %d", e.start, got, e.epoch)
		}
	}
	if epoch, _, ok := l.epochs.latest(); len(found) > 0 && l.end.Load() > l.start.Load() && (!ok || epoch < found[len(found)-1].epoch) {
		return fmt.Errorf("latest epoch is %d, the last batch has %d", epoch, found[len(found)-1].epoch)
	}
	return checkProducers(l)
}

// checkIndexes compares the entries with those that a rebuild would make.
func checkIndexes(s *segment, active bool) error {
	if !s.indexesUsable() {
		return errors.New("indexes are not usable")
	}
	f, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	w := s.scan(f, s.size.Load())
	defer w.done()
	var offsets, times [][2]int64
	truths := map[[2]int64]bool{}
	since, largest := int64(0), timeAt{record.NoTimestamp, s.base}
	note := func() {
		if largest.ts >= 0 && (len(times) == 0 || times[len(times)-1][0] < largest.ts) {
			times = append(times, [2]int64{largest.ts, largest.offset})
		}
	}
	for pos := int64(0); pos < w.end; {
		b, err := w.at(pos)
		if err != nil {
			return err
		}
		if b.header.MaxTimestamp() > largest.ts {
			largest = timeAt{b.header.MaxTimestamp(), b.header.LastOffset()}
			truths[[2]int64{largest.ts, largest.offset}] = true
		}
		if since > s.interval {
			offsets = append(offsets, [2]int64{b.header.LastOffset(), pos})
			note()
			since = 0
		}
		since += b.size
		pos = b.next()
	}
	if active {
		if s.largest != largest || s.sinceEntry != since {
			return fmt.Errorf("state %+v since %d, the batches say %+v since %d", s.largest, s.sinceEntry, largest, since)
		}
	} else {
		note()
	}
	if err := compareEntries(&s.offsets.entryFile, offsets, s.offsets.decode); err != nil {
		return fmt.Errorf("offset index: %w", err)
	}
	return checkTimeIndex(s, times, truths, active)
}

// checkTimeIndex checks that every entry is true. A segment that was cut back may have others than a
// rebuild would make, but never fewer.
func checkTimeIndex(s *segment, rebuilt [][2]int64, truths map[[2]int64]bool, active bool) error {
	n := s.times.entries()
	last := int64(record.NoTimestamp)
	for i := range n {
		ts, offset, err := s.times.atLocked(i)
		if err != nil {
			return err
		}
		if ts <= last || !truths[[2]int64{ts, offset}] {
			return fmt.Errorf("time index entry %d (%d, %d) after %d is not true", i, ts, offset, last)
		}
		last = ts
	}
	if len(rebuilt) == 0 {
		return nil
	}
	if want := rebuilt[len(rebuilt)-1][0]; last < want || last > want && !active {
		return fmt.Errorf("time index ends with %d, a rebuild with %d", last, want)
	}
	return nil
}

func compareEntries(x *entryFile, want [][2]int64, decode func([]byte) (int64, int64)) error {
	if x.entries() != int64(len(want)) {
		return fmt.Errorf("%d entries, a rebuild has %d", x.entries(), len(want))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, e := range want {
		raw, err := x.entryLocked(int64(i))
		if err != nil {
			return err
		}
		if a, b := decode(raw[:]); a != e[0] || b != e[1] {
			return fmt.Errorf("entry %d is (%d, %d), a rebuild has %v", i, a, b, e)
		}
	}
	return nil
}

// checkProducers compares the producers with those of the batches that are there. A log whose start has
// gone by may know more.
func checkProducers(l *Log) error {
	snapshots := l.snapshots
	l.snapshots = nil
	rebuilt, err := l.rebuildProducers(l.end.Load())
	l.snapshots = snapshots
	if err != nil {
		return err
	}
	for id, want := range rebuilt.producers {
		got := l.producers.producers[id]
		if got == nil || got.epoch != want.epoch || got.lastSeq() != want.lastSeq() || !slices.Equal(tailOf(got, int(want.seen)), want.window[:want.seen]) {
			return fmt.Errorf("producer %d is %+v, the batches say %+v", id, got, want)
		}
	}
	if l.list()[0].base == 0 && len(l.producers.producers) != len(rebuilt.producers) {
		return fmt.Errorf("%d producers, the batches have %d", len(l.producers.producers), len(rebuilt.producers))
	}
	return nil
}

func tailOf(s *producerState, n int) []seenBatch {
	return s.window[max(0, int(s.seen)-n):s.seen]
}
