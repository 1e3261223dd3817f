package vfs

import "fmt"

// OpKind says what an operation on a Mem does.
type OpKind uint8

// The operations a hook sees. A call that does several, such as MkdirAll, RemoveAll or an OpenFile that
// creates, is seen as one operation per name it changes, so that a crash can fall between any two.
const (
	OpOpen        OpKind = iota // OpenFile of an existing file, without O_TRUNC
	OpRead                      // ReadAt
	OpReadDir                   // ReadDir
	OpCreate                    // OpenFile of a new file
	OpMkdir                     // one directory of MkdirAll
	OpWrite                     // WriteAt
	OpTruncate                  // Truncate, or O_TRUNC of an existing file
	OpPreallocate               // Preallocate
	OpSync                      // Sync of a file
	OpRename                    // Rename; Op.To is the new name
	OpRemove                    // Remove, or one name of RemoveAll
	OpSyncDir                   // SyncDir
	OpLock                      // Lock
)

var opNames = [...]string{
	OpOpen: "open", OpRead: "read", OpReadDir: "readdir", OpCreate: "create", OpMkdir: "mkdir",
	OpWrite: "write", OpTruncate: "truncate", OpPreallocate: "preallocate", OpSync: "sync",
	OpRename: "rename", OpRemove: "remove", OpSyncDir: "syncdir", OpLock: "lock",
}

func (k OpKind) String() string {
	if int(k) < len(opNames) {
		return opNames[k]
	}
	return fmt.Sprintf("OpKind(%d)", uint8(k))
}

// Mutates tells whether the operation can change what is seen now or after a crash. Those are the ones
// Mem.Ops counts. Syncs are among them.
func (k OpKind) Mutates() bool { return k >= OpCreate }

// Op is an operation about to happen.
type Op struct {
	Kind   OpKind
	Name   string // as the caller gave it; for a file, as it was opened
	To     string // the new name of OpRename
	Offset int64  // of OpRead and OpWrite, in bytes
	Len    int64  // bytes of OpRead and OpWrite; the size asked by OpTruncate and OpPreallocate
}

func (op Op) String() string {
	switch op.Kind {
	case OpRead, OpWrite:
		return fmt.Sprintf("%s %s [%d, %d)", op.Kind, op.Name, op.Offset, op.Offset+op.Len)
	case OpTruncate, OpPreallocate:
		return fmt.Sprintf("%s %s %d", op.Kind, op.Name, op.Len)
	case OpRename:
		return fmt.Sprintf("%s %s %s", op.Kind, op.Name, op.To)
	}
	return fmt.Sprintf("%s %s", op.Kind, op.Name)
}

// PartialWrite, returned by a hook for an OpWrite, lets the first N bytes be written before the write
// fails with Err. For other operations it is an error like any other.
type PartialWrite struct {
	N   int
	Err error
}

func (e *PartialWrite) Error() string {
	return fmt.Sprintf("partial write of %d bytes: %v", e.N, e.Err)
}

// Unwrap gives the cause.
func (e *PartialWrite) Unwrap() error { return e.Err }

// OnOp installs a hook, in place of any other; nil removes it. It is called before every read and every
// mutating operation, by the goroutine that asked for it and without any lock of m: it may call m,
// block, or be called concurrently. An error makes the operation fail with it (errors.Is finds it) and
// have no effect, but for two: an OpWrite failing with *PartialWrite writes a part, and a failed OpSync
// behaves as the kernel does: the unsynced bytes stay readable and count as clean. A later Sync
// succeeds without making them durable.
func (m *Mem) OnOp(hook func(op Op) error) { m.hook.Store(&hook) }

// Ops counts the mutating operations so far, failed ones included. Inside a hook it counts the operation
// the hook was called for, so that a test can crash at the n-th.
func (m *Mem) Ops() int { return int(m.ops.Load()) }

func (m *Mem) before(op Op) error {
	if op.Kind.Mutates() {
		m.ops.Add(1)
	}
	if hook := m.hook.Load(); hook != nil && *hook != nil {
		return (*hook)(op)
	}
	return nil
}
