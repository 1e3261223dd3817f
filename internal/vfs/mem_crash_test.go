package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// crashes gives n random crashes of m, with the seed of each.
func crashes(m *Mem, n uint64) func(yield func(uint64, *Mem) bool) {
	return func(yield func(uint64, *Mem) bool) {
		for seed := range n {
			if !yield(seed, m.Crash(rand.New(rand.NewPCG(seed, 7)))) {
				return
			}
		}
	}
}

// outcomes are the different states that crashes of m leave, by what describe says of each.
func outcomes(m *Mem, describe func(*Mem) string) []string {
	seen := map[string]bool{}
	for _, after := range crashes(m, 500) {
		seen[describe(after)] = true
	}
	list := []string{}
	for s := range seen {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// describe lists the files of the root with their contents.
func describe(t *testing.T) func(*Mem) string {
	return func(m *Mem) string {
		s := ""
		for _, name := range listing(t, m, "/") {
			s += fmt.Sprintf("%s=%s ", name, readAll(t, m, "/"+name))
		}
		return s
	}
}

func TestCrashOfNames(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, m *Mem) // a=A and b=B are there, durable
		want []string
	}{
		{"nothing", func(*testing.T, *Mem) {}, []string{"a=A b=B "}},
		{"remove", func(t *testing.T, m *Mem) { must(t, m.Remove("/a")) }, []string{"a=A b=B ", "b=B "}},
		{"rename is atomic", func(t *testing.T, m *Mem) { must(t, m.Rename("/a", "/b")) }, []string{"a=A b=B ", "b=A "}},
		{"rename and sync", func(t *testing.T, m *Mem) {
			must(t, m.Rename("/a", "/b"))
			must(t, m.SyncDir("/"))
		}, []string{"b=A "}},
		{"rotation keeps order", func(t *testing.T, m *Mem) {
			must(t, m.Rename("/a", "/c"))
			put(t, m, "/a", "")
		}, []string{"a= b=B c=A ", "a=A b=B ", "b=B c=A "}},
		{"other names are free", func(t *testing.T, m *Mem) {
			must(t, m.Remove("/a"))
			must(t, m.Remove("/b"))
		}, []string{"", "a=A ", "a=A b=B ", "b=B "}},
		{"create without data", func(t *testing.T, m *Mem) {
			put(t, m, "/c", "")
			f := open(t, m, "/c", os.O_RDWR)
			must(t, errors.Join(f.Sync(), f.Close())) // of the file, not of its name
		}, []string{"a=A b=B ", "a=A b=B c= "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewMem()
			putDurable(t, m, "/a", "A")
			putDurable(t, m, "/b", "B")
			c.do(t, m)
			if got := outcomes(m, describe(t)); !slices.Equal(got, c.want) {
				t.Errorf("crashes leave %q, want %q", got, c.want)
			}
			wantLeast := "a=A b=B "
			if len(c.want) == 1 {
				wantLeast = c.want[0]
			}
			if got := describe(t)(m.CrashLoseAll()); got != wantLeast {
				t.Errorf("CrashLoseAll leaves %q, want %q", got, wantLeast)
			}
			if got, want := describe(t)(m.CrashKeepAll()), describe(t)(m); got != want {
				t.Errorf("CrashKeepAll leaves %q, want %q", got, want)
			}
		})
	}
}

// A name is durable when every directory on the way to it is.
func TestCrashTakesAnUnsyncedDirectory(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/d"))
	putDurable(t, m, "/d/f", "x")
	if _, err := m.CrashLoseAll().Stat("/d/f"); err == nil {
		t.Error("/d/f survived though /d was never synced into its parent")
	}
	must(t, m.SyncDir("/"))
	wantContent(t, m.CrashLoseAll(), "/d/f", "x")
}

// Between two directories a rename is one change until one of them is synced.
func TestCrashOfRenameBetweenDirectories(t *testing.T) {
	where := func(m *Mem) string {
		s := ""
		for _, dir := range []string{"/src", "/dst"} {
			if _, err := m.Stat(dir + "/f"); err == nil {
				s += dir
			}
		}
		return s
	}
	for _, c := range []struct {
		sync []string
		want []string
	}{
		{nil, []string{"/dst", "/src"}},
		{[]string{"/dst"}, []string{"/dst", "/src/dst"}},
		{[]string{"/src"}, []string{"", "/dst"}}, // why the target must be synced first
		{[]string{"/dst", "/src"}, []string{"/dst"}},
	} {
		m := NewMem()
		must(t, m.MkdirAll("/src"))
		must(t, m.MkdirAll("/dst"))
		must(t, m.SyncDir("/"))
		putDurable(t, m, "/src/f", "x")
		must(t, m.Rename("/src/f", "/dst/f"))
		for _, dir := range c.sync {
			must(t, m.SyncDir(dir))
		}
		if got := outcomes(m, where); !slices.Equal(got, c.want) {
			t.Errorf("synced %q: the file is in %q, want %q", c.sync, got, c.want)
		}
	}
}

