package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chronik-stream/chronik/cluster"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/raftmeta"
)

// raftDirName is where the metadata log lies in a data directory.
const raftDirName = "raft"

// Remains is what the data directory of a stopped node holds of its cluster's metadata. Of several
// survivors the one with the largest term, and among those the largest index, knows most.
type Remains struct {
	NodeID              int32
	ClusterID           uuid.ID
	LastTerm, LastIndex uint64
	Members             []raftmeta.Member // of the Raft group
	ServerID            string            // this node's among them
}

// ExamineMetadata looks into a data directory and changes nothing.
func ExamineMetadata(dataDir string) (r Remains, err error) {
	err = withStoppedNode(dataDir, func(id identity) error {
		left, err := raftmeta.Examine(filepath.Join(dataDir, raftDirName), nil)
		r = Remains{
			NodeID: id.nodeID, ClusterID: id.clusterID, LastTerm: left.LastTerm, LastIndex: left.LastIndex,
			Members: left.Members, ServerID: cluster.ServerID(id.nodeID, id.directoryID),
		}
		return err
	})
	return r, err
}

// RecoverMetadata lets the node of a data directory go on alone after most of the cluster is lost; see
// raftmeta.Recover for what that costs.
func RecoverMetadata(dataDir string) error {
	return withStoppedNode(dataDir, func(id identity) error {
		_, err := raftmeta.Recover(filepath.Join(dataDir, raftDirName), cluster.ServerID(id.nodeID, id.directoryID), nil)
		return err
	})
}

// What a data directory knows of its cluster's metadata, in the order in which ForgetMetadata takes it away:
// a node that had lost its log, but not its pledge to found the cluster, could found it once more.
var metadataParts = []string{"pledge", raftDirName}

// forgottenSuffix is what they are called afterwards.
const forgottenSuffix = ".forgotten"

// ForgetMetadata makes a stopped node join its cluster anew at the next start, with the partitions that it
// has and the metadata of the others. Its own are moved aside. After an error the same call goes on.
func ForgetMetadata(dataDir string) error {
	return withStoppedNode(dataDir, func(id identity) error {
		if id.clusterID.IsZero() {
			return fmt.Errorf("node %d belongs to no cluster yet", id.nodeID)
		}
		fsys := vfs.OS{}
		for _, name := range metadataParts {
			from := filepath.Join(dataDir, name)
			if _, err := os.Stat(from + forgottenSuffix); err == nil {
				if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
					continue // an earlier call got this far
				}
				return fmt.Errorf("%s%s is in the way: move it elsewhere", from, forgottenSuffix)
			}
			if err := fsys.Rename(from, from+forgottenSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := fsys.SyncDir(dataDir); err != nil {
				return err
			}
		}
		return nil
	})
}

// withStoppedNode runs do while no node can start on the directory.
func withStoppedNode(dataDir string, do func(identity) error) (err error) {
	fsys := vfs.OS{}
	if !hasIdentity(fsys, dataDir) {
		return fmt.Errorf("%s is not the data directory of a node: it has no %s", dataDir, identityFile)
	}
	lock, err := fsys.Lock(filepath.Join(dataDir, ".lock"))
	if err != nil {
		return fmt.Errorf("data directory %s: %w: stop the node first", dataDir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	id, err := loadIdentity(fsys, dataDir, 0)
	if err != nil {
		return err
	}
	return do(id)
}
