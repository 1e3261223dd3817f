package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

func TestPartitionMetadataFile(t *testing.T) {
	m, dir := testDir(t)
	if _, err := readPartitionMetadata(m, dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	id, err := uuid.Parse("AAECAwQFBgcICQoLDA0ODw")
	must(t, err)
	must(t, writePartitionMetadata(m, dir, id))
	data, err := vfs.ReadFile(m, filepath.Join(dir, "partition.metadata"), 1<<10)
	must(t, err)
	if want := "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw\n"; string(data) != want {
		t.Errorf("file %q, want %q", data, want)
	}
	if got, err := readPartitionMetadata(m.CrashLoseAll(), dir); got != id || err != nil {
		t.Errorf("read %v, %v", got, err)
	}
	for _, text := range []string{
		"", "version: 0\n", "version: 1\ntopic_id: AAECAwQFBgcICQoLDA0ODw\n", "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n",
		"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0OD\n", "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODwAA\n",
		"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw\nmore\n",
	} {
		if got, err := decodePartitionMetadata([]byte(text)); !errors.Is(err, errStateFile) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestCleanShutdownMarkerIsTakenOnce(t *testing.T) {
	m, dir := testDir(t)
	must(t, writeCleanShutdown(m, dir, 42))
	data, err := vfs.ReadFile(m, filepath.Join(dir, ".kafka_cleanshutdown"), 1<<10)
	must(t, err)
	if want := `{"version":0,"brokerEpoch":42}`; string(data) != want {
		t.Errorf("file %s, want %s", data, want)
	}
	m = m.CrashLoseAll()
	for i, want := range []bool{true, false} {
		epoch, clean, err := takeCleanShutdown(m, dir)
		if clean != want || err != nil || clean && epoch != 42 {
			t.Errorf("take %d: %d, %v, %v", i, epoch, clean, err)
		}
		m = m.CrashLoseAll() // the removal is durable
	}
	must(t, vfs.WriteFileAtomic(m, filepath.Join(dir, cleanShutdownFile), []byte(`{"version":0`)))
	if _, clean, err := takeCleanShutdown(m, dir); clean || err != nil {
		t.Errorf("torn marker: %v, %v", clean, err)
	}
}
