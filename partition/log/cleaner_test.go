package log

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// cleanerWorld is a directory of sealed segments and all that was ever written to it.
type cleanerWorld struct {
	scanner *batchScanner
	m       *vfs.Mem
	dir     string
	cfg     compactionConfig
	now     time.Time

	written   map[int64]record.Record // by offset
	headers   map[int64]batchIdentity // by base offset
	newest    map[int64]int64         // last offset by producer
	sequences map[int64]int32
	end       int64
	cleanedTo int64
	horizons  map[int64]time.Time // of each tombstone, earliest time at which it may go
	segments  []int64             // base offsets as written
}

// batchIdentity is what a batch keeps through any number of cleanings.
type batchIdentity struct {
	last        int64
	leaderEpoch int32
	producer    record.Producer
}

func identityOf(b record.Batch) batchIdentity {
	return batchIdentity{b.LastOffset(), b.LeaderEpoch(), record.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()}}
}

func newCleanerWorld(t interface{ Fatal(...any) }) *cleanerWorld {
	m, dir := testDir(t)
	return &cleanerWorld{
		scanner: new(batchScanner), m: m, dir: dir, now: testNow,
		cfg: compactionConfig{
			segmentBytes: 4 << 10, indexBytes: testIndexBytes, indexInterval: 200,
			deleteRetention: time.Hour.Milliseconds(), maxLag: math.MaxInt64, minDirtyRatio: 0.5,
		},
		written: map[int64]record.Record{}, headers: map[int64]batchIdentity{},
		newest: map[int64]int64{}, sequences: map[int64]int32{}, horizons: map[int64]time.Time{},
	}
}

// batch makes the next batch and remembers it.
func (w *cleanerWorld) batch(t interface{ Fatal(...any) }, d *rand.Rand) record.Batch {
	spec := record.Spec{BaseOffset: w.end, LeaderEpoch: int32(w.end / 64), Codec: record.Codec(d.IntN(5))}
	if d.IntN(8) == 0 {
		spec.LogAppendTime, spec.AppendTime = true, w.now.UnixMilli()+w.end
	}
	if id := int64(d.IntN(6)); id < 3 {
		spec.Producer = &record.Producer{ID: id, Epoch: 1, Sequence: w.sequences[id]}
	}
	builder := record.NewBuilder(spec)
	for range 1 + d.IntN(6) {
		r := record.Record{Offset: w.end, Timestamp: w.now.UnixMilli() + w.end - int64(d.IntN(20)), Headers: []record.Header{}}
		switch d.IntN(20) {
		case 0: // no key
		case 1:
			r.Key = []byte{}
		default:
			r.Key = []byte("key-" + strconv.Itoa(d.IntN(12)))
		}
		if d.IntN(4) > 0 {
			r.Value = bytes.Repeat([]byte(strconv.FormatInt(w.end, 10)), d.IntN(20))
		}
		if d.IntN(5) == 0 {
			r.Headers = append(r.Headers, record.Header{Key: []byte("h"), Value: []byte("1")})
		}
		must(t, builder.Add(&r))
		if spec.LogAppendTime {
			r.Timestamp = spec.AppendTime
		}
		w.written[w.end] = r
		w.end++
	}
	b, err := builder.Build(nil)
	must(t, err)
	w.remember(b)
	return b
}

func (w *cleanerWorld) remember(b record.Batch) {
	w.headers[b.BaseOffset()] = identityOf(b)
	if id := b.ProducerID(); id != record.NoProducer && !b.IsControl() {
		w.newest[id], w.sequences[id] = b.LastOffset(), record.AddSequence(b.LastSequence(), 1)
	}
}

// grow appends n segments of some batches each.
func (w *cleanerWorld) grow(t interface{ Fatal(...any) }, d *rand.Rand, n int) {
	for range n {
		base, data := w.end, []byte(nil)
		for range 1 + d.IntN(8) {
			if d.IntN(15) == 0 {
				b := marker(t, w.end, record.Producer{ID: 50}, record.Marker{Commit: true})
				w.remember(b)
				w.written[w.end] = record.Record{Offset: -1} // not looked at
				w.end++
				data = append(data, b...)
			}
			data = append(data, w.batch(t, d)...)
		}
		must(t, vfs.WriteFileAtomic(w.m, segmentPath(w.dir, base, ".log"), data))
		w.segments = append(w.segments, base)
	}
}

