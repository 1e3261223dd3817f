package raftmeta

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/internal/uuid"
)

// Every command of a coordinator carries CoordEpoch, the epoch of its shard, so that nothing of an
// older owner lands after a newer one began (replication.md 18.1, I43).

// checkCoordinator fences coordinators of another epoch, all of them while the shard has no owner, and
// keys that no lookup could name.
func (e *edit) checkCoordinator(tenant, group string, epoch int32) error {
	switch shard := e.base.shards[ShardOf(tenant, group)]; {
	case (shard.Owner == NoLeader || shard.Epoch != epoch) && !mutant.On(mutant.ShardEpochNotChecked):
		return ErrStaleCoordinator
	case !validTenant(tenant) || len(group) > maxName:
		return ErrInvalidRequest
	}
	return nil
}

// PutGroup stores a group as a completed rebalance left it (replication.md 18.2). Its generation may
// not be lower than the stored one (I44).
type PutGroup struct {
	CoordEpoch int32
	Group      Group
}

func (*PutGroup) kind() kind { return kindPutGroup }

func (x *PutGroup) fields(c *coder) {
	c.int32(&x.CoordEpoch)
	groupFields(c, &x.Group)
}

func (x *PutGroup) apply(e *edit) (Result, error) {
	if err := e.checkCoordinator(x.Group.Tenant, x.Group.ID, x.CoordEpoch); err != nil {
		return Result{}, err
	}
	if old, ok := e.group(x.Group.Tenant, x.Group.ID); ok && old.Generation > x.Group.Generation {
		return Result{}, ErrIllegalGeneration
	}
	g := x.Group // decoded for this application alone
	e.putGroup(&g)
	return Result{}, nil
}

// DeleteGroup removes a group without members, and its offsets.
type DeleteGroup struct {
	CoordEpoch int32
	Tenant     string
	ID         string
	// IfNoOffsets refuses with ErrGroupHasOffsets a group that has committed offsets: an expiry must
	// not remove what was committed after it looked.
	IfNoOffsets bool
}

func (*DeleteGroup) kind() kind { return kindDeleteGroup }

func (x *DeleteGroup) fields(c *coder) {
	c.int32(&x.CoordEpoch)
	c.string(&x.Tenant, maxTenant)
	c.name(&x.ID)
	c.bool(&x.IfNoOffsets)
}

func (x *DeleteGroup) apply(e *edit) (Result, error) {
	if err := e.checkCoordinator(x.Tenant, x.ID, x.CoordEpoch); err != nil {
		return Result{}, err
	}
	g, ok := e.group(x.Tenant, x.ID)
	switch {
	case !ok:
		return Result{}, ErrUnknownGroup
	case len(g.Members) > 0:
		return Result{}, ErrNonEmptyGroup
	}
	if x.IfNoOffsets {
		for range values(e.offsets.root(), appendOffsetPrefix(nil, x.Tenant, x.ID)) {
			return Result{}, ErrGroupHasOffsets
		}
	}
	e.removeOffsets(x.Tenant, x.ID, uuid.ID{})
	e.removeGroup(g)
	return Result{}, nil
}

// CommitOffsets stores positions of a group. The coordinator has checked member and generation; they
// are checked again here against the stored group, because that check may be outdated (replication.md
// 18.3, I43). A Generation below 0 is a commit without membership, allowed while the group has no
// members; it creates a group that does not exist, empty since the commit.
//
// Each offset is judged on its own: see Result.OffsetErrors.
type CommitOffsets struct {
	CoordEpoch int32
	Tenant     string
	Group      string
	MemberID   string
	Generation int32
	Offsets    []CommittedOffset
}

func (*CommitOffsets) kind() kind { return kindCommitOffsets }

func (x *CommitOffsets) fields(c *coder) {
	c.int32(&x.CoordEpoch)
	c.string(&x.Tenant, maxTenant)
	c.name(&x.Group)
	c.name(&x.MemberID)
	c.int32(&x.Generation)
	list(c, &x.Offsets, 16+6, offsetFields)
}

func (x *CommitOffsets) apply(e *edit) (Result, error) {
	if err := e.checkCoordinator(x.Tenant, x.Group, x.CoordEpoch); err != nil {
		return Result{}, err
	}
	g, exists := e.group(x.Tenant, x.Group)
	if err := x.checkMember(g, exists); err != nil {
		return Result{}, err
	}
	var result Result
	stored, last := false, int64(0)
	for i, o := range x.Offsets {
		if _, _, err := e.partition(o.TopicID, o.Partition); err != nil {
			if result.OffsetErrors == nil {
				result.OffsetErrors = make([]error, len(x.Offsets))
			}
			result.OffsetErrors[i] = err
			continue
		}
		e.putOffset(x.Tenant, x.Group, o)
		stored, last = true, max(last, o.CommittedAt)
	}
	if stored && !exists {
		e.putGroup(&Group{Tenant: x.Tenant, ID: x.Group, EmptySince: last})
	}
	return result, nil
}

func (x *CommitOffsets) checkMember(g *Group, exists bool) error {
	if x.Generation < 0 {
		if exists && len(g.Members) > 0 {
			return ErrUnknownMember
		}
		return nil
	}
	if !exists {
		return ErrIllegalGeneration
	}
	if !slices.ContainsFunc(g.Members, func(m GroupMember) bool { return m.ID == x.MemberID }) {
		return ErrUnknownMember
	}
	if x.Generation != g.Generation {
		return ErrIllegalGeneration
	}
	return nil
}

// DeleteOffsets removes committed offsets of a group. One that was committed after the time its key
// names stays, so that an expiry cannot remove what came after it looked; so does one that is gone.
type DeleteOffsets struct {
	CoordEpoch int32
	Tenant     string
	Group      string
	IfEmpty    bool // refuse with ErrNonEmptyGroup if the group has members
	Offsets    []OffsetKey
}

// OffsetKey names a committed offset no younger than CommittedAt (ms since the epoch; the greatest
// value takes any).
type OffsetKey struct {
	TopicID     uuid.ID
	Partition   int32
	CommittedAt int64
}

func (*DeleteOffsets) kind() kind { return kindDeleteOffsets }

func (x *DeleteOffsets) fields(c *coder) {
	c.int32(&x.CoordEpoch)
	c.string(&x.Tenant, maxTenant)
	c.name(&x.Group)
	c.bool(&x.IfEmpty)
	list(c, &x.Offsets, 16+2, func(c *coder, k *OffsetKey) {
		c.id(&k.TopicID)
		c.int32(&k.Partition)
		c.int64(&k.CommittedAt)
	})
}

func (x *DeleteOffsets) apply(e *edit) (Result, error) {
	if err := e.checkCoordinator(x.Tenant, x.Group, x.CoordEpoch); err != nil {
		return Result{}, err
	}
	if g, ok := e.group(x.Tenant, x.Group); x.IfEmpty && ok && len(g.Members) > 0 {
		return Result{}, ErrNonEmptyGroup
	}
	for _, k := range x.Offsets {
		if o, ok := e.offset(x.Tenant, x.Group, k.TopicID, k.Partition); ok && o.CommittedAt <= k.CommittedAt {
			e.removeOffset(x.Tenant, x.Group, o)
		}
	}
	return Result{}, nil
}
