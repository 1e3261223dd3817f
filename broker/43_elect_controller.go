package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/cluster"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// MetadataLog is Kafka's name for the metadata log, which has one partition. No topic is called so.
const MetadataLog = "__cluster_metadata"

// ControllerTag is the tagged field of an ElectLeaders request (KIP-482) that names the broker to become
// the controller, as an int32. Without it the voter that knows most does. Kafka ignores it.
const ControllerTag = 10_000

// electController moves the lead of the metadata log to another voter. Raft lets only the leader hand it
// over, so others answer NOT_CONTROLLER, and the caller goes to the broker that Metadata calls the
// controller.
func (b *Broker) electController(ctx context.Context, number int32, req *kmsg.ElectLeadersRequest) error {
	switch {
	case number != 0:
		return errUnknownPartition
	case req.ElectionType == electUnclean:
		return refuse(kerr.InvalidRequest, "the metadata log has no unclean elections: see `chronik cluster recover`")
	}
	to, err := b.wantedController(req)
	if err != nil {
		return err
	}
	err = b.meta.TransferLeadership(ctx, to)
	switch {
	case err == nil:
		b.logger.Info("the controller has handed over on request")
		return nil
	case errors.Is(err, raftmeta.ErrNotLeader):
		return refuse(kerr.NotController, fmt.Sprintf("the controller is broker %d: ask it", b.cluster.Controller()))
	case ctx.Err() != nil:
		return err
	}
	return refuse(kerr.PreferredLeaderNotAvailable, "no other voter could take over: "+err.Error())
}

// wantedController is the server that a request asks for, nil for any.
func (b *Broker) wantedController(req *kmsg.ElectLeadersRequest) (*raftmeta.Server, error) {
	var tag []byte
	given := false
	req.UnknownTags.Each(func(key uint32, value []byte) {
		if key == ControllerTag {
			tag, given = value, true
		}
	})
	if !given {
		return nil, nil
	}
	if len(tag) != 4 {
		return nil, refuse(kerr.InvalidRequest, "the wanted controller is not an int32")
	}
	id := int32(binary.BigEndian.Uint32(tag))
	broker, ok := b.meta.Image().Broker(id)
	if !ok {
		return nil, refuse(kerr.BrokerIDNotRegistered, fmt.Sprintf("broker %d is not registered", id))
	}
	if id == b.nodeID && b.meta.IsLeader() {
		return nil, refuse(kerr.ElectionNotNeeded, fmt.Sprintf("broker %d is the controller", id))
	}
	members, err := b.meta.Members()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(members, func(m raftmeta.Member) bool {
		return m.Voter && slices.ContainsFunc(broker.StorageIDs, func(dir uuid.ID) bool { return m.ID == cluster.ServerID(id, dir) })
	})
	if at < 0 {
		return nil, refuse(kerr.PreferredLeaderNotAvailable, fmt.Sprintf("broker %d is no voter of the metadata log", id))
	}
	return &members[at].Server, nil
}
