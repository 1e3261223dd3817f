package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// CreatePartitions (37), v0-v3. KIP-195, 599.
func (b *Broker) createPartitions(r *wire.Request) {
	req := r.Body.(*kmsg.CreatePartitionsRequest)
	resp := kmsg.NewCreatePartitionsResponse()
	named := map[string]int{}
	for _, rt := range req.Topics {
		named[rt.Topic]++
	}
	ctx, cancel := b.bounded(r, req.TimeoutMillis)
	defer cancel()
	placer := newPlacer(b.meta.Image())
	for _, rt := range req.Topics {
		var err error
		if named[rt.Topic] > 1 {
			err = refuse(kerr.InvalidRequest, "the request names the topic more than once")
		} else {
			err = b.placed(ctx, &placer, func() error { return b.addPartitions(ctx, r.Session.Tenant, &rt, placer, req.ValidateOnly) })
		}
		resp.Topics = append(resp.Topics, kmsg.CreatePartitionsResponseTopic{
			Topic: rt.Topic, ErrorCode: b.codeOf(err), ErrorMessage: messageOf(err),
		})
	}
	r.Reply(&resp)
}

func (b *Broker) addPartitions(ctx context.Context, tenant string, rt *kmsg.CreatePartitionsRequestTopic, placer *placer, validateOnly bool) error {
	topic, err := b.resolve(b.meta.Image(), tenant, topicRef{name: rt.Topic})
	if err != nil {
		return err
	}
	have, want := len(topic.Partitions), int(rt.Count)
	if want <= have || want > maxPartitions {
		return refuse(kerr.InvalidPartitions, fmt.Sprintf("the topic has %d partitions, %d were asked for: the number can only rise, to at most %d", have, want, maxPartitions))
	}
	brokers := placer.brokers()
	factor := factorOf(topic)
	var added [][]int32
	if rt.Assignment != nil {
		for _, a := range rt.Assignment {
			added = append(added, a.Replicas)
		}
		if len(added) != want-have {
			return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("%d assignments are given for %d new partitions", len(added), want-have))
		}
		if err := checkReplicas(added, brokers); err != nil {
			return err
		}
	} else {
		if factor > len(brokers) {
			return refuse(kerr.InvalidReplicationFactor, fmt.Sprintf("the topic has %d replicas each, there are %d brokers", factor, len(brokers)))
		}
		added = placer.place(want-have, factor)
	}
	if validateOnly {
		return nil
	}
	_, err = b.meta.Propose(ctx, &raftmeta.CreatePartitions{ID: topic.ID, ExpectedCount: int32(have), Assignments: added})
	if err != nil {
		return err
	}
	b.reconciler.catchUp()
	return nil
}