// list finds the segments as a restarted log would.
func (w *cleanerWorld) list(t interface{ Fatal(...any) }) []sealedSegment {
	entries, err := w.m.ReadDir(w.dir)
	must(t, err)
	var segments []sealedSegment
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".log"); ok {
			base, err := strconv.ParseInt(name, 10, 64)
			must(t, err)
			info, err := e.Info()
			must(t, err)
			segments = append(segments, sealedSegment{base: base, size: info.Size(), largestTime: w.now.UnixMilli() - 1, firstTime: 1})
		}
	}
	for i := range segments {
		segments[i].next = w.end
		if i+1 < len(segments) {
			segments[i].next = segments[i+1].base
		}
	}
	return segments
}

func (w *cleanerWorld) compaction(dedupBytes int64) *compaction {
	return &compaction{
		fs: w.m, dir: w.dir, cfg: w.cfg, dedupBytes: dedupBytes, now: w.now, newest: w.newest,
		replace: func(group []sealedSegment) error {
			var bases []int64
			for _, s := range group {
				bases = append(bases, s.base)
			}
			if err := writeManifest(w.m, w.dir, bases); err != nil {
				return err
			}
			return finishSwap(w.m, w.dir, bases)
		},
	}
}

// clean runs the cleaner once and notes from when on tombstones may go.
func (w *cleanerWorld) clean(t interface{ Fatal(...any) }) CleanStats {
	segments := w.list(t)
	d := assess(segments, w.cleanedTo, w.end, w.cfg, w.now)
	stats, err := w.compaction(1<<20).run(background, segments, d)
	must(t, err)
	w.noteHorizons(stats.CleanedTo)
	w.cleanedTo = stats.CleanedTo
	return stats
}

// noteHorizons: a tombstone seen for the first time may go only after delete.retention.ms.
func (w *cleanerWorld) noteHorizons(cleanedTo int64) {
	for offset, r := range w.written {
		if _, seen := w.horizons[offset]; offset < cleanedTo && r.Value == nil && !seen {
			w.horizons[offset] = w.now.Add(time.Duration(w.cfg.deleteRetention) * time.Millisecond)
		}
	}
}

// check reads everything back and compares it with what was written.
func (w *cleanerWorld) check(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}) {
	latest, found, byKey := map[string]int64{}, map[int64]bool{}, map[string]int64{}
	for offset := range w.end {
		if r := w.written[offset]; r.Key != nil {
			latest[string(r.Key)] = offset
		}
	}
	lastOf := map[int64]int64{}
	previous := int64(-1)
	for _, s := range w.list(t) {
		w.checkIndexes(t, s)
		w.scanSegment(t, s, func(b record.Batch, _ int64) {
			if b.BaseOffset() <= previous || w.headers[b.BaseOffset()] != identityOf(b) {
				t.Fatalf("batch at %d after %d is %+v, was %+v", b.BaseOffset(), previous, identityOf(b), w.headers[b.BaseOffset()])
			}
			previous = b.LastOffset()
			if b.ProducerID() != record.NoProducer {
				lastOf[b.ProducerID()] = b.LastOffset()
			}
			if b.IsControl() {
				return
			}
			must(t, b.Each(record.Limits{}, func(r *record.Record) error {
				was := w.written[r.Offset]
				if !bytes.Equal(r.Key, was.Key) || (r.Key == nil) != (was.Key == nil) || !bytes.Equal(r.Value, was.Value) || (r.Value == nil) != (was.Value == nil) ||
					r.Timestamp != was.Timestamp || fmt.Sprint(r.Headers) != fmt.Sprint(was.Headers) {
					t.Fatalf("record %+v was %+v", *r, was)
				}
				found[r.Offset] = true
				if earlier, twice := byKey[string(r.Key)]; twice && r.Key != nil && r.Offset < w.cleanedTo {
					t.Fatalf("key %q at %d and %d, both below %d", r.Key, earlier, r.Offset, w.cleanedTo)
				}
				if r.Key != nil {
					byKey[string(r.Key)] = r.Offset
				}
				return nil
			}))
		})
		if previous != s.next-1 && s.next <= w.cleanedTo {
			t.Fatalf("segment %d ends at %d, the next begins at %d", s.base, previous, s.next)
		}
	}
	for key, offset := range latest {
		gone := w.written[offset].Value == nil && !found[offset]
		if gone && (w.horizons[offset].IsZero() || w.now.Before(w.horizons[offset])) {
			t.Fatalf("tombstone of %q at %d is gone at %v, before %v", key, offset, w.now, w.horizons[offset])
		}
		if at, ok := byKey[key]; ok == gone || ok && at != offset {
			t.Fatalf("key %q: last at %d (%v), want %d (gone %v)", key, at, ok, offset, gone)
		}
	}
	for id, offset := range w.newest {
		if lastOf[id] != offset {
			t.Fatalf("last batch of producer %d ends at %d, want %d", id, lastOf[id], offset)
		}
	}
}

