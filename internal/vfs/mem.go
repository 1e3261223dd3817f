package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Mem is a file system in memory for tests. It promises what POSIX promises and forgets the rest: Crash
// gives the file system as a power loss may leave it, CrashKeepAll as the death of the process does.
// OnOp observes and fails operations, SetCapacity makes a small disk.
//
// Relative names start at the root, which always exists and is durable. Files end at 4 GiB.
type Mem struct {
	ops  atomic.Int64
	hook atomic.Pointer[func(Op) error]

	mu       sync.Mutex // guards the fields below and every inode; never held while a hook runs
	root     *inode
	changes  []*nameChange // not durable, oldest first
	locks    map[*inode]bool
	capacity int64 // 0 = unlimited
	used     int64 // sum of space() over alive files
}

// maxMemFile keeps a wild offset from taking the machine's memory.
const maxMemFile = 4 << 30

// unlimitedTotal is the size that Usage shows when there is no capacity.
const unlimitedTotal = 1 << 50

// NewMem returns an empty file system without a limit.
func NewMem() *Mem { return &Mem{root: newDir(), locks: map[*inode]bool{}} }

// SetCapacity limits the sum of all files to bytes; 0 lifts the limit. A write that would pass it writes
// what fits and fails with syscall.ENOSPC; Preallocate and a lengthening Truncate fail whole. A limit
// below what is used already only stops growth. Names take no space, holes do.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = max(bytes, 0)
}

// Usage implements FS. Reserved space counts as used.
func (m *Mem) Usage(name string) (Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.findLocked(name); err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	total := m.capacity
	if total == 0 {
		total = unlimitedTotal
	}
	return Usage{Total: total, Free: max(total-m.used, 0)}, nil
}

// OpenFile implements FS.
func (m *Mem) OpenFile(name string, flag int) (File, error) {
	f, err := m.open(name, flag)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

func (m *Mem) open(name string, flag int) (*memFile, error) {
	if flag&os.O_APPEND != 0 {
		return nil, syscall.EINVAL
	}
	m.mu.Lock()
	_, err := m.findLocked(name)
	m.mu.Unlock()
	op := Op{Kind: OpOpen, Name: name}
	switch {
	case err == nil && flag&os.O_TRUNC != 0:
		op.Kind = OpTruncate
	case errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE != 0:
		op.Kind = OpCreate
	}
	if err := m.before(op); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.findOrCreateLocked(name, flag)
	if err != nil {
		return nil, err
	}
	f := &memFile{m: m, node: node, name: name, flag: flag}
	if node.isDir {
		return nil, syscall.EISDIR
	}
	if flag&os.O_TRUNC != 0 && f.writable() && node.now.space() > 0 {
		m.changeFileLocked(node, fileOp{kind: fileTruncate})
	}
	node.opens++
	return f, nil
}

func (m *Mem) findOrCreateLocked(name string, flag int) (*inode, error) {
	node, err := m.findLocked(name)
	switch {
	case err == nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case err == nil, !errors.Is(err, fs.ErrNotExist), flag&os.O_CREATE == 0:
		return node, err
	}
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return nil, err
	}
	node = newFile()
	m.changeNamesLocked(nameEdit{dir, base, node})
	return node, nil
}

// MkdirAll implements FS. Each directory it makes is durable after SyncDir of its own parent.
func (m *Mem) MkdirAll(name string) error {
	parts := splitName(name)
	for i := range parts {
		prefix := string(filepath.Separator) + filepath.Join(parts[:i+1]...)
		if err := m.mkdir(prefix); err != nil {
			return &fs.PathError{Op: "mkdir", Path: name, Err: err}
		}
	}
	return nil
}

// mkdir makes one directory unless it exists.
func (m *Mem) mkdir(name string) error {
	exists := func() (bool, error) {
		node, err := m.findLocked(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err == nil && !node.isDir:
			return false, syscall.ENOTDIR
		}
		return true, err
	}
	m.mu.Lock()
	done, err := exists()
	m.mu.Unlock()
	if done || err != nil {
		return err
	}
	if err := m.before(Op{Kind: OpMkdir, Name: name}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if done, err := exists(); done || err != nil {
		return err
	}
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return err
	}
	m.changeNamesLocked(nameEdit{dir, base, newDir()})
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := m.readDir(name)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return entries, nil
}

