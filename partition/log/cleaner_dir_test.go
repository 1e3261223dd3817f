package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// compactedLog is a log in a directory of its own, with the values that its keys have.
type compactedLog struct {
	dir    *Dir
	log    *Log
	values map[string]string
}

var compactConfig = Config{
	SegmentBytes: 1 << 10, IndexIntervalBytes: 100, Retention: -1, RetentionBytes: -1,
	Compact: true, DeleteRetention: time.Hour, MinCleanableRatio: 0.5,
}

func compactIdent(topic string) Ident { return Ident{Topic: topic, TopicID: uuid.ID{1, topic[0]}} }

func openCompacted(t interface{ Fatal(...any) }, m *vfs.Mem) *compactedLog {
	dir, err := OpenDir(DirOptions{Path: "/data/log", FS: m, Now: func() time.Time { return testNow }, SoftFreeBytes: -1})
	must(t, err)
	l, err := dir.Open(compactIdent("t"), compactConfig)
	must(t, err)
	must(t, l.Failed())
	return &compactedLog{dir: dir, log: l, values: map[string]string{}}
}

func testMem(t interface{ Fatal(...any) }) *vfs.Mem {
	m, _ := testDir(t)
	return m
}

// write appends n batches to l and closes their segments.
func (c *compactedLog) write(t interface{ Fatal(...any) }, l *Log, rng *rand.Rand, n int) {
	for range n {
		builder := record.NewBuilder(record.Spec{Codec: record.Codec(rng.IntN(5))})
		for i := range 1 + rng.IntN(4) {
			key := "key-" + strconv.Itoa(rng.IntN(15))
			r := record.Record{Offset: int64(i), Timestamp: testNow.UnixMilli(), Key: []byte(key)}
			delete(c.values, key)
			if rng.IntN(5) > 0 {
				r.Value = []byte(strings.Repeat("v", rng.IntN(30)) + strconv.FormatInt(l.EndOffset()+int64(i), 10))
				c.values[key] = string(r.Value)
			}
			must(t, builder.Add(&r))
		}
		b, err := builder.Build(nil)
		must(t, err)
		_, err = l.Append(b, AppendOptions{LeaderEpoch: 1})
		must(t, err)
	}
	must(t, l.Roll())
	must(t, l.Sync())
	must(t, l.settle(true))
	l.SetHighWatermark(l.EndOffset())
}

// readValues reads the whole log as a consumer would.
func readValues(l *Log) (values map[string]string, records int, err error) {
	values = map[string]string{}
	for at := l.StartOffset(); at < l.EndOffset(); {
		v, err := l.Read(at, l.EndOffset(), 4<<10, true)
		if err != nil {
			return nil, 0, err
		}
		data, err := v.Bytes(nil)
		v.Release()
		if err != nil {
			return nil, 0, err
		}
		if len(data) == 0 {
			return nil, 0, fmt.Errorf("nothing at offset %d of %d", at, l.EndOffset())
		}
		for len(data) > 0 {
			var b record.Batch
			if b, data, err = record.Next(data); err != nil {
				return nil, 0, err
			}
			if err := b.Check(); err != nil || b.NextOffset() <= at {
				return nil, 0, fmt.Errorf("batch [%d, %d) at %d: %w", b.BaseOffset(), b.NextOffset(), at, err)
			}
			at = b.NextOffset()
			err := b.Each(record.Limits{}, func(r *record.Record) error {
				records++
				if delete(values, string(r.Key)); r.Value != nil {
					values[string(r.Key)] = string(r.Value)
				}
				return nil
			})
			if err != nil {
				return nil, 0, err
			}
		}
	}
	return values, records, nil
}

func (c *compactedLog) check(t interface{ Fatal(...any) }) (records int) {
	got, records, err := readValues(c.log)
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(c.values) {
		t.Fatal("read ", got, "\nwant ", c.values)
	}
	return records
}

func TestCompactLog(t *testing.T) {
	m := testMem(t)
	c := openCompacted(t, m)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	c.write(t, c.log, rng, 60)
	before := c.check(t)
	stats, err := c.log.Compact(background)
	must(t, err)
	if after := c.check(t); after > 15 || after >= before || stats.CleanedTo != c.log.EndOffset() {
		t.Errorf("%d records of %d are left: %+v", after, before, stats)
	}
	if again, err := c.log.Compact(background); err != nil || again.SegmentsRead != 0 {
		t.Errorf("second compaction: %+v, %v", again, err)
	}
	c.write(t, c.log, rng, 10)
	c.check(t)
	must(t, c.dir.Close())

	values := c.values
	c = openCompacted(t, m.CrashLoseAll())
	c.values = values
	c.check(t)
	next, err := c.log.Compact(background)
	if err != nil || next.DirtyFrom != stats.CleanedTo || next.SegmentsWritten >= next.SegmentsRead {
		t.Errorf("after a restart: %+v, %v; want to go on from %d and merge what has become small", next, err, stats.CleanedTo)
	}
	c.check(t)
	must(t, c.dir.Close())
}

