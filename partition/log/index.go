package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Sizes of index entries on disk, and how many bytes at the end of an index stay in memory. A tail of
// 2 KiB is 256 offset entries, a megabyte of log at the default interval: consumers at the end of a
// log find their position without a read.
const (
	offsetEntrySize = 8
	timeEntrySize   = 12
	indexTailBytes  = 2 << 10
	indexReadBytes  = 504 // whole entries of both kinds
)

// errIndexInvalid says that an index does not fit its segment. Indexes are caches: the answer is
// always to rebuild it from the segment.
var errIndexInvalid = errors.New("invalid index")

// entryFile is an append-only file of fixed-size entries, all but the last of which live on disk: an
// index costs a log the same few KiB however long its segment is. Its handle is opened when first
// needed and given back by release, so thousands of idle segments hold none.
//
// What was appended reaches the file at the latest in release; until sync it may be lost in a crash,
// which is why indexes are not trusted past the recovery point. The file never holds anything but
// whole entries (no preallocated tail of zeros as with Kafka's mapped files).
type entryFile struct {
	fs       vfs.FS
	entry    int   // bytes per entry
	maxCount int64 // entries the file may have

	mu        sync.Mutex // guards the fields below; held during I/O, which is short
	name      string
	f         vfs.File // nil while released
	found     bool     // the file was there when the index was opened
	count     int64    // entries in all
	tail      []byte   // the entries [tailStart, count)
	tailStart int64
	written   int64  // the file holds the entries [0, written); written >= tailStart
	ragged    bool   // the file ends inside an entry: only sanity may be asked
	scratch   []byte // of indexReadBytes, once something was read
}

func (x *entryFile) open(fsys vfs.FS, name string, entry int, maxBytes int64) error {
	x.fs, x.name, x.entry = fsys, name, entry
	x.maxCount = max(1, maxBytes/int64(entry))
	info, err := fsys.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("open index: %w", err)
	}
	x.found = true
	x.ragged = info.Size()%int64(entry) != 0
	x.count = info.Size() / int64(entry)
	x.tailStart, x.written = x.count, x.count
	return nil
}

// exists reports whether the file was there when the index was opened. A segment whose index is
// missing has to rebuild it.
func (x *entryFile) exists() bool { return x.found }

// full reports whether no further entry may be appended: time to roll the segment.
func (x *entryFile) full() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.count >= x.maxCount
}

// entries is the number of entries.
func (x *entryFile) entries() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.count
}

func (x *entryFile) handleLocked() (vfs.File, error) {
	if x.f != nil {
		return x.f, nil
	}
	f, err := x.fs.OpenFile(x.name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	x.f = f
	return f, nil
}

// appendLocked adds one entry, whose order the caller has checked.
func (x *entryFile) appendLocked(entry []byte) error {
	x.tail = append(x.tail, entry...)
	x.count++
	if len(x.tail) < 2*indexTailBytes {
		return nil
	}
	if err := x.flushLocked(); err != nil {
		return err
	}
	drop := indexTailBytes / x.entry * x.entry
	x.tail = slices.Delete(x.tail, 0, drop)
	x.tailStart += int64(drop / x.entry)
	return nil
}

// flushLocked writes all entries to the file.
func (x *entryFile) flushLocked() error {
	if x.written == x.count {
		return nil
	}
	f, err := x.handleLocked()
	if err != nil {
		return err
	}
	size := int64(x.entry)
	if _, err := f.WriteAt(x.tail[(x.written-x.tailStart)*size:], x.written*size); err != nil {
		return fmt.Errorf("write index %s: %w", x.name, err)
	}
	x.written = x.count
	return nil
}

// sync makes all entries durable, creating the file if there was none. The name is durable only
// after the caller's SyncDir.
func (x *entryFile) sync() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.flushLocked(); err != nil {
		return err
	}
	f, err := x.handleLocked()
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync index %s: %w", x.name, err)
	}
	return nil
}

// release writes all entries and gives back the handle and the memory. The index stays usable.
func (x *entryFile) release() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.flushLocked()
	if err == nil {
		x.tail, x.tailStart, x.scratch = nil, x.count, nil
	}
	return errors.Join(err, x.closeHandleLocked())
}

