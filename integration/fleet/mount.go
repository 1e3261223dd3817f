package fleet

import (
	"fmt"
	"os"
	"syscall"
)

// MountSmall makes dir a file system of its own, in memory, that is full after the given number of bytes. It needs root.
func MountSmall(dir string, bytes int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("chronik-small", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", bytes)); err != nil {
		return fmt.Errorf("mount a small file system on %s, which needs root (CAP_SYS_ADMIN): %w", dir, err)
	}
	return nil
}

// Unmount removes it with all that it holds. A process that still uses it keeps it alive until it ends.
func Unmount(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
