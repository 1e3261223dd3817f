package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Compaction replaces a run of segments by one new segment. The new files are written and synced under
// names ending in .cleaned; then a manifest that names the replaced segments is written, atomically and
// durably, and that is the moment of the change: without the manifest recovery drops .cleaned files,
// with it recovery does, or does again, all that is left to do. Only when that is durable does the
// manifest go. So a log is always wholly before or wholly after the swap of a group.
//
//	00000000000000000000.swap    0            version
//	                             2            segments replaced
//	                             0            their base offsets; the new segment has the
//	                             1500         first one's
const (
	cleanedSuffix    = ".cleaned"
	swapSuffix       = ".swap"
	maxManifestBytes = 1 << 20
)

// segmentSuffixes are the files of a segment that a swap moves, the log last: where the new log is,
// everything else of it is too.
var segmentSuffixes = []string{".index", ".timeindex", ".log"}

// segmentPath is a file of the segment with the given base offset.
func segmentPath(dir string, base int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// writeManifest commits the replacement of the segments with the given base offsets by the .cleaned
// segment of the first of them. All its files must be synced; their names become durable here, before
// the manifest can. After an error there is no manifest, unless the directory cannot be written any
// more.
func writeManifest(fsys vfs.FS, dir string, bases []int64) error {
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("write swap manifest: %w", err)
	}
	out := appendTextHeader(nil, len(bases))
	for _, base := range bases {
		out = strconv.AppendInt(out, base, 10)
		out = append(out, '\n')
	}
	name := segmentPath(dir, bases[0], swapSuffix)
	if err := vfs.WriteFileAtomic(fsys, name, out); err != nil {
		err = fmt.Errorf("write swap manifest: %w", err)
		return errors.Join(err, removeIfThere(fsys, name), fsys.SyncDir(dir))
	}
	return nil
}

// hasManifest tells whether there may be a manifest for the .cleaned files of base. They must not be
// touched then.
func hasManifest(fsys vfs.FS, dir string, base int64) bool {
	_, err := fsys.Stat(segmentPath(dir, base, swapSuffix))
	return !errors.Is(err, fs.ErrNotExist)
}

func decodeManifest(data []byte) ([]int64, error) {
	var bases []int64
	err := parseTextFile(data, 1, func(count int) { bases = make([]int64, 0, count) }, func(fields []string) error {
		base, err := parseNumber(fields[0], 64)
		if err == nil && len(bases) > 0 && base <= bases[len(bases)-1] {
			err = fmt.Errorf("%w: segment %d after %d", errStateFile, base, bases[len(bases)-1])
		}
		bases = append(bases, base)
		return err
	})
	if err == nil && len(bases) == 0 {
		err = fmt.Errorf("%w: no segments", errStateFile)
	}
	if err != nil {
		return nil, err
	}
	return bases, nil
}

// finishSwap carries out the manifest for bases. Every step may have been done before. The files of
// replaced segments that are still under their names are removed; a live log has renamed them by then.
// The manifest goes when all else is durable, and durably: one that came back after a crash would swap
// in the half-written .cleaned files of a later compaction.
func finishSwap(fsys vfs.FS, dir string, bases []int64) error {
	if err := swapNames(fsys, dir, bases); err != nil {
		return err // the manifest stays, for the next start
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("swap in compacted segment: %w", err)
	}
	if err := fsys.Remove(segmentPath(dir, bases[0], swapSuffix)); err != nil {
		return fmt.Errorf("remove swap manifest: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("remove swap manifest: %w", err)
	}
	return nil
}

func swapNames(fsys vfs.FS, dir string, bases []int64) error {
	for _, base := range bases[1:] {
		for _, suffix := range segmentSuffixes {
			if err := removeIfThere(fsys, segmentPath(dir, base, suffix)); err != nil {
				return fmt.Errorf("remove compacted segment: %w", err)
			}
		}
		// The border is gone, and with it the use of a snapshot there: those around it serve as well.
		if err := removeIfThere(fsys, snapshotPath(dir, base)); err != nil {
			return fmt.Errorf("remove producer snapshot: %w", err)
		}
	}
	for _, suffix := range segmentSuffixes {
		name := segmentPath(dir, bases[0], suffix)
		err := fsys.Rename(name+cleanedSuffix, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("swap in compacted segment: %w", err)
		}
	}
	return nil
}

// recoverSwaps brings a log directory to one side of every swap that a crash interrupted: it finishes
// those with a manifest and removes what others have written. It must run before segments are listed.
func recoverSwaps(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("recover swaps: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), swapSuffix) {
			continue
		}
		name := filepath.Join(dir, entry.Name())
		data, err := vfs.ReadFile(fsys, name, maxManifestBytes)
		if err != nil {
			return fmt.Errorf("read swap manifest: %w", err)
		}
		bases, err := decodeManifest(data)
		if err == nil && name != segmentPath(dir, bases[0], swapSuffix) {
			err = fmt.Errorf("%w: begins with segment %d", errStateFile, bases[0])
		}
		if err != nil { // it was written atomically: this is damage, and neither side can be told
			return fmt.Errorf("swap manifest %s: %w", name, err)
		}
		if err := finishSwap(fsys, dir, bases); err != nil {
			return err
		}
	}
	return removeCleaned(fsys, dir)
}

// removeCleaned removes the files of compactions that did not get as far as a manifest.
func removeCleaned(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove unfinished compaction: %w", err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), cleanedSuffix) {
			if err := removeIfThere(fsys, filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeIfThere(fsys vfs.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
