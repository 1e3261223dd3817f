package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Every connection on the peer port begins with a hello in each direction. It says which cluster and which
// node is at either end, and for Raft also whom the caller means: an address can change hands, and a voter
// must never answer for the one that lived there before (I24).
//
//	hello   kind, version, cluster id [16], from: node int32, directory [16], to: the same, zero for whoever it is
//	answer  code, cluster id [16], node int32, directory [16]
const (
	helloVersion  = 1
	identityBytes = 4 + 16
	helloBytes    = 2 + 16 + 2*identityBytes
	answerBytes   = 1 + 16 + identityBytes
)

// Answers to a hello.
const (
	helloOK byte = iota
	helloOtherCluster
	helloUnknown
	helloOtherNode
	helloNotFormed
)

// What a hello can be refused with.
var (
	// ErrOtherCluster means that a node belongs to another cluster and will have nothing to do with this one.
	ErrOtherCluster = errors.New("the node at the other end belongs to another cluster")

	errOtherNode = errors.New("another node answers at this address")
	errNotFormed = errors.New("the node at the other end belongs to no cluster yet")
)

type hello struct {
	kind      byte
	clusterID uuid.ID
	from, to  identity
}

func appendIdentity(dst []byte, id identity) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(id.node)), id.directory[:]...)
}

func readIdentity(b []byte) identity {
	return identity{int32(binary.BigEndian.Uint32(b)), uuid.ID(b[4:identityBytes])}
}

func (h *hello) append(dst []byte) []byte {
	dst = append(append(dst, h.kind, helloVersion), h.clusterID[:]...)
	return appendIdentity(appendIdentity(dst, h.from), h.to)
}

// judge says what a hello is answered with, by a node that is own of cluster clusterID. A node that has
// no cluster yet talks only to others that have none; one that has a cluster listens to those, for they
// may want to join, but Raft is for members.
func (h *hello) judge(version byte, clusterID uuid.ID, own identity) (byte, error) {
	raft := h.kind == kindRaft
	switch {
	case !raft && h.kind != kindKafka || version != helloVersion:
		return helloUnknown, fmt.Errorf("hello %q of version %d is not one of ours", h.kind, version)
	case clusterID.IsZero() && (raft || !h.clusterID.IsZero()):
		return helloNotFormed, fmt.Errorf("node %s of cluster %s is early: this node has no cluster yet", h.from, h.clusterID)
	case h.clusterID != clusterID && (raft || !h.clusterID.IsZero()):
		return helloOtherCluster, fmt.Errorf("node %s belongs to cluster %s, this node to %s", h.from, h.clusterID, clusterID)
	case !h.to.isZero() && h.to != own:
		return helloOtherNode, fmt.Errorf("node %s looks for %s, this is %s", h.from, h.to, own)
	}
	return helloOK, nil
}

// hello reads a caller's hello and answers it.
func (p *Peers) hello(conn net.Conn) (kind byte, err error) {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return 0, err
	}
	var in [helloBytes]byte
	if _, err := io.ReadFull(conn, in[:]); err != nil {
		return 0, fmt.Errorf("read hello: %w", err)
	}
	h := hello{
		kind: in[0], clusterID: uuid.ID(in[2:18]),
		from: readIdentity(in[18:]), to: readIdentity(in[18+identityBytes:]),
	}
	own := *p.clusterID.Load()
	code, refused := h.judge(in[1], own, p.self)
	answer := append([]byte{code}, own[:]...)
	if _, err := conn.Write(appendIdentity(answer, p.self)); err != nil {
		return 0, fmt.Errorf("answer hello: %w", err)
	}
	if refused != nil {
		return 0, refused
	}
	return h.kind, conn.SetDeadline(time.Time{})
}

// introduction is what the other end of a connection said of itself.
type introduction struct {
	identity
	clusterID uuid.ID
}

// sayHello is the caller's part. The introduction is also returned with a refusal.
func (p *Peers) sayHello(conn net.Conn, deadline time.Time, kind byte, to identity) (introduction, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return introduction{}, err
	}
	h := hello{kind: kind, clusterID: *p.clusterID.Load(), from: p.self, to: to}
	if _, err := conn.Write(h.append(nil)); err != nil {
		return introduction{}, fmt.Errorf("say hello: %w", err)
	}
	var answer [answerBytes]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return introduction{}, fmt.Errorf("wait for the answer to hello: %w", err)
	}
	met := introduction{readIdentity(answer[17:]), uuid.ID(answer[1:17])}
	switch answer[0] {
	case helloOK:
		return met, conn.SetDeadline(time.Time{})
	case helloOtherCluster:
		return met, fmt.Errorf("%w: it is of %s", ErrOtherCluster, met.clusterID)
	case helloOtherNode:
		return met, fmt.Errorf("%w: %s", errOtherNode, met.identity)
	case helloNotFormed:
		return met, errNotFormed
	}
	return met, fmt.Errorf("hello was answered with %d", answer[0])
}
