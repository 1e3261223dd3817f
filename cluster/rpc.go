package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
)

// Method numbers a private request between nodes. It travels in Kafka's Envelope, as the first byte of its
// data; what follows is the method's own. Numbers are never reused.
type Method byte

// The methods. The package serves those before MethodLogEnd itself.
const (
	methodNone      Method = iota // does nothing
	MethodPropose                 // commit an entry of commands as the Raft leader
	MethodAddServer               // let a server into the Raft group, or have its new address
	MethodPledge                  // give one's word to found a cluster
	MethodOutcome                 // what became of a pledge
	MethodHealth                  // how far a server's log goes
	// MethodLogEnd asks for the end of a replica's log, to choose a leader among replicas that all may have
	// lost something (replication.md 11.4). The broker serves it. Body: topic id [16], partition int32.
	// Answer: epoch of the last batch int32, -1 for none, log end offset int64. Integers are big-endian.
	MethodLogEnd
	// MethodOfBroker is the first of those that the broker numbers itself, up to 255.
	MethodOfBroker Method = 64
)

func (m Method) String() string {
	switch m {
	case MethodPropose:
		return "propose"
	case MethodAddServer:
		return "add_server"
	case MethodPledge:
		return "pledge"
	case MethodOutcome:
		return "outcome"
	case MethodHealth:
		return "health"
	case MethodLogEnd:
		return "log_end"
	}
	return "broker"
}

const (
	// callTimeout bounds a call whose context does not end earlier, and handleTimeout its handler: longer
	// than an election and a commit, so that an answer is worth waiting for.
	callTimeout   = 15 * time.Second
	handleTimeout = 15 * time.Second
	// maxCall bounds the body of a call, and its answer: the largest entry is one large command, and a little.
	maxCall = raftmeta.MaxCommandBytes + 64<<10
	// firstCall is how large the first request on a connection may be: the server wants to see a good one
	// before it takes the size of a larger one on trust.
	firstCall = 256 << 10
	// maxServing bounds the calls that are handled at once; more are told to come again.
	maxServing = 256
)

// What a call can come to, besides the errors of raftmeta that keep their meaning on the way.
var (
	// ErrRefused means that the other node understood and said no; the text says why.
	ErrRefused = errors.New("refused")
	// ErrBusy means that nothing was done, and the same call may succeed a little later.
	ErrBusy = errors.New("busy, try again")
	// ErrUnknownMethod means that the other node does not know the method.
	ErrUnknownMethod = errors.New("unknown method")

	errAnswer = errors.New("an answer of another form than it should have")
)

// callCode is how an error of a handler travels: the first byte of the answer, 0 for none. The numbers of
// raftmeta.Rejection follow codeRejection in a byte of their own.
type callCode byte

const (
	codeOK callCode = iota
	codeInternal
	codeNotLeader
	codeOutcomeUnknown
	codeRefused
	codeBusy
	codeUnknownMethod
	codeRejection
)

var callErrors = map[callCode]error{
	codeNotLeader: raftmeta.ErrNotLeader, codeOutcomeUnknown: raftmeta.ErrOutcomeUnknown,
	codeRefused: ErrRefused, codeBusy: ErrBusy, codeUnknownMethod: ErrUnknownMethod,
}

// maxErrorText bounds the text of an error on the wire.
const maxErrorText = 1 << 10

func appendCallError(dst []byte, err error) []byte {
	code := codeInternal
	for candidate, sentinel := range callErrors {
		if errors.Is(err, sentinel) {
			code = candidate
		}
	}
	var rejection raftmeta.Rejection
	if errors.As(err, &rejection) {
		return append(dst, byte(codeRejection), byte(rejection))
	}
	text := err.Error()
	return append(append(dst, byte(code)), text[:min(len(text), maxErrorText)]...)
}

// readAnswer splits an answer into its body or its error.
func readAnswer(answer []byte) ([]byte, error) {
	if len(answer) == 0 {
		return nil, errors.New("an empty answer")
	}
	code, rest := callCode(answer[0]), answer[1:]
	switch {
	case code == codeOK:
		return rest, nil
	case code == codeRejection && len(rest) == 1:
		return nil, raftmeta.Rejection(rest[0])
	}
	if sentinel, ok := callErrors[code]; ok {
		return nil, &remoteError{sentinel, string(rest)}
	}
	return nil, &remoteError{nil, string(rest)}
}

// remoteError is an error of another node. Its text holds that of the sentinel already.
type remoteError struct {
	sentinel error
	text     string
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.sentinel }

// Call sends a private request to the peer port at address and waits for its answer, which is the
// caller's. The error is ErrNotSent if there was no connection, what the handler returned (ErrRefused,
// ErrBusy, ErrUnknownMethod, a raftmeta.Rejection, raftmeta.ErrNotLeader, raftmeta.ErrOutcomeUnknown or a
// text), or anything else when it is not known whether the request was handled.
func (n *Node) Call(ctx context.Context, address string, method Method, body []byte) ([]byte, error) {
	if len(body) > maxCall {
		return nil, fmt.Errorf("%w: a body of %d bytes", ErrNotSent, len(body))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start := time.Now()
	n.metrics.callsInFlight.Inc()
	defer n.metrics.callsInFlight.Dec()
	answer, err := n.call(ctx, address, method, body)
	n.metrics.callSeconds.WithLabelValues(method.String()).Observe(time.Since(start).Seconds())
	if err != nil {
		n.metrics.callErrors.WithLabelValues(method.String()).Inc()
		return nil, fmt.Errorf("%s at %s: %w", method, address, err)
	}
	return answer, nil
}

func (n *Node) call(ctx context.Context, address string, method Method, body []byte) ([]byte, error) {
	link, err := n.pool.take(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	defer n.pool.put(link)
	if len(body) > firstCall && !link.Connected() {
		if _, err := link.Do(ctx, envelope(methodNone, nil)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
		}
	}
	resp, err := link.Do(ctx, envelope(method, body))
	if err != nil {
		return nil, err
	}
	data := resp.(*kmsg.EnvelopeResponse).ResponseData
	if len(data) > maxCall+1 {
		return nil, fmt.Errorf("an answer of %d bytes", len(data))
	}
	return readAnswer(append([]byte(nil), data...)) // the link's buffer is used again
}

func envelope(method Method, body []byte) *kmsg.EnvelopeRequest {
	req := kmsg.NewPtrEnvelopeRequest()
	req.RequestData = append([]byte{byte(method)}, body...)
	req.ClientHostAddress = []byte{}
	return req
}