func (x *entryFile) closeHandleLocked() error {
	if x.f == nil {
		return nil
	}
	err := x.f.Close()
	x.f = nil
	if err != nil {
		return fmt.Errorf("close index %s: %w", x.name, err)
	}
	return nil
}

// close is release. It exists for the reader: after it nobody uses the index.
func (x *entryFile) close() error { return x.release() }

// discard gives back the handle and forgets what was not written; for files about to be removed.
func (x *entryFile) discard() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tail = nil
	x.tailStart, x.count = x.written, x.written
	return x.closeHandleLocked()
}

// truncateLocked keeps the first count entries.
func (x *entryFile) truncateLocked(count int64) error {
	if count >= x.count && !x.ragged {
		return nil
	}
	f, err := x.handleLocked()
	if err != nil {
		return err
	}
	size := int64(x.entry)
	if count < x.written || x.ragged {
		if err := f.Truncate(count * size); err != nil {
			return fmt.Errorf("truncate index %s: %w", x.name, err)
		}
		x.written = count
	}
	x.ragged = false
	if count >= x.tailStart {
		x.tail = x.tail[:(count-x.tailStart)*size]
	} else {
		x.tail, x.tailStart = x.tail[:0], count
	}
	x.count = count
	return nil
}

// reset drops all entries, for a rebuild.
func (x *entryFile) reset() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.truncateLocked(0)
}

// readLocked returns the entries [from, to), which must not straddle tailStart. The result is valid
// until the next read or change.
func (x *entryFile) readLocked(from, to int64) ([]byte, error) {
	size := int64(x.entry)
	if from >= x.tailStart {
		return x.tail[(from-x.tailStart)*size : (to-x.tailStart)*size], nil
	}
	f, err := x.handleLocked()
	if err != nil {
		return nil, err
	}
	if x.scratch == nil {
		x.scratch = make([]byte, indexReadBytes)
	}
	buf := x.scratch[:(to-from)*size]
	if n, err := f.ReadAt(buf, from*size); n < len(buf) {
		if err == io.EOF {
			err = fmt.Errorf("%w: file is shorter than when it was opened", errIndexInvalid)
		}
		return nil, fmt.Errorf("read index %s: %w", x.name, err)
	}
	return buf, nil
}

