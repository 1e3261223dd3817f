package broker

import (
	"context"
	"errors"
	"iter"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// groupStore keeps groups and offsets in the metadata log.
type groupStore struct{ meta *raftmeta.Node }

func (s groupStore) Group(tenant, id string) (*raftmeta.Group, bool) {
	return s.meta.Image().Group(tenant, id)
}

func (s groupStore) Groups(tenant string) iter.Seq[*raftmeta.Group] {
	return s.meta.Image().Groups(tenant)
}

func (s groupStore) AllGroups() iter.Seq[*raftmeta.Group] { return s.meta.Image().AllGroups() }

func (s groupStore) SaveGroup(ctx context.Context, g *raftmeta.Group) error {
	return s.propose(ctx, &raftmeta.PutGroup{CoordEpoch: s.epoch(g.Tenant, g.ID), Group: *g})
}

func (s groupStore) DeleteGroup(ctx context.Context, tenant, id string) error {
	err := s.propose(ctx, &raftmeta.DeleteGroup{CoordEpoch: s.epoch(tenant, id), Tenant: tenant, ID: id})
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	return err
}

func (s groupStore) Offset(tenant, group string, topic uuid.ID, partition int32) (raftmeta.CommittedOffset, bool) {
	return s.meta.Image().Offset(tenant, group, topic, partition)
}

func (s groupStore) Offsets(tenant, group string) iter.Seq[raftmeta.CommittedOffset] {
	return s.meta.Image().Offsets(tenant, group)
}

func (s groupStore) CommitOffsets(ctx context.Context, req groups.CommitOffsets) ([]error, error) {
	result, err := s.meta.Propose(ctx, &raftmeta.CommitOffsets{
		CoordEpoch: s.epoch(req.Tenant, req.Group), Tenant: req.Tenant, Group: req.Group, MemberID: req.MemberID, Generation: req.Generation, Offsets: req.Offsets,
	})
	for i, e := range result.OffsetErrors {
		result.OffsetErrors[i] = groupError(e)
	}
	return result.OffsetErrors, groupError(err)
}

func (s groupStore) DeleteOffsets(ctx context.Context, tenant, group string, keys []groups.OffsetKey) error {
	cmd := &raftmeta.DeleteOffsets{CoordEpoch: s.epoch(tenant, group), Tenant: tenant, Group: group}
	for _, k := range keys {
		cmd.Offsets = append(cmd.Offsets, raftmeta.OffsetKey{TopicID: k.TopicID, Partition: k.Partition, CommittedAt: math.MaxInt64})
	}
	return s.propose(ctx, cmd)
}

// epoch is that of the group's coordinator shard: with one broker nobody else can have begun one.
func (s groupStore) epoch(tenant, group string) int32 {
	return s.meta.Image().Shard(raftmeta.ShardOf(tenant, group)).Epoch
}

func (s groupStore) propose(ctx context.Context, cmd raftmeta.Command) error {
	_, err := s.meta.Propose(ctx, cmd)
	return groupError(err)
}

// groupError gives the rejections of group commands the codes that the group protocol has for them.
func groupError(err error) error {
	switch {
	case errors.Is(err, raftmeta.ErrUnknownMember):
		return kerr.UnknownMemberID
	case errors.Is(err, raftmeta.ErrIllegalGeneration):
		return kerr.IllegalGeneration
	case errors.Is(err, raftmeta.ErrUnknownGroup):
		return kerr.GroupIDNotFound
	case errors.Is(err, raftmeta.ErrNonEmptyGroup):
		return kerr.NonEmptyGroup
	case errors.Is(err, raftmeta.ErrStaleCoordinator):
		return kerr.NotCoordinator
	case errors.Is(err, raftmeta.ErrUnknownTopic), errors.Is(err, raftmeta.ErrUnknownPartition):
		return kerr.UnknownTopicOrPartition
	}
	return err
}
