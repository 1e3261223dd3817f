package log

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

var background = context.Background()

func TestOffsetMapAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 200<<10).Draw(t, "bytes")
		m := newOffsetMap(limit)
		model := map[string]int64{}
		for i := range rapid.IntRange(1, 6000).Draw(t, "records") {
			key := strconv.Itoa(rapid.IntRange(0, 5000).Draw(t, "key"))
			if _, known := model[key]; !m.put(hashKey([]byte(key)), int64(i)) {
				if known || m.len() < firstKeySlots*keyLoadPercent/100 || int64(2*len(m.slots))*keySlotBytes <= limit {
					t.Fatalf("full with %d keys, limit %d", m.len(), limit)
				}
				continue
			}
			model[key] = int64(i)
		}
		for i := range 5001 {
			key := strconv.Itoa(i)
			want, known := model[key]
			if !known {
				want = -1
			}
			if got := m.get(hashKey([]byte(key))); got != want {
				t.Fatalf("get(%s) = %d, want %d", key, got, want)
			}
		}
		if m.len() != len(model) {
			t.Fatalf("%d keys, want %d", m.len(), len(model))
		}
	})
}

func TestIOBudgetSpreadsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newIOBudget(1000, time.Now)
		start := time.Now()
		for range 5 {
			must(t, b.take(background, 500))
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("the fifth half-second began after %v", took)
		}
		ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
		defer cancel()
		if err := b.take(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("take with a deadline: %v", err)
		}
	})
	if b := newIOBudget(0, time.Now); b != nil || b.take(background, 1<<30) != nil {
		t.Error("no limit is a limit")
	}
}

// A map too small for all keys takes several runs, each of which gets further.
func TestCleanerWithASmallMapNeedsMoreRuns(t *testing.T) {
	w := newCleanerWorld(t)
	const keys = 3 * firstKeySlots
	for i := range int64(2 * keys) {
		if i%256 == 0 {
			w.segments = append(w.segments, i)
			builder := record.NewBuilder(record.Spec{BaseOffset: i})
			for j := i; j < i+256; j++ {
				r := record.Record{Offset: j, Timestamp: 1, Key: []byte(strconv.FormatInt(j%keys, 10)), Value: []byte("v"), Headers: []record.Header{}}
				w.written[j] = r
				must(t, builder.Add(&r))
			}
			b, err := builder.Build(nil)
			must(t, err)
			w.remember(b)
			must(t, vfs.WriteFileAtomic(w.m, segmentPath(w.dir, i, ".log"), b))
		}
	}
	w.end = 2 * keys
	runs := 0
	for w.cleanedTo < w.end {
		segments := w.list(t)
		before := w.cleanedTo
		stats, err := w.compaction(1).run(background, segments, assess(segments, w.cleanedTo, w.end, w.cfg, w.now))
		must(t, err)
		if w.cleanedTo = stats.CleanedTo; w.cleanedTo <= before {
			t.Fatalf("no progress at %d", before)
		}
		runs++
		w.check(t)
	}
	if want := 2 * keys / (firstKeySlots * keyLoadPercent / 100); runs < want {
		t.Errorf("%d runs, expected at least %d", runs, want)
	}
}

func TestCleanerStopsAtTransactions(t *testing.T) {
	w := newCleanerWorld(t)
	var data []byte
	for i, transactional := range []bool{false, false, true, false} {
		builder := record.NewBuilder(record.Spec{BaseOffset: int64(i), Transactional: transactional, Producer: &record.Producer{ID: 9, Sequence: int32(i)}})
		r := record.Record{Offset: int64(i), Timestamp: 1, Key: []byte("k"), Value: []byte("v"), Headers: []record.Header{}}
		must(t, builder.Add(&r))
		b, err := builder.Build(nil)
		must(t, err)
		w.remember(b)
		w.written[int64(i)] = r
		data = append(data, b...)
	}
	w.end = 4
	must(t, vfs.WriteFileAtomic(w.m, segmentPath(w.dir, 0, ".log"), data))
	if stats := w.clean(t); stats.CleanedTo != 2 || stats.RecordsKept != 3 {
		t.Errorf("%+v", stats)
	}
	w.check(t)
	if stats := w.clean(t); stats.CleanedTo != 2 || stats.SegmentsRead != 0 {
		t.Errorf("again: %+v", stats)
	}
}

// Damage stops a cleaning before anything is replaced.
func TestCleanerLeavesDamageAlone(t *testing.T) {
	w := newCleanerWorld(t)
	w.grow(t, rand.New(rand.NewPCG(1, 1)), 3)
	segments := w.list(t)
	name := segmentPath(w.dir, segments[1].base, ".log")
	data, err := vfs.ReadFile(w.m, name, 1<<20)
	must(t, err)
	data[len(data)-1] ^= 1
	must(t, vfs.WriteFileAtomic(w.m, name, data))
	if _, err := w.compaction(1<<20).run(background, segments, assess(segments, 0, w.end, w.cfg, w.now)); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("run = %v", err)
	}
	after, err := w.m.ReadDir(w.dir)
	must(t, err)
	if len(after) != 3 {
		t.Errorf("%d files left: %v", len(after), after)
	}
}

func TestSwapManifestRefusesDoubt(t *testing.T) {
	for _, text := range []string{"", "0\n0\n", "0\n2\n5\n", "0\n2\n5\n5\n", "0\n1\nx\n"} {
		if bases, err := decodeManifest([]byte(text)); !errors.Is(err, errStateFile) {
			t.Errorf("%q: %v, %v", text, bases, err)
		}
	}
	m, dir := testDir(t)
	must(t, vfs.WriteFileAtomic(m, segmentPath(dir, 7, swapSuffix), []byte("0\n1\n5\n")))
	if err := recoverSwaps(m, dir); !errors.Is(err, errStateFile) {
		t.Errorf("manifest of another segment: %v", err)
	}
}

func BenchmarkClean(b *testing.B) {
	for _, codec := range []record.Codec{record.None, record.LZ4, record.Zstd} {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				w, size := benchmarkWorld(b, codec)
				segments := w.list(b)
				b.SetBytes(size)
				b.StartTimer()
				if _, err := w.compaction(defaultTestDedup).run(background, segments, assess(segments, 0, w.end, w.cfg, w.now)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

const defaultTestDedup = 16 << 20

// benchmarkWorld holds four segments of 100-byte records in batches of 100, with two values a key.
func benchmarkWorld(b *testing.B, codec record.Codec) (w *cleanerWorld, size int64) {
	w = newCleanerWorld(b)
	w.cfg.segmentBytes = 1 << 30
	value := make([]byte, 80)
	for range 4 {
		base, data := w.end, []byte(nil)
		for range 200 {
			builder := record.NewBuilder(record.Spec{BaseOffset: w.end, Codec: codec})
			for range 100 {
				key := strconv.AppendInt(nil, w.end*7919%40_000, 10)
				copy(value, key)
				must(b, builder.Add(&record.Record{Offset: w.end, Timestamp: 1, Key: key, Value: value}))
				w.end++
			}
			var err error
			data, err = builder.Build(data)
			must(b, err)
		}
		must(b, vfs.WriteFileAtomic(w.m, segmentPath(w.dir, base, ".log"), data))
		size += int64(len(data))
	}
	return w, size
}
