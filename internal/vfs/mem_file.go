package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// memFile is an open file of a Mem. It holds on to the inode, whatever becomes of the name.
type memFile struct {
	m      *Mem
	node   *inode
	name   string
	flag   int
	closed bool // guarded by m.mu
}

func (f *memFile) writable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }

func (f *memFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// begin calls the hook. The caller, on success, holds m.mu, and the file is open.
func (f *memFile) begin(op Op) error {
	f.m.mu.Lock()
	closed := f.closed
	f.m.mu.Unlock()
	if closed { // not worth an operation
		return f.fail(op.Kind.String(), fs.ErrClosed)
	}
	op.Name = f.name
	if err := f.m.before(op); err != nil {
		return f.fail(op.Kind.String(), err)
	}
	f.m.mu.Lock()
	if f.closed {
		f.m.mu.Unlock()
		return f.fail(op.Kind.String(), fs.ErrClosed)
	}
	return nil
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, f.fail("read", fs.ErrInvalid)
	case f.flag&os.O_WRONLY != 0:
		return 0, f.fail("read", syscall.EBADF)
	}
	if err := f.begin(Op{Kind: OpRead, Offset: off, Len: int64(len(p))}); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	data := f.node.now.data
	n := copy(p, data[min(off, int64(len(data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements File.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, f.fail("write", fs.ErrInvalid)
	case !f.writable():
		return 0, f.fail("write", syscall.EBADF)
	case off > maxMemFile-int64(len(p)):
		return 0, f.fail("write", syscall.EFBIG)
	}
	var partial *PartialWrite
	allowed := len(p)
	failure := f.begin(Op{Kind: OpWrite, Offset: off, Len: int64(len(p))})
	switch {
	case errors.As(failure, &partial):
		allowed = min(max(partial.N, 0), len(p))
		f.m.mu.Lock()
		if f.closed {
			allowed = 0
		}
	case failure != nil:
		return 0, failure
	}
	defer f.m.mu.Unlock()
	n := f.m.roomLocked(f.node, off, allowed)
	if n > 0 {
		f.m.changeFileLocked(f.node, fileOp{kind: fileWrite, off: off, data: slices.Clone(p[:n])})
	}
	if n < allowed && failure == nil {
		failure = f.fail("write", syscall.ENOSPC)
	}
	return n, failure
}

// roomLocked tells how many of n bytes at off fit on the disk.
func (m *Mem) roomLocked(node *inode, off int64, n int) int {
	if m.capacity == 0 {
		return n
	}
	end := node.now.space() + max(m.capacity-m.used, 0)
	return int(min(max(end-off, 0), int64(n)))
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	return f.resize(OpTruncate, fileOp{kind: fileTruncate, off: size})
}

// Preallocate implements File. The reservation is durable after Sync.
func (f *memFile) Preallocate(size int64) error {
	return f.resize(OpPreallocate, fileOp{kind: fileReserve, off: size})
}

func (f *memFile) resize(kind OpKind, op fileOp) error {
	switch {
	case op.off < 0:
		return f.fail(kind.String(), syscall.EINVAL)
	case !f.writable():
		return f.fail(kind.String(), syscall.EBADF)
	case op.off > maxMemFile:
		return f.fail(kind.String(), syscall.EFBIG)
	}
	if err := f.begin(Op{Kind: kind, Len: op.off}); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	if grow := op.off - f.node.now.space(); grow > 0 && f.m.capacity > 0 && grow > f.m.capacity-f.m.used {
		return f.fail(kind.String(), syscall.ENOSPC)
	}
	f.m.changeFileLocked(f.node, op)
	return nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	err := f.begin(Op{Kind: OpSync})
	switch {
	case errors.Is(err, fs.ErrClosed):
		return err
	case err != nil:
		f.m.mu.Lock()
		defer f.m.mu.Unlock()
		f.node.failSync()
		return err
	}
	defer f.m.mu.Unlock()
	f.node.sync()
	return nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return 0, f.fail("stat", fs.ErrClosed)
	}
	return int64(len(f.node.now.data)), nil
}

// Close implements File. It makes nothing durable.
func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.closed = true
	f.node.opens--
	if !f.node.alive() {
		f.m.used -= f.node.now.space()
	}
	return nil
}
