package cluster

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// identity is who a node is: the broker id that the operator gave it, and the data directory that it runs
// on. A node with a new directory is somebody else: what the old one knew and promised is not there.
type identity struct {
	node      int32
	directory uuid.ID
}

// ServerID is the Raft server id of a node on a data directory. A voter whose directory was wiped comes
// back under another id, so that it can never vote twice (replication.md 4.7).
func ServerID(nodeID int32, directory uuid.ID) string {
	return fmt.Sprintf("%d-%s", nodeID, directory)
}

func (id identity) String() string { return ServerID(id.node, id.directory) }

func (id identity) isZero() bool { return id == identity{} }

func (id identity) compare(other identity) int {
	if id.node != other.node {
		return int(id.node) - int(other.node)
	}
	return strings.Compare(string(id.directory[:]), string(other.directory[:]))
}

// parseServerID reads what ServerID makes.
func parseServerID(s string) (identity, error) {
	number, directory, _ := strings.Cut(s, "-")
	node, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return identity{}, fmt.Errorf("server id %q has no node id", s)
	}
	dir, err := uuid.Parse(directory)
	if err != nil {
		return identity{}, fmt.Errorf("server id %q: %w", s, err)
	}
	return identity{int32(node), dir}, nil
}

// brokerOf is the broker id within a server id, -1 if it is none of ours.
func brokerOf(serverID string) int32 {
	id, err := parseServerID(serverID)
	if err != nil {
		return -1
	}
	return id.node
}
