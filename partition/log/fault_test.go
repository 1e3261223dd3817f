package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

func newTestWorld(t interface{ Fatal(...any) }, cfg Config) (*logWorld, *rand.Rand) {
	w, err := newLogWorld(cfg)
	must(t, err)
	return w, rand.New(rand.NewPCG(1, 2))
}

// failOn makes operations of one kind on files with the given suffix fail with err, until it is false.
func failOn(m *vfs.Mem, kind vfs.OpKind, suffix string, err error) *atomic.Bool {
	on := new(atomic.Bool)
	on.Store(true)
	m.OnOp(func(op vfs.Op) error {
		if on.Load() && op.Kind == kind && strings.HasSuffix(op.Name, suffix) {
			return err
		}
		return nil
	})
	return on
}

// TestFailedSyncFailsTheDirectory: what depended on a failed sync is never acknowledged, the sync is not
// repeated, and the next run knows (I32).
func TestFailedSyncFailsTheDirectory(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	must(t, w.append(rng))
	must(t, w.sync())
	durable := w.l.DurableOffset()
	must(t, w.append(rng))
	failing := failOn(w.m, vfs.OpSync, logSuffix, syscall.EIO)
	if err := w.l.Sync(); !errors.Is(err, ErrDirFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync = %v", err)
	}
	failing.Store(false)
	for name, err := range map[string]error{"Sync": w.l.Sync(), "append": w.append(rng), "Failed": w.d.Failed(), "Log.Failed": w.l.Failed(), "Roll": w.l.Roll()} {
		if !errors.Is(err, ErrDirFailed) {
			t.Errorf("%s after a failed sync: %v", name, err)
		}
	}
	if got := w.l.DurableOffset(); got != durable {
		t.Errorf("durable offset went from %d to %d", durable, got)
	}
	must(t, w.checkReads(rng)) // reading goes on
	if err := w.d.Close(); !errors.Is(err, ErrDirFailed) {
		t.Errorf("Close = %v", err)
	}
	w.options.BootID = "same"
	must(t, w.open())
	if !w.d.PreviousStop().Suspect {
		t.Errorf("previous stop is %+v", w.d.PreviousStop())
	}
	must(t, w.checkRecovered(0))
	must(t, w.d.Close())
	must(t, w.open())
	if !w.d.PreviousStop().Clean {
		t.Errorf("after a clean stop: %+v", w.d.PreviousStop())
	}
}

func TestFailedWriteFailsTheDirectory(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	must(t, w.append(rng))
	end := w.l.EndOffset()
	failOn(w.m, vfs.OpWrite, logSuffix, syscall.EIO)
	if err := w.append(rng); !errors.Is(err, ErrDirFailed) {
		t.Fatalf("append = %v", err)
	}
	if w.l.EndOffset() != end {
		t.Errorf("end went from %d to %d", end, w.l.EndOffset())
	}
}

// TestDiskFullIsNoFailure fills the disk: appends fail whole, reads go on, and appends work again by
// themselves when there is space (I33).
func TestDiskFullIsNoFailure(t *testing.T) {
	cfg := testConfig()
	cfg.SegmentBytes = 1 << 20
	w, rng := newTestWorld(t, cfg)
	w.d.options.SoftFreeBytes = -1
	w.d.full.Store(false)
	for range 20 {
		must(t, w.append(rng))
	}
	must(t, w.sync())
	usage, err := w.d.Usage()
	must(t, err)
	for spare := range int64(70) {
		w.m.SetCapacity(usage.Total - usage.Free + 7*spare)
		usage, err = w.d.Usage()
		must(t, err)
		for err = nil; err == nil; {
			err = w.append(rng)
		}
		if !errors.Is(err, ErrDiskFull) || w.d.Failed() != nil {
			t.Fatalf("append = %v, directory %v", err, w.d.Failed())
		}
		must(t, w.checkReads(rng))
		w.m.SetCapacity(0)
		must(t, w.append(rng))
		usage, err = w.d.Usage()
		must(t, err)
	}
	must(t, w.checkReads(rng))
	must(t, checkDerived(w.l))
	must(t, w.crash(rng))
	must(t, w.checkReads(rng))
}

