package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// standing is how far a node is on its way into a cluster, as it tells the others by gossip.
type standing uint8

const (
	standingEmpty   standing = iota // belongs to no cluster
	standingPledged                 // has given its word to found one
	standingFormed                  // belongs to a cluster
)

// member is what a run of a node tells of itself by gossip. Each run goes by a name of its own: memberlist
// would not let a node come back at another address before its last run counts as dead, some seconds later.
type member struct {
	identity
	run         uint64 // when it started, by its clock; of two runs of a node the later is believed
	clusterID   uuid.ID
	peerAddress string
	standing    standing
	expect      int // BootstrapExpect
}

// memberVersion is the first byte of an encoded member. Readers ignore bytes after the fields they know,
// so a field can be added without a new version.
const memberVersion = 1

var errMember = errors.New("what the node says of itself by gossip cannot be read")

// name is the run's, for memberlist.
func (m *member) name() string { return fmt.Sprintf("%d-%x", m.node, m.run) }

func (m *member) append(dst []byte) []byte {
	dst = appendIdentity(append(dst, memberVersion), m.identity)
	dst = appendUint64(dst, m.run)
	dst = append(dst, m.clusterID[:]...)
	dst = append(dst, byte(m.standing), byte(m.expect), byte(len(m.peerAddress)))
	return append(dst, m.peerAddress...)
}

// maxAddress bounds a peer address, so that a member fits into memberlist's 512 bytes.
const maxAddress = 255

func readMember(b []byte) (member, error) {
	const fixed = 1 + identityBytes + 8 + 16 + 3
	if len(b) < fixed || b[0] != memberVersion {
		return member{}, errMember
	}
	m := member{identity: readIdentity(b[1:])}
	m.run, b, _ = readUint64(b[1+identityBytes:])
	m.clusterID = uuid.ID(b)
	rest := b[16:]
	m.standing, m.expect = standing(rest[0]), int(rest[1])
	length := int(rest[2])
	if len(rest) < 3+length || m.standing > standingFormed {
		return member{}, errMember
	}
	m.peerAddress = string(rest[3 : 3+length])
	return m, nil
}

// appendPeerAddress and readPeerAddress are the form of an address in private requests.
func appendPeerAddress(dst []byte, address string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(address)))
	return append(dst, address...)
}

func readPeerAddress(b []byte) (address string, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length == 0 || length > maxAddress || uint64(len(b)-n) < length {
		return "", nil, false
	}
	b = b[n:]
	return string(b[:length]), b[length:], true
}
