package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire"
)

// Kinds of coordinator.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

// FindCoordinator (10), v0-v6. KIP-98, 699, 932.
//
// Every group is coordinated here. Transactions have no coordinator yet, and the answer says so in a
// code that a client does not retry.
func (b *Broker) findCoordinator(r *wire.Request) {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewFindCoordinatorResponse()
	if req.Version >= 4 {
		for _, key := range req.CoordinatorKeys {
			resp.Coordinators = append(resp.Coordinators, b.coordinatorOf(key, req.CoordinatorType))
		}
		r.Reply(&resp)
		return
	}
	c := b.coordinatorOf(req.CoordinatorKey, req.CoordinatorType)
	resp.NodeID, resp.Host, resp.Port = c.NodeID, c.Host, c.Port
	resp.ErrorCode, resp.ErrorMessage = c.ErrorCode, c.ErrorMessage
	r.Reply(&resp)
}

func (b *Broker) coordinatorOf(key string, kind int8) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port = key, -1, -1
	var err error
	self, registered := b.meta.Image().Broker(b.nodeID)
	switch {
	case kind == transactionCoordinator:
		err = refuse(kerr.UnsupportedVersion, "transactions are not supported by this server")
	case kind != groupCoordinator:
		err = refuse(kerr.InvalidRequest, fmt.Sprintf("coordinator type %d is not known", kind))
	case !registered:
		err = refuse(kerr.CoordinatorNotAvailable, "the broker is starting")
	default:
		c.NodeID, c.Host, c.Port = self.ID, self.KafkaHost, self.KafkaPort
	}
	c.ErrorCode, c.ErrorMessage = b.codeOf(err), messageOf(err)
	return c
}
