package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// ErrServerClosed is why a connection ended that Shutdown closed.
var ErrServerClosed = errors.New("the server is shutting down")

// closeReason says in one word why a connection ended; it is the label of the metric.
type closeReason uint8

const (
	closedByClient closeReason = iota
	closedIdle
	closedFrameTimeout
	closedWriteTimeout
	closedBadRequest
	closedUnsupported
	closedByHandler
	resetByHandler
	closedByPanic
	closedNoMemory
	closedShutdown
	closedError
	closeReasons // their number
)

func (r closeReason) String() string {
	return [closeReasons]string{
		"client", "idle", "frame_timeout", "write_timeout", "bad_request", "unsupported",
		"handler", "handler_reset", "panic", "memory", "shutdown", "error",
	}[r]
}

// orderly tells whether the replies to earlier requests still go out. They do when only what the peer
// sends is over; they cannot when the peer is gone or does not take them.
func (r closeReason) orderly() bool {
	switch r {
	case closedBadRequest, closedUnsupported, closedByHandler, closedByPanic, closedNoMemory, closedShutdown, closedFrameTimeout:
		return true
	default:
		return false
	}
}

// closeError is the end of a connection.
type closeError struct {
	reason closeReason
	err    error
}

func (e *closeError) Error() string { return e.err.Error() }
func (e *closeError) Unwrap() error { return e.err }

// reset lets the peer see the end as a broken connection.
func reset(nc net.Conn) {
	if wrapped, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = wrapped.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the end is an orderly one
	}
}

func closing(reason closeReason, format string, args ...any) *closeError {
	return &closeError{reason, fmt.Errorf(format, args...)}
}

// socketClosed turns an error of the socket into the end of the connection.
func socketClosed(err error) *closeError {
	var c *closeError
	switch {
	case errors.As(err, &c):
		return c
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &closeError{closedByClient, err}
	default:
		return &closeError{closedError, err}
	}
}
