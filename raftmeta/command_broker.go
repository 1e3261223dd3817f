package raftmeta

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// RegisterBroker announces a run of a broker. It gets a new broker epoch, which is the log index of
// its entry, and starts Fenced (replication.md 5.2). A repetition by the same incarnation keeps the
// epoch it got (KAFKA-16952). An earlier run that still counts as alive is fenced if it held one of
// the same storage directories, for their lock proves that it is dead; otherwise the answer is
// ErrDuplicateBroker until it has been fenced.
type RegisterBroker struct {
	ID          int32
	Incarnation uuid.ID // random, per process start
	StorageIDs  []uuid.ID
	KafkaHost   string
	KafkaPort   int32
	PeerAddress string // host:port by which other brokers reach it
	Rack        string
	// Suspect says that the last stop may have lost acknowledged data (replication.md 14.3). The broker
	// then is no eligible leader of anything. A storage id that it no longer brings says the same.
	Suspect bool
	// SuspectPartitions are those of which recovery may have cut off acknowledged data (14.4): the broker
	// is no eligible leader of them.
	SuspectPartitions []TopicPartition
	// Previous is the epoch of the registration that this one takes the place of, 0 if there is none. If it
	// is another one by now the answer is ErrStaleBrokerEpoch, and the proposer looks again: what an earlier
	// run proposed may arrive after a later run has registered, and must not push that out.
	Previous int64
}

// TopicPartition names a partition.
type TopicPartition struct {
	TopicID   uuid.ID
	Partition int32
}

func (*RegisterBroker) kind() kind { return kindRegisterBroker }

func (x *RegisterBroker) fields(c *coder) {
	c.int32(&x.ID)
	c.id(&x.Incarnation)
	c.ids(&x.StorageIDs)
	c.name(&x.KafkaHost)
	c.int32(&x.KafkaPort)
	c.name(&x.PeerAddress)
	c.name(&x.Rack)
	c.bool(&x.Suspect)
	list(c, &x.SuspectPartitions, 16+1, func(c *coder, p *TopicPartition) {
		c.id(&p.TopicID)
		c.int32(&p.Partition)
	})
	c.int64(&x.Previous)
}

func (x *RegisterBroker) apply(e *edit) (Result, error) {
	if x.ID < 0 || x.Incarnation.IsZero() {
		return Result{}, ErrInvalidRequest
	}
	old, known := e.broker(x.ID)
	lost := suspicionOf(x.SuspectPartitions)
	lost.all = x.Suspect
	draining := false
	switch {
	case !known && x.Previous != 0: // it was removed meanwhile
		return Result{}, ErrStaleBrokerEpoch
	case known && old.Incarnation == x.Incarnation:
		return Result{BrokerEpoch: old.Epoch}, nil
	case known && old.Epoch != x.Previous:
		return Result{}, ErrStaleBrokerEpoch
	case known && (old.Epoch == int64(e.base.index) || !x.supersedes(old)):
		return Result{}, ErrDuplicateBroker // two runs must never share an epoch, even within one entry
	case known:
		lost.all = lost.all || slices.ContainsFunc(old.StorageIDs, func(id uuid.ID) bool {
			return !slices.Contains(x.StorageIDs, id) // a lost or replaced disk
		})
		draining = old.Draining // the operator's wish outlives a restart
	}
	e.putBroker(&Broker{
		ID: x.ID, Epoch: int64(e.base.index), Incarnation: x.Incarnation, StorageIDs: x.StorageIDs,
		KafkaHost: x.KafkaHost, KafkaPort: x.KafkaPort, PeerAddress: x.PeerAddress, Rack: x.Rack,
		State: Fenced, Draining: draining,
	})
	e.removeSequence(x.ID)
	if known {
		e.fence(x.ID, lost)
	}
	return Result{BrokerEpoch: int64(e.base.index)}, nil
}

// supersedes reports whether the run that is registered as old cannot be alive.
func (x *RegisterBroker) supersedes(old *Broker) bool {
	return old.State == Fenced || slices.ContainsFunc(old.StorageIDs, func(id uuid.ID) bool {
		return slices.Contains(x.StorageIDs, id)
	})
}

// ActivateBroker lets a registered broker lead and be in sync: it has applied its registration and
// loaded its logs (replication.md 5.3). Partitions without a leader that wait for it get one, and so do
// coordinator shards. A broker that shuts down does not come back before its next registration.
type ActivateBroker struct {
	ID    int32
	Epoch int64 // of its registration
}

func (*ActivateBroker) kind() kind { return kindActivateBroker }

func (x *ActivateBroker) fields(c *coder) {
	c.int32(&x.ID)
	c.int64(&x.Epoch)
}

