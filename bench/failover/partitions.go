package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/bench/host"
	"github.com/chronik-stream/chronik/integration/fleet"
)

// manyTimeout bounds each step with all partitions.
const manyTimeout = 5 * time.Minute

// many is a cluster that holds many partitions, and what each step took.
type many struct {
	o      options
	fleet  *fleet.Fleet
	topics []string
	client *kgo.Client
	report *report
	log    io.Writer
}

func (o options) measurePartitions(ctx context.Context, dir string, r *report, log io.Writer) error {
	f, err := fleet.New(fleet.Options{Binary: o.Bin, Dir: filepath.Join(dir, partitionsMode), Nodes: nodes, Direct: true})
	if err != nil {
		return err
	}
	m := &many{o: o, fleet: f, report: r, log: log}
	err = m.run(ctx)
	if m.client != nil {
		m.client.Close()
	}
	return errors.Join(err, f.Close())
}

func (m *many) run(ctx context.Context) error {
	if err := m.timed(ctx, "three empty nodes are ready", m.fleet.Start); err != nil {
		return err
	}
	var err error
	m.client, err = kgo.NewClient(kgo.SeedBrokers(m.fleet.Bootstrap()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	if err != nil {
		return err
	}
	for i := range m.o.Topics {
		name := fmt.Sprintf("many-%d", i)
		what := fmt.Sprintf("topic %d of %d partitions x %d replicas is created", i+1, m.o.Partitions, nodes)
		if err := m.timed(ctx, what, func(ctx context.Context) error { return createTopic(ctx, m.fleet, name, m.o.Partitions) }); err != nil {
			return err
		}
		m.topics = append(m.topics, name)
	}
	victim, err := m.victim(ctx)
	if err != nil {
		return err
	}
	for _, step := range []step{
		{"then a record in every partition is acknowledged", m.produceToAll},
		{"all replicas are in sync", m.inSync},
		{"another record in every partition, all at once", m.produceToAll},
		{"kill -9 of a node, until a record in every partition is acknowledged", func(ctx context.Context) error { return m.failover(ctx, victim) }},
		{"the node is started again, until it is ready", victim.Start},
		{"then until all replicas are in sync", m.inSync},
		{"then until every partition is led by its first replica", m.preferred},
		{"SIGTERM of the node, until it has ended", victim.Stop},
	} {
		if err := m.timed(ctx, step.what, step.do); err != nil {
			return err
		}
	}
	return m.usage(victim)
}

// step is something that takes time.
type step struct {
	what string
	do   func(ctx context.Context) error
}

func (m *many) timed(ctx context.Context, what string, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, manyTimeout)
	defer cancel()
	began := time.Now()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	m.note(what, time.Since(began))
	return nil
}

func (m *many) note(what string, took time.Duration) {
	m.report.facts = append(m.report.facts, fact{what, fmt.Sprintf("%.2f s", took.Seconds())})
	fmt.Fprintf(m.log, "%s: %.2f s\n", what, took.Seconds())
}

// victim is a node that is not the controller.
func (m *many) victim(ctx context.Context) (*fleet.Node, error) {
	controller, _, err := m.fleet.Controller(ctx)
	if err != nil {
		return nil, err
	}
	return m.fleet.Others(controller)[0], nil
}

// failover kills a node. Its end is when a record in every partition is acknowledged again; when all leaders have moved is
// noted on the way.
func (m *many) failover(ctx context.Context, victim *fleet.Node) error {
	killed := time.Now()
	if err := victim.Kill(); err != nil {
		return err
	}
	producing := make(chan error, 1)
	go func() { producing <- m.produceToAll(ctx) }()
	moved := m.eventually(ctx, func(p fleet.Partition) error {
		if p.Leader < 0 || p.Leader == victim.ID {
			return fmt.Errorf("partition %d has leader %d", p.Partition, p.Leader)
		}
		return nil
	})
	m.note("kill -9 of a node, until all its partitions have another leader", time.Since(killed))
	return errors.Join(moved, <-producing)
}

// produceToAll sends a record to every partition and waits for all acknowledgements.
func (m *many) produceToAll(ctx context.Context) error {
	outcomes := make(chan error, len(m.topics)*m.o.Partitions)
	for _, name := range m.topics {
		for p := range m.o.Partitions {
			record := &kgo.Record{Topic: name, Partition: int32(p), Value: valueOf(0, 0)}
			m.client.Produce(ctx, record, func(_ *kgo.Record, err error) { outcomes <- err })
		}
	}
	var err error
	for range cap(outcomes) {
		err = errors.Join(err, <-outcomes)
	}
	return err
}

func (m *many) inSync(ctx context.Context) error {
	return m.eventually(ctx, func(p fleet.Partition) error { return healthy([]fleet.Partition{p}, false) })
}

func (m *many) preferred(ctx context.Context) error {
	return m.eventually(ctx, func(p fleet.Partition) error { return healthy([]fleet.Partition{p}, true) })
}

// eventually waits until a condition holds of every partition.
func (m *many) eventually(ctx context.Context, cond func(fleet.Partition) error) error {
	return fleet.Eventually(ctx, func() error {
		for _, name := range m.topics {
			all, err := m.fleet.Topic(ctx, name)
			if err != nil {
				return err
			}
			if len(all) < m.o.Partitions {
				return fmt.Errorf("topic %s has %d partitions yet", name, len(all))
			}
			for _, p := range all {
				if err := cond(p); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// usage notes what the nodes that ran throughout have used.
func (m *many) usage(but *fleet.Node) error {
	for _, n := range m.fleet.Others(but.ID) {
		memory, err := host.ReadMemory(n.Process().PID())
		if err != nil {
			return err
		}
		cpu, err := host.ProcessCPU(n.Process().PID())
		if err != nil {
			return err
		}
		m.report.facts = append(m.report.facts, fact{fmt.Sprintf("node %d, which ran throughout", n.ID),
			fmt.Sprintf("%.1f CPU s, peak RSS %.0f MB", cpu.Seconds(), float64(memory.Peak)/1e6)})
	}
	return nil
}