func (m *Mem) readDir(name string) ([]fs.DirEntry, error) {
	if err := m.before(Op{Kind: OpReadDir, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.findDirLocked(name)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, 0, len(dir.names))
	for _, base := range sortedNames(dir.names) {
		entries = append(entries, fs.FileInfoToDirEntry(dir.names[base].info(base)))
	}
	return entries, nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.findLocked(name)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return node.info(filepath.Base(name)), nil
}

// SyncDir implements FS. A failed one leaves the names as they were, not durable; a later one can make
// them so.
func (m *Mem) SyncDir(name string) error {
	if err := m.syncDir(name); err != nil {
		return &fs.PathError{Op: "sync", Path: name, Err: err}
	}
	return nil
}

func (m *Mem) syncDir(name string) error {
	if err := m.before(Op{Kind: OpSyncDir, Name: name}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.findDirLocked(name)
	if err != nil {
		return err
	}
	for _, change := range m.changes {
		change.edits = slices.DeleteFunc(change.edits, func(e nameEdit) bool {
			if e.dir == dir {
				setName(dir.durable, e.name, e.to)
			}
			return e.dir == dir
		})
	}
	m.changes = slices.DeleteFunc(m.changes, func(c *nameChange) bool { return len(c.edits) == 0 })
	return nil
}

// Lock implements FS. Handles of one Mem exclude each other as processes do; a crash frees all locks.
func (m *Mem) Lock(name string) (io.Closer, error) {
	lock, err := m.lock(name)
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return lock, nil
}

func (m *Mem) lock(name string) (*memLock, error) {
	if err := m.before(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.findOrCreateLocked(name, os.O_CREATE)
	switch {
	case err != nil:
		return nil, err
	case node.isDir:
		return nil, syscall.EISDIR
	case m.locks[node]:
		return nil, ErrLocked
	}
	m.locks[node] = true
	return &memLock{m: m, node: node}, nil
}

type memLock struct {
	m    *Mem
	node *inode // nil once closed
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.node == nil {
		return fs.ErrClosed
	}
	delete(l.m.locks, l.node)
	l.node = nil
	return nil
}

// changeFileLocked applies one change to a file and accounts for its space.
func (m *Mem) changeFileLocked(node *inode, op fileOp) {
	m.used -= node.now.space()
	node.do(op)
	m.used += node.now.space()
}

// changeNamesLocked applies edits as one change that a crash keeps or loses whole, as long as no SyncDir
// has covered a part of it.
func (m *Mem) changeNamesLocked(edits ...nameEdit) {
	for _, e := range edits {
		if old := e.dir.names[e.name]; old != nil {
			old.links--
		}
		if e.to != nil {
			e.to.links++
		}
		e.dir.modTime = time.Now()
	}
	for _, e := range edits {
		old := e.dir.names[e.name]
		setName(e.dir.names, e.name, e.to)
		if old != nil && !old.isDir && !old.alive() {
			m.used -= old.now.space()
		}
	}
	m.changes = append(m.changes, &nameChange{edits: edits})
}

func setName(names map[string]*inode, name string, to *inode) {
	if to == nil {
		delete(names, name)
	} else {
		names[name] = to
	}
}

func (m *Mem) findLocked(name string) (*inode, error) {
	if name == "" {
		return nil, fs.ErrNotExist
	}
	node := m.root
	for _, part := range splitName(name) {
		if !node.isDir {
			return nil, syscall.ENOTDIR
		}
		if node = node.names[part]; node == nil {
			return nil, fs.ErrNotExist
		}
	}
	return node, nil
}

func (m *Mem) findDirLocked(name string) (*inode, error) {
	node, err := m.findLocked(name)
	if err == nil && !node.isDir {
		err = syscall.ENOTDIR
	}
	return node, err
}

// parentLocked finds the directory that holds name, or would. The root has none.
func (m *Mem) parentLocked(name string) (dir *inode, base string, err error) {
	parts := splitName(name)
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	last := len(parts) - 1
	dir, err = m.findDirLocked(string(filepath.Separator) + filepath.Join(parts[:last]...))
	return dir, parts[last], err
}

// splitName gives the parts of a name from the root; none for the root itself.
func splitName(name string) []string {
	clean := filepath.Clean(string(filepath.Separator) + name)
	return strings.FieldsFunc(clean, func(r rune) bool { return r == filepath.Separator })
}

func sortedNames(names map[string]*inode) []string {
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}