func (x *ActivateBroker) apply(e *edit) (Result, error) {
	b, err := e.currentBroker(x.ID, x.Epoch)
	if err != nil {
		return Result{}, err
	}
	switch b.State {
	case Active:
		return Result{}, nil
	case ShuttingDown:
		return Result{}, ErrBrokerUnavailable
	}
	e.setBrokerState(b, Active)
	e.electWaiting()
	return Result{}, nil
}

// BeginShutdown starts the orderly stop of an active broker (replication.md 5.6). It leaves every ISR
// that has another member, which then leads, and hands over its coordinator shards. Where it is the
// whole ISR it goes on to lead until it is fenced: others could lack what was written to it. A fenced
// broker has nothing to hand over and stays as it is.
type BeginShutdown struct {
	ID    int32
	Epoch int64 // of its registration
}

func (*BeginShutdown) kind() kind { return kindBeginShutdown }

func (x *BeginShutdown) fields(c *coder) {
	c.int32(&x.ID)
	c.int64(&x.Epoch)
}

func (x *BeginShutdown) apply(e *edit) (Result, error) {
	b, err := e.currentBroker(x.ID, x.Epoch)
	if err != nil || b.State != Active {
		return Result{}, err
	}
	e.setBrokerState(b, ShuttingDown)
	e.handOver(x.ID)
	return Result{}, nil
}

// FenceBroker takes a broker out: it leads nothing and is in sync with nothing until it is activated
// again (I14).
type FenceBroker struct {
	ID    int32
	Epoch int64 // of the registration that is to be fenced
}

func (*FenceBroker) kind() kind { return kindFenceBroker }

func (x *FenceBroker) fields(c *coder) {
	c.int32(&x.ID)
	c.int64(&x.Epoch)
}

func (x *FenceBroker) apply(e *edit) (Result, error) {
	b, err := e.currentBroker(x.ID, x.Epoch)
	if err != nil {
		return Result{}, err
	}
	if b.State == Fenced {
		return Result{}, nil
	}
	e.setBrokerState(b, Fenced)
	e.fence(x.ID, suspicion{})
	return Result{}, nil
}

// SetDraining says whether a broker is being emptied: until it is not any more, others are preferred
// for leaders and coordinator shards. Moving what it has is the controller's part.
type SetDraining struct {
	ID       int32
	Draining bool
}

func (*SetDraining) kind() kind { return kindSetDraining }

func (x *SetDraining) fields(c *coder) {
	c.int32(&x.ID)
	c.bool(&x.Draining)
}

func (x *SetDraining) apply(e *edit) (Result, error) {
	b, ok := e.broker(x.ID)
	switch {
	case !ok:
		return Result{}, ErrUnknownBroker
	case b.Draining != x.Draining:
		next := *b
		next.Draining = x.Draining
		e.putBroker(&next)
	}
	return Result{}, nil
}

// RemoveBroker forgets a broker that will not come back. It must be fenced and no replica of anything
// (ErrBrokerInUse). Deleted topics do not wait for it any longer.
type RemoveBroker struct {
	ID    int32
	Epoch int64 // of its last registration
}

func (*RemoveBroker) kind() kind { return kindRemoveBroker }

func (x *RemoveBroker) fields(c *coder) {
	c.int32(&x.ID)
	c.int64(&x.Epoch)
}

func (x *RemoveBroker) apply(e *edit) (Result, error) {
	b, err := e.currentBroker(x.ID, x.Epoch)
	if err != nil {
		return Result{}, err
	}
	if b.State != Fenced || e.hosts(x.ID) {
		return Result{}, ErrBrokerInUse
	}
	for _, t := range slices.Collect(values(e.tombstones.root(), nil)) { // the tree must not change under its iterator
		e.confirmDeletion(t, x.ID)
	}
	e.removeBroker(b)
	return Result{}, nil
}

// hosts reports whether a broker is a replica of any partition.
func (e *edit) hosts(id int32) bool {
	for t := range values(e.topics.root(), nil) {
		for i := range t.Partitions {
			if slices.Contains(t.Partitions[i].Replicas, id) {
				return true
			}
		}
	}
	return false
}

// currentBroker finds a broker by the epoch of its present registration.
func (e *edit) currentBroker(id int32, epoch int64) (*Broker, error) {
	b, ok := e.broker(id)
	if !ok {
		return nil, ErrUnknownBroker
	}
	if b.Epoch != epoch {
		return nil, ErrStaleBrokerEpoch
	}
	return b, nil
}

// setBrokerState leaves to the caller what follows for the partitions.
func (e *edit) setBrokerState(b *Broker, state BrokerState) {
	next := *b
	next.State = state
	e.putBroker(&next)
}
