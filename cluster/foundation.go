package cluster

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// foundation is a cluster that is to be: its id and who founds it, sorted. The first founder proposes it.
// A cluster id is drawn for each attempt, so it names the attempt too: two foundations with the same id are
// the same.
type foundation struct {
	clusterID uuid.ID
	founders  []founder
}

type founder struct {
	identity
	address string // of the peer port
}

func (f *foundation) proposer() founder { return f.founders[0] }

func (f *foundation) holds(id identity) bool {
	return slices.ContainsFunc(f.founders, func(x founder) bool { return x.identity == id })
}

// servers are the founders as the Raft group's first voters.
func (f *foundation) servers() []raftmeta.Server {
	var list []raftmeta.Server
	for _, x := range f.founders {
		list = append(list, raftmeta.Server{ID: x.String(), Address: x.address})
	}
	return list
}

const foundationVersion = 1

var (
	errFoundation = errors.New("not a list of founders")
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

// append encodes a foundation, for a request and for the file alike: version, cluster id [16], founders
// uint8, of each node id int32, directory id [16], length of the address uvarint and the address, and at
// the end a CRC-32C of what comes before.
func (f *foundation) append(dst []byte) []byte {
	start := len(dst)
	dst = append(append(dst, foundationVersion), f.clusterID[:]...)
	dst = append(dst, byte(len(f.founders)))
	for _, x := range f.founders {
		dst = appendPeerAddress(appendIdentity(dst, x.identity), x.address)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// readFoundation decodes what append made, and holds it to what a foundation is.
func readFoundation(b []byte) (*foundation, error) {
	const header = 1 + 16 + 1
	if len(b) < header+4 || b[0] != foundationVersion {
		return nil, errFoundation
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, errFoundation
	}
	f := &foundation{clusterID: uuid.ID(body[1:])}
	count, rest := int(body[header-1]), body[header:]
	for range count {
		if len(rest) < identityBytes {
			return nil, errFoundation
		}
		x := founder{identity: readIdentity(rest)}
		var ok bool
		if x.address, rest, ok = readPeerAddress(rest[identityBytes:]); !ok {
			return nil, errFoundation
		}
		if len(f.founders) > 0 && f.founders[len(f.founders)-1].compare(x.identity) >= 0 {
			return nil, errFoundation // not sorted, or one twice
		}
		f.founders = append(f.founders, x)
	}
	if count == 0 || count > maxExpect || len(rest) > 0 || f.clusterID.IsZero() {
		return nil, errFoundation
	}
	return f, nil
}
