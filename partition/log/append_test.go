package log

import (
	"errors"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/wire/record"
)

// TestDuplicatesGetTheirOriginalOffsets, before and after a clean stop and a crash (I36).
func TestDuplicatesGetTheirOriginalOffsets(t *testing.T) {
	w, _ := newTestWorld(t, testConfig())
	p := record.Producer{ID: 5, Epoch: 2}
	var sent []Appended
	send := func(seq int32) (Appended, error) {
		p.Sequence = seq
		return w.l.Append(producedBatch(t, 0, p, 3, false), AppendOptions{LeaderEpoch: 1})
	}
	for i := range int32(7) {
		a, err := send(3 * i)
		must(t, err)
		sent = append(sent, a)
	}
	must(t, w.sync())
	check := func(when string) {
		t.Helper()
		for i := range int32(7) {
			a, err := send(3 * i)
			if i < 2 {
				if !errors.Is(err, ErrOutOfOrderSequence) {
					t.Errorf("%s: batch %d is no longer remembered, but: %v", when, i, err)
				}
				continue
			}
			if err != nil || !a.Duplicate || a.Base != sent[i].Base || a.Next != sent[i].Next {
				t.Errorf("%s: batch %d again: %+v, %v, want %+v", when, i, a, err, sent[i])
			}
		}
		if w.l.EndOffset() != 21 {
			t.Errorf("%s: log ends at %d", when, w.l.EndOffset())
		}
	}
	check("at once")
	must(t, w.d.Close())
	must(t, w.open())
	check("after a clean stop")
	w.m = w.m.CrashLoseAll()
	must(t, w.open())
	check("after a crash")
}

// TestSeveralBatchesInOneAppend are appended all or not at all.
func TestSeveralBatchesInOneAppend(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	must(t, w.append(rng))
	end := w.l.EndOffset()
	batches := func(sequences ...int32) (all []byte) {
		for _, seq := range sequences {
			all = append(all, producedBatch(t, 0, record.Producer{ID: 9, Sequence: seq}, 2, false)...)
		}
		return all
	}
	for name, bad := range map[string][]byte{
		"gap":       batches(0, 2, 5),
		"truncated": batches(0, 2)[:150],
		"garbage":   append(batches(0, 2), make([]byte, 100)...),
	} {
		if _, err := w.l.Append(bad, AppendOptions{}); err == nil || w.l.EndOffset() != end || len(w.l.Producers()) > len(w.history.next) {
			t.Errorf("%s: %v, log ends at %d", name, err, w.l.EndOffset())
		}
	}
	a, err := w.l.Append(batches(0, 2, 4), AppendOptions{LeaderEpoch: 3})
	if err != nil || a.Base != end || a.Next != end+6 {
		t.Fatalf("%+v, %v", a, err)
	}
	if a, err := w.l.Append(nil, AppendOptions{}); err != nil || a.Base != a.Next {
		t.Errorf("empty append: %+v, %v", a, err)
	}
	must(t, checkDerived(w.l))
}

func TestAppendTooLargeForASegment(t *testing.T) {
	w, _ := newTestWorld(t, testConfig())
	if _, err := w.l.Append(timedBatch(t, w.now, 5000), AppendOptions{}); !errors.Is(err, ErrRecordListTooLarge) {
		t.Errorf("append = %v", err)
	}
	b := timedBatch(t, w.now, 5000)
	if _, err := w.l.Append(b, AppendOptions{Replicated: true}); err != nil {
		t.Errorf("replicated: %v", err) // the leader's segments may be larger
	}
}

// TestReplicatedBatchesKeepTheirOffsets, gaps of compaction too, and must continue the log.
func TestReplicatedBatchesKeepTheirOffsets(t *testing.T) {
	w, _ := newTestWorld(t, testConfig())
	replicate := func(offset int64, epoch int32) error {
		b := timedBatch(t, w.now, 10)
		b.Stamp(offset, epoch)
		_, err := w.l.Append(b, AppendOptions{Replicated: true, LeaderEpoch: 99})
		return err
	}
	must(t, replicate(10, 2))
	must(t, replicate(11, 2))
	must(t, replicate(20, 5))
	for name, err := range map[string]error{"again": replicate(20, 5), "behind": replicate(3, 5), "older epoch": replicate(30, 4), "too far": replicate(1<<40, 6)} {
		if !errors.Is(err, ErrUnexpectedOffset) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, w.l.Sync())
	w.m = w.m.CrashLoseAll()
	must(t, w.open())
	if err := w.l.Failed(); err != nil || w.l.EndOffset() != 21 {
		t.Fatalf("log ends at %d, %v", w.l.EndOffset(), err)
	}
	for asked, want := range map[int32][2]int64{1: {1, 10}, 2: {2, 20}, 4: {2, 20}, 5: {5, 21}, 9: {5, 21}} {
		if epoch, end := w.l.EpochEnd(asked); int64(epoch) != want[0] || end != want[1] {
			t.Errorf("epoch %d ends at (%d, %d), want %v", asked, epoch, end, want)
		}
	}
}

