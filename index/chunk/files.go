package chunk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Directories beside the chunks of a row. Neither is part of it.
const (
	removedPrefix     = "del-" // being removed; the next Open goes on with it
	quarantinedPrefix = "bad-" // damaged; the newest one is kept for whoever wants to know why
)

var chunkName = regexp.MustCompile(`^(\d{20})-(\d{1,9})$`)

func nameOf(base int64, n int) string { return fmt.Sprintf("%020d-%d", base, n) }

func parseName(name string) (base int64, n int, ok bool) {
	parts := chunkName.FindStringSubmatch(name)
	if parts == nil {
		return 0, 0, false
	}
	base, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return 0, 0, false
	}
	n, err = strconv.Atoi(parts[2])
	return base, n, err == nil
}

// moveAside renames a chunk's directory to one outside the row, durably, and returns the new path.
func moveAside(dir, prefix string) (string, error) {
	parent, name := filepath.Split(dir)
	aside := filepath.Join(parent, prefix+name)
	if err := os.Rename(dir, aside); err != nil {
		return dir, err
	}
	return aside, vfs.OS{}.SyncDir(filepath.Clean(parent))
}

// removeOldQuarantined keeps the newest quarantined chunk of parent but for which disks would fill.
func removeOldQuarantined(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	kept, newest := "", -1
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), quarantinedPrefix)
		if !ok {
			continue
		}
		_, n, _ := parseName(name)
		drop := e.Name()
		if n > newest {
			drop, kept, newest = kept, e.Name(), n
		}
		if drop != "" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(parent, drop)))
		}
	}
	return err
}

// sumFiles reads the files of an index and says what they are. Each segment must match the CRC that ends it, or be
// one of the known ones.
func sumFiles(ctx context.Context, dir string, known map[string]fileSum, pace *pace) (map[string]fileSum, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	sums := make(map[string]fileSum, len(entries))
	for _, e := range entries {
		isSegment := strings.HasSuffix(e.Name(), segmentSuffix)
		if sum, ok := known[e.Name()]; ok && isSegment {
			if info, err := e.Info(); err == nil && info.Size() == sum.Bytes {
				sums[e.Name()] = sum
				continue
			}
		}
		sum, matches, err := sumFile(ctx, filepath.Join(dir, e.Name()), pace)
		if err != nil {
			return nil, err
		}
		if isSegment && !matches {
			return nil, fmt.Errorf("%s does not match its CRC", e.Name())
		}
		sums[e.Name()] = sum
	}
	return sums, nil
}

// sumFile reads one file. matches says that its last four bytes are the CRC of all before, as in a segment.
func sumFile(ctx context.Context, path string, pace *pace) (sum fileSum, matches bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, false, err
	}
	defer f.Close()
	var (
		buf  = make([]byte, 64<<10)
		tail []byte // the last four bytes so far, not yet in body
		body = crc32.NewIEEE()
		all  = crc32.NewIEEE()
	)
	for {
		n, err := f.Read(buf)
		all.Write(buf[:n])
		sum.Bytes += int64(n)
		tail = append(tail, buf[:n]...)
		if cut := len(tail) - 4; cut > 0 {
			body.Write(tail[:cut])
			tail = slices.Clone(tail[cut:])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, false, err
		}
		if err := pace.wait(ctx, n); err != nil {
			return sum, false, err
		}
	}
	sum.CRC32 = all.Sum32()
	return sum, len(tail) == 4 && binary.BigEndian.Uint32(tail) == body.Sum32(), nil
}

// checkSealed compares an index with what was sealed, before Bleve opens it. quickly is without reading the
// segments: only that all files are there and as long as they were, and that root.bolt, which decides what the
// others mean, is what it was.
func checkSealed(ctx context.Context, dir string, files map[string]fileSum, quickly bool) error {
	for name, want := range files {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		got := fileSum{Bytes: info.Size(), CRC32: want.CRC32}
		if got == want && (!quickly || name == boltName) {
			if got, _, err = sumFile(ctx, filepath.Join(dir, name), nil); err != nil {
				return err
			}
		}
		if got != want {
			return fmt.Errorf("%s has %d bytes of CRC %08x, not %d of %08x", name, got.Bytes, got.CRC32, want.Bytes, want.CRC32)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