func TestLowSpaceRefusesProducersOnly(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	w.d.options.SoftFreeBytes = 10 << 10
	must(t, w.append(rng))
	usage, err := w.d.Usage()
	must(t, err)
	used := usage.Total - usage.Free
	w.m.SetCapacity(used + 9<<10)
	must(t, w.d.checkSpace())
	if err := w.append(rng); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("append = %v", err)
	}
	b, err := w.makeBatch(rng)
	must(t, err)
	w.remember(b)
	b.Stamp(w.l.EndOffset(), w.epoch)
	if _, err := w.l.Append(b, AppendOptions{Replicated: true}); err != nil {
		t.Errorf("replication is refused: %v", err)
	}
	w.m.SetCapacity(used + 11<<10) // above the limit, but not by a quarter
	must(t, w.d.checkSpace())
	if err := w.append(rng); !errors.Is(err, ErrDiskFull) {
		t.Errorf("producers come back too early: %v", err)
	}
	w.m.SetCapacity(used + 20<<10)
	must(t, w.d.checkSpace())
	must(t, w.append(rng))
	must(t, w.checkReads(rng))
}

// TestTornTails cuts, zeroes or garbles the file at every byte of the last batches, which were written
// and not synced.
func TestTornTails(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	for range 5 {
		must(t, w.append(rng))
	}
	must(t, w.sync())
	must(t, w.d.writeCheckpoints(checkpointFiles...))
	safe := w.l.list()[0].size.Load()
	for range 2 {
		must(t, w.append(rng))
	}
	name := w.l.list()[0].path(logSuffix)
	good, err := vfs.ReadFile(w.m, name, 1<<20)
	must(t, err)
	for at := safe; at < int64(len(good)); at++ {
		for kind, damage := range map[string]func(b []byte) []byte{
			"cut":    func(b []byte) []byte { return b[:at] },
			"zeroed": func(b []byte) []byte { clear(b[at:]); return b },
			"flip":   func(b []byte) []byte { b[at] ^= 0x40; return b },
		} {
			c := &logWorld{m: w.m.CrashKeepAll(), cfg: w.cfg, now: w.now, history: w.clone()}
			writeFile(t, c.m, name, damage(bytes.Clone(good)))
			if err := c.open(); err != nil {
				t.Fatalf("%s at %d: %v", kind, at, err)
			}
			if c.l.EndOffset() < c.durable {
				t.Fatalf("%s at %d: log ends at %d, durable was %d", kind, at, c.l.EndOffset(), c.durable)
			}
			// Base offset and leader epoch lie outside the CRC: what a flip there makes of the unsynced
			// batches need not be noticed.
			if err := c.checkRecovered(0); err != nil && kind != "flip" {
				t.Fatalf("%s at %d: %v", kind, at, err)
			}
			must(t, c.d.Close())
		}
	}
}

