package log

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Names of Kafka's per-directory offset checkpoints.
const (
	recoveryPointFile    = "recovery-point-offset-checkpoint" // below it, everything is synced
	logStartFile         = "log-start-offset-checkpoint"
	highWatermarkFile    = "replication-offset-checkpoint"
	cleanerCheckpoint    = "cleaner-offset-checkpoint" // first offset that compaction has not seen
	maxCheckpointBytes   = 64 << 20                    // a hundred thousand partitions and more
	maxCheckpointEntries = 1 << 20
)

// errStateFile says that a small state file cannot be believed. Its caller treats it as absent:
// rebuild it or ask the leader, never take it for empty (replication.md 2.2).
var errStateFile = errors.New("invalid state file")

// checkpointKey names a partition as the topic column of a checkpoint does: "topic" for the default
// tenant and "@tenant/topic" for others.
type checkpointKey struct {
	topic     string
	partition int32
}

// checkpointTopic is the topic column for a topic of a tenant.
func checkpointTopic(tenant, topic string) string {
	if tenant == "" {
		return topic
	}
	return "@" + tenant + "/" + topic
}

// writeCheckpoint replaces the checkpoint file name by offsets, in Kafka's text format, in a stable
// order.
func writeCheckpoint(fsys vfs.FS, name string, offsets map[checkpointKey]int64) error {
	return vfs.WriteFileAtomic(fsys, name, encodeCheckpoint(offsets))
}

// readCheckpoint reads what writeCheckpoint wrote. A file with a single doubtful byte is errStateFile
// as a whole, because its other lines may be just as wrong. A missing file is fs.ErrNotExist.
func readCheckpoint(fsys vfs.FS, name string) (map[checkpointKey]int64, error) {
	data, err := vfs.ReadFile(fsys, name, maxCheckpointBytes)
	if err != nil {
		return nil, err
	}
	offsets, err := decodeCheckpoint(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return offsets, nil
}

func encodeCheckpoint(offsets map[checkpointKey]int64) []byte {
	keys := make([]checkpointKey, 0, len(offsets))
	for key := range offsets {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b checkpointKey) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	out := appendTextHeader(nil, len(keys))
	for _, key := range keys {
		out = append(out, key.topic...)
		out = append(out, ' ')
		out = strconv.AppendInt(out, int64(key.partition), 10)
		out = append(out, ' ')
		out = strconv.AppendInt(out, offsets[key], 10)
		out = append(out, '\n')
	}
	return out
}

func decodeCheckpoint(data []byte) (map[checkpointKey]int64, error) {
	var offsets map[checkpointKey]int64
	err := parseTextFile(data, 3, func(count int) { offsets = make(map[checkpointKey]int64, count) }, func(fields []string) error {
		partition, err := parseNumber(fields[1], 32)
		if err != nil {
			return err
		}
		offset, err := parseNumber(fields[2], 64)
		if err != nil {
			return err
		}
		key := checkpointKey{fields[0], int32(partition)}
		if _, twice := offsets[key]; twice || key.topic == "" {
			return fmt.Errorf("%w: topic %q partition %d named twice or empty", errStateFile, key.topic, partition)
		}
		offsets[key] = offset
		return nil
	})
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

// appendTextHeader begins a file in the format that Kafka's checkpoints share: a line with version 0,
// a line with the number of entries, then a line for each.
func appendTextHeader(out []byte, count int) []byte {
	out = append(out, "0\n"...)
	out = strconv.AppendInt(out, int64(count), 10)
	return append(out, '\n')
}

// parseTextFile takes such a file apart. begin gets the number of entries, which the size of data has
// shown to be possible; line gets the fields of each.
func parseTextFile(data []byte, fields int, begin func(count int), line func(fields []string) error) error {
	version, rest, _ := bytes.Cut(data, []byte{'\n'})
	if string(version) != "0" {
		return fmt.Errorf("%w: version %.20q, want 0", errStateFile, version)
	}
	countText, rest, _ := bytes.Cut(rest, []byte{'\n'})
	count, err := parseNumber(string(countText), 32)
	if err != nil {
		return err
	}
	if n := bytes.Count(rest, []byte{'\n'}); int64(n) != count || n > maxCheckpointEntries || !(len(rest) == 0 || rest[len(rest)-1] == '\n') {
		return fmt.Errorf("%w: %d lines for %d entries", errStateFile, n, count)
	}
	begin(int(count))
	for range count {
		var text []byte
		text, rest, _ = bytes.Cut(rest, []byte{'\n'})
		parts := strings.Split(string(text), " ")
		if len(parts) != fields {
			return fmt.Errorf("%w: line %.80q does not have %d fields", errStateFile, text, fields)
		}
		if err := line(parts); err != nil {
			return err
		}
	}
	return nil
}

// parseNumber reads a number >= 0 in the one form in which it is written.
func parseNumber(s string, bits int) (int64, error) {
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%w: %.40q is not a number >= 0", errStateFile, s)
	}
	return n, nil
}
