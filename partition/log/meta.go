package log

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	partitionMetadataFile = "partition.metadata"
	cleanShutdownFile     = ".kafka_cleanshutdown"
	maxMetaBytes          = 4 << 10
)

// writePartitionMetadata records which topic owns a log directory.
func writePartitionMetadata(fsys vfs.FS, dir string, topicID uuid.ID) error {
	data := fmt.Appendf(nil, "version: 0\ntopic_id: %s\n", topicID)
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, partitionMetadataFile), data); err != nil {
		return fmt.Errorf("write partition metadata: %w", err)
	}
	return nil
}

// readPartitionMetadata tells which topic owns a log directory. Errors: fs.ErrNotExist, and
// errStateFile for contents that cannot be right; without an id a directory belongs to nobody and
// must not be served (replication.md 13.4).
func readPartitionMetadata(fsys vfs.FS, dir string) (uuid.ID, error) {
	name := filepath.Join(dir, partitionMetadataFile)
	data, err := vfs.ReadFile(fsys, name, maxMetaBytes)
	if err != nil {
		return uuid.ID{}, fmt.Errorf("read partition metadata: %w", err)
	}
	id, err := decodePartitionMetadata(data)
	if err != nil {
		return uuid.ID{}, fmt.Errorf("%s: %w", name, err)
	}
	return id, nil
}

func decodePartitionMetadata(data []byte) (uuid.ID, error) {
	text, isVersion0 := strings.CutPrefix(string(data), "version: 0\ntopic_id: ")
	text, isWhole := strings.CutSuffix(text, "\n")
	id, err := uuid.Parse(text)
	if !isVersion0 || !isWhole || err != nil || id.IsZero() {
		return uuid.ID{}, fmt.Errorf("%w: not a version 0 with a topic id: %.80q", errStateFile, data)
	}
	return id, nil
}

// cleanShutdown is the content of the marker that a clean stop leaves in a data directory, in
// Kafka's form.
type cleanShutdown struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// writeCleanShutdown leaves the marker. It must be the last thing that a stop writes.
func writeCleanShutdown(fsys vfs.FS, dir string, brokerEpoch int64) error {
	data, err := json.Marshal(cleanShutdown{BrokerEpoch: brokerEpoch})
	if err != nil {
		return fmt.Errorf("encode clean shutdown marker: %w", err)
	}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, cleanShutdownFile), data); err != nil {
		return fmt.Errorf("write clean shutdown marker: %w", err)
	}
	return nil
}

// takeCleanShutdown reads the marker and removes it, durably, before anything else is done, so that a
// crash from here on is not taken for a clean stop (replication.md 5.1). clean is false if there was
// no marker or an unreadable one.
func takeCleanShutdown(fsys vfs.FS, dir string) (brokerEpoch int64, clean bool, err error) {
	name := filepath.Join(dir, cleanShutdownFile)
	data, err := vfs.ReadFile(fsys, name, maxMetaBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read clean shutdown marker: %w", err)
	}
	var marker cleanShutdown
	clean = json.Unmarshal(data, &marker) == nil && marker.Version == 0
	if err := fsys.Remove(name); err != nil {
		return 0, false, fmt.Errorf("remove clean shutdown marker: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return 0, false, fmt.Errorf("remove clean shutdown marker: %w", err)
	}
	if !clean {
		return 0, false, nil
	}
	return marker.BrokerEpoch, true, nil
}