func TestCrashNeverLosesAFileMovedIntoALostDirectory(t *testing.T) {
	m := NewMem()
	putDurable(t, m, "/f", "x")
	must(t, m.MkdirAll("/aside"))
	must(t, m.Rename("/f", "/aside/f"))
	for seed, after := range crashes(m, 500) {
		_, here := after.Stat("/f")
		_, there := after.Stat("/aside/f")
		if (here == nil) == (there == nil) {
			t.Fatalf("seed %d: at the old place %v, at the new %v", seed, here, there)
		}
	}
}

// Writes that were not synced are kept, lost and torn, at sectors and anywhere, in any combination, and a
// length may come without its data.
func TestCrashTearsWrites(t *testing.T) {
	m := NewMem()
	putDurable(t, m, "/f", "")
	f := open(t, m, "/f", os.O_RDWR)
	for i, fill := range []byte("ab") {
		_, err := f.WriteAt(bytes.Repeat([]byte{fill}, 2048), int64(i*2048))
		must(t, err)
	}
	found := map[string]bool{}
	for _, after := range crashes(m, 2000) {
		got := []byte(readAll(t, after, "/f"))
		a, b, zero := bytes.Count(got, []byte("a")), bytes.Count(got, []byte("b")), bytes.Count(got, []byte{0})
		if a+b+zero != len(got) || a > 2048 || b > 2048 {
			t.Fatalf("crash left %d a, %d b, %d zeroes in %d bytes", a, b, zero, len(got))
		}
		found["all"] = found["all"] || a == 2048 && b == 2048
		found["none"] = found["none"] || len(got) == 0
		found["second without first"] = found["second without first"] || a == 0 && b == 2048
		found["torn at a sector"] = found["torn at a sector"] || a > 0 && a < 2048 && a%512 == 0
		found["torn anywhere"] = found["torn anywhere"] || a%512 != 0
		found["only zeroes"] = found["only zeroes"] || len(got) > 0 && zero == len(got)
	}
	for _, what := range []string{"all", "none", "second without first", "torn at a sector", "torn anywhere", "only zeroes"} {
		if !found[what] {
			t.Errorf("no crash in 2000 left: %s", what)
		}
	}
}

func TestCrashIsReplayable(t *testing.T) {
	m := NewMem()
	for i := range 20 {
		put(t, m, fmt.Sprintf("/f%d", i), string(bytes.Repeat([]byte{'x'}, 100*i)))
	}
	first := []string{}
	for _, after := range crashes(m, 20) {
		first = append(first, describe(t)(after))
	}
	for seed, after := range crashes(m, 20) {
		if describe(t)(after) != first[seed] {
			t.Errorf("seed %d: two crashes differ", seed)
		}
	}
}

// A crash at any operation of WriteFileAtomic leaves the old content or the new.
func TestWriteFileAtomicSurvivesCrashes(t *testing.T) {
	m := NewMem()
	putDurable(t, m, "/f", "old")
	var states []*Mem
	m.OnOp(func(Op) error {
		for _, after := range crashes(m, 50) {
			states = append(states, after)
		}
		return nil
	})
	must(t, WriteFileAtomic(m, "/f", bytes.Repeat([]byte("new"), 1000)))
	for _, after := range states {
		if got := readAll(t, after, "/f"); got != "old" && got != string(bytes.Repeat([]byte("new"), 1000)) {
			t.Fatalf("crash left %d bytes: %.20q", len(got), got)
		}
	}
	m.OnOp(nil)
	wantContent(t, m.CrashLoseAll(), "/f", string(bytes.Repeat([]byte("new"), 1000)))
}

// TestCrashGuarantees drives a few files with random operations beside a model that knows, for each byte,
// which values a crash may leave, and for each name, which files.
func TestCrashGuarantees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newCrashModel(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"create":   h.create,
			"write":    h.write,
			"truncate": h.truncate,
			"sync":     h.sync,
			"syncdir":  h.syncDir,
			"rename":   h.rename,
			"remove":   h.remove,
			"crash":    h.crash,
			"reboot":   h.reboot,
		})
	})
}
