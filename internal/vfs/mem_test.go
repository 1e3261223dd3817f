package vfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestMemShowsEveryOperation(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/d"))
	var seen []string
	m.OnOp(func(op Op) error {
		seen = append(seen, op.String())
		return nil
	})
	before := m.Ops()
	must(t, m.MkdirAll("/d/a/b"))
	must(t, WriteFileAtomic(m, "/d/f", []byte("hello")))
	readAll(t, m, "/d/f")
	f := open(t, m, "/d/f", os.O_RDWR|os.O_TRUNC)
	must(t, errors.Join(f.Preallocate(10), f.Truncate(3), f.Close()))
	lock, err := m.Lock("/d/lock")
	must(t, errors.Join(err, lock.Close()))
	must(t, m.RemoveAll("/d/a"))
	listing(t, m, "/d")

	want := []string{
		"mkdir /d/a", "mkdir /d/a/b",
		"create /d/f.tmp", "write /d/f.tmp [0, 5)", "sync /d/f.tmp", "rename /d/f.tmp /d/f", "syncdir /d",
		"open /d/f", "read /d/f [0, 5)",
		"truncate /d/f 0", "preallocate /d/f 10", "truncate /d/f 3",
		"lock /d/lock", "remove /d/a/b", "remove /d/a", "readdir /d",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("saw\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	if got := m.Ops() - before; got != len(want)-3 {
		t.Errorf("Ops rose by %d, want %d: all but open, read and readdir", got, len(want)-3)
	}
	m.OnOp(nil)
	must(t, m.Remove("/d/f"))
}

func TestMemHookFailsOperations(t *testing.T) {
	boom := errors.New("boom")
	m := NewMem()
	putDurable(t, m, "/f", "hello")
	must(t, m.MkdirAll("/d"))
	f := open(t, m, "/f", os.O_RDWR)
	m.OnOp(func(Op) error { return boom })
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	n, writeErr := f.WriteAt([]byte("x"), 0)
	if n != 0 {
		t.Errorf("failed write wrote %d bytes", n)
	}
	_, openErr := m.OpenFile("/f", os.O_RDONLY)
	_, createErr := m.OpenFile("/g", os.O_RDWR|os.O_CREATE)
	_, dirErr := m.ReadDir("/")
	_, lockErr := m.Lock("/l")
	for op, err := range map[string]error{
		"read": readErr, "write": writeErr, "open": openErr, "create": createErr, "readdir": dirErr, "lock": lockErr,
		"truncate": f.Truncate(0), "preallocate": f.Preallocate(9), "sync": f.Sync(), "syncdir": m.SyncDir("/"),
		"rename": m.Rename("/f", "/g"), "remove": m.Remove("/f"), "removeall": m.RemoveAll("/d"), "mkdir": m.MkdirAll("/e"),
	} {
		if !errors.Is(err, boom) {
			t.Errorf("%s = %v, want the hook's error", op, err)
		}
	}
	m.OnOp(nil)
	wantContent(t, m, "/f", "hello")
	wantNames(t, m, "/", "d/", "f")
}

func TestMemPartialWrite(t *testing.T) {
	m := NewMem()
	f := open(t, m, "/f", os.O_RDWR|os.O_CREATE)
	for _, c := range []struct{ n, want int }{{3, 3}, {-1, 0}, {99, 5}} {
		must(t, f.Truncate(0))
		m.OnOp(func(op Op) error {
			if op.Kind == OpWrite {
				return &PartialWrite{N: c.n, Err: syscall.EIO}
			}
			return nil
		})
		n, err := f.WriteAt([]byte("hello"), 0)
		wantErr(t, err, syscall.EIO)
		if n != c.want {
			t.Errorf("PartialWrite{%d} wrote %d bytes, want %d", c.n, n, c.want)
		}
		m.OnOp(nil)
		wantContent(t, m, "/f", "hello"[:c.want])
	}
}

// The kernel reports a failed write-back once and forgets it: what came before is readable and clean,
// but not on the disk, and the next sync, which succeeds, does not change that.
func TestMemFailedSyncLosesWhatItCovered(t *testing.T) {
	m := NewMem()
	putDurable(t, m, "/f", "....")
	f := open(t, m, "/f", os.O_RDWR)
	write := func(s string, off int64) {
		t.Helper()
		_, err := f.WriteAt([]byte(s), off)
		must(t, err)
	}
	write("AB", 0)
	m.OnOp(func(op Op) error {
		if op.Kind == OpSync {
			return syscall.EIO
		}
		return nil
	})
	wantErr(t, f.Sync(), syscall.EIO)
	m.OnOp(nil)
	write("CD", 1)
	must(t, f.Sync())
	wantContent(t, m, "/f", "ACD.")
	wantContent(t, m.CrashLoseAll(), "/f", ".CD.")
	wantContent(t, m.CrashKeepAll(), "/f", "ACD.")
	wantContent(t, m.CrashKeepAll().CrashLoseAll(), "/f", ".CD.")

	seen := map[string]bool{}
	for seed := range uint64(200) {
		seen[readAll(t, m.Crash(rand.New(rand.NewPCG(seed, 0))), "/f")] = true
	}
	if len(seen) != 2 || !seen[".CD."] || !seen["ACD."] {
		t.Errorf("crashes left %v, want .CD. and ACD.: the lost write may be there, but under what was synced after it", seen)
	}
}

func TestMemCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(100)
	free := func() int64 {
		t.Helper()
		u, err := m.Usage("/")
		must(t, err)
		if u.Total != 100 {
			t.Errorf("Total = %d", u.Total)
		}
		return u.Free
	}
	wantFree := func(want int64) {
		t.Helper()
		if got := free(); got != want {
			t.Errorf("Free = %d, want %d", got, want)
		}
	}
	wantFree(100)
	a := open(t, m, "/a", os.O_RDWR|os.O_CREATE)
	must(t, a.Preallocate(60))
	wantFree(40)
	b := open(t, m, "/b", os.O_RDWR|os.O_CREATE)
	n, err := b.WriteAt(make([]byte, 50), 0)
	wantErr(t, err, syscall.ENOSPC)
	if n != 40 {
		t.Errorf("wrote %d bytes, want the 40 that fit", n)
	}
	_, err = b.WriteAt(make([]byte, 40), 0)
	must(t, err) // no growth
	n, err = b.WriteAt([]byte("x"), 40)
	if n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write on a full disk = %d, %v", n, err)
	}
	_, err = a.WriteAt(make([]byte, 60), 0)
	must(t, err) // it was reserved
	wantErr(t, a.Preallocate(61), syscall.ENOSPC)
	wantErr(t, a.Truncate(61), syscall.ENOSPC)
	must(t, a.Truncate(10))
	wantFree(50)
	put(t, m, "/c", "12345")
	must(t, m.Rename("/c", "/a")) // replaces a, which stays open
	wantFree(45)
	must(t, a.Close())
	wantFree(55)
	must(t, m.Remove("/b"))
	wantFree(55)
	for _, clone := range []*Mem{m.CrashKeepAll(), m.CrashLoseAll()} {
		u, err := clone.Usage("/")
		must(t, err)
		if u.Total != 100 || u.Free < 95 {
			t.Errorf("after a crash: %+v, want only /a of 5 bytes, if at all", u)
		}
	}
	must(t, b.Close())
	wantFree(95)
	m.SetCapacity(0)
	_, err = open(t, m, "/big", os.O_RDWR|os.O_CREATE).WriteAt(make([]byte, 1000), 0)
	must(t, err)
}

