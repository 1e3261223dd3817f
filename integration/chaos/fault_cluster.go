package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/integration/fleet"
)

func clusterFaults() []FaultKind {
	return []FaultKind{
		{"reassignment in flight", reassign},
	}
}

// reassign takes a replica away, gives it back, and ends a node while the new replica is being filled.
func reassign(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error) {
	p, known, err := w.partitionAt(ctx, rng)
	if err != nil {
		return nil, err
	}
	if len(known.Replicas) < 3 {
		return nil, fmt.Errorf("%v has replicas %v: none can be spared", p, known.Replicas)
	}
	dropped := known.Replicas[rng.IntN(len(known.Replicas))]
	fewer := slices.DeleteFunc(slices.Clone(known.Replicas), func(id int32) bool { return id == dropped })
	all := append(slices.Clone(fewer), dropped)
	victim := w.Fleet.Node(all[rng.IntN(len(all))])
	f := &Fault{Target: fmt.Sprintf("%v without node %d and back, while node %d ends", p, dropped, victim.ID)}
	f.apply = func(ctx context.Context) error { return w.alterReplicas(ctx, p, fewer) }
	f.bites = func(ctx context.Context) error { return w.replicasAre(ctx, p, fewer) }
	f.heal = func(ctx context.Context) error {
		if err := w.alterReplicas(ctx, p, all); err != nil {
			return err
		}
		return errors.Join(victim.Kill(), start(ctx, victim))
	}
	f.proves = func(ctx context.Context) error { return w.replicasAre(ctx, p, all) }
	return f, nil
}

func (w *World) replicasAre(ctx context.Context, p Partition, want []int32) error {
	now, err := w.lookup(ctx, p)
	if err != nil {
		return err
	}
	if !slices.Equal(now.Replicas, want) {
		return fmt.Errorf("%v has replicas %v, not yet %v", p, now.Replicas, want)
	}
	return nil
}

// alterReplicas asks any broker, again until one accepts: the request is the same however often it is sent.
func (w *World) alterReplicas(ctx context.Context, p Partition, replicas []int32) error {
	r, err := newRouter(w.Fleet.Bootstrap())
	if err != nil {
		return err
	}
	defer r.close()
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	return fleet.Eventually(ctx, func() error {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.TimeoutMillis = int32(askTimeout.Milliseconds())
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic = p.Topic
		at := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		at.Partition, at.Replicas = p.Index, replicas
		t.Partitions = append(t.Partitions, at)
		req.Topics = append(req.Topics, t)
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		resp, err := req.RequestWith(asking, r.cl)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		for _, topic := range resp.Topics {
			for _, partition := range topic.Partitions {
				err = errors.Join(err, kerr.ErrorForCode(partition.ErrorCode))
			}
		}
		return err
	})
}
