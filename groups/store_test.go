package groups

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// memStore is a Store in memory, as slow and as broken as a test wants.
type memStore struct {
	delay time.Duration           // of every write
	fail  func(what string) error // asked before every write takes effect; nil for never

	mu      sync.Mutex
	groups  map[groupKey]*raftmeta.Group
	offsets map[groupKey]map[OffsetKey]raftmeta.CommittedOffset
	saves   map[groupKey]int
}

func newMemStore() *memStore {
	return &memStore{
		groups:  map[groupKey]*raftmeta.Group{},
		offsets: map[groupKey]map[OffsetKey]raftmeta.CommittedOffset{},
		saves:   map[groupKey]int{},
	}
}

func (s *memStore) Group(tenant, id string) (*raftmeta.Group, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.groups[groupKey{tenant, id}]
	return g, ok
}

func (s *memStore) Groups(tenant string) iter.Seq[*raftmeta.Group] {
	return func(yield func(*raftmeta.Group) bool) {
		for g := range s.AllGroups() {
			if g.Tenant == tenant && !yield(g) {
				return
			}
		}
	}
}

func (s *memStore) AllGroups() iter.Seq[*raftmeta.Group] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Collect(maps.Values(s.groups)))
}

// write waits and then runs f, unless it is to fail.
func (s *memStore) write(ctx context.Context, what string, f func() error) error {
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.fail != nil {
		if err := s.fail(what); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

func (s *memStore) SaveGroup(ctx context.Context, g *raftmeta.Group) error {
	return s.write(ctx, "save", func() error {
		key := groupKey{g.Tenant, g.ID}
		if old := s.groups[key]; old != nil && old.Generation > g.Generation {
			return kerr.IllegalGeneration
		}
		s.groups[key] = g
		s.saves[key]++
		return nil
	})
}

func (s *memStore) DeleteGroup(ctx context.Context, tenant, id string) error {
	return s.write(ctx, "delete", func() error {
		delete(s.groups, groupKey{tenant, id})
		delete(s.offsets, groupKey{tenant, id})
		return nil
	})
}

func (s *memStore) Offset(tenant, group string, topic uuid.ID, partition int32) (raftmeta.CommittedOffset, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.offsets[groupKey{tenant, group}][OffsetKey{topic, partition}]
	return o, ok
}

func (s *memStore) Offsets(tenant, group string) iter.Seq[raftmeta.CommittedOffset] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Collect(maps.Values(s.offsets[groupKey{tenant, group}])))
}

func (s *memStore) CommitOffsets(ctx context.Context, req CommitOffsets) (errs []error, err error) {
	err = s.write(ctx, "commit", func() error {
		key := groupKey{req.Tenant, req.Group}
		g := s.groups[key]
		switch {
		case req.Generation < 0 && g != nil && len(g.Members) > 0:
			return kerr.UnknownMemberID
		case req.Generation < 0 && g == nil:
			s.groups[key] = &raftmeta.Group{Tenant: req.Tenant, ID: req.Group}
		case req.Generation < 0:
		case g == nil || !slices.ContainsFunc(g.Members, func(m raftmeta.GroupMember) bool { return m.ID == req.MemberID }):
			return kerr.UnknownMemberID
		case g.Generation != req.Generation:
			return kerr.IllegalGeneration
		}
		if s.offsets[key] == nil {
			s.offsets[key] = map[OffsetKey]raftmeta.CommittedOffset{}
		}
		for i, o := range req.Offsets {
			if o.TopicID == goneTopic {
				errs = slices.Grow(errs, len(req.Offsets))[:len(req.Offsets)]
				errs[i] = kerr.UnknownTopicOrPartition
				continue
			}
			s.offsets[key][OffsetKey{o.TopicID, o.Partition}] = o
		}
		return nil
	})
	return errs, err
}

func (s *memStore) DeleteOffsets(ctx context.Context, tenant, group string, keys []OffsetKey) error {
	return s.write(ctx, "delete offsets", func() error {
		for _, k := range keys {
			delete(s.offsets[groupKey{tenant, group}], k)
		}
		return nil
	})
}

// Topics that the tests know by name, and one that vanished before its commit arrived.
var (
	logsTopic  = uuid.ID{1}
	newsTopic  = uuid.ID{2}
	goneTopic  = uuid.ID{3}
	topicNames = map[uuid.ID]string{logsTopic: "logs", newsTopic: "news"}
)

func topicName(_ string, id uuid.ID) (string, bool) {
	name, ok := topicNames[id]
	return name, ok
}
