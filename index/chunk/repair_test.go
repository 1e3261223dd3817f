package chunk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/index/schema"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

// builtRow is a directory with sealed chunks [0,100) [100,200) [200,300) and one from 300 on.
func builtRow(t *testing.T) (string, *modelLog) {
	t.Helper()
	l := &modelLog{end: 350, border: 100}
	fixture.Do(func() {
		s := open(t, testOptions(t, fixtureDir))
		l.catchUp(t, s)
		sealAll(t, s)
		closeSet(t, s)
	})
	return copyDir(t, fixtureDir), l
}

// The row is built once, for whichever test is the first.
var (
	fixture    sync.Once
	fixtureDir = filepath.Join(os.TempDir(), fmt.Sprintf("chunk-test-%d", os.Getpid()))
)

func TestOpenRepairsTheRow(t *testing.T) {
	cases := map[string]struct {
		harm func(dir string) error
		want []Range // pending
		next int64
	}{
		"gap":           {func(dir string) error { return os.RemoveAll(filepath.Join(dir, nameOf(100, 2))) }, []Range{{100, 200}}, 350},
		"two gaps":      {func(dir string) error { return errorsOf(os.RemoveAll, dir, nameOf(100, 2), nameOf(200, 3)) }, []Range{{100, 300}}, 350},
		"no tail":       {func(dir string) error { return os.RemoveAll(filepath.Join(dir, nameOf(300, 4))) }, nil, 300},
		"nothing":       {func(dir string) error { return os.RemoveAll(dir) }, nil, 0},
		"no manifest 1": {func(dir string) error { return os.Remove(filepath.Join(dir, nameOf(0, 1), manifestName)) }, []Range{{0, 100}}, 350},
		"no manifest 4": {func(dir string) error { return os.Remove(filepath.Join(dir, nameOf(300, 4), manifestName)) }, nil, 300},
		"cut creation":  {func(dir string) error { return os.Mkdir(filepath.Join(dir, nameOf(350, 9)), 0o700) }, nil, 350},
		"cut removal":   {func(dir string) error { return os.Mkdir(filepath.Join(dir, removedPrefix+nameOf(0, 8)), 0o700) }, nil, 350},
		"strangers":     {func(dir string) error { return os.Mkdir(filepath.Join(dir, "lost+found"), 0o700) }, nil, 350},
		"copy under another name": {func(dir string) error {
			return os.CopyFS(filepath.Join(dir, nameOf(150, 9)), os.DirFS(filepath.Join(dir, nameOf(100, 2))))
		}, nil, 350},
		"copy of a newer n": {func(dir string) error {
			return os.CopyFS(filepath.Join(dir, nameOf(100, 9)), os.DirFS(filepath.Join(dir, nameOf(100, 2))))
		}, nil, 350},
	}
	dir, l := builtRow(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			copied := copyDir(t, dir)
			if err := c.harm(copied); err != nil {
				t.Fatal(err)
			}
			s := open(t, testOptions(t, copied))
			pending := s.Pending()
			if len(pending) != len(c.want) || len(pending) > 0 && pending[0] != c.want[0] {
				t.Errorf("pending %v, want %v", pending, c.want)
			}
			if next := s.Next(); next != c.next {
				t.Errorf("next = %d, want %d", next, c.next)
			}
			l.catchUp(t, s)
			l.check(t, s)
		})
	}
}

func errorsOf(f func(string) error, dir string, names ...string) error {
	for _, name := range names {
		if err := f(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func TestOverlapIsQuarantined(t *testing.T) {
	dir, l := builtRow(t)
	other := t.TempDir()
	o := testOptions(t, other)
	o.Start = 150
	s := open(t, o)
	from150 := &modelLog{start: 150, end: 250, border: 100}
	from150.catchUp(t, s)
	sealAll(t, s)
	closeSet(t, s)
	if err := os.Rename(filepath.Join(other, nameOf(150, 1)), filepath.Join(dir, nameOf(150, 9))); err != nil {
		t.Fatal(err)
	}
	s = open(t, testOptions(t, dir))
	if q := s.Stats().Quarantined["overlap"]; q != 1 {
		t.Errorf("%d quarantined", q)
	}
	l.catchUp(t, s)
	l.check(t, s)
}

func TestIndexOfAnotherTopicIsRemoved(t *testing.T) {
	dir, l := builtRow(t)
	o := testOptions(t, dir)
	o.TopicID, o.Start = "topic-2", 20
	s := open(t, o)
	if s.Next() != 20 || s.Start() != 20 {
		t.Errorf("index over [%d, %d), want it empty at 20", s.Start(), s.Next())
	}
	l.start = 20
	l.catchUp(t, s)
	l.check(t, s)
	if left := files(t, dir); len(left) == 0 {
		t.Error("nothing was indexed")
	}
	if _, err := os.Stat(filepath.Join(dir, nameOf(0, 1))); !os.IsNotExist(err) {
		t.Error("the old index is still there")
	}
}

// An older binary of ours laid out documents in another way: they answer until they are built again.
func TestChangedMappingRollsAndRebuilds(t *testing.T) {
	dir, l := builtRow(t)
	o := testOptions(t, dir)
	s := open(t, o)
	config, err := schema.ParseConfig(map[string]string{schema.KeyFields: "level:keyword,msg:text"})
	if err != nil {
		t.Fatal(err)
	}
	s.SetConfig(config)
	l.end = 380
	l.catchUp(t, s)
	sealAll(t, s)
	stale := s.Stale()
	if want := []Range{{300, 350}, {200, 300}, {100, 200}, {0, 100}}; !slices.Equal(stale, want) {
		t.Fatalf("stale %v, want %v", stale, want)
	}
	for _, r := range stale {
		if err := s.Rebuild(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Missing()) != 0 || !slices.Equal(s.Pending(), stale) {
		t.Errorf("missing %v, pending %v", s.Missing(), s.Pending())
	}
	mustIndex(t, s, l.batch(300, 350))
	l.check(t, s)
	closeSet(t, s)
	o.Config = config
	s = open(t, o) // in the middle of it
	if pending := s.Pending(); len(pending) != 4 || pending[0] != (Range{325, 350}) {
		t.Errorf("pending after reopen: %v", pending)
	}
	l.catchUp(t, s)
	l.check(t, s)
	sealAll(t, s)
	l.check(t, s)
	if st := s.Stats(); len(s.Stale()) != 0 || st.Removed != 4 {
		t.Errorf("stale %v, removed %d", s.Stale(), st.Removed)
	}
}
