package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

func networkFaults() []FaultKind {
	return []FaultKind{
		{"isolate leader", isolate(leaderOf, toAndFro)},
		{"isolate controller", isolate(controller, toAndFro)},
		{"leader hears nothing", isolate(leaderOf, onlyTo)},
		{"leader is not heard", isolate(leaderOf, onlyFro)},
		{"controller is not heard", isolate(controller, onlyFro)},
		{"cut between two", cutPair},
		{"slow link", slowLink},
		{"resets", resets},
	}
}

// ways says which directions between a node and the others are cut.
type ways struct{ to, from bool }

var (
	toAndFro = ways{true, true}
	onlyTo   = ways{to: true}
	onlyFro  = ways{from: true}
)

// isolate cuts a node off from all others, both ways or one. Connections stay half open, new ones hang or are refused.
func isolate(at aim, w ways) drawFault {
	return func(ctx context.Context, world *World, rng *rand.Rand) (*Fault, error) {
		t, err := at(ctx, world, rng)
		if err != nil {
			return nil, err
		}
		condition := fleet.Condition{Cut: true, Refuse: rng.IntN(2) == 0}
		var cuts []link
		for _, other := range world.Fleet.Others(t.node.ID) {
			if w.to {
				cuts = append(cuts, link{other.ID, t.node.ID})
			}
			if w.from {
				cuts = append(cuts, link{t.node.ID, other.ID})
			}
		}
		f := world.onLinks(cuts, condition)
		f.Target = t.String()
		held := f.bites
		f.bites = func(ctx context.Context) error { return errors.Join(held(ctx), t.noticed(ctx)) }
		if w == onlyTo {
			// Whoever it still reaches has no reason to replace it, except for what it does not answer.
			f.bites = held
		}
		return f, nil
	}
}

type link struct{ from, to int32 }

// onLinks puts links into a condition. It bites when something met it on every one of them.
func (w *World) onLinks(links []link, c fleet.Condition) *Fault {
	met := func(t fleet.Traffic) int64 { return t.Held + t.Refused + t.Slowed }
	before := map[link]int64{}
	f := &Fault{}
	f.apply = func(context.Context) error {
		for _, l := range links {
			before[l] = met(w.Fleet.Links().Traffic(l.from, l.to))
			w.Fleet.Links().Set(l.from, l.to, c)
		}
		return nil
	}
	f.bites = func(context.Context) error {
		for _, l := range links {
			if met(w.Fleet.Links().Traffic(l.from, l.to)) == before[l] {
				return fmt.Errorf("nothing was sent from node %d to node %d", l.from, l.to)
			}
		}
		return nil
	}
	f.heal = func(context.Context) error {
		w.Fleet.Links().Heal()
		return nil
	}
	return f
}

// pair draws two nodes.
func (w *World) pair(rng *rand.Rand) (a, b int32) {
	nodes := w.Fleet.Nodes()
	i := rng.IntN(len(nodes))
	j := (i + 1 + rng.IntN(len(nodes)-1)) % len(nodes)
	return nodes[i].ID, nodes[j].ID
}

func cutPair(_ context.Context, w *World, rng *rand.Rand) (*Fault, error) {
	a, b := w.pair(rng)
	f := w.onLinks([]link{{a, b}, {b, a}}, fleet.Condition{Cut: true, Refuse: rng.IntN(2) == 0})
	f.Target = fmt.Sprintf("nodes %d and %d", a, b)
	return f, nil
}

func slowLink(_ context.Context, w *World, rng *rand.Rand) (*Fault, error) {
	a, b := w.pair(rng)
	c := fleet.Condition{Delay: time.Duration(20+rng.IntN(280)) * time.Millisecond, Rate: int64(20+rng.IntN(200)) << 10}
	f := w.onLinks([]link{{a, b}, {b, a}}, c)
	f.Target = fmt.Sprintf("nodes %d and %d, %v, %d KiB/s", a, b, c.Delay, c.Rate>>10)
	return f, nil
}

// resets breaks all connections between nodes.
func resets(_ context.Context, w *World, _ *rand.Rand) (*Fault, error) {
	broken := 0
	return &Fault{
		Target: "every connection",
		apply: func(context.Context) error {
			for i, a := range w.Fleet.Nodes() {
				for _, b := range w.Fleet.Nodes()[i+1:] {
					broken += w.Fleet.Links().Reset(a.ID, b.ID)
				}
			}
			return nil
		},
		bites: func(context.Context) error {
			if broken == 0 {
				return errors.New("there was no connection to break")
			}
			return nil
		},
		heal: func(context.Context) error { return nil },
	}, nil
}
