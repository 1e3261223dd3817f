package broker

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

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
	if known, ok := b.meta.Image().Broker(f.id); ok && f.epoch < known.Epoch {
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
