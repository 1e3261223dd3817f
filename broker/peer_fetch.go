package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// firstPeerFetch is the oldest Fetch that carries a follower's broker epoch (KIP-903).
const firstPeerFetch = 15

// follower is the broker whose replicas a Fetch on the peer port is for.
type follower struct {
	id    int32
	epoch int64 // of the run that asks
}

// peerFetch serves Fetch on the peer port: the same request, the same waiting and the same bytes as for a
// consumer, but up to the log end, and what it asks for tells how far the follower is (replication.md 10.2).
func (b *Broker) peerFetch(r *wire.Request) {
	req := r.Body.(*kmsg.FetchRequest)
	f := &follower{id: req.ReplicaState.ID, epoch: req.ReplicaState.Epoch}
	if f.id < 0 || !b.open() {
		r.Reply(wire.ErrorResponse(req, kerr.InvalidRequest.Code))
		return
	}
	if err := b.checkRun(f); err != nil {
		resp := kmsg.NewFetchResponse()
		resp.ErrorCode = b.codeOf(err)
		r.Reply(&resp)
		return
	}
	b.startFetch(r, b.peerSessions, f)
}

// open tells whether the metadata log is open. Before, peers may ask for nothing but to form a cluster.
func (b *Broker) open() bool {
	select {
	case <-b.metaOpen:
		return true
	default:
		return false
	}
}

// checkRun refuses an earlier run of a broker than the one that is registered (I11). A later one than
// this node has heard of is let in: the ISR it may join is judged where the registration is known.
func (b *Broker) checkRun(f *follower) error {
	if known, ok := b.meta.Image().Broker(f.id); ok && f.epoch < known.Epoch && !mutant.On(mutant.OldRunFetch) {
		return raftmeta.ErrStaleBrokerEpoch
	}
	return nil
}

// read takes a follower's fetch of one partition.
func (f *follower) read(p *fetchedPartition, maxBytes int, atLeastOne bool, now time.Time) (partition.ReadResult, error) {
	result, err := p.host.replica.ReadForFollower(partition.FollowerRead{
		Replica: f.id, BrokerEpoch: f.epoch, From: p.want.Offset,
		CurrentEpoch: p.want.CurrentEpoch, LastFetchedEpoch: p.want.LastFetchedEpoch,
		MaxBytes: maxBytes, AtLeastOne: atLeastOne, Now: now,
	})
	if errors.Is(err, core.ErrNotReplica) {
		err = refuse(kerr.UnknownLeaderEpoch, "this leader does not know of that replica yet")
	}
	return result, err
}

// logEnd tells the controller how far a replica's log goes, when it has to choose a leader among replicas that
// all may have lost something (replication.md 11.4).
func (b *Broker) logEnd(_ context.Context, body []byte) ([]byte, error) {
	if len(body) != len(uuid.ID{})+4 || !b.open() {
		return nil, kerr.InvalidRequest
	}
	topic, number := uuid.ID(body), int32(binary.BigEndian.Uint32(body[len(uuid.ID{}):]))
	h, err := b.replicas.find(partitionKey{topic, number})
	switch {
	case err != nil:
		return nil, err
	case h == nil:
		return nil, kerr.UnknownTopicOrPartition // not opened yet
	}
	l := h.replica.Log()
	if err := l.Failed(); err != nil {
		return nil, err
	}
	answer := binary.BigEndian.AppendUint32(nil, uint32(l.LatestEpoch()))
	return binary.BigEndian.AppendUint64(answer, uint64(l.EndOffset())), nil
}

// peerAPIs is what is served to other brokers. What clients may ask is not there, and what is there
// clients may not ask.
func (b *Broker) peerAPIs() []wire.API {
	newest := func(key kmsg.Key) int16 { return kmsg.RequestForKey(int16(key)).MaxVersion() }
	return append(b.cluster.APIs(),
		wire.API{Key: int16(kmsg.ApiVersions), Max: newest(kmsg.ApiVersions), Handle: b.apiVersions},
		wire.API{Key: int16(kmsg.Fetch), Min: firstPeerFetch, Max: newest(kmsg.Fetch), Handle: b.peerFetch},
		wire.API{Key: int16(kmsg.OffsetForLeaderEpoch), Min: 3, Max: newest(kmsg.OffsetForLeaderEpoch), Handle: b.peerOffsetForLeaderEpoch},
	)
}
