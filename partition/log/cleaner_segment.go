package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// cleanerBufferBytes is how much the cleaner reads and writes at a time (log.cleaner.io.buffer.size);
// its read buffer grows to the largest batch it meets.
const cleanerBufferBytes = 512 << 10

// batchScanner reads the batches of a file in order, verifying each.
type batchScanner struct {
	budget *ioBudget
	buf    []byte
}

// scan calls fn with the batches that begin in [from, to) of f, which must end on a batch's border.
// A batch is valid until fn returns.
func (s *batchScanner) scan(ctx context.Context, f vfs.File, from, to int64, fn func(b record.Batch, pos int64) error) error {
	if len(s.buf) == 0 {
		s.buf = make([]byte, cleanerBufferBytes)
	}
	for from < to {
		chunk := s.buf[:min(int64(len(s.buf)), to-from)]
		if err := s.budget.take(ctx, len(chunk)); err != nil {
			return err
		}
		if n, err := f.ReadAt(chunk, from); n < len(chunk) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read at %d: %w", from, err)
		}
		used, err := eachBatch(chunk, from, fn)
		if err != nil {
			return err
		}
		from += used
		if used > 0 {
			continue
		}
		if err := s.growFor(chunk, to-from); err != nil {
			return fmt.Errorf("batch at %d: %w", from, err)
		}
	}
	return nil
}

// eachBatch hands out the whole batches at the front of chunk and returns their size.
func eachBatch(chunk []byte, pos int64, fn func(b record.Batch, pos int64) error) (used int64, err error) {
	for rest := chunk; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if errors.Is(err, record.ErrIncomplete) {
			return used, nil
		}
		if err == nil {
			err = b.Check()
		}
		if err != nil {
			return used, fmt.Errorf("batch at %d: %w", pos+used, err)
		}
		if err := fn(b, pos+used); err != nil {
			return used, err
		}
		used += int64(len(b))
		rest = after
	}
	return used, nil
}

// growFor makes room for the batch at the front of chunk, which must fit the left bytes of the file.
func (s *batchScanner) growFor(chunk []byte, left int64) error {
	if len(chunk) < record.HeaderSize || int64(record.Batch(chunk).Size()) > left {
		return fmt.Errorf("%w: file ends inside it", record.ErrCorrupt)
	}
	s.buf = make([]byte, record.Batch(chunk).Size())
	return nil
}

// cleanedSegment writes the files of a compacted segment under their .cleaned names: the log, and the
// indexes as an append of the same batches would have made them.
type cleanedSegment struct {
	fs            vfs.FS
	dir           string
	base          int64
	log           vfs.File
	offsets       *offsetIndex
	times         *timeIndex
	indexInterval int64
	paths         []string

	buf        []byte // of the log, not written yet
	size       int64  // of the log, with buf
	sinceEntry int64  // bytes since the last index entry
	maxTS      int64
	maxTSAt    int64 // last offset of the batch with maxTS
}

func newCleanedSegment(fsys vfs.FS, dir string, base int64, cfg compactionConfig, buf []byte) (*cleanedSegment, error) {
	if hasManifest(fsys, dir, base) {
		return nil, fmt.Errorf("a swap of segment %d is unfinished: it ends when the broker starts again", base)
	}
	s := &cleanedSegment{fs: fsys, dir: dir, base: base, indexInterval: cfg.indexInterval, buf: buf[:0], maxTS: record.NoTimestamp, maxTSAt: base}
	for _, suffix := range segmentSuffixes {
		path := segmentPath(dir, base, suffix+cleanedSuffix)
		s.paths = append(s.paths, path)
		if err := removeIfThere(fsys, path); err != nil {
			return nil, err
		}
	}
	var err error
	if s.offsets, err = openOffsetIndex(fsys, s.paths[0], base, cfg.indexBytes); err != nil {
		return nil, err
	}
	if s.times, err = openTimeIndex(fsys, s.paths[1], base, cfg.indexBytes); err != nil {
		return nil, err
	}
	s.log, err = fsys.OpenFile(s.paths[2], os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	return s, err
}

// add notes the batch that was appended to s.buf, from at on, and writes when there is enough.
func (s *cleanedSegment) add(ctx context.Context, at int, budget *ioBudget) error {
	b := record.Batch(s.buf[at:])
	pos := s.size
	if pos > math.MaxInt32-int64(len(b)) {
		return fmt.Errorf("%w: compacted segment would pass 2 GiB", record.ErrTooLarge)
	}
	s.size += int64(len(b))
	if b.MaxTimestamp() > s.maxTS {
		s.maxTS, s.maxTSAt = b.MaxTimestamp(), b.LastOffset()
	}
	if s.sinceEntry > s.indexInterval {
		if err := s.offsets.append(b.LastOffset(), pos); err != nil {
			return err
		}
		if err := s.times.maybeAppend(s.maxTS, s.maxTSAt); err != nil {
			return err
		}
		s.sinceEntry = 0
	}
	s.sinceEntry += int64(len(b))
	if len(s.buf) < cleanerBufferBytes {
		return nil
	}
	return s.write(ctx, budget)
}

func (s *cleanedSegment) write(ctx context.Context, budget *ioBudget) error {
	if err := budget.take(ctx, len(s.buf)); err != nil {
		return err
	}
	if _, err := s.log.WriteAt(s.buf, s.size-int64(len(s.buf))); err != nil {
		return fmt.Errorf("write compacted segment: %w", err)
	}
	s.buf = s.buf[:0]
	return nil
}

// finish writes and syncs everything and closes the files.
func (s *cleanedSegment) finish(ctx context.Context, budget *ioBudget) error {
	if err := s.write(ctx, budget); err != nil {
		return err
	}
	if err := s.times.seal(s.maxTS, s.maxTSAt); err != nil {
		return err
	}
	for _, sync := range []func() error{s.log.Sync, s.offsets.sync, s.times.sync} {
		if err := sync(); err != nil {
			return fmt.Errorf("sync compacted segment: %w", err)
		}
	}
	log := s.log
	s.log = nil
	return errors.Join(log.Close(), s.offsets.close(), s.times.close())
}

// abandon closes the files and removes them, unless a manifest says that they replace others.
func (s *cleanedSegment) abandon() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	errs = append(errs, s.offsets.discard(), s.times.discard())
	if hasManifest(s.fs, s.dir, s.base) {
		return errors.Join(errs...)
	}
	for _, path := range s.paths {
		errs = append(errs, removeIfThere(s.fs, path))
	}
	return errors.Join(errs...)
}
