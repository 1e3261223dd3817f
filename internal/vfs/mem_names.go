package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Rename implements FS. As with os.Rename an existing directory is never replaced. Within a directory a
// crash keeps it whole or not at all. Between two it does so until one is synced; then the other half
// may still be lost by itself, leaving the file under both names or under none.
func (m *Mem) Rename(oldName, newName string) error {
	if err := m.rename(oldName, newName); err != nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	return nil
}

func (m *Mem) rename(oldName, newName string) error {
	if err := m.before(Op{Kind: OpRename, Name: oldName, To: newName}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.findLocked(oldName)
	if err != nil {
		return err
	}
	oldDir, oldBase, err := m.parentLocked(oldName)
	if err != nil {
		return err
	}
	newDir, newBase, err := m.parentLocked(newName)
	if err != nil {
		return err
	}
	target := newDir.names[newBase]
	switch {
	case target == node:
		return nil
	case target != nil && target.isDir:
		return fs.ErrExist
	case target != nil && node.isDir:
		return syscall.ENOTDIR
	case node.isDir && within(oldName, newName):
		return syscall.EINVAL
	}
	m.changeNamesLocked(nameEdit{newDir, newBase, node}, nameEdit{oldDir, oldBase, nil})
	return nil
}

// within tells whether name lies below dir.
func within(dir, name string) bool {
	above, below := splitName(dir), splitName(name)
	return len(below) > len(above) && slices.Equal(above, below[:len(above)])
}

// Remove implements FS. A handle on the file stays usable.
func (m *Mem) Remove(name string) error {
	if err := m.remove(name); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

func (m *Mem) remove(name string) error {
	if err := m.before(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.findLocked(name)
	if err != nil {
		return err
	}
	if len(node.names) > 0 {
		return syscall.ENOTEMPTY
	}
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return err
	}
	m.changeNamesLocked(nameEdit{dir, base, nil})
	return nil
}

// RemoveAll implements FS: children first, each name an operation and a change of its own, as on a real
// disk. A name that does not exist is no error.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	node, err := m.findLocked(name)
	var children []string
	if err == nil && node.isDir {
		children = sortedNames(node.names)
	}
	m.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &fs.PathError{Op: "removeall", Path: name, Err: err}
	}
	for _, child := range children {
		if err := m.RemoveAll(filepath.Join(name, child)); err != nil {
			return err
		}
	}
	if err := m.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
