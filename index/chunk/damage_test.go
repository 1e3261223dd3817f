package chunk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// damages are what may happen to a file while nobody looks.
var damages = map[string]func(path string) error{
	"first byte": func(path string) error { return flip(path, 0) },
	"middle":     func(path string) error { return flip(path, 0.5) },
	"last byte":  func(path string) error { return flip(path, -1) },
	"half gone": func(path string) error {
		info, err := os.Stat(path)
		return errors.Join(err, os.Truncate(path, info.Size()/2))
	},
	"empty":   func(path string) error { return os.Truncate(path, 0) },
	"deleted": os.Remove,
	"zeroes": func(path string) error {
		info, err := os.Stat(path)
		return errors.Join(err, os.WriteFile(path, make([]byte, info.Size()), 0o600))
	},
}

// flip turns over a byte: at a fraction of the file below 1, counted from the start, or the last.
func flip(path string, at float64) error {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return err
	}
	i := int(at)
	switch {
	case at < 0:
		i = len(data) - 1
	case at < 1:
		i = int(at * float64(len(data)))
	}
	i = min(i, len(data)-1)
	data[i] ^= 0xff
	return os.WriteFile(path, data, 0o600)
}

func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Three sealed chunks and one being built; every file is damaged in every way while the broker is down.
func TestDamageOfEachFileIsRebuilt(t *testing.T) {
	sound, l := builtRow(t)
	for how, damage := range damages {
		for _, file := range files(t, sound) {
			t.Run(how+" of "+file, func(t *testing.T) {
				dir := copyDir(t, sound)
				if err := damage(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
				s := open(t, testOptions(t, dir))
				if err := s.Scrub(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
				if sealed := !strings.HasPrefix(file, nameOf(300, 4)); sealed && len(s.Stats().Quarantined) == 0 {
					t.Error("nothing was found")
				}
				l.catchUp(t, s)
				l.check(t, s)
				closeSet(t, s)
			})
		}
	}
}

// In what is being built not every flip can be told from data, but none may crash, hang or stay.
func TestFlipsInAnIndexBeingBuilt(t *testing.T) {
	sound := t.TempDir()
	s := open(t, testOptions(t, sound))
	l := &modelLog{end: 70}
	l.catchUp(t, s)
	closeSet(t, s)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, file := range files(t, sound) {
		for range 6 {
			dir, at := copyDir(t, sound), random.Float64()
			if err := flip(filepath.Join(dir, file), at); err != nil {
				t.Fatal(err)
			}
			s := open(t, testOptions(t, dir))
			l.catchUp(t, s)
			l.check(t, s)
			closeSet(t, s)
			if t.Failed() {
				t.Fatalf("%s flipped at %f", file, at)
			}
		}
	}
}

// A damaged root.bolt must be found before bbolt maps it: what it does then, no goroutine of ours survives.
func TestCheckBoltFindsEveryWrongPage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	(&modelLog{end: 90}).catchUp(t, s)
	closeSet(t, s)
	index := filepath.Join(dir, nameOf(0, 1), indexName)
	if list, err := checkBolt(index); err != nil || len(list.segments) == 0 {
		t.Fatalf("%+v, err %v", list, err)
	}
	path := filepath.Join(index, boltName)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := 0; at < len(sound); at += 7 {
		sound[at] ^= 0x41
		if _, err := checkBoltBytes(sound); err != nil { // what matters is that it returns
			found++
		}
		sound[at] ^= 0x41
	}
	if found < 20 {
		t.Errorf("only %d flips were found", found)
	}
	for size := range 60 { // the end of the file may be pages that were never used
		if _, err := checkBoltBytes(sound[:len(sound)*size/100]); err == nil {
			t.Errorf("cut to %d %% it is sound", size)
		}
	}
}

func TestCheckBoltFindsAPageThatIsUsedAndFree(t *testing.T) {
	dir, _ := builtRow(t)
	data, err := os.ReadFile(filepath.Join(dir, nameOf(0, 1), indexName, boltName))
	if err != nil {
		t.Fatal(err)
	}
	b, root, free, err := newBoltCheck(data)
	if err != nil {
		t.Fatal(err)
	}
	if le.Uint16(data[int(free)*b.pageSize+10:]) == 0 {
		t.Fatal("no page is free")
	}
	le.PutUint64(data[int(free)*b.pageSize+boltHeaderSize:], root)
	if _, err := checkBoltBytes(data); err == nil {
		t.Error("nobody minds")
	}
}

// What a query meets: the files go bad while the index is in use.
func TestDamageFoundByReaderOrScrubComesUpAsPending(t *testing.T) {
	dir, l := builtRow(t)
	s := open(t, testOptions(t, dir))
	l.check(t, s) // opens all, and closes one
	if err := s.chunks(false)[0].shut(); err != nil {
		t.Fatal(err)
	}
	if err := flip(filepath.Join(dir, nameOf(0, 1), indexName, boltName), 0.5); err != nil {
		t.Fatal(err)
	}
	zaps, _ := filepath.Glob(filepath.Join(dir, nameOf(100, 2), indexName, "*.zap"))
	if len(zaps) != 1 {
		t.Fatalf("segments %v", zaps)
	}
	if err := flip(zaps[0], 0.5); err != nil {
		t.Fatal(err)
	}
	v, err := s.Acquire(0, openEnd)
	if err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := v.Parts[3].Open(t.Context()); !errors.As(err, &damaged) {
		t.Errorf("open of a damaged chunk: %v", err)
	}
	v.Release()
	if got := s.Pending(); len(got) != 1 || got[0] != (Range{0, 100}) {
		t.Errorf("pending after the reader: %v", got)
	}
	if err := s.Scrub(t.Context(), 1<<30); err != nil {
		t.Fatal(err)
	}
	if got := s.Pending(); len(got) != 2 || got[0] != (Range{100, 200}) {
		t.Errorf("pending after the scrub: %v", got)
	}
	if st := s.Stats(); st.ScrubBad != 1 || st.Quarantined["open"] != 1 || st.Quarantined["scrub"] != 1 {
		t.Errorf("stats %+v", st)
	}
	l.catchUp(t, s)
	l.check(t, s)
	if bad, _ := filepath.Glob(filepath.Join(dir, quarantinedPrefix+"*")); len(bad) != 1 {
		t.Errorf("quarantined directories: %v", bad)
	}
}

func (c *chunk) shut() error {
	if err := c.gate.enter(context.Background()); err != nil {
		return err
	}
	defer c.gate.leave()
	return c.closeHandle()
}

// An error of the persister, such as a full disk, costs what was not on disk and not the chunk.
func TestFailedPersisterGoesBackToDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	l := &modelLog{end: 40}
	l.catchUp(t, s)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, nameOf(0, 1), indexName)
	last := 0
	for _, file := range files(t, index) {
		id := 0
		if _, err := fmt.Sscanf(file, "%x.zap", &id); err == nil {
			last = max(last, id)
		}
	}
	for id := last + 10; id < last+60; id++ { // where segments would go soon
		obstacle := filepath.Join(t.TempDir(), "obstacle")
		if err := os.MkdirAll(filepath.Join(obstacle, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(obstacle, filepath.Join(index, fmt.Sprintf("%012x.zap", id))); err != nil {
			t.Fatal(err)
		}
	}
	for l.end = 2000; s.Stats().AsyncErrors == 0; {
		if _, err := s.Index(t.Context(), l.batch(s.Next(), l.end)); err != nil {
			break
		}
	}
	l.end = 2100
	eventually(t, "all is indexed", func() bool {
		for s.Next() < l.end || len(s.Pending()) > 0 { // what was rolled off before it failed is pending
			b := l.batch(s.Next(), l.end)
			if pending := s.Pending(); len(pending) > 0 {
				b = l.batch(pending[0].From, pending[0].End)
			}
			if _, err := s.Index(t.Context(), b); err != nil {
				return false
			}
		}
		return s.Flush(t.Context()) == nil && s.Next() == l.end && len(s.Pending()) == 0
	})
	l.check(t, s)
	if q := s.Stats().Quarantined; len(q) > 0 {
		t.Errorf("quarantined %v", q)
	}
}

// A goroutine of Bleve that dies over sound files is started again twice, then the chunk is built again.
func TestPanicsOfBleveEndInARebuild(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	l := &modelLog{end: 60}
	for i := range maxPanics {
		l.catchUp(t, s)
		c := s.chunks(false)[0]
		s.mu.Lock()
		h := c.handle
		s.mu.Unlock()
		h.fail(errStuck)
		eventually(t, "it is healed", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return c.dropped || c.handle != nil && c.handle != h
		})
		if rebuilt := s.Stats().Quarantined["panic"] == 1; rebuilt != (i == maxPanics-1) {
			t.Errorf("panic %d: rebuilt %v", i, rebuilt)
		}
	}
	l.catchUp(t, s)
	l.check(t, s)
}
