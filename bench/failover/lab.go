package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/integration/fleet"
)

const (
	topic      = "failover"
	partitions = 6 // so that each node leads two
	nodes      = 3
)

// The waits of a sample. Each is far above what it should take; one that ends is an error.
const (
	startTimeout = 90 * time.Second
	healTimeout  = 60 * time.Second
	faultTimeout = 60 * time.Second
	aimTimeout   = 2 * time.Minute
)

// lab is a cluster with its clients, on which one fault is measured again and again.
type lab struct {
	o     options
	mode  string
	fault fault
	fleet *fleet.Fleet
	rng   *rand.Rand
	log   io.Writer

	producers []*producer
	consumer  *consumer
	end       context.CancelFunc
	running   sync.WaitGroup
}

func newLab(ctx context.Context, o options, dir, mode string, log io.Writer) (*lab, error) {
	l := &lab{o: o, mode: mode, fault: faults[mode], rng: rand.New(rand.NewPCG(o.Seed, uint64(len(mode)))), log: log, end: func() {}}
	var err error
	// Only a cut needs the proxy between the nodes, which costs every other mode some CPU.
	l.fleet, err = fleet.New(fleet.Options{Binary: o.Bin, Dir: filepath.Join(dir, mode), Nodes: nodes, Direct: !l.fault.needsLinks})
	if err != nil {
		return nil, err
	}
	if err := l.begin(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) begin(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := l.fleet.Start(starting); err != nil {
		return err
	}
	if err := createTopic(starting, l.fleet, topic, partitions); err != nil {
		return err
	}
	return l.startClients(ctx)
}

func createTopic(ctx context.Context, f *fleet.Fleet, name string, partitions int) error {
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(f.Bootstrap()...))
	if err != nil {
		return err
	}
	defer admin.Close()
	admin.SetTimeoutMillis(int32(startTimeout.Milliseconds()))
	created, err := admin.CreateTopic(ctx, int32(partitions), nodes, nil, name)
	return errors.Join(err, created.Err)
}

func (l *lab) startClients(ctx context.Context) error {
	seeds := l.fleet.Bootstrap()
	quick, err := newProducer("quick", 1, topic, seeds, quickOptions()...)
	if err != nil {
		return err
	}
	l.producers = append(l.producers, quick)
	if !l.fault.silent {
		stock, err := newProducer("stock", 2, topic, seeds)
		if err != nil {
			return err
		}
		l.producers = append(l.producers, stock)
	}
	if l.consumer, err = newConsumer(topic, seeds); err != nil {
		return err
	}
	ctx, l.end = context.WithCancel(ctx)
	for _, p := range l.producers {
		l.running.Go(func() { p.run(ctx, l.o.Every) })
	}
	l.running.Go(func() { l.consumer.run(ctx) })
	return nil
}

// close ends the clients and the nodes.
func (l *lab) close() error {
	l.end()
	l.running.Wait()
	for _, p := range l.producers {
		p.cl.Close()
	}
	if l.consumer != nil {
		l.consumer.cl.Close()
	}
	return l.fleet.Close()
}

// sample is what one fault came to.
type sample struct {
	gaps    map[string]time.Duration // by producer, around the fault
	healing map[string]time.Duration // by producer, while the node came back
	decided time.Duration            // from the fault to the table that names another leader
	elected time.Duration            // from the fault to the new controller, 0 if it stayed
}

// samples strikes n times.
func (l *lab) samples(ctx context.Context, n int) ([]sample, error) {
	var list []sample
	for i := range n {
		s, err := l.sample(ctx)
		if err != nil {
			return list, fmt.Errorf("sample %d: %w", i+1, err)
		}
		list = append(list, s)
		fmt.Fprintf(l.log, "%s %d/%d: %s\n", l.mode, i+1, n, s)
	}
	return list, nil
}

func (s sample) String() string {
	text := fmt.Sprintf("decided after %v", s.decided.Round(time.Millisecond))
	if s.elected > 0 {
		text += fmt.Sprintf(", new controller after %v", s.elected.Round(time.Millisecond))
	}
	for _, name := range []string{"quick", "stock"} {
		if gap, ok := s.gaps[name]; ok {
			text += fmt.Sprintf(", %s gap %v and %v while healing", name, gap.Round(time.Millisecond), s.healing[name].Round(time.Millisecond))
		}
	}
	return text
}

