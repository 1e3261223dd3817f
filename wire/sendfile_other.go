//go:build !linux

package wire

import (
	"os"
	"syscall"
)

// sendfile is for Linux; elsewhere ranges go through the buffer.
func sendfile(syscall.RawConn, *os.File, int64, int64) (int64, error) { return 0, errNoSendfile }

// sendMore cannot say elsewhere that more follows.
func sendMore(to syscall.RawConn, p []byte) (sent int, err error) {
	var writeErr error
	err = to.Write(func(fd uintptr) bool {
		for sent < len(p) {
			n, err := syscall.Write(int(fd), p[sent:])
			switch {
			case n > 0:
				sent += n
			case err == syscall.EINTR:
			case err == syscall.EAGAIN:
				return false
			default:
				writeErr = os.NewSyscallError("write", err)
				return true
			}
		}
		return true
	})
	if writeErr != nil {
		return sent, writeErr
	}
	return sent, err
}