func TestMemRefusesHugeFiles(t *testing.T) {
	f := open(t, NewMem(), "/f", os.O_RDWR|os.O_CREATE)
	_, err := f.WriteAt([]byte("x"), 1<<62)
	wantErr(t, err, syscall.EFBIG)
	wantErr(t, f.Truncate(1<<62), syscall.EFBIG)
	if _, err := NewMem().OpenFile("/f", os.O_RDWR|os.O_CREATE|os.O_APPEND); err == nil {
		t.Error("opened with O_APPEND")
	}
}

func TestMemLocksEndWithACrash(t *testing.T) {
	m := NewMem()
	_, err := m.Lock("/lock")
	must(t, err)
	must(t, m.SyncDir("/"))
	for _, after := range []*Mem{m.CrashKeepAll(), m.CrashLoseAll(), m.Crash(rand.New(rand.NewPCG(1, 1)))} {
		lock, err := after.Lock("/lock")
		must(t, err)
		_, err = m.Lock("/lock")
		wantErr(t, err, ErrLocked)
		must(t, lock.Close())
	}
}

// A hook may use the file system: crash tests take their clone from inside one.
func TestMemHookMayCallBack(t *testing.T) {
	m := NewMem()
	var after *Mem
	m.OnOp(func(op Op) error {
		if op.Kind == OpRename {
			after = m.CrashKeepAll()
		}
		return nil
	})
	must(t, WriteFileAtomic(m, "/f", []byte("x")))
	wantNames(t, after, "/", "f.tmp")
	wantNames(t, m, "/", "f")
}

func TestMemConcurrentUse(t *testing.T) {
	m := NewMem()
	shared := open(t, m, "/shared", os.O_RDWR|os.O_CREATE)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := "/f" + string(rune('0'+i))
			for range 50 {
				if err := WriteFileAtomic(m, name, []byte("x")); err != nil {
					t.Error(err)
				}
				if _, err := shared.WriteAt([]byte{byte('0' + i)}, int64(i)); err != nil {
					t.Error(err)
				}
				if _, err := m.Crash(rand.New(rand.NewPCG(uint64(i), 0))).Stat("/"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantContent(t, m, "/shared", "01234567")
}

func TestMemErrorsNameTheFile(t *testing.T) {
	_, err := NewMem().OpenFile("/no/such", os.O_RDONLY)
	var path *fs.PathError
	if !errors.As(err, &path) || path.Path != "/no/such" {
		t.Errorf("error = %v", err)
	}
}