func (w *cleanerWorld) scanSegment(t interface{ Fatal(...any) }, s sealedSegment, fn func(b record.Batch, pos int64)) {
	f, err := w.m.OpenFile(segmentPath(w.dir, s.base, ".log"), os.O_RDONLY)
	must(t, err)
	must(t, w.scanner.scan(background, f, 0, s.size, func(b record.Batch, pos int64) error {
		fn(b, pos)
		return nil
	}))
	must(t, f.Close())
}

// checkIndexes applies the rules of Kafka's dump tool to segments that the cleaner wrote.
func (w *cleanerWorld) checkIndexes(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, s sealedSegment) {
	offsets, err := openOffsetIndex(w.m, segmentPath(w.dir, s.base, ".index"), s.base, testIndexBytes)
	must(t, err)
	times, err := openTimeIndex(w.m, segmentPath(w.dir, s.base, ".timeindex"), s.base, testIndexBytes)
	must(t, err)
	if !offsets.exists() || !times.exists() {
		if slices.Contains(w.segments, s.base) {
			return // written by grow, which makes none
		}
		t.Fatalf("segment %d has no index", s.base)
	}
	must(t, offsets.sanity(s.size))
	must(t, times.sanity(s.next))
	lastAt, maxTime := map[int64]int64{}, map[int64]int64{}
	newest := record.NoTimestamp
	w.scanSegment(t, s, func(b record.Batch, pos int64) {
		lastAt[pos] = b.LastOffset()
		at := record.NoTimestamp
		must(t, b.Each(record.Limits{}, func(r *record.Record) error { at = max(at, r.Timestamp); return nil }))
		maxTime[b.LastOffset()] = at
		newest = max(newest, at)
	})
	for i := range offsets.count {
		entry, err := offsets.entryLocked(i)
		must(t, err)
		if offset, pos := offsets.decode(entry[:]); lastAt[pos] != offset {
			t.Fatalf("index of %d: offset %d at %d, found %d", s.base, offset, pos, lastAt[pos])
		}
	}
	for i := range times.count {
		ts, offset, err := times.atLocked(i)
		must(t, err)
		if got, ok := maxTime[offset]; !ok || got != ts {
			t.Fatalf("time index of %d: %d at %d, found %d", s.base, ts, offset, got)
		}
	}
	if ts, _, err := times.last(); err != nil || ts != newest {
		t.Fatalf("time index of %d ends with %d, %v; newest record is of %d", s.base, ts, err, newest)
	}
	must(t, errors.Join(offsets.close(), times.close()))
}

func TestCleanerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newCleanerWorld(t)
		w.cfg.segmentBytes = rapid.Int64Range(300, 8<<10).Draw(t, "segment bytes")
		t.Repeat(map[string]func(*rapid.T){
			"grow": func(t *rapid.T) {
				w.grow(t, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), rapid.IntRange(1, 4).Draw(t, "segments"))
			},
			"clean": func(t *rapid.T) { w.clean(t) },
			"wait": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			},
			"forget a producer": func(t *rapid.T) {
				delete(w.newest, int64(rapid.IntRange(0, 2).Draw(t, "id")))
			},
			"": func(t *rapid.T) { w.check(t) },
		})
	})
}

// A crash at any operation of a cleaning leaves a log that reads like the one before, and that can be
// cleaned.
func TestCleanerCrash(t *testing.T) {
	seed := rand.Uint64()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		seed := seed + uint64(round)
		rng := rand.New(rand.NewPCG(seed, 0))
		w := newCleanerWorld(t)
		w.grow(t, rng, 6)
		w.clean(t)
		w.now = w.now.Add(2 * time.Hour)
		w.grow(t, rng, 4)
		must(t, w.m.SyncDir(w.dir))
		for _, transient := range []bool{false, true} {
			for op, done := 1, false; !done; op++ {
				var err error
				if done, err = crashCleaning(w, rng, op, transient); err != nil {
					t.Fatalf("seed %d, crash at operation %d (one error before: %v): %v", seed, op, transient, err)
				}
			}
		}
	}
}

// failures collects what check says.
type failures struct{ err error }

