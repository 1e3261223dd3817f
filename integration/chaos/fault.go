package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// World is what faults are done to.
type World struct {
	Fleet  *fleet.Fleet
	Topics []Topic
	Ledger *Ledger
	// SmallDisk is where the node with the small file system has it; Node is 0 if there is none.
	SmallDisk struct {
		Node int32
		Dir  string
	}
}

// Fault is one that is applied, lasts for a while, and is healed.
type Fault struct {
	Name   string
	Target string // whom it hit, for people

	apply func(ctx context.Context) error
	// bites is nil once the fault has shown an effect. It is asked again and again while the fault lasts.
	bites func(ctx context.Context) error
	heal  func(ctx context.Context) error
	// proves is like bites, but asked when the cluster has recovered: some effects show only then. May be nil.
	proves func(ctx context.Context) error
}

// Kind of a fault makes one, drawn from rng. It looks at the world first: who leads, who is the controller.
type FaultKind struct {
	Name string
	draw func(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error)
}

// Kinds are all faults that there are.
func Kinds() []FaultKind {
	return slices.Concat(processFaults(), networkFaults(), diskFaults(), clusterFaults())
}

// target is a node to be hit, and how to see that the cluster noticed.
type target struct {
	node *fleet.Node
	role string
	// noticed is nil when others have taken over what the node did.
	noticed func(ctx context.Context) error
}

func (t target) String() string { return fmt.Sprintf("node %d, %s", t.node.ID, t.role) }

var errNotNoticed = errors.New("the cluster has not noticed")

// aim draws a role and finds the node that has it.
type aim func(ctx context.Context, w *World, rng *rand.Rand) (target, error)

// partitionAt draws a partition and what is known of it.
func (w *World) partitionAt(ctx context.Context, rng *rand.Rand) (Partition, fleet.Partition, error) {
	topic := w.Topics[rng.IntN(len(w.Topics))]
	p := Partition{topic.Name, rng.Int32N(topic.Partitions)}
	known, err := w.lookup(ctx, p)
	return p, known, err
}

func (w *World) lookup(ctx context.Context, p Partition) (fleet.Partition, error) {
	known, err := w.Fleet.Topic(ctx, p.Topic)
	if err != nil {
		return fleet.Partition{}, err
	}
	for _, k := range known {
		if k.Partition == p.Index {
			return k, nil
		}
	}
	return fleet.Partition{}, fmt.Errorf("nobody knows %v", p)
}

// leaderOf aims at the leader of a partition, which has noticed when another leads it in a later epoch.
func leaderOf(ctx context.Context, w *World, rng *rand.Rand) (target, error) {
	p, known, err := w.partitionAt(ctx, rng)
	if err != nil {
		return target{}, err
	}
	if known.Leader <= 0 {
		return target{}, fmt.Errorf("%v has no leader", p)
	}
	return target{w.Fleet.Node(known.Leader), fmt.Sprintf("leader of %v", p), func(ctx context.Context) error {
		now, err := w.lookup(ctx, p)
		if err != nil {
			return err
		}
		if now.LeaderEpoch <= known.LeaderEpoch {
			return fmt.Errorf("%w: %v is still in leader epoch %d", errNotNoticed, p, now.LeaderEpoch)
		}
		return nil
	}}, nil
}

// followerOf aims at a follower of a partition, which has noticed when it is out of the ISR.
func followerOf(ctx context.Context, w *World, rng *rand.Rand) (target, error) {
	p, known, err := w.partitionAt(ctx, rng)
	if err != nil {
		return target{}, err
	}
	followers := slices.DeleteFunc(slices.Clone(known.Replicas), func(id int32) bool { return id == known.Leader })
	if len(followers) == 0 {
		return target{}, fmt.Errorf("%v has no follower", p)
	}
	id := followers[rng.IntN(len(followers))]
	return target{w.Fleet.Node(id), fmt.Sprintf("follower of %v", p), func(ctx context.Context) error {
		now, err := w.lookup(ctx, p)
		if err != nil {
			return err
		}
		if slices.Contains(now.ISR, id) {
			return fmt.Errorf("%w: node %d is in the ISR of %v", errNotNoticed, id, p)
		}
		return nil
	}}, nil
}

// controller aims at the leader of the metadata log, which has noticed when another leads it in a later term.
func controller(ctx context.Context, w *World, _ *rand.Rand) (target, error) {
	id, term, err := w.Fleet.Controller(ctx)
	if err != nil {
		return target{}, err
	}
	return target{w.Fleet.Node(id), "controller", func(ctx context.Context) error {
		now, later, err := w.Fleet.Controller(ctx)
		if err != nil {
			return err
		}
		if now == id || later <= term {
			return fmt.Errorf("%w: node %d is the controller of term %d", errNotNoticed, now, later)
		}
		return nil
	}}, nil
}

// anyNode aims at one, whatever it does.
func anyNode(_ context.Context, w *World, rng *rand.Rand) (target, error) {
	return target{w.Fleet.Nodes()[rng.IntN(len(w.Fleet.Nodes()))], "any", func(context.Context) error { return nil }}, nil
}

// startDeadline bounds the start of a node; recovery of a log takes most of it.
const startDeadline = 60 * time.Second

// start starts a node that a fault has ended.
func start(ctx context.Context, n *fleet.Node) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	return n.Start(ctx)
}
