package chunk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/index/schema"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		indexUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(fixtureDir)
		os.Exit(code)
	}))
}

// modelLog is what an index is built from: records at offsets with gaps, cut into batches of 25 offsets.
type modelLog struct {
	start, end int64
	gone       map[int64]bool // compacted
	generation int            // changes what records say, as after an unclean election
	border     int64          // a segment ends at every multiple
	flipped    bool           // a file of its index was damaged
}

func (l *modelLog) has(offset int64) bool {
	return offset >= l.start && offset < l.end && offset%7 != 3 && !l.gone[offset]
}

func (l *modelLog) record(offset int64) schema.Record {
	value := fmt.Sprintf(`{"level":"warn","msg":"generation %d of record %d","n":%d}`, l.generation, offset, offset)
	return schema.Record{Offset: offset, Timestamp: 1_700_000_000_000 + offset, Key: fmt.Append(nil, offset), Value: []byte(value)}
}

func (l *modelLog) batch(from, end int64) Batch {
	b := Batch{From: from, To: min((from/25+1)*25, end, l.end), Epoch: int32(l.generation), LastStable: l.end}
	for offset := from; offset < b.To; offset++ {
		if l.has(offset) {
			b.Records = append(b.Records, l.record(offset))
		}
	}
	b.Border = l.border > 0 && b.To%l.border == 0
	return b
}

// catchUp indexes all that there is to index.
func (l *modelLog) catchUp(t testing.TB, s *Set) {
	t.Helper()
	for s.Next() < l.end {
		mustIndex(t, s, l.batch(s.Next(), l.end))
	}
	for pending := s.Pending(); len(pending) > 0; pending = s.Pending() {
		mustIndex(t, s, l.batch(pending[0].From, pending[0].End))
	}
}

func mustIndex(t testing.TB, s *Set, b Batch) {
	t.Helper()
	done, err := s.Index(t.Context(), b)
	if err != nil {
		t.Fatalf("index [%d, %d): %v", b.From, b.To, err)
	}
	if done.Docs != len(b.Records) || done.Poisoned != 0 {
		t.Fatalf("index [%d, %d) of %d records: %+v", b.From, b.To, len(b.Records), done)
	}
}

