package chunk

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chronik-stream/chronik/index/schema"
)

// childDir names the directory in which the test binary is to index until it is killed.
const childDir = "CHUNK_TEST_CHILD_DIR"

func childOptions(dir string, pool *Pool) Options {
	config, err := schema.ParseConfig(map[string]string{schema.KeyFields: "level:keyword,msg:text,n:long"})
	if err != nil {
		panic(err)
	}
	return Options{Dir: dir, TopicID: "topic-1", Config: config, Pool: pool, RollDocs: 150, MaxDocs: 300}
}

// indexUntilKilled says on stdout how far it is, so that its killer knows when it is worth it.
func indexUntilKilled(dir string) {
	ctx := context.Background()
	s, err := Open(ctx, childOptions(dir, NewPool(0)))
	if err != nil {
		panic(err)
	}
	l := &modelLog{end: 1 << 40, border: 50}
	for n := 0; ; n++ {
		b := l.batch(s.Next(), l.end)
		if pending := s.Pending(); len(pending) > 0 {
			b = l.batch(pending[0].From, pending[0].End)
		}
		if _, err := s.Index(ctx, b); err != nil {
			panic(err)
		}
		if n%7 == 0 {
			if err := s.Seal(ctx); err != nil {
				panic(err)
			}
		}
		fmt.Println(b.To)
	}
}

func TestKill9LeavesDocumentsAndCheckpointEqual(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 20 + 9*round {
			if !lines.Scan() {
				t.Fatal("the child ended by itself")
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
		}
		cmd.Wait()
		checkAfterKill(t, dir, round)
	}
}

func checkAfterKill(t *testing.T, dir string, round int) {
	t.Helper()
	o := testOptions(t, dir)
	s := open(t, o)
	defer closeSet(t, s)
	if st := s.Stats(); len(st.Quarantined) > 0 { // a document too many or too few is damage to contentOf
		t.Fatalf("round %d: quarantined %v", round, st.Quarantined)
	}
	l := &modelLog{end: s.Next(), border: 50}
	l.catchUp(t, s)
	l.check(t, s)
	if l.end < 100 {
		t.Errorf("round %d: only %d offsets survived", round, l.end)
	}
}

func TestCrashAtAnyTimeOfNormalWork(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	l := &modelLog{end: 330, border: 100}
	for i := 0; s.Next() < l.end; i++ {
		mustIndex(t, s, l.batch(s.Next(), l.end))
		if i%5 == 4 {
			l.reopensFrom(t, copyDir(t, dir))
			sealAll(t, s)
			l.reopensFrom(t, copyDir(t, dir))
		}
	}
}

// reopensFrom opens what a crash left and indexes the rest again.
func (l *modelLog) reopensFrom(t *testing.T, dir string) *Set {
	t.Helper()
	s := open(t, testOptions(t, dir))
	if q := s.Stats().Quarantined; len(q) > 0 {
		t.Errorf("quarantined %v", q)
	}
	l.catchUp(t, s)
	l.check(t, s)
	closeSet(t, s)
	return s
}

// At every step of everything that has steps the process dies, and comes back.
func TestCrashBetweenSteps(t *testing.T) {
	dir, l := builtRow(t)
	o := testOptions(t, dir)
	met := map[string]int{}
	o.atStep = func(step string) {
		if met[step]++; met[step] <= 2 {
			l.comesBackFrom(t, step, copyDir(t, dir))
		}
	}
	s := open(t, o)
	ctx := t.Context()
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		l.comesBackFrom(t, what, copyDir(t, dir))
	}
	l.end = 560
	l.catchUp(t, s)
	do("seal", s.Seal(ctx))
	l.gone = map[int64]bool{110: true, 111: true, 420: true}
	do("delete", s.Delete(ctx, []int64{110, 111, 420}))
	do("rebuild", s.Rebuild(ctx, Range{200, 300}))
	mustIndex(t, s, l.batch(200, 300))
	l.comesBackFrom(t, "half rebuilt", copyDir(t, dir))
	l.catchUp(t, s)
	do("replace", s.Seal(ctx))
	do("rebuild of what is being built", s.Rebuild(ctx, Range{540, 541}))
	l.catchUp(t, s)
	l.flipped = true
	c := s.chunks(false)[3]
	if err := flip(filepath.Join(c.dir, indexName, boltName), 0.5); err != nil {
		t.Fatal(err)
	}
	do("scrub", s.Scrub(ctx, 0))
	l.catchUp(t, s)
	l.start = 150
	do("delete before", s.DeleteBefore(ctx, 150))
	l.truncate(270)
	do("truncate", s.TruncateTo(ctx, 270))
	l.start, l.end = 600, 600
	do("restart", s.DeleteBefore(ctx, 600))
	for _, step := range []string{
		"roll: next made", "seal: merged", "seal: closed", "replace: sealed", "quarantine: empty one made",
		"drop: renamed", "truncate: cut", "write: unsealed", "write: done", "restart: fresh made", "rebuild: made",
	} {
		if met[step] == 0 {
			t.Errorf("%q was not met", step)
		}
	}
}

// comesBackFrom does what the owner does after a start, and compares.
func (l *modelLog) comesBackFrom(t *testing.T, step, dir string) {
	t.Helper()
	s := open(t, testOptions(t, dir))
	if err := s.DeleteBefore(t.Context(), l.start); err != nil {
		t.Fatalf("%s: %v", step, err)
	}
	if err := s.TruncateTo(t.Context(), l.end); err != nil {
		t.Fatalf("%s: %v", step, err)
	}
	if err := s.Scrub(t.Context(), 0); err != nil {
		t.Fatalf("%s: %v", step, err)
	}
	l.catchUp(t, s)
	stale := slices.Collect(maps.Keys(l.gone)) // hits that the log drops
	if err := s.Delete(t.Context(), stale); err != nil {
		t.Fatalf("%s: %v", step, err)
	}
	l.checkOffsets(t, s)
	for how, n := range s.Stats().Quarantined {
		if !l.flipped || how != "scrub" {
			t.Errorf("%d quarantined: %s", n, how)
		}
	}
	closeSet(t, s)
	if t.Failed() {
		t.Fatalf("died at %q, and did not come back", step)
	}
}

// A replacement that is damaged takes nothing away from what it was to replace.
func TestDamagedReplacementLeavesTheOldOne(t *testing.T) {
	dir, l := builtRow(t)
	s := open(t, testOptions(t, dir))
	if err := s.Rebuild(t.Context(), Range{100, 200}); err != nil {
		t.Fatal(err)
	}
	mustIndex(t, s, l.batch(100, 200))
	closeSet(t, s)
	if err := os.Truncate(filepath.Join(s.chunks(false)[1].dir, indexName, boltName), 5000); err != nil {
		t.Fatal(err)
	}
	s = open(t, testOptions(t, dir))
	l.check(t, s)
	if got := s.Pending(); !slices.Equal(got, []Range{{100, 200}}) {
		t.Errorf("pending %v", got)
	}
	closeSet(t, s)
	s = open(t, testOptions(t, dir))
	l.check(t, s)
	l.catchUp(t, s)
	sealAll(t, s)
	l.check(t, s)
}
