package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// Config says what a run does.
type Config struct {
	Binary string // the broker
	Dir    string // data and logs; kept
	Seed   uint64 // of the schedule, the targets and the load
	Cycles int    // faults that must bite
	// RoundCycles is after how many cycles everything is checked, all nodes are stopped and fresh topics are used. Default 25.
	RoundCycles int
	Nodes       int         // default 3
	Kinds       []FaultKind // default all
	// SmallDisk is the size of the file system of the last node. 0: none, and no full disks.
	SmallDisk int64
	Logf      func(format string, args ...any)
}

// partitionsEach of the two topics of the load.
const partitionsEach = 3

// run is a Run under way.
type run struct {
	Config
	world    *World
	report   *Report
	steps    []Step
	attempts int // steps taken
}

// Run breaks a cluster until Config.Cycles faults have bitten and everything that the load saw has been checked. The
// report tells of violations; an error is a run that could not be done.
func Run(ctx context.Context, c Config) (_ *Report, err error) {
	if c.RoundCycles == 0 {
		c.RoundCycles = 25
	}
	if c.Kinds == nil {
		c.Kinds = Kinds()
	}
	r := &run{Config: c, world: &World{}, report: newReport(c.Seed), steps: Schedule(c.Seed, c.Kinds, 2*c.Cycles+len(c.Kinds))}
	if c.SmallDisk > 0 {
		if err := r.mount(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, fleet.Unmount(r.world.SmallDisk.Dir)) }()
	}
	r.world.Fleet, err = fleet.New(fleet.Options{Binary: c.Binary, Dir: c.Dir, Nodes: c.Nodes, DataDir: r.dataDir, Settings: settings()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.world.Fleet.Close()) }()
	for round := 1; r.report.bitten < c.Cycles && len(r.report.Violations) == 0; round++ {
		if err := r.round(ctx, round); err != nil {
			return r.report, fmt.Errorf("round %d: %w", round, err)
		}
	}
	return r.report, nil
}

// settings of every node. Topics are made by the load alone: one that a client's question brought back to life would look
// like a deletion that was lost.
func settings() []string {
	return []string{"group.initial.rebalance.delay.ms=0", "auto.create.topics.enable=false", "log.segment.delete.delay.ms=1000"}
}

func (r *run) mount() error {
	nodes := r.Nodes
	if nodes == 0 {
		nodes = 3
	}
	r.world.SmallDisk.Node, r.world.SmallDisk.Dir = int32(nodes), filepath.Join(r.Dir, "small")
	return fleet.MountSmall(r.world.SmallDisk.Dir, r.SmallDisk)
}

func (r *run) dataDir(id int32) string {
	if id == r.world.SmallDisk.Node {
		return filepath.Join(r.world.SmallDisk.Dir, "data")
	}
	return filepath.Join(r.Dir, fmt.Sprintf("node-%d", id), "data")
}

// round takes steps with topics and a ledger of its own, and checks them.
func (r *run) round(ctx context.Context, number int) error {
	w := r.world
	if err := startAll(ctx, w.Fleet); err != nil {
		return err
	}
	w.Ledger, w.Topics = NewLedger(), nil
	if err := w.AwaitWhole(ctx); err != nil {
		return fmt.Errorf("a cluster without topics is not whole: %w\n%s", err, w.state(ctx))
	}
	if err := w.DeleteTopics(ctx); err != nil {
		return fmt.Errorf("delete the topics of the round before: %w", err)
	}
	for _, mode := range []string{"sync", "os"} {
		w.Topics = append(w.Topics, Topic{fmt.Sprintf("round-%d-%s", number, mode), partitionsEach})
	}
	if err := w.CreateTopics(ctx); err != nil {
		return err
	}
	load, err := StartWorkload(ctx, w.Fleet.Bootstrap(), w.Topics, w.Ledger, rand.New(rand.NewPCG(r.Seed, uint64(number))))
	if err != nil {
		return err
	}
	defer load.Stop()
	if err := r.cycles(ctx, number); err != nil {
		return r.broken(ctx, "I27", err)
	}
	return r.judge(ctx, load)
}

// cycles takes steps until the round is full.
func (r *run) cycles(ctx context.Context, number int) error {
	for bitten := 0; bitten < r.RoundCycles && r.report.bitten < r.Cycles; {
		if err := errors.Join(r.world.AwaitWhole(ctx), r.world.AwaitProgress(ctx)); err != nil {
			return fmt.Errorf("before step %d: %w", r.attempts+1, err)
		}
		if r.attempts == len(r.steps) {
			return fmt.Errorf("of %d faults only %d have bitten", r.attempts, r.report.bitten)
		}
		step := r.steps[r.attempts]
		r.attempts++
		bit, err := r.cycle(ctx, step)
		if err != nil {
			return fmt.Errorf("step %d, %v: %w", r.attempts, step, err)
		}
		if bit {
			bitten++
		}
	}
	return errors.Join(r.world.AwaitWhole(ctx), r.world.AwaitProgress(ctx))
}

// biteDeadline is how much longer than drawn a fault may last, to show an effect.
const biteDeadline = 8 * time.Second

// cycle applies one fault and waits until nothing of it is left. It reports whether the fault bit.
func (r *run) cycle(ctx context.Context, s Step) (bit bool, err error) {
	w := r.world
	f, err := s.Kind.draw(ctx, w, rand.New(rand.NewPCG(s.Seed, 0)))
	if err != nil {
		r.Logf("step %d: %s could not be applied: %v", r.attempts, s.Kind.Name, err)
		return false, nil
	}
	f.Name = s.Kind.Name
	began, from := time.Now(), w.Ledger.Now()
	r.Logf("step %d: %s for %v: %s", r.attempts, f.Name, ms(s.Hold), f.Target)
	if err := f.apply(ctx); err != nil {
		return false, fmt.Errorf("apply: %w", err)
	}
	toothless := r.hold(ctx, f, s.Hold)
	if err := f.heal(ctx); err != nil {
		return false, fmt.Errorf("heal: %w", err)
	}
	healed := time.Now()
	if err := w.AwaitWhole(ctx); err != nil {
		return false, err
	}
	wholeIn := time.Since(healed)
	if toothless == nil && f.proves != nil {
		toothless = f.proves(ctx)
	}
	if err := w.AwaitProgress(ctx); err != nil {
		return false, err
	}
	r.report.add(f, toothless, wholeIn, w.Ledger.longestWait(from, w.Ledger.Now()))
	if toothless != nil {
		r.Logf("step %d: it did not bite and does not count: %v", r.attempts, toothless)
	} else {
		r.Logf("step %d: bit; whole %v after it was healed, %v in all", r.attempts, ms(wholeIn), ms(time.Since(began)))
	}
	return toothless == nil, nil
}

// hold lets the fault last for as long as drawn, and longer if it has not shown an effect by then. It returns why not.
func (r *run) hold(ctx context.Context, f *Fault, hold time.Duration) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, hold+biteDeadline)
	defer cancel()
	err := fleet.Eventually(ctx, func() error { return f.bites(ctx) })
	rest(ctx, hold-time.Since(began))
	return err
}
