package wire

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// tryRead is called with the descriptor when it may be readable. It returns false to be called again
// when it is; by then an idle connection has given its buffer back. It must not block: closing the
// connection waits for it.
func (f *frameReader) tryRead(fd uintptr) bool {
	if !f.room() {
		f.result = readNoMemory
		return true
	}
	for {
		n, err := unix.Read(int(fd), f.cur.b[f.w:])
		switch {
		case n > 0:
			f.w += n
			f.result = readSome
			return true
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if f.clock.mustWake(f.w > f.r) {
				f.result = readMustPark
				return true
			}
			f.park()
			return false
		case err != nil:
			f.result, f.resultErr = readFailed, os.NewSyscallError("read", err)
			return true
		default:
			f.result, f.resultErr = readFailed, io.EOF
			return true
		}
	}
}
