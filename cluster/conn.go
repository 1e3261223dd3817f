package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAnswer bounds an answer on the peer port: a fetch of replica.fetch.response.max.bytes and one batch.
const maxAnswer = 256 << 20

// ErrNotSent means that a request did not leave this node: there was no connection to send it on.
var ErrNotSent = errors.New("request was not sent")

// Link is a connection to another broker's peer port that is made when it is needed, and again after an
// error. It carries one request at a time. Its methods may be called from any goroutine.
type Link struct {
	peers   *Peers
	address string

	busy chan struct{} // holds a token while the fields below are in use
	conn net.Conn
	next int32
	buf  []byte // of the last answer

	mu   sync.Mutex // guards open
	open net.Conn   // conn, for Close to interrupt
	shut bool
}

// Link returns a link to address. The caller closes it.
func (p *Peers) Link(address string) *Link {
	return &Link{peers: p, address: address, busy: make(chan struct{}, 1)}
}

// Address is where the link leads.
func (l *Link) Address() string { return l.address }

// Do sends a request in the version that it has, and returns the answer; the answer's byte slices are
// valid until the next call. With ErrNotSent nothing was sent. After an error the connection is gone, and
// with it whatever the other side kept for it. It waits for ctx.
func (l *Link) Do(ctx context.Context, req kmsg.Request) (resp kmsg.Response, err error) {
	select {
	case l.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.busy }()
	if l.conn == nil {
		if err := l.connect(ctx); err != nil {
			return nil, err
		}
	}
	conn := l.conn // the function may still run when the link has the next
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	resp, err = l.roundTrip(req)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline that was set stays on the connection
	}
	if err != nil {
		l.drop()
		return nil, fmt.Errorf("peer %s: %s: %w", l.address, kmsg.NameForKey(req.Key()), errors.Join(err, ctx.Err()))
	}
	return resp, nil
}

// Connected tells whether the last request left a connection behind.
func (l *Link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open != nil
}

// Close ends the link, also under a request.
func (l *Link) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	if l.open != nil {
		_ = l.open.Close()
	}
}

func (l *Link) connect(ctx context.Context) error {
	conn, _, err := l.peers.dial(ctx, kindKafka, l.address, identity{})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return errors.Join(net.ErrClosed, conn.Close())
	}
	l.conn, l.open = conn, conn
	return nil
}

func (l *Link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.Close()
	l.conn, l.open = nil, nil
}

func (l *Link) roundTrip(req kmsg.Request) (kmsg.Response, error) {
	l.next++
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("chronik"))
	if _, err := l.conn.Write(formatter.AppendRequest(nil, req, l.next)); err != nil {
		return nil, err
	}
	body, err := l.readFrame()
	if err != nil {
		return nil, err
	}
	r := kbin.Reader{Src: body}
	if id := r.Int32(); id != l.next {
		return nil, fmt.Errorf("answer %d to request %d", id, l.next)
	}
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if !r.Ok() {
		return nil, kbin.ErrNotEnoughData
	}
	resp := req.ResponseKind()
	return resp, resp.ReadFrom(r.Src)
}

func (l *Link) readFrame() ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(l.conn, prefix[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(prefix[:])))
	if n < 4 || n > maxAnswer {
		return nil, fmt.Errorf("answer of %d bytes", n)
	}
	const step = 1 << 20 // what is believed at once of a length that only claims to come
	l.buf = l.buf[:0]
	for len(l.buf) < n {
		at := len(l.buf)
		l.buf = slices.Grow(l.buf, min(n-at, max(step, at)))[:min(n, max(at+step, 2*at))]
		if _, err := io.ReadFull(l.conn, l.buf[at:]); err != nil {
			return nil, err
		}
	}
	return l.buf, nil
}
