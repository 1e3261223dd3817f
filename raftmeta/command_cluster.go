package raftmeta

import (
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// InitCluster names the cluster, once. The same id again is accepted, another is ErrClusterIDMismatch.
type InitCluster struct {
	ClusterID uuid.ID
}

func (*InitCluster) kind() kind        { return kindInitCluster }
func (x *InitCluster) fields(c *coder) { c.id(&x.ClusterID) }

func (x *InitCluster) apply(e *edit) (Result, error) {
	switch {
	case x.ClusterID.IsZero():
		return Result{}, ErrInvalidRequest
	case e.base.clusterID == x.ClusterID:
		return Result{}, nil
	case !e.base.clusterID.IsZero():
		return Result{}, ErrClusterIDMismatch
	}
	e.base.clusterID = x.ClusterID
	e.base.featureLevel = 1
	e.dirty.brokers = true // what describes the cluster describes its brokers
	return Result{}, nil
}

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
	Rack        string
	// Suspect says that the last stop may have lost acknowledged data (replication.md 14.3). The broker
	// then is no eligible leader of anything. A storage id that it no longer brings says the same.
	Suspect bool
}

func (*RegisterBroker) kind() kind { return kindRegisterBroker }

func (x *RegisterBroker) fields(c *coder) {
	c.int32(&x.ID)
	c.id(&x.Incarnation)
	c.ids(&x.StorageIDs)
	c.name(&x.KafkaHost)
	c.int32(&x.KafkaPort)
	c.name(&x.Rack)
	c.bool(&x.Suspect)
}

func (x *RegisterBroker) apply(e *edit) (Result, error) {
	if x.ID < 0 || x.Incarnation.IsZero() {
		return Result{}, ErrInvalidRequest
	}
	old, known := e.broker(x.ID)
	suspect := x.Suspect
	if known {
		if old.Incarnation == x.Incarnation {
			return Result{BrokerEpoch: old.Epoch}, nil
		}
		if old.Epoch == int64(e.base.index) || !x.supersedes(old) {
			return Result{}, ErrDuplicateBroker // two runs must never share an epoch, even within one entry
		}
		suspect = suspect || slices.ContainsFunc(old.StorageIDs, func(id uuid.ID) bool {
			return !slices.Contains(x.StorageIDs, id) // a lost or replaced disk
		})
	}
	e.putBroker(&Broker{
		ID: x.ID, Epoch: int64(e.base.index), Incarnation: x.Incarnation, StorageIDs: x.StorageIDs,
		KafkaHost: x.KafkaHost, KafkaPort: x.KafkaPort, Rack: x.Rack, State: Fenced,
	})
	if known {
		e.fence(x.ID, suspect)
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
// loaded its logs (replication.md 5.3). Partitions without a leader that wait for it get one.
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
	if b.State == Active {
		return Result{}, nil
	}
	e.setBrokerState(b, Active)
	e.electWaiting(x.ID)
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
	e.fence(x.ID, false)
	return Result{}, nil
}

// AllocateProducerIDs reserves a block of producer ids for a broker. No id is ever in two blocks, and a
// broker that loses the answer loses the block (I37).
type AllocateProducerIDs struct {
	BrokerID    int32
	BrokerEpoch int64
	Count       int32 // 1 to MaxProducerIDBlock; Kafka takes 1000
}

// MaxProducerIDBlock bounds what one broker may take at once.
const MaxProducerIDBlock = 1_000_000

func (*AllocateProducerIDs) kind() kind { return kindAllocateProducerIDs }

func (x *AllocateProducerIDs) fields(c *coder) {
	c.int32(&x.BrokerID)
	c.int64(&x.BrokerEpoch)
	c.int32(&x.Count)
}

func (x *AllocateProducerIDs) apply(e *edit) (Result, error) {
	if x.Count < 1 || x.Count > MaxProducerIDBlock {
		return Result{}, ErrInvalidRequest
	}
	if _, err := e.currentBroker(x.BrokerID, x.BrokerEpoch); err != nil {
		return Result{}, err
	}
	block, ok := e.takeProducerIDs(x.Count)
	if !ok {
		return Result{}, ErrProducerIDsExhausted
	}
	return Result{ProducerIDs: block}, nil
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

func (e *edit) setBrokerState(b *Broker, state BrokerState) {
	next := *b
	next.State = state
	e.putBroker(&next)
}

// validTenant says whether a tenant can be part of a key.
func validTenant(tenant string) bool {
	return len(tenant) <= maxTenant && strings.IndexByte(tenant, 0) < 0
}
