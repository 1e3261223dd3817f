package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openTestDir(t testing.TB, m *vfs.Mem) *Dir {
	t.Helper()
	d, err := OpenDir(DirOptions{Path: "/data", FS: m, Now: func() time.Time { return testNow }})
	must(t, err)
	return d
}

func TestDirIsLocked(t *testing.T) {
	m := vfs.NewMem()
	d := openTestDir(t, m)
	if _, err := OpenDir(DirOptions{Path: "/data", FS: m}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second OpenDir = %v", err)
	}
	must(t, d.Close())
	id := d.ID()
	d = openTestDir(t, m)
	if d.ID() != id || id.IsZero() {
		t.Errorf("storage id was %v, is %v", id, d.ID())
	}
	must(t, d.Close())
	if err := d.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

func TestPreviousStop(t *testing.T) {
	m := vfs.NewMem()
	open := func(boot string) *Dir {
		d, err := OpenDir(DirOptions{Path: "/data", FS: m, BootID: boot})
		must(t, err)
		return d
	}
	for _, step := range []struct {
		boot  string
		clean bool // how this run ends
		want  Stop // of the run before
	}{
		{"a", true, Stop{Clean: true}}, // the first
		{"a", false, Stop{Clean: true}},
		{"a", false, Stop{Intact: true}},
		{"b", false, Stop{Suspect: true}},
		{"b", true, Stop{Intact: true}},
		{"c", false, Stop{Clean: true}},
		{"", false, Stop{Suspect: true}},
		{"", true, Stop{Suspect: true}},
		{"", true, Stop{Clean: true}},
	} {
		d := open(step.boot)
		if d.PreviousStop() != step.want {
			t.Errorf("%+v: previous stop is %+v", step, d.PreviousStop())
		}
		if step.clean {
			must(t, d.Close())
		} else {
			m = m.CrashKeepAll()
		}
	}
}

func TestLogsAreFoundByName(t *testing.T) {
	m := vfs.NewMem()
	d := openTestDir(t, m)
	ids := []Ident{
		{"", "a", 0, uuid.ID{1}}, {"", "a", 10, uuid.ID{1}}, {"", "a-1", 2, uuid.ID{2}}, {"", "x.y_z", 0, uuid.ID{3}},
		{"acme", "a", 0, uuid.ID{4}}, {"", strings.Repeat("n", 249), 0, uuid.ID{5}},
	}
	for _, id := range ids {
		_, err := d.Open(id, Config{})
		must(t, err)
	}
	if _, err := d.Open(ids[0], Config{}); err == nil {
		t.Error("a log was opened twice")
	}
	for _, bad := range []Ident{{}, {Topic: "a"}, {Topic: "../a", TopicID: uuid.ID{1}}, {Topic: "a", Partition: -1, TopicID: uuid.ID{1}}} {
		if _, err := d.Open(bad, Config{}); err == nil {
			t.Errorf("opened %+v", bad)
		}
	}
	slices.SortFunc(ids, compareIdents)
	if got := d.Logs(); !slices.Equal(got, ids) {
		t.Errorf("Logs = %v", got)
	}
	must(t, d.Close())
	if _, err := d.Open(Ident{"", "late", 0, uuid.ID{9}}, Config{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Open after Close = %v", err)
	}
	d = openTestDir(t, m.CrashLoseAll())
	if got := d.Logs(); !slices.Equal(got, ids) {
		t.Errorf("Logs after a restart = %v", got)
	}
	must(t, d.Close())
}

// TestAnotherTopicIDIsNeverReused: a directory is moved aside, with all that is in it (I25, I26).
func TestAnotherTopicIDIsNeverReused(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	for range 20 {
		must(t, w.append(rng))
	}
	must(t, w.sync())
	must(t, w.l.DeleteBefore(w.durable/2))
	must(t, w.d.Close())
	size := w.l.Size()
	w.m = w.m.CrashLoseAll()
	d, err := OpenDir(DirOptions{Path: "/data/log", FS: w.m})
	must(t, err)
	other := testIdent
	other.TopicID = uuid.ID{77}
	l, err := d.Open(other, w.cfg)
	must(t, err)
	if l.StartOffset() != 0 || l.EndOffset() != 0 || l.HighWatermark() != 0 || l.LatestEpoch() != -1 || len(l.Producers()) != 0 {
		t.Errorf("the new log has something of the old one: [%d, %d)", l.StartOffset(), l.EndOffset())
	}
	c := &logWorld{m: w.m.CrashLoseAll(), cfg: w.cfg, now: w.now}
	d, err = OpenDir(DirOptions{Path: "/data/log", FS: c.m})
	must(t, err)
	l, err = d.Open(other, w.cfg)
	must(t, err)
	if err := l.Failed(); err != nil || l.EndOffset() != 0 {
		t.Errorf("after a crash the new log is [%d, %d), %v", l.StartOffset(), l.EndOffset(), err)
	}
	entries, err := w.m.ReadDir("/data/log")
	must(t, err)
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), strayKind) })
	if i < 0 {
		t.Fatalf("nothing was moved aside: %v", entries)
	}
	if got := logBytes(t, w.m, filepath.Join("/data/log", entries[i].Name())); got != size {
		t.Errorf("%d bytes were moved aside, want %d", got, size)
	}
}

