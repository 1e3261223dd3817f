package groups

import (
	"context"
	"iter"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Store keeps what must survive the coordinator. The calls that read answer from memory, at once:
// they run under locks. The calls that write return after the change is committed and applied
// locally, and may take as long as a disk write; they are never called under a lock. After a write
// failed its outcome is unknown. Values that go in or come out are shared and must not be modified.
//
// An error of CommitOffsets, DeleteOffsets or DeleteGroup that wraps a *kerr.Error reaches the client
// as that code. Any other error becomes COORDINATOR_NOT_AVAILABLE, upon which clients look for the
// coordinator again and retry.
type Store interface {
	// Group returns the group as last saved.
	Group(tenant, id string) (*raftmeta.Group, bool)
	// Groups yields the saved groups of one tenant, in any order.
	Groups(tenant string) iter.Seq[*raftmeta.Group]
	// AllGroups yields the saved groups of all tenants, in any order.
	AllGroups() iter.Seq[*raftmeta.Group]
	// SaveGroup replaces or creates the group.
	SaveGroup(ctx context.Context, g *raftmeta.Group) error
	// DeleteGroup removes the group and every offset that it committed. Removing none is no error.
	DeleteGroup(ctx context.Context, tenant, id string) error

	// Offset returns the offset last committed for one partition.
	Offset(tenant, group string, topic uuid.ID, partition int32) (raftmeta.CommittedOffset, bool)
	// Offsets yields all offsets of a group, in any order.
	Offsets(tenant, group string) iter.Seq[raftmeta.CommittedOffset]
	// CommitOffsets stores offsets after it has checked, when it applies, that the request's member
	// is in the saved group and the generation is the saved one (kerr.UnknownMemberID and
	// kerr.IllegalGeneration otherwise). The second result is for the whole request. The first is
	// aligned with req.Offsets and may be nil when every offset was stored; a partition of a topic
	// that is gone has kerr.UnknownTopicOrPartition. A commit with a negative generation is refused
	// while the saved group has members, and creates a group that was never saved, with generation 0
	// and without a protocol type.
	CommitOffsets(ctx context.Context, req CommitOffsets) ([]error, error)
	// DeleteOffsets removes the group's offsets for these partitions. Removing none is no error.
	DeleteOffsets(ctx context.Context, tenant, group string, keys []OffsetKey) error
}

// CommitOffsets is one commit on its way to the Store.
type CommitOffsets struct {
	Tenant string
	Group  string
	// MemberID and Generation are "" and -1 for a commit from outside the group, which is allowed
	// only while the group has no members.
	MemberID   string
	Generation int32
	Offsets    []raftmeta.CommittedOffset
}

// OffsetKey names one partition whose offset a group may have committed.
type OffsetKey struct {
	TopicID   uuid.ID
	Partition int32
}