func (f *failures) Fatal(args ...any) { panic(errors.New(fmt.Sprint(args...))) }

func (f *failures) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

func (f *failures) catch() {
	if r := recover(); r != nil {
		err, ok := r.(error)
		if !ok {
			panic(r)
		}
		f.err = err
	}
}

var errPower = errors.New("power is gone")

// crashCleaning cleans a copy of w, loses power at the given operation, recovers, and checks. done
// says that the cleaning ended before. With transient only that operation fails, and power is lost
// after the cleaner has given up.
func crashCleaning(w *cleanerWorld, rng *rand.Rand, op int, transient bool) (done bool, err error) {
	var f failures
	defer func() { err = f.err }()
	defer f.catch()
	c := *w
	c.m, c.horizons = w.m.CrashKeepAll(), maps.Clone(w.horizons)
	var after *vfs.Mem
	failed := false
	c.m.OnOp(func(o vfs.Op) error {
		switch {
		case failed && transient:
			return nil
		case !failed && c.m.Ops() >= op && o.Kind.Mutates():
			failed, after = true, c.m.Crash(rng)
		}
		if failed {
			return errPower
		}
		return nil
	})
	segments := c.list(&f)
	_, runErr := c.compaction(1<<20).run(background, segments, assess(segments, c.cleanedTo, c.end, c.cfg, c.now))
	if runErr != nil && !errors.Is(runErr, errPower) {
		f.Fatal(runErr)
	}
	done = !failed
	if done || transient {
		c.m.OnOp(nil)
		after = c.m.Crash(rng) // nothing may be missing that the cleaner believes done
	}
	c.m = after
	must(&f, recoverSwaps(c.m, c.dir))
	c.noteHorizons(c.end) // the run may have seen all
	cleanedTo := c.cleanedTo
	c.cleanedTo = 0 // parts may be cleaned and others not
	c.check(&f)
	names, err := c.m.ReadDir(c.dir)
	must(&f, err)
	for _, e := range names {
		if ext := filepath.Ext(e.Name()); ext == cleanedSuffix || ext == swapSuffix {
			f.Fatalf("recovery left %s", e.Name())
		}
	}
	c.cleanedTo = cleanedTo
	c.clean(&f)
	c.check(&f)
	return done, nil
}

func TestAssess(t *testing.T) {
	now := testNow.UnixMilli()
	segments := []sealedSegment{
		{base: 10, next: 20, size: 100, largestTime: now - 5000, firstTime: now - 6000},
		{base: 20, next: 30, size: 100, largestTime: now - 3000, firstTime: now - 4000},
		{base: 30, next: 40, size: 100, largestTime: now - 1000, firstTime: now - 2000},
	}
	for _, c := range []struct {
		name                   string
		cleanedTo, stable      int64
		minLag, maxLag         int64
		from, to               int64
		cleanBytes, dirtyBytes int64
		overdue, due           bool
	}{
		{"all dirty", 0, 100, 0, math.MaxInt64, 10, 40, 0, 300, false, true},
		{"one clean", 20, 100, 0, math.MaxInt64, 20, 40, 100, 200, false, true},
		{"little dirty", 30, 100, 0, math.MaxInt64, 30, 40, 200, 100, false, false},
		{"little dirty, but old", 30, 100, 0, 1500, 30, 40, 200, 100, true, true},
		{"stopped inside a segment", 25, 100, 0, math.MaxInt64, 25, 40, 100, 200, false, true},
		{"unstable", 0, 39, 0, math.MaxInt64, 10, 30, 0, 200, false, true},
		{"too young", 0, 100, 2000, math.MaxInt64, 10, 30, 0, 200, false, true},
		{"all too young", 0, 100, 9000, math.MaxInt64, 10, 10, 0, 0, false, false},
		{"all clean", 40, 100, 0, 1, 40, 40, 300, 0, false, false},
		{"checkpoint past the end", 50, 100, 0, math.MaxInt64, 10, 40, 0, 300, false, true},
	} {
		cfg := compactionConfig{minLag: c.minLag, maxLag: c.maxLag, minDirtyRatio: 0.5}
		got := assess(segments, c.cleanedTo, c.stable, cfg, testNow)
		want := dirtiness{c.from, c.to, c.cleanBytes, c.dirtyBytes, c.overdue}
		if got != want || got.due(cfg) != c.due {
			t.Errorf("%s: %+v, due %v; want %+v", c.name, got, got.due(cfg), want)
		}
	}
}
