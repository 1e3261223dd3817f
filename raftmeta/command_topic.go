package raftmeta

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// CreateTopic creates a topic. The proposer has drawn its id, chosen the replicas and judged the
// config. A repetition with the same id, which is the same proposal sent twice, succeeds and returns the topic.
type CreateTopic struct {
	ID          uuid.ID
	Tenant      string
	Name        string
	Config      map[string]string
	Assignments [][]int32 // replicas of each partition, in order of preference; at least one must be active
}

func (*CreateTopic) kind() kind { return kindCreateTopic }

func (x *CreateTopic) fields(c *coder) {
	c.id(&x.ID)
	c.string(&x.Tenant, maxTenant)
	c.name(&x.Name)
	c.strings(&x.Config)
	assignmentFields(c, &x.Assignments)
}

func assignmentFields(c *coder, v *[][]int32) {
	list(c, v, 1, func(c *coder, replicas *[]int32) { c.int32s(replicas) })
}

func (x *CreateTopic) apply(e *edit) (Result, error) {
	if x.ID.IsZero() || !validTenant(x.Tenant) {
		return Result{}, ErrInvalidRequest
	}
	if !ValidTopicName(x.Name) {
		return Result{}, ErrInvalidTopic
	}
	old, exists := e.topics.get(appendNameKey(nil, x.Tenant, x.Name))
	if exists && old.ID == x.ID {
		return Result{Topic: old}, nil
	}
	if exists {
		return Result{}, ErrTopicExists
	}
	if _, collides := e.normalised.get(appendNormalisedKey(nil, x.Tenant, x.Name)); collides {
		return Result{}, ErrTopicCollides
	}
	_, alive := e.topicIDs.get(x.ID[:])
	_, dead := e.tombstones.get(x.ID[:])
	if alive || dead {
		return Result{}, ErrTopicIDUsed
	}
	if len(x.Assignments) == 0 {
		return Result{}, ErrInvalidPartitions
	}
	partitions, err := e.newPartitions(x.Assignments)
	if err != nil {
		return Result{}, err
	}
	t := &Topic{ID: x.ID, Tenant: x.Tenant, Name: x.Name, Config: cloneStrings(x.Config), Partitions: partitions}
	e.putTopic(t)
	return Result{Topic: t}, nil
}

// ValidTopicName says whether Kafka allows a topic of this name: 1 to 249 of [a-zA-Z0-9._-], and
// neither "." nor "..".
func ValidTopicName(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return false
		}
	}
	return true
}

// newPartitions makes partitions of their replicas: those that are active are in sync, and the first of
// them that does not drain leads. A partition that nobody could lead is refused, as Kafka does.
func (e *edit) newPartitions(assignments [][]int32) ([]Partition, error) {
	partitions := make([]Partition, len(assignments))
	for i, replicas := range assignments {
		isr := filter(replicas, e.isActive)
		if len(isr) == 0 || !e.registered(replicas) {
			return nil, ErrInvalidAssignment
		}
		partitions[i] = Partition{
			Replicas: replicas, ISR: isr, Leader: e.firstActive(replicas, isr), UncleanEpoch: -1,
		}
	}
	return partitions, nil
}

// DeleteTopic deletes a topic together with the offsets that groups committed in it. Its id lives on
// as a Tombstone until every broker that hosts it has confirmed.
type DeleteTopic struct {
	ID uuid.ID
}

func (*DeleteTopic) kind() kind        { return kindDeleteTopic }
func (x *DeleteTopic) fields(c *coder) { c.id(&x.ID) }

func (x *DeleteTopic) apply(e *edit) (Result, error) {
	t, ok := e.topic(x.ID)
	if !ok {
		return Result{}, ErrUnknownTopic
	}
	var hosts []int32
	for i := range t.Partitions {
		for _, id := range t.Partitions[i].Replicas {
			if at, found := slices.BinarySearch(hosts, id); !found {
				hosts = slices.Insert(hosts, at, id)
			}
		}
	}
	e.removeTopic(t)
	e.removeTopicOffsets(t.ID)
	e.putTombstone(&Tombstone{
		ID: t.ID, Tenant: t.Tenant, Name: t.Name, Partitions: int32(len(t.Partitions)), Pending: hosts,
	})
	return Result{}, nil
}

// ConfirmDeletion says that a broker holds no file of a deleted topic any more. Once all have, the
// tombstone goes. Repetitions are accepted.
type ConfirmDeletion struct {
	ID     uuid.ID
	Broker int32
}

func (*ConfirmDeletion) kind() kind { return kindConfirmDeletion }

func (x *ConfirmDeletion) fields(c *coder) {
	c.id(&x.ID)
	c.int32(&x.Broker)
}

func (x *ConfirmDeletion) apply(e *edit) (Result, error) {
	if _, alive := e.topic(x.ID); alive {
		return Result{}, ErrInvalidRequest // a broker that says this of a live topic has lost its mind or its data
	}
	old, ok := e.tombstones.get(x.ID[:])
	if !ok {
		return Result{}, nil
	}
	e.confirmDeletion(old, x.Broker)
	return Result{}, nil
}

// confirmDeletion stops waiting for a broker that holds nothing of a deleted topic.
func (e *edit) confirmDeletion(old *Tombstone, broker int32) {
	next := *old
	next.Pending = minus(old.Pending, []int32{broker})
	switch {
	case len(next.Pending) == len(old.Pending):
	case len(next.Pending) == 0:
		e.removeTombstone(old)
	default:
		e.putTombstone(&next)
	}
}

// CreatePartitions adds partitions to a topic. ExpectedCount makes a repetition harmless: it is
// refused with ErrInvalidPartitions unless the topic still has that many.
type CreatePartitions struct {
	ID            uuid.ID
	ExpectedCount int32
	Assignments   [][]int32 // of the new partitions
}

func (*CreatePartitions) kind() kind { return kindCreatePartitions }

func (x *CreatePartitions) fields(c *coder) {
	c.id(&x.ID)
	c.int32(&x.ExpectedCount)
	assignmentFields(c, &x.Assignments)
}

func (x *CreatePartitions) apply(e *edit) (Result, error) {
	t, ok := e.topic(x.ID)
	if !ok {
		return Result{}, ErrUnknownTopic
	}
	count := len(t.Partitions) + len(x.Assignments)
	if len(t.Partitions) != int(x.ExpectedCount) || len(x.Assignments) == 0 || count > maxItems {
		return Result{}, ErrInvalidPartitions
	}
	added, err := e.newPartitions(x.Assignments)
	if err != nil {
		return Result{}, err
	}
	next := *t
	next.Partitions = slices.Concat(t.Partitions, added)
	e.putTopic(&next)
	return Result{Topic: &next}, nil
}
