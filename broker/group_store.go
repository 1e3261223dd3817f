package broker

import (
	"context"
	"iter"

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

func (s groupStore) Offset(tenant, group string, topic uuid.ID, partition int32) (raftmeta.CommittedOffset, bool) {
	return s.meta.Image().Offset(tenant, group, topic, partition)
}

func (s groupStore) Offsets(tenant, group string) iter.Seq[raftmeta.CommittedOffset] {
	return s.meta.Image().Offsets(tenant, group)
}

func (s groupStore) SaveGroup(ctx context.Context, cmd raftmeta.PutGroup) error {
	return s.propose(ctx, &cmd)
}

func (s groupStore) DeleteGroup(ctx context.Context, cmd raftmeta.DeleteGroup) error {
	return s.propose(ctx, &cmd)
}

func (s groupStore) CommitOffsets(ctx context.Context, cmd raftmeta.CommitOffsets) ([]error, error) {
	result, err := s.meta.Propose(ctx, &cmd)
	return result.OffsetErrors, err
}

func (s groupStore) DeleteOffsets(ctx context.Context, cmd raftmeta.DeleteOffsets) error {
	return s.propose(ctx, &cmd)
}

func (s groupStore) propose(ctx context.Context, cmd raftmeta.Command) error {
	_, err := s.meta.Propose(ctx, cmd)
	return err
}
