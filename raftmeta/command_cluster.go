package raftmeta

import (
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

// validTenant says whether a tenant can be part of a key.
func validTenant(tenant string) bool {
	return len(tenant) <= maxTenant && strings.IndexByte(tenant, 0) < 0
}
