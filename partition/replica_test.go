package partition

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/wire/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is one replica on a file system in memory, with the committer of its directory running.
type world struct {
	t   *testing.T
	fs  *vfs.Mem
	dir *log.Dir
	r   *Replica
}

func newWorld(t *testing.T, mode log.FlushMode) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem()}
	dir, err := log.OpenDir(log.DirOptions{Path: "/data/log", FS: w.fs})
	if err != nil {
		t.Fatal(err)
	}
	l, err := dir.Open(log.Ident{Topic: "t", TopicID: uuid.ID{1}}, log.Config{FlushMode: mode, Retention: -1, RetentionBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	w.dir, w.r = dir, New(l)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- dir.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = dir.Close() // it fails where the test has broken the disk
	})
	return w
}

// self is the broker that the replicas of these tests are on.
const self int32 = 1

// alone is the view of a partition with one replica.
func alone(epoch int32) core.View {
	return core.View{Replicas: []int32{self}, ISR: []int32{self}, LeaderEpoch: epoch, MinISR: 1}
}

// waiter receives what became of one append.
type waiter chan ack

type ack struct {
	appended log.Appended
	err      error
}

func (w waiter) Acked(appended log.Appended, err error) { w <- ack{appended, err} }

func (w waiter) wait(t *testing.T) ack {
	t.Helper()
	select {
	case a := <-w:
		return a
	case <-time.After(10 * time.Second):
		t.Fatal("the append was neither acknowledged nor refused")
		return ack{}
	}
}

func (w *world) append(acks Acks) waiter {
	w.t.Helper()
	ch := make(waiter, 1)
	if _, err := w.r.Append(batch(w.t, "value"), acks, ch); err != nil {
		w.t.Fatal(err)
	}
	return ch
}

func batch(t *testing.T, values ...string) []byte {
	t.Helper()
	b := record.NewBuilder(record.Spec{})
	for i, v := range values {
		if err := b.Add(&record.Record{Offset: int64(i), Timestamp: 1, Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAnAckMeansDurable holds the disk's sync back: nothing is acknowledged and the high watermark stands
// still until it is done (I29).
func TestAnAckMeansDurable(t *testing.T) {
	for _, acks := range []Acks{AcksAll, AcksLeader} {
		t.Run(fmt.Sprint(acks), func(t *testing.T) {
			w := newWorld(t, log.Sync)
			if err := w.r.Lead(self, alone(0), time.Now()); err != nil {
				t.Fatal(err)
			}
			gate, reached := make(chan struct{}), make(chan struct{}, 100)
			w.fs.OnOp(func(op vfs.Op) error {
				if op.Kind == vfs.OpSync {
					reached <- struct{}{}
					<-gate
				}
				return nil
			})
			ch := w.append(acks)
			<-reached
			select {
			case a := <-ch:
				t.Fatalf("acknowledged before the sync: %+v", a)
			default:
			}
			if o := w.r.Offsets(); o.HighWatermark != 0 || o.End != 1 {
				t.Errorf("before the sync: %+v", o)
			}
			close(gate)
			if a := ch.wait(t); a.err != nil || a.appended.Next != 1 {
				t.Errorf("after the sync: %+v", a)
			}
			if o := w.r.Offsets(); o.HighWatermark != 1 {
				t.Errorf("after the sync: %+v", o)
			}
		})
	}
}

// TestAFailedSyncAcknowledgesNothing (I32): those who wait are told, and so are those who come later.
func TestAFailedSyncAcknowledgesNothing(t *testing.T) {
	w := newWorld(t, log.Sync)
	if err := w.r.Lead(self, alone(0), time.Now()); err != nil {
		t.Fatal(err)
	}
	if a := w.append(AcksAll).wait(t); a.err != nil {
		t.Fatal(a.err)
	}
	w.fs.OnOp(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	})
	if a := w.append(AcksAll).wait(t); !errors.Is(a.err, ErrStorage) {
		t.Errorf("a failed sync: %+v", a)
	}
	w.fs.OnOp(nil) // the disk pretends that all is well again
	if _, err := w.r.Append(batch(t, "later"), AcksAll, make(waiter, 1)); !errors.Is(err, log.ErrDirFailed) {
		t.Errorf("an append after the failure: %v", err)
	}
	if o := w.r.Offsets(); o.HighWatermark != 1 {
		t.Errorf("the high watermark moved to %d", o.HighWatermark)
	}
}

func TestFlushModeOSAcksAtOnce(t *testing.T) {
	w := newWorld(t, log.OS)
	if err := w.r.Lead(self, alone(0), time.Now()); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-w.append(AcksAll):
		if a.err != nil {
			t.Error(a.err)
		}
	default:
		t.Error("not acknowledged when Append returned")
	}
}

func TestResignTellsWhoWaits(t *testing.T) {
	w := newWorld(t, log.Sync)
	if err := w.r.Lead(self, alone(3), time.Now()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	w.fs.OnOp(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			<-gate
		}
		return nil
	})
	ch := w.append(AcksAll)
	w.r.Resign(3)
	if a := ch.wait(t); !errors.Is(a.err, ErrNotLeader) {
		t.Errorf("after resigning: %+v", a)
	}
	close(gate)
	if _, err := w.r.Append(batch(t, "late"), AcksAll, ch); !errors.Is(err, ErrNotLeader) {
		t.Errorf("append while not leading: %v", err)
	}
	if _, err := w.r.LeaderOffsets(2); !errors.Is(err, ErrFencedEpoch) {
		t.Errorf("an older epoch is judged before leadership: %v", err)
	}
	if err := w.r.Lead(self, alone(2), time.Now()); !errors.Is(err, ErrFencedEpoch) {
		t.Errorf("leading in an older epoch: %v", err)
	}
	if err := w.r.Lead(self, alone(4), time.Now()); err != nil {
		t.Error(err)
	}
}

// TestGiveUpKeepsTheRole: who waits is told, and the replica goes on leading.
func TestGiveUpKeepsTheRole(t *testing.T) {
	w := newWorld(t, log.Sync)
	if err := w.r.Lead(self, alone(3), time.Now()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	w.fs.OnOp(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			<-gate
		}
		return nil
	})
	ch := w.append(AcksAll)
	w.r.GiveUp()
	if a := ch.wait(t); !errors.Is(a.err, ErrNotLeader) {
		t.Errorf("after giving up: %+v", a)
	}
	close(gate)
	if a := w.append(AcksAll).wait(t); a.err != nil {
		t.Errorf("the next append: %v", a.err)
	}
}

