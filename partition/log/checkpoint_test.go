package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/vfs"
)

func TestCheckpointBytes(t *testing.T) {
	got := encodeCheckpoint(map[checkpointKey]int64{
		{"orders", 10}:                         7,
		{"orders", 2}:                          123456789012,
		{checkpointTopic("acme", "orders"), 0}: 1,
		{checkpointTopic("", "a.b"), 0}:        0,
	})
	want := "0\n4\n@acme/orders 0 1\na.b 0 0\norders 2 123456789012\norders 10 7\n"
	if string(got) != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestCheckpointRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, dir := testDir(t)
		name := filepath.Join(dir, recoveryPointFile)
		if _, err := readCheckpoint(m, name); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("missing file: %v", err)
		}
		key := rapid.Custom(func(t *rapid.T) checkpointKey {
			return checkpointKey{rapid.StringMatching(`(@[a-z]{1,3}/)?[a-zA-Z0-9._-]{1,8}`).Draw(t, "topic"), rapid.Int32Range(0, 1<<30).Draw(t, "partition")}
		})
		want := rapid.MapOf(key, rapid.Int64Range(0, 1<<62)).Draw(t, "offsets")
		must(t, writeCheckpoint(m, name, want))
		got, err := readCheckpoint(m.CrashLoseAll(), name)
		must(t, err)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(checkpointKey{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestCheckpointRefusesDoubt(t *testing.T) {
	for _, text := range []string{
		"", "0", "0\n", "1\n0\n", "0\n1\n", "0\n1\nt 0 5", "0\n1\nt 0 5\nt 1 5\n", "0\n2\nt 0 5\nt 0 6\n",
		"0\n1\nt 0\n", "0\n1\nt -1 5\n", "0\n1\nt 0 -5\n", "0\n1\nt 0 05\n", "0\n1\nt  0 5\n", "0\n1\n 0 5\n",
		"0\n9999999999\n", "0\n-1\n", "0\r\n0\r\n", "0\n1\nt 2147483648 5\n", "0\n0\n\n",
	} {
		if got, err := decodeCheckpoint([]byte(text)); !errors.Is(err, errStateFile) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzCheckpointDecode(f *testing.F) {
	f.Add([]byte("0\n2\n@acme/orders 0 1\norders 10 7\n"))
	f.Add([]byte("0\n0\n"))
	f.Add([]byte("0\n1\nt 0 9223372036854775808\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		offsets, err := decodeCheckpoint(data)
		if err != nil {
			if !errors.Is(err, errStateFile) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := decodeCheckpoint(encodeCheckpoint(offsets))
		if diff := cmp.Diff(offsets, again, cmp.AllowUnexported(checkpointKey{})); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	})
}

// A file too large to be a checkpoint is not read into memory.
func TestCheckpointSizeIsBounded(t *testing.T) {
	m, dir := testDir(t)
	name := filepath.Join(dir, "c")
	must(t, vfs.WriteFileAtomic(m, name, nil))
	f, err := m.OpenFile(name, 2)
	must(t, err)
	must(t, f.Truncate(maxCheckpointBytes+1))
	must(t, f.Close())
	if _, err := readCheckpoint(m, name); err == nil {
		t.Error("read a file above the limit")
	}
}
