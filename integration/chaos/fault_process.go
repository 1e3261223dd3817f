package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

func processFaults() []FaultKind {
	return []FaultKind{
		{"kill -9 leader", kill9(leaderOf)},
		{"kill -9 follower", kill9(followerOf)},
		{"kill -9 controller", kill9(controller)},
		{"kill -9 all", killAll},
		{"kill controllers in election", killInElection},
		{"pause leader", pause(leaderOf)},
		{"pause follower", pause(followerOf)},
		{"pause controller", pause(controller)},
		{"rolling restart", rollingRestart},
	}
}

type drawFault = func(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error)

func kill9(at aim) drawFault {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error) {
		t, err := at(ctx, w, rng)
		if err != nil {
			return nil, err
		}
		return &Fault{
			Target: t.String(),
			apply:  func(context.Context) error { return t.node.Kill() },
			bites:  t.noticed,
			heal:   func(ctx context.Context) error { return start(ctx, t.node) },
		}, nil
	}
}

func pause(at aim) drawFault {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error) {
		t, err := at(ctx, w, rng)
		if err != nil {
			return nil, err
		}
		return &Fault{
			Target: t.String(),
			apply:  func(context.Context) error { return t.node.Pause() },
			bites:  t.noticed,
			heal:   func(context.Context) error { return t.node.Resume() },
		}, nil
	}
}

// killAll ends every node at once: what was acknowledged is in their files or nowhere.
func killAll(_ context.Context, w *World, _ *rand.Rand) (*Fault, error) {
	return &Fault{
		Target: "every node",
		apply: func(context.Context) error {
			var errs []error
			for _, n := range w.Fleet.Nodes() {
				errs = append(errs, n.Kill())
			}
			return errors.Join(errs...)
		},
		bites: func(context.Context) error {
			for _, n := range w.Fleet.Nodes() {
				if n.Running() {
					return fmt.Errorf("node %d runs", n.ID)
				}
			}
			return nil
		},
		heal: func(ctx context.Context) error { return startAll(ctx, w.Fleet) },
	}, nil
}

// startAll starts what does not run, at once: alone, a node cannot become ready when the others are down.
func startAll(ctx context.Context, f *fleet.Fleet) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	return f.Start(ctx)
}

// electionTime is within which the others begin to elect, or have elected, a controller.
const electionTime = 10 * time.Second

// killInElection ends the controller, and the one that takes its place as soon as it stands for it.
func killInElection(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error) {
	first, err := controller(ctx, w, rng)
	if err != nil {
		return nil, err
	}
	_, term, err := w.Fleet.Controller(ctx)
	if err != nil {
		return nil, err
	}
	f := &Fault{Target: first.String()}
	var second *fleet.Node
	f.apply = func(ctx context.Context) error {
		if err := first.node.Kill(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, electionTime)
		defer cancel()
		if err := fleet.Eventually(ctx, func() (err error) { second, err = w.standing(ctx, first.node.ID); return err }); err != nil {
			return err
		}
		f.Target += fmt.Sprintf(", then node %d", second.ID)
		return second.Kill()
	}
	f.bites = func(context.Context) error {
		if second == nil || second.Running() {
			return errors.New("nobody stood for election")
		}
		return nil
	}
	f.heal = func(ctx context.Context) error { return startAll(ctx, w.Fleet) }
	f.proves = func(ctx context.Context) error {
		if _, now, err := w.Fleet.Controller(ctx); err != nil || now <= term {
			return fmt.Errorf("the controller's term is %d, was %d: %w", now, term, err)
		}
		return nil
	}
	return f, nil
}

// standing is a node other than the one that is a candidate or has just been elected.
func (w *World) standing(ctx context.Context, other int32) (*fleet.Node, error) {
	for _, n := range w.Fleet.Others(other) {
		if r, err := n.Raft(ctx); err == nil && r.State != fleet.RaftFollower {
			return n, nil
		}
	}
	return nil, errors.New("no node stands for election")
}

// stopDeadline bounds a controlled shutdown.
const stopDeadline = 30 * time.Second

// rollingRestart stops and starts every node in turn, as an operator would: the next when the cluster is whole again.
func rollingRestart(_ context.Context, w *World, _ *rand.Rand) (*Fault, error) {
	restarted := 0
	return &Fault{
		Target: "every node in turn",
		apply: func(ctx context.Context) error {
			for _, n := range w.Fleet.Nodes() {
				stopping, cancel := context.WithTimeout(ctx, stopDeadline)
				err := n.Stop(stopping)
				cancel()
				if err := errors.Join(err, start(ctx, n), w.AwaitWhole(ctx)); err != nil {
					return fmt.Errorf("restart of node %d: %w", n.ID, err)
				}
				restarted++
			}
			return nil
		},
		bites: func(context.Context) error {
			if restarted != len(w.Fleet.Nodes()) {
				return fmt.Errorf("%d nodes were restarted", restarted)
			}
			return nil
		},
		heal: func(context.Context) error { return nil },
	}, nil
}