type wakes chan struct{}

func (w wakes) Wake() { w <- struct{}{} }

func TestWakers(t *testing.T) {
	w := newWorld(t, log.Sync)
	if err := w.r.Lead(self, alone(0), time.Now()); err != nil {
		t.Fatal(err)
	}
	woken := make(wakes, 10)
	if w.r.WakeAbove(-1, woken) {
		t.Error("registered for what is so already")
	}
	if !w.r.WakeAbove(0, woken) {
		t.Fatal("not registered")
	}
	if a := w.append(AcksAll).wait(t); a.err != nil {
		t.Fatal(a.err)
	}
	<-woken
	if !w.r.WakeAbove(1, woken) {
		t.Fatal("not registered")
	}
	w.r.Forget(woken)
	if a := w.append(AcksAll).wait(t); a.err != nil {
		t.Fatal(a.err)
	}
	if len(woken) != 0 {
		t.Error("woken after Forget, or more than once")
	}
	if !w.r.WakeAbove(2, woken) {
		t.Fatal("not registered")
	}
	w.r.Close()
	<-woken
}

// TestAnAppendWakesInModeOS: there the append itself raises the high watermark, and no sync follows that
// would wake anyone.
func TestAnAppendWakesInModeOS(t *testing.T) {
	w := newWorld(t, log.OS)
	if err := w.r.Lead(self, alone(0), time.Now()); err != nil {
		t.Fatal(err)
	}
	woken := make(wakes, 1)
	if !w.r.WakeAbove(0, woken) {
		t.Fatal("not registered")
	}
	w.append(AcksAll)
	if len(woken) != 1 {
		t.Error("not woken when Append returned")
	}
}

func TestReadSeesNothingAboveTheHighWatermark(t *testing.T) {
	w := newWorld(t, log.Sync)
	if err := w.r.Lead(self, alone(0), time.Now()); err != nil {
		t.Fatal(err)
	}
	if a := w.append(AcksAll).wait(t); a.err != nil {
		t.Fatal(a.err)
	}
	gate := make(chan struct{})
	defer close(gate)
	w.fs.OnOp(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			<-gate
		}
		return nil
	})
	w.append(AcksAll)
	for from, wantBytes := range map[int64]bool{0: true, 1: false, 2: false} {
		got, err := w.r.Read(ReadRequest{From: from, MaxBytes: 1 << 20, CurrentEpoch: AnyEpoch, LastFetchedEpoch: AnyEpoch})
		if err != nil {
			t.Fatalf("read from %d: %v", from, err)
		}
		if (got.View.Size() > 0) != wantBytes {
			t.Errorf("read from %d: %d bytes", from, got.View.Size())
		}
		got.View.Release()
	}
	if _, err := w.r.Read(ReadRequest{From: 3, CurrentEpoch: AnyEpoch, LastFetchedEpoch: AnyEpoch}); !errors.Is(err, log.ErrOffsetOutOfRange) {
		t.Errorf("read past the end: %v", err)
	}
}

// TestEpochEndIsTheLeadersAlone (I18): a client that names a later leader epoch than this replica knows has read from that
// leader, and would take any answer for a loss.
func TestEpochEndIsTheLeadersAlone(t *testing.T) {
	w := newWorld(t, log.Sync)
	if _, _, err := w.r.EpochEnd(AnyEpoch, 0); !errors.Is(err, ErrNotLeader) {
		t.Errorf("before it leads: %v", err)
	}
	if err := w.r.Lead(self, alone(3), time.Now()); err != nil {
		t.Fatal(err)
	}
	w.append(AcksAll).wait(t)
	if epoch, end, err := w.r.EpochEnd(3, 3); epoch != 3 || end != 1 || err != nil {
		t.Errorf("its own epoch ends at %d in epoch %d, %v", end, epoch, err)
	}
	if _, _, err := w.r.EpochEnd(2, 3); !errors.Is(err, ErrFencedEpoch) {
		t.Errorf("a client behind: %v", err)
	}
	if _, _, err := w.r.EpochEnd(3, 4); !errors.Is(err, ErrUnknownEpoch) {
		t.Errorf("a later epoch: %v", err)
	}
}
