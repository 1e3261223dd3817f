package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// AlterPartitionReassignments (45), v0-v1. KIP-455, 860. It answers once the moves are under way; they end
// when the new replicas are in sync (replication.md 13.1). A null list of replicas cancels.
func (b *Broker) alterPartitionAssignments(r *wire.Request) {
	req := r.Body.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := kmsg.NewAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	resp.Topics = []kmsg.AlterPartitionAssignmentsResponseTopic{}
	ctx, cancel := b.bounded(r, req.TimeoutMillis)
	defer cancel()
	var work errgroup.Group
	work.SetLimit(concurrentProposals)
	for _, rt := range req.Topics {
		partitions := make([]kmsg.AlterPartitionAssignmentsResponseTopicPartition, len(rt.Partitions))
		for i, rp := range rt.Partitions {
			work.Go(func() error {
				err := b.reassign(ctx, r.Session.Tenant, rt.Topic, rp, req.AllowReplicationFactorChange)
				partitions[i] = kmsg.AlterPartitionAssignmentsResponseTopicPartition{
					Partition: rp.Partition, ErrorCode: b.codeOf(err), ErrorMessage: messageOf(err),
				}
				return nil
			})
		}
		resp.Topics = append(resp.Topics, kmsg.AlterPartitionAssignmentsResponseTopic{Topic: rt.Topic, Partitions: partitions})
	}
	_ = work.Wait() // every partition answers for itself
	b.reconciler.catchUp()
	r.Reply(&resp)
}

func (b *Broker) reassign(ctx context.Context, tenant, name string, rp kmsg.AlterPartitionAssignmentsRequestTopicPartition, otherFactor bool) error {
	img := b.meta.Image()
	topic, err := b.resolve(img, tenant, topicRef{name: name})
	if err != nil {
		return err
	}
	if rp.Partition < 0 || int(rp.Partition) >= len(topic.Partitions) {
		return errUnknownPartition
	}
	if rp.Replicas != nil {
		if err := checkTarget(img, &topic.Partitions[rp.Partition], rp.Replicas, otherFactor); err != nil {
			return err
		}
	}
	result, err := b.meta.Propose(ctx, &raftmeta.Reassign{TopicID: topic.ID, Partition: rp.Partition, Replicas: rp.Replicas})
	if err != nil {
		return err
	}
	b.logger.Info("partition reassigned", "topic", name, "partition", rp.Partition, "to", rp.Replicas, "adding", result.Partition.Adding, "removing", result.Partition.Removing)
	return nil
}

// checkTarget judges the replicas that a partition shall have.
func checkTarget(img *raftmeta.Image, p *raftmeta.Partition, target []int32, otherFactor bool) error {
	if len(target) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "a partition needs a replica; null, not an empty list, cancels a reassignment")
	}
	for i, id := range target {
		if slices.Contains(target[:i], id) {
			return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("broker %d is named twice", id))
		}
		if _, ok := img.Broker(id); !ok {
			return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("broker %d is not registered", id))
		}
	}
	if factor := len(p.Replicas) - len(p.Adding); !otherFactor && len(target) != factor {
		return refuse(kerr.InvalidReplicationFactor, fmt.Sprintf("the partition has %d replicas, %d are given, and the request forbids to change the number", factor, len(target)))
	}
	return nil
}
