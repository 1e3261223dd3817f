package log

import (
	"testing"
	"time"

	"github.com/chronik-stream/chronik/wire/record"
)

// timedBatch has one record with the given time.
func timedBatch(t testing.TB, at time.Time, size int) record.Batch {
	ts := record.NoTimestamp
	if !at.IsZero() {
		ts = at.UnixMilli()
	}
	builder := record.NewBuilder(record.Spec{})
	must(t, builder.Add(&record.Record{Timestamp: ts, Value: make([]byte, size)}))
	b, err := builder.Build(nil)
	must(t, err)
	return b
}

func appendTimed(t testing.TB, l *Log, at time.Time, size int) {
	_, err := l.Append(timedBatch(t, at, size), AppendOptions{})
	must(t, err)
}

func TestRetentionByTime(t *testing.T) {
	cfg := testConfig()
	cfg.Retention = time.Hour
	w, _ := newTestWorld(t, cfg)
	for i := range 10 { // one segment per batch, ten minutes apart
		appendTimed(t, w.l, w.now.Add(time.Duration(i)*10*time.Minute), 100)
		must(t, w.l.Roll())
	}
	must(t, w.sync())
	retain := func(after time.Duration, want int64) {
		t.Helper()
		w.now = testNow.Add(after)
		must(t, w.d.retain())
		if got := w.l.StartOffset(); got != want {
			t.Errorf("after %v the log starts at %d, want %d", after, got, want)
		}
	}
	retain(time.Hour, 0)
	retain(time.Hour+time.Millisecond, 1)
	retain(90*time.Minute, 3)
	w.l.hw.Store(5)
	retain(100*time.Hour, 5) // nothing at or above the high watermark goes
	w.l.hw.Store(10)
	retain(100*time.Hour, 10)
	if n := len(w.l.list()); n != 1 {
		t.Errorf("%d segments are left", n)
	}
	w.m = w.m.CrashLoseAll()
	must(t, w.open())
	if w.l.StartOffset() != 10 || w.l.EndOffset() != 10 {
		t.Errorf("after a crash the log is [%d, %d)", w.l.StartOffset(), w.l.EndOffset())
	}
}

// TestRetentionRollsTheActiveSegment: a topic that nobody writes to empties too.
func TestRetentionRollsTheActiveSegment(t *testing.T) {
	cfg := testConfig()
	cfg.Retention = time.Hour
	w, _ := newTestWorld(t, cfg)
	appendTimed(t, w.l, w.now, 10)
	must(t, w.sync())
	w.now = w.now.Add(2 * time.Hour)
	must(t, w.d.retain())
	if w.l.StartOffset() != 1 || w.l.Size() != 0 {
		t.Errorf("log starts at %d and has %d bytes", w.l.StartOffset(), w.l.Size())
	}
	must(t, w.d.retain()) // and an empty one stays as it is
	if got := w.l.SegmentOffsets(); len(got) != 1 || got[0] != 1 {
		t.Errorf("segments %v", got)
	}
}

// TestRetentionWithoutTimestamps goes by the time of the file.
func TestRetentionWithoutTimestamps(t *testing.T) {
	cfg := testConfig()
	cfg.Retention = time.Hour
	w, _ := newTestWorld(t, cfg)
	w.now = time.Now() // as the Mem's own clock
	w.d.started = w.now
	appendTimed(t, w.l, time.Time{}, 10)
	must(t, w.sync())
	must(t, w.d.retain())
	if w.l.StartOffset() != 0 {
		t.Error("a fresh file was deleted")
	}
	w.now = w.now.Add(2 * time.Hour)
	must(t, w.d.retain())
	if w.l.StartOffset() != 1 {
		t.Error("an old file was not deleted")
	}
}

// TestRetentionIgnoresClockJumps: a wall clock that jumps ahead deletes nothing (I34).
func TestRetentionIgnoresClockJumps(t *testing.T) {
	cfg := testConfig()
	cfg.Retention = time.Hour
	w, _ := newTestWorld(t, cfg)
	ticked := time.Duration(0)
	w.d.elapsed = func() time.Duration { return ticked }
	appendTimed(t, w.l, w.now, 10)
	must(t, w.sync())
	w.now = w.now.Add(1000 * time.Hour)
	must(t, w.d.retain())
	if w.l.StartOffset() != 0 {
		t.Error("a jump ahead deleted records")
	}
	ticked = 2 * time.Hour
	w.now = testNow.Add(-1000 * time.Hour)
	must(t, w.d.retain())
	if w.l.StartOffset() != 0 {
		t.Error("records were deleted though the clock says they are of the future")
	}
	w.now = testNow.Add(2 * time.Hour)
	must(t, w.d.retain())
	if w.l.StartOffset() != 1 {
		t.Error("nothing was deleted when both clocks agree")
	}
}

func TestRetentionBySize(t *testing.T) {
	cfg := testConfig()
	cfg.RetentionBytes = 3000
	w, _ := newTestWorld(t, cfg)
	for range 10 {
		appendTimed(t, w.l, w.now, 1000)
		must(t, w.l.Roll())
	}
	must(t, w.sync())
	must(t, w.d.retain())
	size := w.l.list()[0].size.Load()
	if got, want := w.l.StartOffset(), 10-(3000+size-1)/size; got != want || w.l.Size() < 3000 {
		t.Errorf("log starts at %d and has %d bytes, want start %d", got, w.l.Size(), want)
	}
	cfg.Delete = false
	cfg.RetentionBytes = 0
	w.l.SetConfig(cfg)
	start := w.l.StartOffset()
	must(t, w.d.retain())
	if w.l.StartOffset() != start {
		t.Error("a log that is not to be deleted from was")
	}
}

// TestProducersExpire: a producer that is silent for too long starts anew.
func TestProducersExpire(t *testing.T) {
	cfg := testConfig()
	cfg.ProducerExpiration = time.Hour
	w, _ := newTestWorld(t, cfg)
	_, err := w.l.Append(producedBatch(t, 0, record.Producer{ID: 7, Sequence: 40}, 2, false), AppendOptions{})
	must(t, err)
	w.now = w.now.Add(59 * time.Minute)
	must(t, w.d.retain())
	if len(w.l.Producers()) != 1 {
		t.Error("expired too early")
	}
	w.now = w.now.Add(time.Minute)
	must(t, w.d.retain())
	if len(w.l.Producers()) != 0 {
		t.Error("did not expire")
	}
}
