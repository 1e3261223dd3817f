package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// wholeDeadline is within which a cluster that nothing disturbs any more has to be whole. A wiped node takes longest: its
// new self is tried for ten seconds before it may vote (replication.md 4.7).
const wholeDeadline = 60 * time.Second

// AwaitWhole waits until nothing of a fault is left: every node runs, all vote, and every partition has a leader and all
// its replicas in sync. A node that ended by itself is an error at once.
func (w *World) AwaitWhole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wholeDeadline)
	defer cancel()
	var dead error
	err := fleet.Eventually(ctx, func() error {
		for _, n := range w.Fleet.Nodes() {
			if !n.Running() {
				dead = fmt.Errorf("node %d has ended by itself: %w\n%s", n.ID, n.Process().Err(), n.LogTail(30))
				return nil
			}
		}
		return w.whole(ctx)
	})
	return errors.Join(dead, err)
}

func (w *World) whole(ctx context.Context) error {
	if len(w.Fleet.Nodes()) > 1 {
		voters, err := w.Fleet.Voters(ctx)
		if err != nil {
			return err
		}
		if len(voters) != len(w.Fleet.Nodes()) {
			return fmt.Errorf("only nodes %v vote", voters)
		}
	}
	for _, t := range w.Topics {
		known, err := w.Fleet.Topic(ctx, t.Name)
		if err != nil {
			return err
		}
		if len(known) != int(t.Partitions) {
			return fmt.Errorf("topic %s has %d partitions", t.Name, len(known))
		}
		for _, p := range known {
			if p.Leader <= 0 || len(p.ISR) != len(p.Replicas) || len(p.Replicas) != w.replicas() {
				return fmt.Errorf("%s-%d: leader %d, replicas %v, in sync %v", t.Name, p.Partition, p.Leader, p.Replicas, p.ISR)
			}
		}
	}
	return nil
}

// ids are those of all nodes.
func (w *World) ids() []int32 {
	var all []int32
	for _, n := range w.Fleet.Nodes() {
		all = append(all, n.ID)
	}
	return all
}

// replicas of every partition of the load.
func (w *World) replicas() int { return min(3, len(w.Fleet.Nodes())) }

// progressDeadline is within which every client makes progress once the faults have healed (I47).
const progressDeadline = 30 * time.Second

// AwaitProgress waits for an acknowledgement in every partition that comes after the call.
func (w *World) AwaitProgress(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, progressDeadline)
	defer cancel()
	before := map[Partition]int{}
	for _, t := range w.Topics {
		for _, p := range t.partitions() {
			before[p] = w.Ledger.Acked(p)
		}
	}
	return fleet.Eventually(ctx, func() error {
		for p, n := range before {
			if w.Ledger.Acked(p) <= n {
				return fmt.Errorf("nothing is acknowledged in %v", p)
			}
		}
		return nil
	})
}

// AwaitApplied waits until every node has applied the same index, with nothing more to come.
func (w *World) AwaitApplied(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wholeDeadline)
	defer cancel()
	return fleet.Eventually(ctx, func() error {
		var applied []uint64
		for _, n := range w.Fleet.Nodes() {
			r, err := n.Raft(ctx)
			if err != nil {
				return err
			}
			applied = append(applied, r.AppliedIndex)
		}
		if slices.Max(applied) != slices.Min(applied) {
			return fmt.Errorf("applied indexes are %v", applied)
		}
		return nil
	})
}

// flushMode of the load's topics, by number: both are under test in every run.
func flushMode(topic int) string { return []string{"sync", "os"}[topic%2] }

// CreateTopics makes the topics of the load.
func (w *World) CreateTopics(ctx context.Context) error {
	return w.withAdmin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		for i, t := range w.Topics {
			mode := flushMode(i)
			insync, segment, keep := fmt.Sprint(max(1, w.replicas()-1)), "1048576", "-1"
			_, err := adm.CreateTopic(ctx, t.Partitions, int16(w.replicas()), map[string]*string{
				"flush.mode": &mode, "min.insync.replicas": &insync, "segment.bytes": &segment, "retention.ms": &keep}, t.Name)
			if err != nil {
				return fmt.Errorf("create %s: %w", t.Name, err)
			}
		}
		return nil
	})
}

// DeleteTopics removes what a round has left, those of the admin load included.
func (w *World) DeleteTopics(ctx context.Context) error {
	return w.withAdmin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		topics, err := adm.ListTopics(ctx)
		if err != nil || len(topics) == 0 {
			return err
		}
		deleted, err := adm.DeleteTopics(ctx, topics.Names()...)
		return errors.Join(err, deleted.Error())
	})
}

func (w *World) withAdmin(ctx context.Context, do func(context.Context, *kadm.Client) error) error {
	cl, err := kgo.NewClient(clientOptions(w.Fleet.Bootstrap())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	return do(ctx, kadm.NewClient(cl))
}

// state is what every node says of itself and the load's topics, for a failure's message.
func (w *World) state(ctx context.Context) string {
	var b strings.Builder
	for _, n := range w.Fleet.Nodes() {
		r, err := n.Raft(ctx)
		fmt.Fprintf(&b, "node %d, running %v: %s in term %d, leader %q, applied %d, servers %v, %v\n", n.ID, n.Running(), r.State, r.Term, r.Leader, r.AppliedIndex, r.Servers, err)
		for _, t := range w.Topics {
			known, err := n.Topic(ctx, t.Name)
			for _, p := range known {
				fmt.Fprintf(&b, "  %s-%d: leader %d epoch %d, replicas %v, isr %v, hw %d, end %d\n", t.Name, p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, p.HighWatermark, p.LogEnd)
			}
			if err != nil {
				fmt.Fprintf(&b, "  %s: %v\n", t.Name, err)
			}
		}
	}
	return b.String()
}