func writeFile(t interface{ Fatal(...any) }, m *vfs.Mem, name string, data []byte) {
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	must(t, err)
	_, err = f.WriteAt(data, 0)
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

// TestDamageBelowTheSyncedMarkQuarantines: it is detected, nothing is cut away and nothing served (I31).
func TestDamageBelowTheSyncedMarkQuarantines(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	for range 12 {
		must(t, w.append(rng))
	}
	must(t, w.sync())
	must(t, w.d.writeCheckpoints(checkpointFiles...))
	name := w.l.list()[0].path(logSuffix)
	good, err := vfs.ReadFile(w.m, name, 1<<20)
	must(t, err)
	for kind, bad := range map[string][]byte{
		"short":   good[:len(good)-1],
		"shorter": good[:len(good)/2],
		"empty":   nil,
		"flipped": flipped(good, len(good)/2),
	} {
		t.Run(kind, func(t *testing.T) {
			c := &logWorld{m: w.m.CrashKeepAll(), cfg: w.cfg, now: w.now, history: w.clone()}
			writeFile(t, c.m, name, bad)
			must(t, c.open())
			_, readErr := c.l.Read(0, 1, 100, true)
			_, _, timeErr := c.l.OffsetForTime(0, 1)
			for what, err := range map[string]error{
				"Failed": c.l.Failed(), "Read": readErr, "OffsetForTime": timeErr, "Append": c.append(rng), "TruncateTo": c.l.TruncateTo(1),
				"StartEpoch": c.l.StartEpoch(9), "DeleteBefore": c.l.DeleteBefore(1), "Sync": c.l.Sync(), "Reset": c.l.Reset(1), "Roll": c.l.Roll(),
			} {
				if !errors.Is(err, ErrQuarantined) || !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s = %v", what, err)
				}
			}
			must(t, c.d.retain())
			must(t, c.d.Close())
			after, err := vfs.ReadFile(c.m, name, 1<<20)
			must(t, err)
			if !bytes.Equal(after, bad) {
				t.Error("the damaged file was changed")
			}
			must(t, c.open())
			if !errors.Is(c.l.Failed(), ErrQuarantined) {
				t.Errorf("a further start forgets the damage: %v", c.l.Failed())
			}
			writeFile(t, c.m, name, good) // repaired by hand
			must(t, c.d.Close())
			must(t, c.open())
			must(t, c.checkReads(rng))
		})
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestLostStateFilesAreRebuilt removes or garbles what can be derived.
func TestLostStateFilesAreRebuilt(t *testing.T) {
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, snapshotSuffix, epochFile} {
		for _, garble := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s garbled=%v", suffix, garble), func(t *testing.T) {
				w, rng := newTestWorld(t, testConfig())
				for i := range 60 {
					if i%20 == 10 {
						w.epoch++
						must(t, w.l.StartEpoch(w.epoch))
					}
					must(t, w.append(rng))
				}
				must(t, w.sync())
				must(t, w.d.Close())
				entries, err := w.m.ReadDir(w.l.path)
				must(t, err)
				touched := 0
				for _, e := range entries {
					if name := filepath.Join(w.l.path, e.Name()); strings.HasSuffix(name, suffix) {
						touched++
						if !garble {
							must(t, w.m.Remove(name))
							continue
						}
						data, err := vfs.ReadFile(w.m, name, 1<<20)
						must(t, err)
						writeFile(t, w.m, name, append(data[:len(data)/2], 0xff))
					}
				}
				if touched == 0 {
					t.Fatal("no such file")
				}
				must(t, w.open())
				must(t, w.checkReads(rng))
				must(t, checkDerived(w.l))
				for id, want := range w.history.next {
					b := producedBatch(t, 0, record.Producer{ID: id, Epoch: 1, Sequence: want + 1}, 1, false)
					if _, err := w.l.Append(b, AppendOptions{LeaderEpoch: w.epoch}); !errors.Is(err, ErrOutOfOrderSequence) {
						t.Errorf("producer %d was forgotten: %v", id, err)
					}
				}
			})
		}
	}
}

// TestRunCommitsAndStops: with Run, appends become durable by themselves and the listener hears of it;
// when it has ended and the directory is closed, nothing is left running.
func TestRunCommitsAndStops(t *testing.T) {
	for _, mode := range []FlushMode{Sync, Interval, OS} {
		t.Run(fmt.Sprintf("mode=%d", mode), func(t *testing.T) {
			cfg := testConfig()
			cfg.FlushMode, cfg.FlushInterval = mode, 5*time.Millisecond
			w, rng := newTestWorld(t, cfg)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- w.d.Run(ctx) }()
			heard := make(chan struct{}, 1)
			w.l.SetListener(func() {
				select {
				case heard <- struct{}{}:
				default:
				}
			})
			for range 30 {
				must(t, w.append(rng))
				waitFor(t, heard, func() bool { return w.l.DurableOffset() == w.l.EndOffset() })
			}
			if mode != OS {
				waitFor(t, heard, func() bool { return w.l.synced.Load() == w.l.EndOffset() })
			}
			cancel()
			must(t, <-done)
			must(t, w.d.Close())
			if _, err := w.l.Append(nil, AppendOptions{}); !errors.Is(err, ErrClosed) {
				t.Errorf("append after Close: %v", err)
			}
			if _, err := w.l.Read(0, 1, 1, true); !errors.Is(err, ErrClosed) {
				t.Errorf("read after Close: %v", err)
			}
		})
	}
}

// TestFailureReachesTheListener: who waits for an acknowledgement learns that it will not come.
func TestFailureReachesTheListener(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.d.Run(ctx) }()
	heard := make(chan struct{}, 1)
	w.l.SetListener(func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	failOn(w.m, vfs.OpSync, logSuffix, syscall.EIO)
	must(t, w.append(rng))
	waitFor(t, heard, func() bool { return w.l.Failed() != nil })
	if w.l.DurableOffset() != 0 {
		t.Error("an append whose sync failed became durable")
	}
	cancel()
	must(t, <-done)
}

// waitFor waits until done, looking whenever heard.
func waitFor(t *testing.T, heard <-chan struct{}, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !done() {
		select {
		case <-heard:
		case <-deadline:
			t.Fatal("nothing happened for 10 s")
		}
	}
}
