package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// identity is what meta.properties says of a data directory, in Kafka's format: whose it is, and in
// which cluster. It is written once when the directory is new and once when the cluster has a name.
type identity struct {
	nodeID      int32
	clusterID   uuid.ID // zero until the cluster has one
	directoryID uuid.ID // made with the directory: a wiped one is another (replication.md 2.1)
}

const (
	identityFile    = "meta.properties"
	identityVersion = "1"
	maxIdentitySize = 64 << 10
	firstNodeID     = 1
)

// loadIdentity reads the directory's identity, or gives a new directory one. wanted is the node id that
// was asked for, 0 for whatever the directory says.
func loadIdentity(fsys vfs.FS, dataDir string, wanted int32) (identity, error) {
	if wanted < 0 {
		return identity{}, fmt.Errorf("node id %d: it must be at least 1, or 0 to choose", wanted)
	}
	data, err := vfs.ReadFile(fsys, filepath.Join(dataDir, identityFile), maxIdentitySize)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(fsys, dataDir, wanted)
	}
	if err != nil {
		return identity{}, fmt.Errorf("read identity of the data directory: %w", err)
	}
	id, err := parseIdentity(string(data))
	if err != nil {
		return identity{}, fmt.Errorf("%s: %w", filepath.Join(dataDir, identityFile), err)
	}
	if wanted != 0 && wanted != id.nodeID {
		return identity{}, fmt.Errorf("data directory %s belongs to node %d, not %d: use another directory or node id", dataDir, id.nodeID, wanted)
	}
	return id, nil
}

// hasIdentity tells whether a directory has been used before.
func hasIdentity(fsys vfs.FS, dataDir string) bool {
	_, err := vfs.ReadFile(fsys, filepath.Join(dataDir, identityFile), maxIdentitySize)
	return !errors.Is(err, fs.ErrNotExist)
}

func newIdentity(fsys vfs.FS, dataDir string, wanted int32) (identity, error) {
	directoryID, err := uuid.New(nil)
	if err != nil {
		return identity{}, err
	}
	id := identity{nodeID: wanted, directoryID: directoryID}
	if wanted == 0 {
		id.nodeID = firstNodeID
	}
	return id, id.save(fsys, dataDir)
}

func parseIdentity(text string) (identity, error) {
	values := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	if v := values["version"]; v != identityVersion {
		return identity{}, fmt.Errorf("version %q is not one this release reads", v)
	}
	nodeID, err := strconv.ParseInt(values["node.id"], 10, 32)
	if err != nil || nodeID < firstNodeID {
		return identity{}, fmt.Errorf("node.id %q is not a node id", values["node.id"])
	}
	id := identity{nodeID: int32(nodeID)}
	if id.directoryID, err = uuid.Parse(values["directory.id"]); err != nil {
		return identity{}, fmt.Errorf("directory.id: %w", err)
	}
	if cluster := values["cluster.id"]; cluster != "" {
		if id.clusterID, err = uuid.Parse(cluster); err != nil {
			return identity{}, fmt.Errorf("cluster.id: %w", err)
		}
	}
	return id, nil
}

// join writes down which cluster the directory belongs to, unless it says so already.
func (id *identity) join(cluster uuid.ID, fsys vfs.FS, dataDir string) error {
	if id.clusterID == cluster {
		return nil
	}
	id.clusterID = cluster
	return id.save(fsys, dataDir)
}

func (id identity) save(fsys vfs.FS, dataDir string) error {
	text := fmt.Sprintf("version=%s\nnode.id=%d\ndirectory.id=%s\n", identityVersion, id.nodeID, id.directoryID)
	if !id.clusterID.IsZero() {
		text += fmt.Sprintf("cluster.id=%s\n", id.clusterID)
	}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dataDir, identityFile), []byte(text)); err != nil {
		return fmt.Errorf("write identity of the data directory: %w", err)
	}
	return nil
}

// kernelBootID names this boot of the kernel, or is "" where the kernel does not tell: then a stop that was
// not clean is taken for a power loss.
func kernelBootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