func logBytes(t testing.TB, m *vfs.Mem, dir string) (size int64) {
	entries, err := m.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), logSuffix) {
			info, err := e.Info()
			must(t, err)
			size += info.Size()
		}
	}
	return size
}

// TestUnfinishedCreationIsTakenUp: a crash at any operation of a creation leaves something that can be
// opened.
func TestUnfinishedCreationIsTakenUp(t *testing.T) {
	m := vfs.NewMem()
	d := openTestDir(t, m)
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	id := Ident{"acme", "a", 0, uuid.ID{1}}
	m.OnOp(func(op vfs.Op) error {
		if !op.Kind.Mutates() {
			return nil
		}
		for _, after := range []*vfs.Mem{m.Crash(rng), m.CrashKeepAll(), m.CrashLoseAll()} {
			d := openTestDir(t, after)
			l, err := d.Open(id, Config{})
			if err != nil || l.Failed() != nil {
				t.Errorf("crash before %v: %v, %v", op, err, l.Failed())
			}
			must(t, d.Close())
		}
		return nil
	})
	_, err := d.Open(id, Config{})
	must(t, err)
	m.OnOp(nil)
	must(t, d.Close())
}

// TestRemoveDeletesLater: the directory is renamed at once and unlinked after the delay or at the next
// start; views stay readable, and a new log of that name begins empty.
func TestRemoveDeletesLater(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			cfg := testConfig()
			cfg.FileDeleteDelay = time.Minute
			w, rng := newTestWorld(t, cfg)
			for range 30 {
				must(t, w.append(rng))
			}
			must(t, w.sync())
			must(t, w.d.writeChanged())
			view, err := w.l.Read(0, w.end(), 1000, true)
			must(t, err)
			must(t, w.d.Remove(w.l))
			if got, err := view.Bytes(nil); err != nil || len(got) != view.Size() {
				t.Errorf("view after Remove: %d bytes, %v", len(got), err)
			}
			view.Release()
			if err := w.append(rng); !errors.Is(err, ErrClosed) {
				t.Errorf("append after Remove = %v", err)
			}
			if err := w.l.Sync(); err != nil {
				t.Errorf("sync after Remove = %v", err)
			}
			if len(w.d.Logs()) != 0 {
				t.Errorf("Logs = %v", w.d.Logs())
			}
			if restart {
				w.m = w.m.CrashLoseAll()
			} else {
				w.d.unlinkDue()
				if countNames(t, w.m, deleteKind) != 1 {
					t.Error("the directory was unlinked before its time")
				}
				w.now = w.now.Add(2 * time.Minute)
				w.d.unlinkDue()
				if countNames(t, w.m, deleteKind) != 0 {
					t.Error("the directory was not unlinked")
				}
				must(t, w.d.Close())
			}
			must(t, w.open())
			if w.l.EndOffset() != 0 || w.l.Failed() != nil {
				t.Errorf("the new log ends at %d, %v", w.l.EndOffset(), w.l.Failed())
			}
			w.d.unlinkDue()
			if countNames(t, w.m, deleteKind) != 0 {
				t.Error("the directory was not unlinked after a restart")
			}
			must(t, w.d.RemoveTopic(testIdent.TopicID))
			if len(w.d.Logs()) != 0 {
				t.Error("RemoveTopic left an open log")
			}
			must(t, w.d.Close())
		})
	}
}

func countNames(t testing.TB, m *vfs.Mem, suffix string) int {
	entries, err := m.ReadDir("/data/log")
	must(t, err)
	n := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			n++
		}
	}
	return n
}

func TestRemoveTopicTakesClosedLogsToo(t *testing.T) {
	m := vfs.NewMem()
	d := openTestDir(t, m)
	for i := range int32(3) {
		_, err := d.Open(Ident{"", "a", i, uuid.ID{1}}, Config{})
		must(t, err)
		_, err = d.Open(Ident{"", "b", i, uuid.ID{2}}, Config{})
		must(t, err)
	}
	must(t, d.Close())
	d = openTestDir(t, m)
	_, err := d.Open(Ident{"", "a", 1, uuid.ID{1}}, Config{})
	must(t, err)
	must(t, d.RemoveTopic(uuid.ID{1}))
	if got := d.Logs(); len(got) != 3 || got[0].Topic != "b" {
		t.Errorf("Logs = %v", got)
	}
	must(t, d.Close())
}

