package groups

import (
	"context"
	"iter"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Store keeps what must survive the coordinator: the metadata log. The calls that read answer from what
// is applied here, from memory, at once: they run under locks. The calls that write return after the
// change is committed and applied here, and may take as long as a disk write and a round trip; they are
// never called under a lock. Values that go in or come out are shared and must not be modified.
//
// Every write carries the coordinator epoch of the tenure in which its group was loaded, and what it
// checks it checks when it is applied. An error is a raftmeta.Rejection, upon which nothing has changed;
// or it wraps raftmeta.ErrOutcomeUnknown, and the write may take effect now, later or never; or it is any
// other, and the write does not take effect.
type Store interface {
	// Group returns the group as last saved.
	Group(tenant, id string) (*raftmeta.Group, bool)
	// Groups yields the saved groups of one tenant, in any order.
	Groups(tenant string) iter.Seq[*raftmeta.Group]
	// AllGroups yields the saved groups of all tenants, in any order.
	AllGroups() iter.Seq[*raftmeta.Group]
	// Offset returns the offset last committed for one partition.
	Offset(tenant, group string, topic uuid.ID, partition int32) (raftmeta.CommittedOffset, bool)
	// Offsets yields all offsets of a group, in any order.
	Offsets(tenant, group string) iter.Seq[raftmeta.CommittedOffset]

	// SaveGroup replaces or creates a group.
	SaveGroup(ctx context.Context, cmd raftmeta.PutGroup) error
	// DeleteGroup removes a group and every offset that it committed.
	DeleteGroup(ctx context.Context, cmd raftmeta.DeleteGroup) error
	// CommitOffsets stores offsets. The second result is for the whole request. The first is aligned with
	// the offsets and may be nil when every one was stored.
	CommitOffsets(ctx context.Context, cmd raftmeta.CommitOffsets) ([]error, error)
	// DeleteOffsets removes offsets of a group. Removing none is no error.
	DeleteOffsets(ctx context.Context, cmd raftmeta.DeleteOffsets) error
}

// OffsetKey names one partition whose offset a group may have committed.
type OffsetKey struct {
	TopicID   uuid.ID
	Partition int32
}
