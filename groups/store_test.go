package groups

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// table is the metadata log of a test: the image after each entry, made by the same function as on a
// real node, so that it fences and refuses alike.
type table struct {
	mu      sync.Mutex // guards the fields below
	image   *raftmeta.Image
	applied func(raftmeta.Command, *raftmeta.Image, error) // told of each entry if set
	saves   map[groupKey]int
}

// testBrokers are active in every table; the first owns all shards.
const testBrokers = 3

func newTable() *table {
	t := &table{image: raftmeta.NewImage(), saves: map[groupKey]int{}}
	for id := range int32(testBrokers) {
		registered := t.must(&raftmeta.RegisterBroker{ID: id + 1, Incarnation: uuid.ID{byte(id + 1)}, StorageIDs: []uuid.ID{{byte(id + 1)}}})
		t.must(&raftmeta.ActivateBroker{ID: id + 1, Epoch: registered.BrokerEpoch})
	}
	for id, name := range topicNames {
		cmd := &raftmeta.CreateTopic{ID: id, Name: name, Assignments: slices.Repeat([][]int32{{1}}, testPartitions)}
		t.must(cmd)
	}
	return t
}

func (t *table) apply(cmd raftmeta.Command) (raftmeta.Result, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, result, err := raftmeta.Apply(t.image, t.image.Index()+1, 1, cmd)
	t.image = next
	if t.applied != nil {
		t.applied(cmd, next, err)
	}
	if put, ok := cmd.(*raftmeta.PutGroup); ok && err == nil {
		t.saves[groupKey{put.Group.Tenant, put.Group.ID}]++
	}
	return result, err
}

// must is apply for what a test sets up.
func (t *table) must(cmd raftmeta.Command) raftmeta.Result {
	result, err := t.apply(cmd)
	if err != nil {
		panic(fmt.Sprintf("%T: %v", cmd, err))
	}
	return result
}

func (t *table) latest() *raftmeta.Image {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.image
}

// saved is how often a group of the default tenant was saved.
func (t *table) saved(group string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.saves[groupKey{"", group}]
}

// put saves a group on behalf of whoever owns it.
func (t *table) put(g raftmeta.Group) {
	t.must(&raftmeta.PutGroup{CoordEpoch: t.latest().Shard(raftmeta.ShardOf(g.Tenant, g.ID)).Epoch, Group: g})
}

// move hands the shard of a group to another broker.
func (t *table) move(group string, to int32) {
	shard := raftmeta.ShardOf("", group)
	t.must(&raftmeta.MoveShard{Shard: shard, Epoch: t.latest().Shard(shard).Epoch, To: to})
}

// ownedBy is what SetShards of a broker is told by an image.
func ownedBy(img *raftmeta.Image, broker int32) map[int32]int32 {
	owned := map[int32]int32{}
	for i := range int32(raftmeta.GroupShards) {
		if s := img.Shard(i); s.Owner == broker {
			owned[i] = s.Epoch
		}
	}
	return owned
}

// memStore is the Store of one broker over a table, as slow and as broken as a test wants.
type memStore struct {
	*table
	delay time.Duration                // of every write
	fail  func(raftmeta.Command) error // asked before every write takes effect; nil for never
	// behind is set if the broker applies entries later than they are committed: then it is what the broker
	// has applied. Its own writes it has applied when they return.
	behind *atomic.Pointer[raftmeta.Image]
}

func newMemStore() *memStore { return &memStore{table: newTable()} }

func (s *memStore) view() *raftmeta.Image {
	if s.behind != nil {
		return s.behind.Load()
	}
	return s.latest()
}

func (s *memStore) Group(tenant, id string) (*raftmeta.Group, bool) {
	return s.view().Group(tenant, id)
}
func (s *memStore) Groups(tenant string) iter.Seq[*raftmeta.Group] { return s.view().Groups(tenant) }
func (s *memStore) AllGroups() iter.Seq[*raftmeta.Group]           { return s.view().AllGroups() }

func (s *memStore) Offset(tenant, group string, topic uuid.ID, partition int32) (raftmeta.CommittedOffset, bool) {
	return s.view().Offset(tenant, group, topic, partition)
}

func (s *memStore) Offsets(tenant, group string) iter.Seq[raftmeta.CommittedOffset] {
	return s.view().Offsets(tenant, group)
}

func (s *memStore) SaveGroup(ctx context.Context, cmd raftmeta.PutGroup) error {
	_, err := s.write(ctx, &cmd)
	return err
}

func (s *memStore) DeleteGroup(ctx context.Context, cmd raftmeta.DeleteGroup) error {
	_, err := s.write(ctx, &cmd)
	return err
}

func (s *memStore) CommitOffsets(ctx context.Context, cmd raftmeta.CommitOffsets) ([]error, error) {
	result, err := s.write(ctx, &cmd)
	return result.OffsetErrors, err
}

func (s *memStore) DeleteOffsets(ctx context.Context, cmd raftmeta.DeleteOffsets) error {
	_, err := s.write(ctx, &cmd)
	return err
}

// errLost makes a write take effect although its caller only hears that the outcome is unknown.
var errLost = fmt.Errorf("%w: the answer was lost", raftmeta.ErrOutcomeUnknown)

// write waits and then applies cmd, unless it is to fail.
func (s *memStore) write(ctx context.Context, cmd raftmeta.Command) (raftmeta.Result, error) {
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
			return raftmeta.Result{}, ctx.Err()
		}
	}
	if s.fail != nil {
		if err := s.fail(cmd); errors.Is(err, errLost) {
			_, _ = s.apply(cmd)
			return raftmeta.Result{}, err
		} else if err != nil {
			return raftmeta.Result{}, err
		}
	}
	result, err := s.apply(cmd)
	s.catchUp()
	return result, err
}

// catchUp applies everything that is committed.
func (s *memStore) catchUp() {
	if s.behind != nil {
		s.behind.Store(s.latest())
	}
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
