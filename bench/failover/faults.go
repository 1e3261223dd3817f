package main

import (
	"context"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// fault is what is done to the leader of a partition.
type fault struct {
	ofController bool // the leader is to be the controller as well
	silent       bool // a client notices nothing but its own timeout
	needsLinks   bool
	whole        bool // the gap is looked for until the node leads again, not only until another does
	strike, heal func(ctx context.Context, f *fleet.Fleet, victim *fleet.Node) error
}

var faults = map[string]fault{
	"kill":    {strike: kill, heal: start},
	"both":    {ofController: true, strike: kill, heal: start},
	"pause":   {silent: true, strike: pause, heal: resume},
	"cut":     {needsLinks: true, strike: cut, heal: uncut},
	"restart": {whole: true, strike: stop, heal: start},
}

func kill(_ context.Context, _ *fleet.Fleet, victim *fleet.Node) error { return victim.Kill() }

func start(ctx context.Context, _ *fleet.Fleet, victim *fleet.Node) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return victim.Start(ctx)
}

func stop(ctx context.Context, _ *fleet.Fleet, victim *fleet.Node) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return victim.Stop(ctx)
}

func pause(_ context.Context, _ *fleet.Fleet, victim *fleet.Node) error { return victim.Pause() }

func resume(_ context.Context, _ *fleet.Fleet, victim *fleet.Node) error { return victim.Resume() }

func cut(_ context.Context, f *fleet.Fleet, victim *fleet.Node) error {
	for _, other := range f.Others(victim.ID) {
		f.Links().SetBoth(victim.ID, other.ID, fleet.Condition{Cut: true})
	}
	return nil
}

func uncut(_ context.Context, f *fleet.Fleet, _ *fleet.Node) error {
	f.Links().Heal()
	return nil
}