func TestCompactLogCrash(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	m := testMem(t)
	c := openCompacted(t, m)
	c.write(t, c.log, rng, 30)
	must(t, c.dir.Close())
	for op, done := 1, false; !done; op++ {
		after, failed := (*vfs.Mem)(nil), false
		run := openCompacted(t, m.CrashKeepAll())
		run.log.SetHighWatermark(run.log.EndOffset())
		on := run.dir.fs.(*vfs.Mem)
		first := on.Ops()
		on.OnOp(func(o vfs.Op) error {
			if !failed && on.Ops() >= first+op && o.Kind.Mutates() {
				failed, after = true, on.Crash(rng)
			}
			if failed {
				return errPower
			}
			return nil
		})
		if _, err := run.log.Compact(background); err != nil && !errors.Is(err, errPower) {
			t.Fatalf("seed %d, operation %d: %v", seed, op, err)
		}
		on.OnOp(nil)
		if done = !failed; done {
			after = on.Crash(rng)
		}
		var f failures
		func() {
			defer f.catch()
			again := openCompacted(&f, after)
			again.values = c.values
			again.check(&f)
			again.log.SetHighWatermark(again.log.EndOffset())
			if _, err := again.log.Compact(background); err != nil {
				f.Fatal(err)
			}
			again.check(&f)
			must(&f, again.dir.Close())
		}()
		if f.err != nil {
			t.Fatalf("seed %d, crash at operation %d: %v", seed, op, f.err)
		}
	}
}

// Readers at any place, and a writer, must not notice that segments are replaced under them.
func TestCompactLogWhileInUse(t *testing.T) {
	c := openCompacted(t, testMem(t))
	rng := rand.New(rand.NewPCG(3, 3))
	c.write(t, c.log, rng, 80)
	want := fmt.Sprint(c.values)
	var readers errgroup.Group
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() error {
			for {
				got, _, err := readValues(c.log)
				if err != nil || fmt.Sprint(got) != want {
					return fmt.Errorf("read %v, %v, want %s", got, err, want)
				}
				select {
				case <-stop:
					return nil
				default:
				}
			}
		})
	}
	for range 4 {
		must(t, c.dir.cleaner.lower(c.log, 0))
		if _, err := c.log.Compact(background); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := readers.Wait(); err != nil {
		t.Error(err)
	}
	must(t, c.dir.Close())
}

func TestCleanerTakesTheDirtiestFirst(t *testing.T) {
	c := openCompacted(t, testMem(t))
	rng := rand.New(rand.NewPCG(4, 4))
	c.write(t, c.log, rng, 20)
	if _, err := c.log.Compact(background); err != nil {
		t.Fatal(err)
	}
	all, err := c.dir.Open(compactIdent("u"), compactConfig)
	must(t, err)
	c.write(t, all, rng, 20)
	plain := compactConfig
	plain.Compact = false
	never, err := c.dir.Open(compactIdent("v"), plain)
	must(t, err)
	c.write(t, never, rng, 20)
	if _, err := never.Compact(background); err == nil {
		t.Error("compacted a log that is not to be compacted")
	}

	if got := c.dir.cleaner.dirtiest(nil); got != all {
		t.Errorf("first is %v, want the log that was never compacted", got)
	}
	must(t, c.dir.cleaner.cleanDue(background))
	if got := c.dir.cleaner.dirtiest(nil); got != nil {
		t.Errorf("%v is still due", got.Ident())
	}
	cfg := compactConfig
	cfg.MaxCompactionLag = time.Millisecond
	c.log.SetConfig(cfg)
	c.write(t, c.log, rng, 1)
	c.dir.now = func() time.Time { return testNow.Add(time.Minute) }
	if got := c.dir.cleaner.dirtiest(nil); got != c.log {
		t.Errorf("the overdue log is not next, but %v", got)
	}
	must(t, c.dir.Close())
}

// What is appended after a truncation is new to the cleaner, also if it stood further before.
func TestTruncationLowersTheCleanersCheckpoint(t *testing.T) {
	c := openCompacted(t, testMem(t))
	rng := rand.New(rand.NewPCG(5, 5))
	c.write(t, c.log, rng, 40)
	if _, err := c.log.Compact(background); err != nil {
		t.Fatal(err)
	}
	must(t, c.log.TruncateTo(c.log.EndOffset()/2))
	cut := c.log.EndOffset()
	c.write(t, c.log, rng, 40)
	stats, err := c.log.Compact(background)
	if err != nil || stats.DirtyFrom > cut {
		t.Errorf("%+v, %v; the log was cut to %d", stats, err, cut)
	}
	must(t, c.dir.Close())
}

// A log that is removed while it is compacted ends the compaction, and nothing else.
func TestRemovalEndsCompaction(t *testing.T) {
	for _, when := range []string{".log" + cleanedSuffix, timeIndexSuffix + cleanedSuffix} {
		m := testMem(t)
		c := openCompacted(t, m)
		c.write(t, c.log, rand.New(rand.NewPCG(6, 6)), 40)
		removed := false
		m.OnOp(func(o vfs.Op) error {
			if !removed && o.Kind == vfs.OpSync && strings.HasSuffix(o.Name, when) {
				removed = true
				return c.dir.Remove(c.log)
			}
			return nil
		})
		if _, err := c.log.Compact(background); err == nil || !removed {
			t.Errorf("compaction of a removed log: %v", err)
		}
		m.OnOp(nil)
		if err := c.dir.Failed(); err != nil {
			t.Errorf("the directory has failed: %v", err)
		}
		if _, err := c.log.Compact(background); !errors.Is(err, ErrClosed) {
			t.Errorf("compaction after the removal: %v", err)
		}
		must(t, c.dir.Close())
	}
}