// TestSegmentsRollByTime: by record time, and by the clock where records have none.
func TestSegmentsRollByTime(t *testing.T) {
	cfg := testConfig()
	cfg.SegmentMs = time.Hour
	w, _ := newTestWorld(t, cfg)
	segments := func(want int) {
		t.Helper()
		if got := len(w.l.list()); got != want {
			t.Errorf("%d segments, want %d", got, want)
		}
	}
	appendTimed(t, w.l, w.now, 10)
	appendTimed(t, w.l, w.now.Add(time.Hour), 10)
	segments(1)
	w.now = w.now.Add(5 * time.Hour) // the records' own time counts
	appendTimed(t, w.l, testNow.Add(time.Minute), 10)
	segments(1)
	appendTimed(t, w.l, testNow.Add(time.Hour+time.Millisecond), 10)
	segments(2)
	must(t, w.sync())
	must(t, w.d.Close())
	must(t, w.open())
	appendTimed(t, w.l, testNow.Add(3*time.Hour), 10)
	segments(3)
	must(t, w.l.Roll())
	must(t, w.l.Roll()) // an empty segment is not rolled
	segments(4)
	appendTimed(t, w.l, time.Time{}, 10)
	w.now = w.now.Add(time.Hour)
	appendTimed(t, w.l, time.Time{}, 10)
	segments(4)
	w.now = w.now.Add(time.Millisecond)
	appendTimed(t, w.l, time.Time{}, 10)
	segments(5)
}

// TestSegmentsRollWhenAnIndexIsFull.
func TestSegmentsRollWhenAnIndexIsFull(t *testing.T) {
	cfg := testConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.SegmentIndexBytes = 1<<20, 1, 48 // four time entries
	w, rng := newTestWorld(t, cfg)
	for range 40 {
		must(t, w.append(rng))
	}
	if n := len(w.l.list()); n < 6 {
		t.Errorf("%d segments", n)
	}
	must(t, w.checkReads(rng))
}

// TestTransactionsHoldBackTheLogsStableOffset over truncation and restart.
func TestTransactionsHoldBackTheLogsStableOffset(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	must(t, w.append(rng))
	first := w.l.EndOffset()
	p := record.Producer{ID: 44, Epoch: 1}
	_, err := w.l.Append(producedBatch(t, 0, p, 2, true), AppendOptions{})
	must(t, err)
	stable := func(when string, want int64) {
		t.Helper()
		if got := w.l.FirstUnstableOffset(); got != want {
			t.Errorf("%s: stable up to %d, want %d", when, got, want)
		}
	}
	stable("open", first)
	must(t, w.l.Sync())
	must(t, w.d.Close())
	must(t, w.open())
	stable("after a restart", first)
	end := w.l.EndOffset()
	_, err = w.l.Append(marker(t, 0, p, record.Marker{Commit: true, CoordinatorEpoch: 1}), AppendOptions{})
	must(t, err)
	stable("ended, not committed", first)
	w.l.SetHighWatermark(w.l.EndOffset())
	stable("committed", w.l.EndOffset())
	must(t, w.l.TruncateTo(end))
	stable("marker cut off", first)
	must(t, w.l.TruncateTo(first))
	stable("all cut off", first)
	if w.l.unstable.Load() {
		t.Error("the log still looks for transactions")
	}
}

// TestAppendDoesNotAllocate, but for the first index entries.
func TestAppendDoesNotAllocate(t *testing.T) {
	cfg := Config{FlushMode: OS, Retention: -1, RetentionBytes: -1}
	d, err := OpenDir(DirOptions{Path: t.TempDir()})
	must(t, err)
	l, err := d.Open(testIdent, cfg)
	must(t, err)
	b := producedBatch(t, 0, record.Producer{ID: 1, Sequence: 0}, 1, false)
	plain := timedBatch(t, testNow, 100)
	_, err = l.Append(b, AppendOptions{})
	must(t, err)
	if n := testing.AllocsPerRun(1000, func() {
		_, err = l.Append(plain, AppendOptions{})
	}); err != nil || n > 0 {
		t.Errorf("%v allocations per append, %v", n, err)
	}
	must(t, d.Close())
}

// TestAppendBeyondTheReachOfASegment: an offset that no index entry of the active segment can hold is
// refused, whether something is in the segment or not.
func TestAppendBeyondTheReachOfASegment(t *testing.T) {
	w, _ := newTestWorld(t, testConfig())
	b := timedBatch(t, w.now, 10)
	b.Stamp(1<<33, 0)
	if _, err := w.l.Append(b, AppendOptions{Replicated: true}); !errors.Is(err, ErrUnexpectedOffset) {
		t.Errorf("append = %v", err)
	}
	must(t, w.l.Reset(1<<33))
	if _, err := w.l.Append(b, AppendOptions{Replicated: true}); err != nil || w.l.StartOffset() != 1<<33 {
		t.Errorf("append after Reset = %v, start %d", err, w.l.StartOffset())
	}
}
