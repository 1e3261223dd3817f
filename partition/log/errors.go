package log

import (
	"errors"
	"fmt"
)

// Errors that callers branch on; the details are in the wrapping text. Those of the idempotence rules
// are in producers.go.
var (
	// ErrOffsetOutOfRange: the offset is below the start or above the end.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrRecordListTooLarge: an append does not fit into one segment. Nothing was written.
	ErrRecordListTooLarge = errors.New("record list is larger than a segment")
	// ErrUnexpectedOffset: replicated batches do not continue this log. Nothing was written.
	ErrUnexpectedOffset = errors.New("batch does not continue the log")
	// ErrDiskFull: there is no space for an append, and nothing was written. Appends work again by
	// themselves once there is space.
	ErrDiskFull = errors.New("disk is full")
	// ErrDirFailed: a write or sync of the data directory failed in this run. Nothing is acknowledged
	// any more and nothing is tried again: the kernel may have dropped the bytes (replication.md 15.3).
	ErrDirFailed = errors.New("data directory has failed")
	// ErrQuarantined: the log is damaged below the point up to which it was known to be on disk. It
	// serves nothing and loses nothing until it was repaired from a peer or by hand. The error also
	// wraps ErrCorrupt.
	ErrQuarantined = errors.New("log is quarantined")
	// ErrCorrupt: stored bytes are not what was written.
	ErrCorrupt = errors.New("log is corrupt")
	// ErrClosed: the log or the directory was closed or removed.
	ErrClosed = errors.New("log is closed")
	// ErrStaleEpoch: a leader epoch is older than one that the log has seen.
	ErrStaleEpoch = errors.New("leader epoch is older than the log's")
)

// CorruptError says which bytes could not be believed. It is ErrCorrupt.
type CorruptError struct {
	File string
	Pos  int64 // bytes from the start of the file
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt at byte %d: %v", e.File, e.Pos, e.Err)
}

// Unwrap gives ErrCorrupt and the cause.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }
