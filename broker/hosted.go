package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/raftmeta"
)

// partitionKey names a partition by what never comes back: the id of its topic.
type partitionKey struct {
	topic  uuid.ID
	number int32
}

// hosted is a partition with a replica on this broker.
type hosted struct {
	key     partitionKey
	replica *partition.Replica
	config  atomic.Pointer[config.TopicConfig]
	applied applied // the reconciler's; zero until the replica has its role
	leads   bool    // the reconciler's: it has made the replica the leader

	resigned atomic.Pointer[time.Time] // when this node last stopped to lead the partition
}

// became notes whether the replica leads now.
func (h *hosted) became(leader bool, now time.Time) {
	if h.leads && !leader {
		h.resigned.Store(&now)
	}
	h.leads = leader
}

// replicaSet is the replicas on this broker. Handlers look up, the reconciler alone changes it.
type replicaSet struct {
	mu     sync.RWMutex
	byKey  map[partitionKey]*hosted
	failed map[partitionKey]error // those that could not be opened or led, and why
}

// fail notes that a partition cannot be served, or with nil that it can. It reports whether that is news.
func (s *replicaSet) fail(key partitionKey, err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.failed[key]
	if err == nil {
		delete(s.failed, key)
		return old != nil
	}
	s.failed[key] = err
	return old == nil || old.Error() != err.Error()
}

// find returns the replica, or why there is none; both are nil if it was never tried.
func (s *replicaSet) find(key partitionKey) (*hosted, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.failed) > 0 && s.failed[key] != nil {
		return nil, s.failed[key]
	}
	return s.byKey[key], nil
}

func (s *replicaSet) get(topic uuid.ID, number int32) *hosted {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byKey[partitionKey{topic, number}]
}

func (s *replicaSet) put(h *hosted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byKey[h.key] = h
}

// remove forgets a partition, also that it could not be served.
func (s *replicaSet) remove(key partitionKey) *hosted {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.byKey[key]
	delete(s.byKey, key)
	delete(s.failed, key)
	return h
}

// unserved lists the partitions that could not be opened or are damaged.
func (s *replicaSet) unserved() []partitionKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]partitionKey, 0, len(s.failed))
	for key := range s.failed {
		list = append(list, key)
	}
	return list
}

// all returns the replicas of this moment, in no order.
func (s *replicaSet) all() []*hosted {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*hosted, 0, len(s.byKey))
	for _, h := range s.byKey {
		list = append(list, h)
	}
	return list
}

// topicRef names a topic the way a request did: by name up to some version, by id from then on.
type topicRef struct {
	name string
	id   uuid.ID
}

// resolve finds the topic of a request. Those of other tenants do not exist for it.
func (b *Broker) resolve(img *raftmeta.Image, tenant string, ref topicRef) (*raftmeta.Topic, error) {
	if !ref.id.IsZero() {
		if t, ok := img.TopicByID(ref.id); ok && t.Tenant == tenant {
			return t, nil
		}
		return nil, errUnknownTopicID
	}
	if t, ok := img.Topic(tenant, ref.name); ok {
		return t, nil
	}
	return nil, errUnknownTopic
}

// planned carries out the part of an admin request that looks at the table to say what to do. What the table of a node that
// lags or is cut off refuses may be long past, so a refusal counts only once everything that was committed before has been
// applied here (I21). Without a leader to say so it is not known.
func (b *Broker) planned(ctx context.Context, plan func() error) error {
	caughtUp := false
	for attempt := 1; ; attempt++ {
		err := plan()
		switch {
		case errors.Is(err, raftmeta.ErrInvalidPartitions) && attempt < planAttempts:
			// Somebody else added partitions in between, and the table shows it by now.
		case saysTheTable(err) && !caughtUp:
			if err := b.meta.CatchUp(ctx); err != nil {
				return err
			}
			caughtUp = true
		default:
			return err
		}
	}
}

// placed is planned for a plan that uses a placer: another attempt places by what is known then. A broker that
// has just become active may be unknown here yet, and a topic's replicas too many without it.
func (b *Broker) placed(ctx context.Context, p **placer, plan func() error) error {
	again := false
	return b.planned(ctx, func() error {
		if again {
			*p = newPlacer(b.meta.Image())
		}
		again = true
		return plan()
	})
}

// planAttempts bounds how often a plan is made again because others were faster.
const planAttempts = 5

// saysTheTable tells refusals that follow from what there is from those of a request that is wrong in itself.
func saysTheTable(err error) bool {
	for _, refusal := range []error{kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.TopicAlreadyExists, kerr.InvalidPartitions, kerr.InvalidReplicationFactor, kerr.InvalidReplicaAssignment} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// lookup finds the replica that serves a partition of a request.
func (b *Broker) lookup(topic *raftmeta.Topic, number int32) (*hosted, error) {
	if number < 0 || int(number) >= len(topic.Partitions) {
		return nil, errUnknownPartition
	}
	switch h, err := b.replicas.find(partitionKey{topic.ID, number}); {
	case b.cluster.Isolated():
		return nil, errIsolated
	case err != nil:
		return nil, fmt.Errorf("%w: %w", partition.ErrStorage, err)
	case h != nil:
		return h, nil
	}
	return nil, partition.ErrNotLeader // committed, but this node has not opened it yet
}