// countLocked returns how many leading entries satisfy below, which must hold for a prefix of them.
// It probes single entries until the range fits one read: a dozen small reads at most.
func (x *entryFile) countLocked(below func(entry []byte) bool) (int64, error) {
	lo, hi := int64(0), x.count
	if x.tailStart < x.count { // decide first on which side of tailStart the border lies
		if below(x.tail[:x.entry]) {
			lo = x.tailStart + 1
		} else {
			hi = x.tailStart
		}
	}
	block := int64(indexReadBytes / x.entry)
	for hi-lo > block {
		mid := lo + (hi-lo)/2
		entry, err := x.readLocked(mid, mid+1)
		if err != nil {
			return 0, err
		}
		if below(entry) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	entries, err := x.readLocked(lo, hi)
	if err != nil {
		return 0, err
	}
	for len(entries) > 0 && below(entries[:x.entry]) {
		lo++
		entries = entries[x.entry:]
	}
	return lo, nil
}

// wholeLocked tells whether the file held whole entries when it was opened, and still does.
func (x *entryFile) wholeLocked() error {
	if x.ragged {
		return fmt.Errorf("%w: %s ends inside an entry", errIndexInvalid, x.name)
	}
	return nil
}

// entryLocked reads one entry into a copy of its own.
func (x *entryFile) entryLocked(i int64) (entry [timeEntrySize]byte, err error) {
	b, err := x.readLocked(i, i+1)
	copy(entry[:], b)
	return entry, err
}

// offsetIndex finds the place of an offset in one segment: Kafka's .index, entries of (offset
// relative to the segment's base, position in the file), both unsigned 32-bit and increasing. An
// entry names the last offset of a batch and the position where that batch begins, which is what
// Kafka's dump tool verifies. Methods may be called from several goroutines.
type offsetIndex struct {
	entryFile
	base       int64
	lastOffset int64 // of the last entry, once lastKnown
	lastKnown  bool
}

// openOffsetIndex opens the index of the segment with the given base offset. It does not open the
// file, only looks at its size; a missing file is an empty index and is created by the first write.
// maxBytes is segment.index.bytes.
func openOffsetIndex(fsys vfs.FS, name string, base, maxBytes int64) (*offsetIndex, error) {
	x := &offsetIndex{base: base}
	return x, x.open(fsys, name, offsetEntrySize, maxBytes)
}

// append adds an entry for the batch at pos whose last offset is offset. Offsets that do not rise,
// or that the format cannot hold, are an error. A full index ignores the entry: lookups then scan
// further, and full tells the segment to roll.
func (x *offsetIndex) append(offset, pos int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.count >= x.maxCount {
		return nil
	}
	if err := x.learnLastLocked(); err != nil {
		return err
	}
	relative := offset - x.base
	if relative < 0 || relative > math.MaxInt32 || pos < 0 || pos > math.MaxUint32 {
		return fmt.Errorf("%w: offset %d at %d does not fit %s", errIndexInvalid, offset, pos, x.name)
	}
	if x.count > 0 && offset <= x.lastOffset {
		return fmt.Errorf("%w: offset %d after %d in %s", errIndexInvalid, offset, x.lastOffset, x.name)
	}
	var entry [offsetEntrySize]byte
	binary.BigEndian.PutUint32(entry[:], uint32(relative))
	binary.BigEndian.PutUint32(entry[4:], uint32(pos))
	if err := x.appendLocked(entry[:]); err != nil {
		return err
	}
	x.lastOffset, x.lastKnown = offset, true
	return nil
}

func (x *offsetIndex) learnLastLocked() error {
	if x.lastKnown || x.count == 0 {
		return nil
	}
	entry, err := x.entryLocked(x.count - 1)
	if err != nil {
		return err
	}
	x.lastOffset, _ = x.decode(entry[:])
	x.lastKnown = true
	return nil
}

func (x *offsetIndex) decode(entry []byte) (offset, pos int64) {
	return x.base + int64(binary.BigEndian.Uint32(entry)), int64(binary.BigEndian.Uint32(entry[4:]))
}

// lookup returns a position at or before the batch that holds offset: that of the last entry whose
// offset is not above it, or 0.
func (x *offsetIndex) lookup(offset int64) (pos int64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, err := x.countLocked(func(entry []byte) bool {
		at, _ := x.decode(entry)
		return at <= offset
	})
	if err != nil || n == 0 {
		return 0, err
	}
	entry, err := x.entryLocked(n - 1)
	_, pos = x.decode(entry[:])
	return pos, err
}

// last returns the last entry; ok is false if there is none.
func (x *offsetIndex) last() (offset, pos int64, ok bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.count == 0 {
		return 0, 0, false, nil
	}
	entry, err := x.entryLocked(x.count - 1)
	if err != nil {
		return 0, 0, false, err
	}
	offset, pos = x.decode(entry[:])
	return offset, pos, true, nil
}

// truncateTo drops the entries at or above offset.
func (x *offsetIndex) truncateTo(offset int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, err := x.countLocked(func(entry []byte) bool {
		at, _ := x.decode(entry)
		return at < offset
	})
	if err != nil {
		return err
	}
	x.lastKnown = false
	return x.truncateLocked(n)
}

// sanity tells whether the index can belong to a segment file of fileSize bytes. It reads one entry,
// so it is cheap enough for every start; it does not prove the entries in between.
func (x *offsetIndex) sanity(fileSize int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.wholeLocked(); err != nil || x.count == 0 {
		return err
	}
	entry, err := x.entryLocked(x.count - 1)
	if err != nil {
		return err
	}
	if offset, pos := x.decode(entry[:]); offset < x.base || pos >= fileSize {
		return fmt.Errorf("%w: %s ends with offset %d at %d of %d bytes", errIndexInvalid, x.name, offset, pos, fileSize)
	}
	return nil
}
