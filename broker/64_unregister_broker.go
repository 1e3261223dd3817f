package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// UnregisterBroker (64), v0. KIP-631. Kafka forgets a broker that still has replicas, which then miss for
// ever; here they have to be elsewhere first.
func (b *Broker) unregisterBroker(r *wire.Request) {
	req := r.Body.(*kmsg.UnregisterBrokerRequest)
	resp := kmsg.NewUnregisterBrokerResponse()
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	err := b.removeBroker(ctx, req.BrokerID)
	resp.ErrorCode, resp.ErrorMessage = b.codeOf(err), messageOf(err)
	r.Reply(&resp)
}

func (b *Broker) removeBroker(ctx context.Context, id int32) error {
	img := b.meta.Image()
	broker, ok := img.Broker(id)
	if !ok {
		return refuse(kerr.BrokerIDNotRegistered, fmt.Sprintf("broker %d is not registered", id))
	}
	_, err := b.meta.Propose(ctx, &raftmeta.RemoveBroker{ID: id, Epoch: broker.Epoch})
	if errors.Is(err, raftmeta.ErrBrokerInUse) {
		return refuse(kerr.InvalidRequest, inUse(b.meta.Image(), id))
	}
	if err != nil {
		return err
	}
	b.logger.Info("broker removed", "broker", id, "state", broker.State)
	b.reconciler.catchUp()
	return nil
}

// inUse says what keeps a broker from being removed.
func inUse(img *raftmeta.Image, id int32) string {
	replicas, example := 0, ""
	for t := range img.AllTopics() {
		for i := range t.Partitions {
			if slices.Contains(t.Partitions[i].Replicas, id) {
				replicas++
				example = fmt.Sprintf("%s-%d", t.Name, i)
			}
		}
	}
	if replicas > 0 {
		return fmt.Sprintf("broker %d holds %d replicas, one of them of %s: move them to others first", id, replicas, example)
	}
	return fmt.Sprintf("broker %d is not fenced: stop it first, and wait until it is", id)
}
