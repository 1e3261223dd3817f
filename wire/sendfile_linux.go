package wire

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSendfile bounds one sendfile call, and with it the time until a deadline is looked at.
const maxSendfile = 4 << 20

// sendfile sends [off, off+n) of f until it is sent, the deadline passes, or it fails; sent counts also
// then. The offset is given explicitly, so that connections can share one descriptor: ReadFrom of a
// net.TCPConn would move the file's own (golang/go #61727).
func sendfile(to syscall.RawConn, f *os.File, off, n int64) (sent int64, err error) {
	from, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var sendErr, writeErr error
	err = from.Control(func(src uintptr) {
		writeErr = to.Write(func(dst uintptr) (done bool) {
			for sent < n {
				pos := off + sent
				k, err := unix.Sendfile(int(dst), int(src), &pos, int(min(n-sent, maxSendfile)))
				switch {
				case k > 0:
					sent += int64(k)
				case err == unix.EINTR:
				case err == unix.EAGAIN:
					return false
				case err == unix.EINVAL, err == unix.ENOSYS, err == unix.EOPNOTSUPP:
					sendErr = errNoSendfile
					return true
				case err != nil:
					sendErr = os.NewSyscallError("sendfile", err)
					return true
				default:
					sendErr = io.ErrUnexpectedEOF // the file ends within the range
					return true
				}
			}
			return true
		})
	})
	for _, e := range []error{err, sendErr, writeErr} {
		if e != nil {
			return sent, e
		}
	}
	return sent, nil
}

// sendMore writes p with the promise that more follows at once.
func sendMore(to syscall.RawConn, p []byte) (sent int, err error) {
	var sendErr error
	err = to.Write(func(fd uintptr) (done bool) {
		for sent < len(p) {
			n, err := unix.SendmsgN(int(fd), p[sent:], nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			switch {
			case n > 0:
				sent += n
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				return false
			default:
				sendErr = os.NewSyscallError("sendmsg", err)
				return true
			}
		}
		return true
	})
	if sendErr != nil {
		return sent, sendErr
	}
	return sent, err
}
