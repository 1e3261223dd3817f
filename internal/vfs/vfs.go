// Package vfs is the only door to the disk. In production it is the operating system; in tests it is
// a file system in memory that crashes, forgets what was not synced, fills up, or fails on request.
//
// The contract is what POSIX promises and no more: bytes survive a power loss only after Sync of the
// file, a name (created, renamed, removed) only after SyncDir of its directory. Nothing here retries:
// a failed Sync is reported once and the caller must treat the file as lost (replication.md 15.3).
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked is returned by FS.Lock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// FS names files by path, in the form of the host (path/filepath). All methods may be called from
// several goroutines. Errors satisfy errors.Is with fs.ErrNotExist, fs.ErrExist, syscall.ENOSPC and
// syscall.EIO where those are the cause.
type FS interface {
	// OpenFile opens name with flags of package os (O_RDONLY, O_RDWR, O_CREATE, O_EXCL, O_TRUNC; never
	// O_APPEND: every write here says where it goes). New files are readable by the owner and group.
	OpenFile(name string, flag int) (File, error)
	MkdirAll(name string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// Rename replaces newName if it is a file. It is durable after SyncDir of both parents.
	Rename(oldName, newName string) error
	Remove(name string) error
	RemoveAll(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock on the file name, creating it, for as long as the process lives or
	// until the returned Closer is closed. It does not wait: a lock held elsewhere is ErrLocked.
	Lock(name string) (io.Closer, error)
	// Usage tells how full the file system that holds name is.
	Usage(name string) (Usage, error)
}

// Usage is in bytes. Free is what an unprivileged writer can still use.
type Usage struct{ Total, Free int64 }

// File is an open file. ReadAt and WriteAt may be called concurrently on different ranges; WriteAt
// writes everything or returns an error, with an unknown part of the range written.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the current length in bytes.
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the bytes and the length durable (fdatasync).
	Sync() error
	// Preallocate reserves disk space for [0, size) without changing the length, so that a full disk
	// shows here and not in the middle of a write. File systems without the call do nothing.
	Preallocate(size int64) error
}