func (l *lab) sample(ctx context.Context) (s sample, err error) {
	at, err := l.aim(ctx)
	if err != nil {
		return s, err
	}
	victim := l.fleet.Node(at.Leader)
	time.Sleep(time.Duration(l.rng.Int64N(int64(500 * time.Millisecond)))) // so that no heartbeat keeps step with the faults
	struck := time.Now()
	if err := l.fault.strike(ctx, l.fleet, victim); err != nil {
		return s, err
	}
	if err := l.awaitAcks(ctx, struck); err != nil {
		return s, err
	}
	healed := time.Now()
	if err := l.fault.heal(ctx, l.fleet, victim); err != nil {
		return s, err
	}
	if err := l.awaitHealthy(ctx, l.fault.whole); err != nil {
		return s, err
	}
	if l.fault.whole {
		if err := l.awaitAcks(ctx, time.Now()); err != nil {
			return s, err
		}
	}
	done := time.Now()
	s.gaps, s.healing = map[string]time.Duration{}, map[string]time.Duration{}
	for _, p := range l.producers {
		until := healed
		if l.fault.whole {
			until = done
		}
		s.gaps[p.name], _ = p.gap(at.Partition, struck, until)
		s.healing[p.name], _ = p.gap(at.Partition, healed, done)
	}
	if s.decided, s.elected, err = l.trace(victim.ID, struck); err != nil {
		return s, err
	}
	for _, p := range l.producers {
		if err := l.consumer.verify(ctx, p); err != nil {
			return s, err
		}
	}
	return s, nil
}

// steadyAcks are how many acknowledgements in a row say that a producer runs as usual.
const steadyAcks = 20

// aim chooses a partition whose leader fits the fault, turns the producers to it and waits until they run as usual. If the
// leader has moved meanwhile it begins anew.
func (l *lab) aim(ctx context.Context) (at fleet.Partition, err error) {
	ctx, cancel := context.WithTimeout(ctx, aimTimeout)
	defer cancel()
	for {
		if err := l.awaitHealthy(ctx, l.fault.whole); err != nil {
			return at, err
		}
		err := fleet.Eventually(ctx, func() error {
			fits, err := l.fits(ctx)
			if err == nil {
				at = fits[l.rng.IntN(len(fits))]
			}
			return err
		})
		if err != nil {
			return at, err
		}
		for _, p := range l.producers {
			p.turn(at.Partition)
		}
		if err := l.awaitAcks(ctx, time.Now()); err != nil {
			return at, err
		}
		if err := l.awaitSettled(ctx); err != nil {
			return at, err
		}
		if fits, err := l.fits(ctx); err == nil && slices.ContainsFunc(fits, func(p fleet.Partition) bool {
			return p.Partition == at.Partition && p.LeaderEpoch == at.LeaderEpoch
		}) {
			return at, nil
		}
	}
}

// fits lists the partitions whose leader fits the fault, and is the one that the controller will leave them.
func (l *lab) fits(ctx context.Context) ([]fleet.Partition, error) {
	controller, _, err := l.fleet.Controller(ctx)
	if err != nil {
		return nil, err
	}
	all, err := l.fleet.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p fleet.Partition) bool {
		return (p.Leader == controller) != l.fault.ofController || p.Leader != p.Replicas[0]
	})
	if len(all) == 0 {
		return nil, errors.New("no partition has a leader that fits")
	}
	return all, nil
}

// awaitSettled waits until every producer is free to ask for metadata. A connection to a node that has been restarted since
// makes one ask when it first sends there, so this comes after the turn to the partition.
func (l *lab) awaitSettled(ctx context.Context) error {
	return fleet.Eventually(ctx, func() error {
		for _, p := range l.producers {
			if !p.settled() {
				return fmt.Errorf("the %s producer keeps asking for metadata", p.name)
			}
		}
		return nil
	})
}

// awaitAcks waits until every producer has got acknowledgements for records that it sent after a moment.
func (l *lab) awaitAcks(ctx context.Context, sent time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	return fleet.Eventually(ctx, func() error {
		for _, p := range l.producers {
			acks, err := p.ackedSince(sent)
			if err != nil {
				return err
			}
			if len(acks) < steadyAcks {
				return fmt.Errorf("the %s producer got %d acknowledgements", p.name, len(acks))
			}
		}
		return nil
	})
}

// awaitHealthy waits until all replicas are in sync and, if asked, led by their first replica.
func (l *lab) awaitHealthy(ctx context.Context, preferred bool) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	return fleet.Eventually(ctx, func() error {
		all, err := l.fleet.Topic(ctx, topic)
		if err != nil {
			return err
		}
		return healthy(all, preferred)
	})
}

func healthy(all []fleet.Partition, preferred bool) error {
	for _, p := range all {
		switch {
		case p.Leader < 0:
			return fmt.Errorf("partition %d has no leader", p.Partition)
		case len(p.ISR) < len(p.Replicas):
			return fmt.Errorf("partition %d has in-sync replicas %v of %v", p.Partition, p.ISR, p.Replicas)
		case preferred && p.Leader != p.Replicas[0]:
			return fmt.Errorf("partition %d is led by %d, not by %d", p.Partition, p.Leader, p.Replicas[0])
		}
	}
	return nil
}
