package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// Kinds of election.
const (
	electPreferred int8 = iota
	electUnclean
)

// ElectLeaders (43), v0-v2. KIP-183, 460. No list of topics asks for all partitions that need an
// election, and answers with those alone. The topic MetadataLog stands for the metadata log itself: its
// leader is the controller.
func (b *Broker) electLeaders(r *wire.Request) {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	resp := kmsg.NewElectLeadersResponse()
	resp.Topics = []kmsg.ElectLeadersResponseTopic{}
	if req.ElectionType != electPreferred && req.ElectionType != electUnclean {
		resp.ErrorCode = kerr.InvalidRequest.Code
		r.Reply(&resp)
		return
	}
	asked := req.Topics
	if asked == nil {
		asked = b.electionsNeeded(r.Session.Tenant, req.ElectionType)
	}
	ctx, cancel := b.bounded(r, req.TimeoutMillis)
	defer cancel()
	var work errgroup.Group
	work.SetLimit(concurrentProposals)
	for _, rt := range asked {
		partitions := make([]kmsg.ElectLeadersResponseTopicPartition, len(rt.Partitions))
		for i, number := range rt.Partitions {
			work.Go(func() error {
				err := b.electLeader(ctx, r.Session.Tenant, rt.Topic, number, req)
				partitions[i] = kmsg.ElectLeadersResponseTopicPartition{Partition: number, ErrorCode: b.codeOf(err), ErrorMessage: messageOf(err)}
				return nil
			})
		}
		resp.Topics = append(resp.Topics, kmsg.ElectLeadersResponseTopic{Topic: rt.Topic, Partitions: partitions})
	}
	_ = work.Wait() // every partition answers for itself
	b.reconciler.catchUp()
	if req.Topics == nil {
		resp.Topics = withoutNeedless(resp.Topics)
	}
	r.Reply(&resp)
}

// electionsNeeded are the partitions that another leader than theirs is due to.
func (b *Broker) electionsNeeded(tenant string, kind int8) []kmsg.ElectLeadersRequestTopic {
	var needed []kmsg.ElectLeadersRequestTopic
	for t := range b.meta.Image().Topics(tenant) {
		rt := kmsg.ElectLeadersRequestTopic{Topic: t.Name}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if kind == electPreferred && p.Leader != p.Replicas[0] || kind == electUnclean && p.Leader == raftmeta.NoLeader {
				rt.Partitions = append(rt.Partitions, int32(i))
			}
		}
		if len(rt.Partitions) > 0 {
			needed = append(needed, rt)
		}
	}
	return needed
}

// withoutNeedless drops what turned out to need no election after all.
func withoutNeedless(topics []kmsg.ElectLeadersResponseTopic) []kmsg.ElectLeadersResponseTopic {
	kept := []kmsg.ElectLeadersResponseTopic{}
	for _, t := range topics {
		all := t.Partitions
		t.Partitions = nil
		for _, p := range all {
			if p.ErrorCode != kerr.ElectionNotNeeded.Code {
				t.Partitions = append(t.Partitions, p)
			}
		}
		if len(t.Partitions) > 0 {
			kept = append(kept, t)
		}
	}
	return kept
}

func (b *Broker) electLeader(ctx context.Context, tenant, name string, number int32, req *kmsg.ElectLeadersRequest) error {
	if name == MetadataLog {
		return b.electController(ctx, number, req)
	}
	topic, err := b.resolve(b.meta.Image(), tenant, topicRef{name: name})
	if err != nil {
		return err
	}
	unclean := req.ElectionType == electUnclean
	result, err := b.meta.Propose(ctx, &raftmeta.ElectLeader{TopicID: topic.ID, Partition: number, Unclean: unclean})
	switch {
	case err == nil && unclean:
		b.logger.Warn("a leader was elected uncleanly on request: records that only others held are lost", "topic", name, "partition", number, "leader", result.Partition.Leader)
	case err == nil:
		b.logger.Info("a leader was elected on request", "topic", name, "partition", number, "leader", result.Partition.Leader)
	case errors.Is(err, raftmeta.ErrNoCandidate) && unclean:
		return refuse(kerr.EligibleLeadersNotAvailable, "no replica is on an active broker: start one of "+fmt.Sprint(result.Partition.Replicas))
	case errors.Is(err, raftmeta.ErrNoCandidate):
		return refuse(kerr.PreferredLeaderNotAvailable, fmt.Sprintf("broker %d, the preferred leader, is not active or not in sync", result.Partition.Replicas[0]))
	}
	return err
}
