package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// InitProducerId (22), v0-v5. KIP-98, 360, 588, 890.
//
// Every call gets a new producer id with epoch 0; only transactions would let a producer take over the
// id of another, and those have no coordinator yet.
func (b *Broker) initProducerID(r *wire.Request) {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	resp := kmsg.NewInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	id, err := b.newProducerID(r, req)
	if resp.ErrorCode = b.codeOf(err); err == nil {
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	r.Reply(&resp)
}

func (b *Broker) newProducerID(r *wire.Request, req *kmsg.InitProducerIDRequest) (int64, error) {
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		return 0, refuse(kerr.InvalidRequest, "the transactional id is empty")
	case req.TransactionalID != nil:
		return 0, refuse(kerr.UnsupportedVersion, "transactions are not supported by this server")
	case req.Version >= 3 && (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		return 0, refuse(kerr.InvalidRequest, "producer id and epoch go together")
	}
	ctx, cancel := b.bounded(r, 0)
	defer cancel()
	return b.producerIDs.next(ctx)
}

// producerIDs hands out ids from a block that the metadata log reserved for this broker. What is left of
// a block when the process ends is never used (I37).
type producerIDs struct {
	reserve func(ctx context.Context) (raftmeta.ProducerIDBlock, error)

	turn  chan struct{} // holds one token; who has it may use block, also while a new one is reserved
	block raftmeta.ProducerIDBlock
}

func newProducerIDs(reserve func(context.Context) (raftmeta.ProducerIDBlock, error)) *producerIDs {
	p := &producerIDs{reserve: reserve, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// producerIDBlock is how many ids are reserved at a time, as Kafka does.
const producerIDBlock = 1000

func (p *producerIDs) next(ctx context.Context) (int64, error) {
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if p.block.Count == 0 {
		block, err := p.reserve(ctx)
		if err != nil {
			return 0, err
		}
		p.block = block
	}
	id := p.block.First
	p.block.First++
	p.block.Count--
	return id, nil
}

// reserveProducerIDs asks the metadata log for a block.
func (b *Broker) reserveProducerIDs(ctx context.Context) (raftmeta.ProducerIDBlock, error) {
	result, err := b.meta.Propose(ctx, &raftmeta.AllocateProducerIDs{
		BrokerID: b.nodeID, BrokerEpoch: b.brokerEpoch.Load(), Count: producerIDBlock,
	})
	return result.ProducerIDs, err
}
