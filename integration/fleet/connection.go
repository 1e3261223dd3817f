package fleet

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	chunkBytes  = 16 << 10
	chunksAhead = 64 // that a direction holds for its reader, as the buffers of a real socket would
	dialTimeout = 5 * time.Second
)

// connection is one that a node opened to another, with a socket to each end.
type connection struct {
	links          *Links
	from, to       int32  // who opened it, to whom
	source, target string // the IP it comes from, the address it goes to
	there, back    *gate

	done chan struct{} // closed by end

	mu               sync.Mutex // guards the fields below
	ended            bool
	dialer, answerer *net.TCPConn // answerer is nil until the target has been reached
}

// chunk is a piece of a stream, or its end.
type chunk struct {
	bytes []byte
	sent  time.Time
	err   error // io.EOF, or the reset that ended the stream
}

// run carries bytes both ways until both have ended or one was reset.
func (c *connection) run() {
	var work sync.WaitGroup
	defer work.Wait()
	defer c.end(false) // first: it wakes the readers

	thence := make(chan chunk, chunksAhead)
	gone := make(chan struct{}) // closed when the dialer's stream has ended
	work.Go(func() {
		defer close(gone)
		c.read(c.dialer, thence)
	})
	answerer := c.reach(gone)
	if answerer == nil {
		c.end(true)
		return
	}
	hence := make(chan chunk, chunksAhead)
	work.Go(func() { c.read(answerer, hence) })
	var halves sync.WaitGroup
	halves.Go(func() { c.write(answerer, c.there, thence) })
	halves.Go(func() { c.write(c.dialer, c.back, hence) })
	halves.Wait()
}

// reach connects to the target once a handshake would get through: both directions must let it pass. A dialer that has
// given up by then is forgotten, as its SYN would be.
func (c *connection) reach(gone <-chan struct{}) *net.TCPConn {
	if !c.there.pass(0, time.Now(), c.done, gone) || !c.back.pass(0, time.Now(), c.done, gone) {
		return nil
	}
	conn, err := dialFrom(c.source, c.target)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		_ = conn.Close()
		return nil
	}
	c.answerer = conn.(*net.TCPConn)
	return c.answerer
}

// dialFrom connects from the IP of the node that dialed, so that the target sees who it is. The port is chosen when the
// target is known: a plain bind wants one that no connection to anywhere has used of late, and they run out.
func dialFrom(ip, target string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	d.Control = func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		})
		return errors.Join(err, set)
	}
	return d.Dial("tcp", target)
}

// read turns a stream into chunks until it ends. A reader ahead of its gate by chunksAhead stops reading, and the sender's
// window fills.
func (c *connection) read(from *net.TCPConn, to chan<- chunk) {
	buf := make([]byte, chunkBytes)
	for {
		n, err := from.Read(buf)
		now := time.Now()
		for _, piece := range []chunk{{bytes: append([]byte(nil), buf[:n]...), sent: now}, {sent: now, err: err}} {
			if len(piece.bytes) == 0 && piece.err == nil {
				continue
			}
			select {
			case to <- piece:
			case <-c.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write delivers chunks as the gate lets them pass. The end of the stream travels like its bytes.
func (c *connection) write(to *net.TCPConn, through *gate, from <-chan chunk) {
	for {
		var piece chunk
		select {
		case piece = <-from:
		case <-c.done:
			return
		}
		if !through.pass(len(piece.bytes), piece.sent, c.done, nil) {
			return
		}
		switch {
		case piece.err == io.EOF:
			_ = to.CloseWrite() // the other direction may live on
			return
		case piece.err != nil:
			c.end(true)
			return
		}
		if _, err := to.Write(piece.bytes); err != nil {
			c.end(true)
			return
		}
	}
}

// end closes both sockets, by a reset if so asked.
func (c *connection) end(hard bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	close(c.done)
	for _, conn := range []*net.TCPConn{c.dialer, c.answerer} {
		switch {
		case conn == nil:
		case hard:
			reset(conn)
		default:
			_ = conn.Close()
		}
	}
}

// reset closes a connection so that its peer gets a reset and not an orderly end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