func testConfig(t testing.TB) schema.Config {
	t.Helper()
	config, err := schema.ParseConfig(map[string]string{schema.KeyFields: "level:keyword,msg:text,n:long"})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func testOptions(t testing.TB, dir string) Options {
	t.Helper()
	pool := NewPool(0)
	t.Cleanup(pool.Close)
	return Options{
		Dir: dir, TopicID: "topic-1", Config: testConfig(t), Pool: pool, Logger: slog.New(slog.DiscardHandler),
		RollDocs: 80, RollBytes: 1 << 20, MaxDocs: 200, SealTimeout: 20 * time.Second, BatchTimeout: 20 * time.Second,
	}
}

func open(t testing.TB, o Options) *Set {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func closeSet(t testing.TB, s *Set) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func sealAll(t testing.TB, s *Set) {
	t.Helper()
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Unsealed(); n != 0 {
		t.Fatalf("%d chunks are unsealed after Seal", n)
	}
}

// offsetsOf lists what a view finds within the ranges of its parts, and checks what the parts say of themselves.
func offsetsOf(t testing.TB, v *View) (offsets []int64) {
	t.Helper()
	for _, p := range v.Parts {
		r, err := p.Open(t.Context())
		if err != nil {
			t.Fatalf("open [%d, %d): %v", p.Base, p.End, err)
		}
		docs, err := r.DocIDReaderAll()
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for {
			id, err := docs.Next()
			if err != nil {
				t.Fatal(err)
			}
			if id == nil {
				break
			}
			name, err := r.ExternalID(id)
			if err != nil {
				t.Fatal(err)
			}
			offset, ok := schema.ParseOffset([]byte(name))
			if !ok || offset < p.Base || offset >= p.End {
				t.Errorf("document %q in [%d, %d)", name, p.Base, p.End)
			}
			offsets, n = append(offsets, offset), n+1
		}
		if n > p.Docs { // fewer if some were deleted since
			t.Errorf("[%d, %d) says it has %d documents, and has %d", p.Base, p.End, p.Docs, n)
		}
		docs.Close()
		r.Close()
	}
	slices.Sort(offsets)
	return offsets
}

// check compares the whole index with the log.
func (l *modelLog) check(t testing.TB, s *Set) {
	t.Helper()
	l.checkOffsets(t, s)
	v, err := s.Acquire(0, openEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	l.checkTerms(t, v)
}

func (l *modelLog) checkOffsets(t testing.TB, s *Set) {
	t.Helper()
	v, err := s.Acquire(0, openEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	if len(v.Missing) > 0 || len(s.Missing()) > 0 {
		t.Errorf("missing %v, view %v", s.Missing(), v.Missing)
	}
	var want []int64
	for offset := l.start; offset < l.end; offset++ {
		if l.has(offset) {
			want = append(want, offset)
		}
	}
	if got := offsetsOf(t, v); !slices.Equal(got, want) {
		t.Errorf("index has %d documents %v, want %d", len(got), spans(got), len(want))
	}
	if next := s.Next(); next != l.end {
		t.Errorf("next = %d, want %d", next, l.end)
	}
}

// checkTerms finds every record by a word that only this generation of the log has.
func (l *modelLog) checkTerms(t testing.TB, v *View) {
	t.Helper()
	for _, p := range v.Parts {
		r, err := p.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found, err := r.TermFieldReader(t.Context(), fmt.Append(nil, l.generation), "msg", false, false, false)
		if err != nil {
			t.Fatal(err)
		}
		if n := found.Count(); int64(n) < p.Docs {
			t.Errorf("[%d, %d): %d of %d documents are of generation %d", p.Base, p.End, n, p.Docs, l.generation)
		}
		found.Close()
		r.Close()
	}
}

func spans(offsets []int64) (text string) {
	for i, o := range offsets {
		switch {
		case i == 0 || o > offsets[i-1]+2:
			text += fmt.Sprintf(" %d", o)
		case i+1 == len(offsets) || offsets[i+1] > o+2:
			text += fmt.Sprintf("-%d", o)
		}
	}
	return text
}

// copyDir is what a crash at this moment leaves of a process that is killed: what was written, synced or not.
// Goroutines of Bleve write and remove beside it, so it copies until nothing changed meanwhile.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	for range 100 {
		before := listing(t, from)
		to := filepath.Join(t.TempDir(), "copy")
		err := os.CopyFS(to, os.DirFS(from))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil && listing(t, from) == before {
			return to
		}
	}
	t.Fatalf("%s never rests", from)
	return ""
}

func listing(t testing.TB, dir string) (text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			text += fmt.Sprintln(path, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return text
}

func TestIndexRollsSealsAndReopens(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, dir)
	s := open(t, o)
	l := &modelLog{end: 537, border: 100}
	l.catchUp(t, s)
	l.check(t, s)
	if st := s.Stats(); st.Chunks != 6 || s.Unsealed() != 5 {
		t.Errorf("%d chunks, %d to seal", st.Chunks, s.Unsealed())
	}
	sealAll(t, s)
	l.check(t, s)
	if st := s.Stats(); st.Sealed != 5 || st.Indexed != s.docs() || st.Seals != 5 || st.IndexBytes == 0 {
		t.Errorf("stats %+v", st)
	}
	closeSet(t, s)
	s = open(t, o)
	l.check(t, s)
	l.end = 800
	l.catchUp(t, s)
	l.check(t, s)
}

func (s *Set) docs() (n int64) {
	for _, c := range s.chunks(false) {
		s.mu.Lock()
		n += c.state.Docs
		s.mu.Unlock()
	}
	return n
}

func TestInfoSaysWhatPruningNeeds(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	l := &modelLog{end: 230, border: 100, generation: 4}
	l.catchUp(t, s)
	sealAll(t, s)
	v, err := s.Acquire(120, 210)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	if len(v.Parts) != 2 {
		t.Fatalf("%d parts", len(v.Parts))
	}
	newest, sealed := v.Parts[0].Info, v.Parts[1].Info
	if newest.Base != 200 || newest.End != 230 || newest.Sealed || newest.Checkpoint != (Checkpoint{230, 4, 230}) {
		t.Errorf("newest: %+v", newest)
	}
	if sealed.Base != 100 || sealed.End != 200 || !sealed.Sealed || sealed.MinTimestamp != 1_700_000_000_100 || sealed.MaxTimestamp != 1_700_000_000_198 {
		t.Errorf("sealed: %+v", sealed)
	}
	if want := sealed.Docs * 5; sealed.Tokens["msg"] != want { // generation 4 of record N
		t.Errorf("%d tokens, want %d", sealed.Tokens["msg"], want)
	}
	if _, ok := sealed.Mapping.Field("msg"); !ok {
		t.Error("the mapping does not know msg")
	}
}

// A record that makes the builder panic is left out, and nothing else is.
func TestPoisonedRecordIsLeftOut(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	l := &modelLog{end: 50}
	mustIndex(t, s, l.batch(0, l.end))
	s.chunks(false)[0].builder = new(schema.Builder) // panics over anything
	b := l.batch(25, l.end)
	done, err := s.Index(t.Context(), b)
	if err != nil || done.Poisoned != 1 || done.Docs != len(b.Records)-1 {
		t.Errorf("%+v, err %v", done, err)
	}
	l.gone = map[int64]bool{b.Records[0].Offset: true}
	l.check(t, s)
}

// The bytes of chunk.json, as docs/format/index.md describes them.
func TestManifestGolden(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	c := s.chunks(false)[0]
	c.end = 9
	m := c.manifestLocked()
	m.Bleve, m.Zap = "v2.6.3", 17
	st := newState(0)
	st.Checkpoint, st.Docs, st.InputBytes = Checkpoint{9, 3, 12}, 2, 77
	st.addTimestamp(1000)
	st.addTokens("msg", 5)
	m.Sealed = &seal{State: st, Files: map[string]fileSum{"root.bolt": {65536, 4022250974}}}
	dir := t.TempDir()
	if err := m.write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "chunk.json"))
	if err != nil || string(got) != string(want) {
		t.Errorf("chunk.json is\n%s\nnot\n%s (%v)", got, want, err)
	}
	if read, err := readManifest("testdata"); err != nil || read.Sealed.State.Tokens["msg"] != 5 {
		t.Errorf("read %+v, err %v", read, err)
	}
}

func TestStateGolden(t *testing.T) {
	st := newState(7)
	st.addTimestamp(schema.NoTimestamp)
	const want = "\xef\xab5\xe0" + `{"next":7,"epoch":-1,"last_stable":7,"low":7,"min_timestamp":0,"max_timestamp":-1,"docs":0,"deleted":0,"input_bytes":0}`
	if got := string(st.encode()); got != want {
		t.Errorf("state is %q", got)
	}
	for at := range []byte(want) {
		raw := []byte(want)
		raw[at] ^= 1
		if _, err := decodeState(raw); err == nil {
			t.Errorf("byte %d is wrong, and nobody minds", at)
		}
	}
}