// TestIdleLogsCostNothing: opening clean logs again writes nothing for each of them, and keeps no file
// open, whether there is something in them or not.
func TestIdleLogsCostNothing(t *testing.T) {
	m := vfs.NewMem()
	const logs = 300
	ident := func(i int) Ident { return Ident{"", "t", int32(i), uuid.ID{1}} }
	w := &logWorld{now: testNow}
	w.history.next = map[int64]int32{}
	rng := rand.New(rand.NewPCG(1, 1))
	d := openTestDir(t, m)
	for i := range logs {
		l, err := d.Open(ident(i), Config{})
		must(t, err)
		must(t, l.StartEpoch(0))
		if i%2 == 0 {
			b, err := w.makeBatch(rng)
			must(t, err)
			_, err = l.Append(b, AppendOptions{})
			must(t, err)
		}
	}
	must(t, d.Close())
	if n := d.files.openFiles(); n != 0 {
		t.Errorf("%d files open after Close", n)
	}
	d, err := OpenDir(DirOptions{Path: "/data", FS: m, MaxOpenFiles: 10})
	must(t, err)
	before := m.Ops()
	for i := range logs {
		l, err := d.Open(ident(i), Config{})
		must(t, err)
		must(t, l.StartEpoch(0))
		if l.EndOffset() > 0 != (i%2 == 0) {
			t.Errorf("log %d ends at %d", i, l.EndOffset())
		}
	}
	if n := m.Ops() - before; n > 0 {
		t.Errorf("opening %d clean logs made %d changes", logs, n)
	}
	if n := d.files.openFiles(); n > 10 {
		t.Errorf("%d files open, the limit is 10", n)
	}
	before = m.Ops()
	must(t, d.retain())
	must(t, d.settleSome(context.Background()))
	must(t, d.writeChanged())
	must(t, d.Close())
	if n := m.Ops() - before; n > 20 {
		t.Errorf("maintaining and closing %d idle logs made %d changes", logs, n)
	}
}

// TestOnRealFiles runs the model on the operating system's file system.
func TestOnRealFiles(t *testing.T) {
	cfg := testConfig()
	cfg.Preallocate, cfg.FileDeleteDelay = true, time.Nanosecond
	now := time.Now()
	w := &logWorld{cfg: cfg, now: now}
	w.history.next = map[int64]int32{}
	reg := prometheus.NewRegistry()
	o := DirOptions{Path: filepath.Join(t.TempDir(), "log"), Now: func() time.Time { return w.now }, MaxOpenFiles: 3, Registerer: reg}
	rng := rand.New(rand.NewPCG(1, 1))
	for run := range 4 {
		var err error
		w.d, err = OpenDir(o)
		must(t, err)
		w.l, err = w.d.Open(testIdent, cfg)
		must(t, err)
		must(t, w.checkReads(rng))
		for _, step := range []string{"append", "append", "append", "sync", "append", "roll", "append", "epoch", "truncate", "append", "delete before", "settle", "append", "append", "retain", "checkpoint", "append", "check"} {
			for range 4 {
				if err := w.step(step, rng); err != nil {
					t.Fatalf("run %d, %s: %v", run, step, err)
				}
			}
		}
		w.now = w.now.Add(time.Second)
		w.d.unlinkDue()
		if _, err := reg.Gather(); err != nil {
			t.Error(err)
		}
		must(t, w.d.Close())
		if !w.d.PreviousStop().Clean {
			t.Errorf("run %d: previous stop %+v", run, w.d.PreviousStop())
		}
		o.Registerer = nil
	}
}

// TestDataWithoutATopicIDIsNotReplaced: it is an error, not an empty log.
func TestDataWithoutATopicIDIsNotReplaced(t *testing.T) {
	w, rng := newTestWorld(t, testConfig())
	must(t, w.append(rng))
	must(t, w.sync())
	must(t, w.d.Close())
	path := w.l.path
	must(t, w.m.Remove(filepath.Join(path, partitionMetadataFile)))
	if err := w.open(); !errors.Is(err, errStateFile) {
		t.Errorf("Open = %v", err)
	}
	must(t, w.d.Close())
	must(t, writePartitionMetadata(w.m, path, testIdent.TopicID))
	must(t, w.open())
	must(t, w.checkReads(rng))
}
