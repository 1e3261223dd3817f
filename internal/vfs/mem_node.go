package vfs

import (
	"io/fs"
	"slices"
	"time"
)

// inode is a file or a directory, apart from its names. Mem.mu guards it.
//
// A file is three things: disk is what no crash can take, now is what a process reads, and log holds, in
// order, the operations that lead from the one to the other. A directory is two: names is what a process
// sees, durable what every crash leaves; the changes between them are in Mem.changes, because a rename
// can belong to two directories.
type inode struct {
	isDir   bool
	modTime time.Time
	links   int // names it has now; a crash can leave a file with two, a half-durable rename
	opens   int // handles; a file lives, and takes space, while links or opens are above zero

	names, durable map[string]*inode

	now, disk content
	log       []fileOp
}

func newFile() *inode { return &inode{modTime: time.Now()} }

func newDir() *inode {
	return &inode{isDir: true, modTime: time.Now(), names: map[string]*inode{}, durable: map[string]*inode{}}
}

// alive tells whether the file still takes space.
func (n *inode) alive() bool { return !n.isDir && (n.links > 0 || n.opens > 0) }

// do applies op to what a process reads and remembers it as not durable.
func (n *inode) do(op fileOp) {
	n.now.apply(op)
	n.log = append(n.log, op)
	n.modTime = time.Now()
}

// sync makes what was dirty durable. Operations of an earlier, failed sync are not: the kernel took their
// pages for clean. They stay in the log, in front of what was synced after them, because a crash may
// have kept them or not, and must then be overwritten in the right order.
func (n *inode) sync() {
	for i := range n.log {
		if n.log[i].state == opDirty {
			n.log[i].state = opSynced
		}
	}
	folded := 0
	for folded < len(n.log) && n.log[folded].state == opSynced {
		n.disk.apply(n.log[folded])
		folded++
	}
	n.log = slices.Delete(n.log, 0, folded)
}

// failSync is what the kernel does on a write-back error: it reports it once and marks the pages clean.
func (n *inode) failSync() {
	for i := range n.log {
		if n.log[i].state == opDirty {
			n.log[i].state = opAbandoned
		}
	}
}

type opState uint8

const (
	opDirty     opState = iota // a later sync makes it durable
	opSynced                   // durable, waiting behind an abandoned one
	opAbandoned                // its sync failed: nothing will make it durable
)

type fileOpKind uint8

const (
	fileWrite fileOpKind = iota
	fileTruncate
	fileReserve
)

// fileOp is one change of a file's content. data belongs to it.
type fileOp struct {
	kind  fileOpKind
	state opState
	off   int64 // fileWrite: where; else the size asked for
	data  []byte
}

// content is what a file holds: its bytes and the space reserved for it.
type content struct {
	data     []byte
	reserved int64
}

func (c *content) apply(op fileOp) {
	switch op.kind {
	case fileWrite:
		c.extend(op.off + int64(len(op.data)))
		copy(c.data[op.off:], op.data)
	case fileTruncate:
		if op.off < int64(len(c.data)) {
			clear(c.data[op.off:]) // a later extension must read zeroes
			c.data = c.data[:op.off]
		}
		c.extend(op.off)
		c.reserved = min(c.reserved, op.off) // truncation frees reserved space past the end too
	case fileReserve:
		c.reserved = max(c.reserved, op.off)
	}
}

// extend lengthens the file with zeroes to size; a longer file stays.
func (c *content) extend(size int64) {
	if grow := size - int64(len(c.data)); grow > 0 {
		c.data = slices.Grow(c.data, int(grow))[:size]
	}
}

func (c content) clone() content {
	return content{data: slices.Clone(c.data), reserved: c.reserved}
}

// space is what the file takes on the disk. Holes count as if they were written.
func (c content) space() int64 { return max(int64(len(c.data)), c.reserved) }

// nameChange is one atomic change of names that is not durable yet. Its edits are those that no SyncDir
// has covered; a rename begins with two.
type nameChange struct{ edits []nameEdit }

// nameEdit gives a name in dir to an inode, or to none.
type nameEdit struct {
	dir  *inode
	name string
	to   *inode
}

// memInfo implements fs.FileInfo.
type memInfo struct {
	name    string
	size    int64
	isDir   bool
	modTime time.Time
}

func (n *inode) info(name string) fs.FileInfo {
	return memInfo{name: name, size: int64(len(n.now.data)), isDir: n.isDir, modTime: n.modTime}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.modTime }
func (i memInfo) IsDir() bool        { return i.isDir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.isDir {
		return fs.ModeDir | 0o750
	}
	return 0o640
}
