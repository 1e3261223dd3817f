package log

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	epochFile     = "leader-epoch-checkpoint"
	maxEpochBytes = 16 << 20 // several hundred thousand epochs
)

// epochEntry says that the leader of epoch wrote its first record at start or later.
type epochEntry struct {
	epoch int32
	start int64
}

// epochCache is the history of leaderships of one partition: for each leader epoch the offset at
// which it began, both rising strictly. It decides how far a follower must truncate. The zero value
// is an empty history. It has no lock: the log's guards it. It changes memory only; the log saves it
// before the change counts (replication.md 10.4, 10.7).
type epochCache struct{ entries []epochEntry }

// assign notes that epoch begins at start and reports whether that changed anything, so that it has
// to be saved. A repeated epoch keeps its earlier start; later entries that contradict the new one
// (an epoch as high, a start as high) are of a history that was overwritten, and go.
func (c *epochCache) assign(epoch int32, start int64) (changed bool) {
	if epoch < 0 || start < 0 {
		return false // batches of before leader epochs were known carry -1
	}
	if n := len(c.entries); n > 0 {
		if last := c.entries[n-1]; last.epoch == epoch && last.start <= start {
			return false
		}
	}
	keep := len(c.entries)
	for keep > 0 && (c.entries[keep-1].epoch >= epoch || c.entries[keep-1].start >= start) {
		keep--
	}
	c.entries = append(c.entries[:keep], epochEntry{epoch, start})
	return true
}

// latest returns the newest epoch and its start; ok is false without history.
func (c *epochCache) latest() (epoch int32, start int64, ok bool) {
	if len(c.entries) == 0 {
		return -1, -1, false
	}
	last := c.entries[len(c.entries)-1]
	return last.epoch, last.start, true
}

// epochAt returns the epoch in which offset was or would be written, or -1 if it is before history.
func (c *epochCache) epochAt(offset int64) int32 {
	n, found := slices.BinarySearchFunc(c.entries, offset, func(e epochEntry, at int64) int { return cmp.Compare(e.start, at) })
	if found {
		n++
	}
	if n == 0 {
		return -1
	}
	return c.entries[n-1].epoch
}

// endFor answers OffsetForLeaderEpoch and the divergence check of a fetch (replication.md 10.2): the
// largest known epoch that is not above the asked one, and where it ends: at the start of the next,
// or at logEnd for the newest. An epoch before all history ends where history starts. Without
// history the answer is (-1, -1).
//
//	history 2@0 5@10, log end 15:   1 -> (1, 0)   2, 3, 4 -> (2, 10)   5, 6 -> (5, 15)
func (c *epochCache) endFor(epoch int32, logEnd int64) (int32, int64) {
	if len(c.entries) == 0 || epoch < 0 {
		return -1, -1
	}
	n, found := slices.BinarySearchFunc(c.entries, epoch, func(e epochEntry, want int32) int { return cmp.Compare(e.epoch, want) })
	if found {
		n++
	}
	switch { // entries[:n] have epochs <= the asked one
	case n == 0:
		return epoch, c.entries[0].start
	case n == len(c.entries):
		return c.entries[n-1].epoch, logEnd
	}
	return c.entries[n-1].epoch, c.entries[n].start
}

// truncateFrom forgets the epochs that began at or after end, when the log is cut back to end.
func (c *epochCache) truncateFrom(end int64) (changed bool) {
	keep := len(c.entries)
	for keep > 0 && c.entries[keep-1].start >= end {
		keep--
	}
	changed = keep < len(c.entries)
	c.entries = c.entries[:keep]
	return changed
}

// contradict forgets the epochs above epoch that are said to have begun before until: batches up to there
// are of epoch. Such an entry was forgotten in memory, with ForgetEmptyEpochs, and not in the file before
// a crash. Believed, it would end an epoch too early, and a follower would be told to cut off again and
// again what it has just been sent.
func (c *epochCache) contradict(epoch int32, until int64) (changed bool) {
	before := len(c.entries)
	c.entries = slices.DeleteFunc(c.entries, func(e epochEntry) bool { return e.epoch > epoch && e.start < until })
	return len(c.entries) < before
}

// truncateBefore forgets the epochs that ended at or before start, when the log now begins there.
// The epoch that covers start stays, and begins at start.
func (c *epochCache) truncateBefore(start int64) (changed bool) {
	covering := -1
	for i, e := range c.entries {
		if e.start <= start {
			covering = i
		}
	}
	if covering < 0 || (covering == 0 && c.entries[0].start == start) {
		return false
	}
	c.entries = slices.Delete(c.entries, 0, covering)
	c.entries[0].start = start
	return true
}

// clone returns a copy that shares nothing.
func (c *epochCache) clone() epochCache { return epochCache{slices.Clone(c.entries)} }

// save replaces the leader-epoch-checkpoint of a log directory.
func (c *epochCache) save(fsys vfs.FS, dir string) error {
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, epochFile), c.encode()); err != nil {
		return fmt.Errorf("save leader epochs: %w", err)
	}
	return nil
}

// loadEpochs reads the leader-epoch-checkpoint of a log directory. Errors: fs.ErrNotExist, and
// errStateFile for contents that cannot be right.
func loadEpochs(fsys vfs.FS, dir string) (epochCache, error) {
	data, err := vfs.ReadFile(fsys, filepath.Join(dir, epochFile), maxEpochBytes)
	if err != nil {
		return epochCache{}, fmt.Errorf("load leader epochs: %w", err)
	}
	c, err := decodeEpochs(data)
	if err != nil {
		return epochCache{}, fmt.Errorf("load leader epochs of %s: %w", dir, err)
	}
	return c, nil
}

func (c *epochCache) encode() []byte {
	out := appendTextHeader(nil, len(c.entries))
	for _, e := range c.entries {
		out = strconv.AppendInt(out, int64(e.epoch), 10)
		out = append(out, ' ')
		out = strconv.AppendInt(out, e.start, 10)
		out = append(out, '\n')
	}
	return out
}

func decodeEpochs(data []byte) (epochCache, error) {
	var c epochCache
	err := parseTextFile(data, 2, func(count int) { c.entries = make([]epochEntry, 0, count) }, func(fields []string) error {
		epoch, err := parseNumber(fields[0], 32)
		if err != nil {
			return err
		}
		start, err := parseNumber(fields[1], 64)
		if err != nil {
			return err
		}
		if last, at, ok := c.latest(); ok && (int32(epoch) <= last || start <= at) {
			return fmt.Errorf("%w: epoch %d at %d after %d at %d", errStateFile, epoch, start, last, at)
		}
		c.entries = append(c.entries, epochEntry{int32(epoch), start})
		return nil
	})
	if err != nil {
		return epochCache{}, err
	}
	return c, nil
}
