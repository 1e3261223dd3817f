package log

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/vfs"
)

const testIndexBytes = 10 << 20

// testDir makes an in-memory file system with one durable directory.
func testDir(t interface{ Fatal(...any) }) (*vfs.Mem, string) {
	m := vfs.NewMem()
	const dir = "/data/log/topic-0"
	if err := m.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if err := m.SyncDir(filepath.Dir(d)); err != nil {
			t.Fatal(err)
		}
	}
	return m, dir
}

// must ends the test on an error.
func must(t interface{ Fatal(...any) }, err error) {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestIndexBytes(t *testing.T) {
	m, dir := testDir(t)
	x, err := openOffsetIndex(m, filepath.Join(dir, "i"), 1000, testIndexBytes)
	must(t, err)
	must(t, x.append(1004, 0x1234))
	must(t, x.append(1000+0x7fffffff, 0xfffffffe))
	must(t, x.close())
	y, err := openTimeIndex(m, filepath.Join(dir, "t"), 1000, testIndexBytes)
	must(t, err)
	must(t, y.maybeAppend(0x0102030405060708, 1009))
	must(t, y.close())
	for name, want := range map[string]string{
		"i": "0000000400001234" + "7ffffffffffffffe",
		"t": "010203040506070800000009",
	} {
		got, err := vfs.ReadFile(m, filepath.Join(dir, name), 1<<20)
		must(t, err)
		if hex.EncodeToString(got) != hex.EncodeToString(mustHex(t, want)) {
			t.Errorf("%s = %x, want %s", name, got, want)
		}
	}
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

// modelEntry is an entry of either index: the model is a sorted slice.
type modelEntry struct{ a, b int64 }

// lastBelow returns the index of the last entry with a <= v, or -1.
func lastBelow(entries []modelEntry, v int64) int {
	return sort.Search(len(entries), func(i int) bool { return entries[i].a > v }) - 1
}

func TestOffsetIndexAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, dir := testDir(t)
		name := filepath.Join(dir, "index")
		base := rapid.Int64Range(0, 1<<40).Draw(t, "base")
		maxBytes := rapid.Int64Range(8, 40<<10).Draw(t, "max bytes")
		reopen := func() *offsetIndex {
			x, err := openOffsetIndex(m, name, base, maxBytes)
			must(t, err)
			return x
		}
		x := reopen()
		var model []modelEntry
		next, pos := base, int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 700).Draw(t, "entries") {
					next += rapid.Int64Range(1, 50).Draw(t, "gap")
					pos += 61
					if full := x.full(); full != (int64(len(model)) >= maxBytes/8) {
						t.Fatalf("full = %v with %d entries", full, len(model))
					} else if !full {
						model = append(model, modelEntry{next, pos})
					}
					must(t, x.append(next, pos))
				}
			},
			"append backwards": func(t *rapid.T) {
				if len(model) > 0 && !x.full() && x.append(model[len(model)-1].a, pos) == nil {
					t.Fatal("took an offset that does not rise")
				}
			},
			"truncate": func(t *rapid.T) {
				to := rapid.Int64Range(base, next+1).Draw(t, "to")
				must(t, x.truncateTo(to))
				model = model[:lastBelow(model, to-1)+1]
			},
			"release": func(t *rapid.T) { must(t, x.release()) },
			"reset":   func(t *rapid.T) { must(t, x.reset()); model = nil },
			"reopen": func(t *rapid.T) {
				must(t, x.close())
				x = reopen()
				must(t, x.sanity(pos+1))
				if len(model) > 0 && x.sanity(model[len(model)-1].b) == nil {
					t.Fatal("sane for a file that ends before the last entry")
				}
			},
			"sync and crash": func(t *rapid.T) {
				must(t, x.sync())
				must(t, m.SyncDir(dir))
				must(t, x.release())
				m = m.CrashLoseAll()
				x = reopen()
			},
			"": func(t *rapid.T) {
				at := rapid.Int64Range(base, next+10).Draw(t, "lookup")
				got, err := x.lookup(at)
				must(t, err)
				want := int64(0)
				if i := lastBelow(model, at); i >= 0 {
					want = model[i].b
				}
				if got != want {
					t.Fatalf("lookup(%d) = %d, want %d", at, got, want)
				}
				offset, lastPos, ok, err := x.last()
				must(t, err)
				if ok != (len(model) > 0) || ok && (modelEntry{offset, lastPos}) != model[len(model)-1] {
					t.Fatalf("last = %d, %d, %v", offset, lastPos, ok)
				}
			},
		})
	})
}

func TestTimeIndexAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, dir := testDir(t)
		name := filepath.Join(dir, "timeindex")
		base := rapid.Int64Range(0, 1<<40).Draw(t, "base")
		reopen := func() *timeIndex {
			x, err := openTimeIndex(m, name, base, testIndexBytes)
			must(t, err)
			return x
		}
		x := reopen()
		var model []modelEntry // timestamp, offset
		offset, ts := base, int64(1_700_000_000_000)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 500).Draw(t, "entries") {
					offset += rapid.Int64Range(0, 9).Draw(t, "gap")
					ts += rapid.Int64Range(-3, 9).Draw(t, "ms")
					must(t, x.maybeAppend(ts, offset))
					if len(model) == 0 || ts > model[len(model)-1].a {
						model = append(model, modelEntry{ts, offset})
					}
				}
			},
			"truncate": func(t *rapid.T) {
				to := rapid.Int64Range(base, offset+1).Draw(t, "to")
				must(t, x.truncateTo(to))
				model = model[:sort.Search(len(model), func(i int) bool { return model[i].b >= to })]
			},
			"release": func(t *rapid.T) { must(t, x.release()) },
			"reopen": func(t *rapid.T) {
				must(t, x.close())
				x = reopen()
				must(t, x.sanity(offset+1))
				if len(model) > 0 && x.sanity(model[len(model)-1].b) == nil {
					t.Fatal("sane for a segment that ends before the last entry")
				}
			},
			"": func(t *rapid.T) {
				at := rapid.Int64Range(ts-5000, ts+5).Draw(t, "lookup")
				want := modelEntry{-1, base}
				if i := lastBelow(model, at); i >= 0 {
					want = model[i]
				}
				gotTS, gotOffset, err := x.lookup(at)
				must(t, err)
				if (modelEntry{gotTS, gotOffset}) != want {
					t.Fatalf("lookup(%d) = %d, %d, want %v", at, gotTS, gotOffset, want)
				}
				want = modelEntry{-1, base}
				if len(model) > 0 {
					want = model[len(model)-1]
				}
				gotTS, gotOffset, err = x.last()
				must(t, err)
				if (modelEntry{gotTS, gotOffset}) != want {
					t.Fatalf("last = %d, %d, want %v", gotTS, gotOffset, want)
				}
			},
		})
	})
}

// The last entry of a segment must go in even if the index is full: retention reads it.
func TestTimeIndexSealsWhenFull(t *testing.T) {
	m, dir := testDir(t)
	x, err := openTimeIndex(m, filepath.Join(dir, "t"), 0, 2*timeEntrySize)
	must(t, err)
	for i := range int64(5) {
		must(t, x.maybeAppend(100+i, i))
	}
	must(t, x.seal(110, 9))
	must(t, x.seal(120, 10)) // only once
	ts, offset, err := x.last()
	must(t, err)
	if ts != 110 || offset != 9 || x.entries() != 3 {
		t.Errorf("last = %d at %d of %d entries, want 110 at 9 of 3", ts, offset, x.entries())
	}
}

func TestIndexEndingInsideAnEntryIsInsane(t *testing.T) {
	m, dir := testDir(t)
	name := filepath.Join(dir, "i")
	must(t, vfs.WriteFileAtomic(m, name, bytes.Repeat([]byte{0, 0, 0, 1}, 3)))
	x, err := openOffsetIndex(m, name, 0, testIndexBytes)
	must(t, err)
	if err := x.sanity(1 << 20); !errors.Is(err, errIndexInvalid) {
		t.Errorf("sanity = %v", err)
	}
	must(t, x.reset())
	must(t, x.sanity(0))
	must(t, x.close())
	if st, err := m.Stat(name); err != nil || st.Size() != 0 {
		t.Errorf("after reset: %v, %v", st, err)
	}
}

// An index whose tail is in memory must not allocate for a lookup.
func TestIndexLookupDoesNotAllocate(t *testing.T) {
	x, err := openOffsetIndex(vfs.OS{}, filepath.Join(t.TempDir(), "i"), 0, testIndexBytes)
	must(t, err)
	for i := range int64(10_000) {
		must(t, x.append(i*10, i*4096))
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := x.lookup(99_990); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	must(t, x.close())
}

func BenchmarkIndexLookup(b *testing.B) {
	x, err := openOffsetIndex(vfs.OS{}, filepath.Join(b.TempDir(), "i"), 0, testIndexBytes)
	must(b, err)
	const entries = 200_000
	for i := range int64(entries) {
		must(b, x.append(i*10, i*4096))
	}
	for _, c := range []struct {
		name string
		at   int64
	}{{"tail", entries*10 - 5}, {"old", entries * 3}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.lookup(c.at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	must(b, x.close())
	must(b, os.Remove(x.name))
}
