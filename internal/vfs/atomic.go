package vfs

import (
	"fmt"
	"os"
	"path/filepath"
)

// TempSuffix marks files that WriteFileAtomic had not finished; recovery removes them.
const TempSuffix = ".tmp"

// WriteFileAtomic replaces name by data so that after a crash at any point it holds either the old
// content or the new one: temporary file, sync, rename, sync of the directory (replication.md 2.2).
// On an error the old content is still in place, unless only the last sync failed.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	temp := name + TempSuffix
	if err := writeFile(fsys, temp, data); err != nil {
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := fsys.Rename(temp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

func writeFile(fsys FS, name string, data []byte) (err error) {
	f, err := fsys.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Sync()
}

// ReadFile reads a whole file. It is for small state files: one above limit bytes is refused before
// it is allocated.
func ReadFile(fsys FS, name string, limit int64) (data []byte, err error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d expected of it", name, size, limit)
	}
	data = make([]byte, size)
	if size == 0 {
		return data, nil
	}
	n, err := f.ReadAt(data, 0)
	if n == len(data) {
		err = nil // io.EOF may come with the last byte
	}
	return data[:n], err
}
