package cluster

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// Keys of the APIs that the package serves on the peer port.
const (
	keyEnvelope        = 58
	keyBrokerHeartbeat = 63
)

// Handler answers a private request. body is valid until it returns; the answer must not be changed after.
// ctx ends with the connection, and a while after the request came.
type Handler func(ctx context.Context, body []byte) ([]byte, error)

// Register says who answers a method. All methods are registered before the peer port is served.
func (n *Node) Register(method Method, handle func(ctx context.Context, body []byte) ([]byte, error)) {
	n.handlers[method] = handle
}

// APIs are what the package serves on the peer port. The owner adds its own and serves them all on
// Peers().Kafka().
func (n *Node) APIs() []wire.API {
	return []wire.API{
		{Key: keyEnvelope, Handle: n.serveCall},
		{Key: keyBrokerHeartbeat, Handle: n.serveHeartbeat},
	}
}

// serveCall hands a call to a goroutine of its own: a proposal waits for a disk, and what comes behind it
// on the connection must not.
func (n *Node) serveCall(r *wire.Request) {
	data := r.Body.(*kmsg.EnvelopeRequest).RequestData
	if len(data) == 0 {
		r.Close(fmt.Errorf("a call without a method"))
		return
	}
	method := Method(data[0])
	handle := n.handlers[method]
	switch {
	case handle == nil:
		replyCall(r, nil, fmt.Errorf("%w: %d", ErrUnknownMethod, method))
		return
	case !n.serving.enter():
		replyCall(r, nil, ErrBusy)
		return
	}
	release := r.Hold()
	go func() {
		defer n.serving.leave()
		defer release()
		ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
		defer cancel()
		stop := context.AfterFunc(n.life, cancel)
		defer stop()
		answer, err := handle(ctx, data[1:])
		replyCall(r, answer, err)
	}()
}

func replyCall(r *wire.Request, answer []byte, err error) {
	resp := kmsg.NewPtrEnvelopeResponse()
	if err != nil {
		resp.ResponseData = appendCallError(nil, err)
	} else {
		resp.ResponseData = append([]byte{byte(codeOK)}, answer...)
	}
	r.Reply(resp)
}

// servePropose commits what another node forwards.
func (n *Node) servePropose(ctx context.Context, body []byte) ([]byte, error) {
	meta := n.metadata()
	if meta == nil {
		return nil, fmt.Errorf("propose: %w: the node is starting", raftmeta.ErrNotLeader)
	}
	index, err := meta.ApplyEntry(ctx, append([]byte(nil), body...)) // the library keeps it
	if err != nil {
		return nil, err
	}
	return appendUint64(nil, index), nil
}

// gate counts goroutines that come from outside, bounds them, and lets Close wait for the last.
type gate struct {
	running sync.WaitGroup
	slots   chan struct{}

	mu   sync.Mutex // guards shut; held to add to running
	shut bool
}

func newGate(size int) *gate { return &gate{slots: make(chan struct{}, size)} }

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	select {
	case g.slots <- struct{}{}:
		g.running.Add(1)
		return true
	default:
		return false
	}
}

func (g *gate) leave() {
	<-g.slots
	g.running.Done()
}

// close turns everybody away who comes from now on, and waits for those inside.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	g.running.Wait()
}
