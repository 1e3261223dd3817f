package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// Kinds of coordinator.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

// FindCoordinator (10), v0-v6. KIP-98, 699, 932.
//
// A group's coordinator is the owner of its shard in what this node has applied. That may lag: the broker
// it names then knows better, and sends the client back here. Transactions have no coordinator yet, and the
// answer says so in a code that a client does not retry.
func (b *Broker) findCoordinator(r *wire.Request) {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewFindCoordinatorResponse()
	if req.Version >= 4 {
		for _, key := range req.CoordinatorKeys {
			resp.Coordinators = append(resp.Coordinators, b.coordinatorOf(r.Session.Tenant, key, req.CoordinatorType))
		}
		r.Reply(&resp)
		return
	}
	c := b.coordinatorOf(r.Session.Tenant, req.CoordinatorKey, req.CoordinatorType)
	resp.NodeID, resp.Host, resp.Port = c.NodeID, c.Host, c.Port
	resp.ErrorCode, resp.ErrorMessage = c.ErrorCode, c.ErrorMessage
	r.Reply(&resp)
}

func (b *Broker) coordinatorOf(tenant, key string, kind int8) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port = key, -1, -1
	var err error
	switch kind {
	case groupCoordinator:
		img := b.meta.Image()
		owner, registered := img.Broker(img.Shard(raftmeta.ShardOf(tenant, key)).Owner)
		if !registered || owner.State != raftmeta.Active {
			err = refuse(kerr.CoordinatorNotAvailable, "no active broker coordinates this group at the moment")
			break
		}
		c.NodeID, c.Host, c.Port = owner.ID, owner.KafkaHost, owner.KafkaPort
	case transactionCoordinator:
		err = refuse(kerr.UnsupportedVersion, "transactions are not supported by this server")
	default:
		err = refuse(kerr.InvalidRequest, fmt.Sprintf("coordinator type %d is not known", kind))
	}
	c.ErrorCode, c.ErrorMessage = b.codeOf(err), messageOf(err)
	return c
}
