package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/bench/host"
	"github.com/chronik-stream/chronik/bench/load"
)

// emptyStartCase starts a broker on nothing, several times.
type emptyStartCase struct{ times int }

func (s emptyStartCase) run(ctx context.Context, l *lab, t Target, w *workload) ([]Row, error) {
	ready, first, err := []time.Duration{}, []time.Duration{}, error(nil)
	for range s.times {
		fresh, newErr := l.newTarget(w.Flush) // the one at hand would not be empty the second time
		if newErr != nil {
			return nil, newErr
		}
		r, f, runErr := s.once(ctx, l, fresh)
		ready, first = append(ready, r), append(first, f)
		if err = errors.Join(runErr, fresh.Close()); err != nil {
			return nil, err
		}
	}
	return []Row{factRow(w,
		spread("exec to ready", ready),
		spread("exec to first acknowledged produce", first),
	)}, nil
}

func (s emptyStartCase) once(ctx context.Context, l *lab, t Target) (ready, first time.Duration, err error) {
	began := time.Now()
	if ready, err = t.Start(ctx); err != nil {
		return 0, 0, err
	}
	o, err := firstProduce(l, t)
	if err != nil {
		return 0, 0, err
	}
	if err := createTopic(ctx, t, o); err != nil {
		return 0, 0, err
	}
	ends, err := fill(ctx, o, 1)
	if err != nil {
		return 0, 0, err
	}
	first = time.Since(began)
	return ready, first, load.Sample(ctx, o, ends, 1)
}

// firstProduce is a small, honest sign of life.
func firstProduce(l *lab, t Target) (load.ProduceOptions, error) {
	return produceCase{valueBytes: 100, acks: -1, partitions: 1, connections: 1, inFlight: 1}.options(l, t)
}

// killedStartCase fills a log, kills the broker with signal 9 and starts it again, several times. The
// page cache survives, so all that was acknowledged must be there.
type killedStartCase struct{ times int }

func (s killedStartCase) run(ctx context.Context, l *lab, t Target, w *workload) ([]Row, error) {
	if _, err := t.Start(ctx); err != nil {
		return nil, err
	}
	o, err := fillCase.options(l, t)
	if err != nil {
		return nil, err
	}
	if err := createTopic(ctx, t, o); err != nil {
		return nil, err
	}
	ends, err := fill(ctx, o, l.o.RecoverBytes)
	if err != nil {
		return nil, err
	}
	var ready []time.Duration
	for range s.times {
		if err := t.Kill(); err != nil {
			return nil, err
		}
		took, err := t.Start(ctx)
		if err != nil {
			return nil, err
		}
		ready = append(ready, took)
		o.Addr = t.Addr()
		if err := load.Sample(ctx, o, ends, samplesPerPartition); err != nil {
			return nil, fmt.Errorf("after kill -9: %w", err)
		}
	}
	cpu, err := readUsage(t.PID())
	if err != nil {
		return nil, err
	}
	return []Row{factRow(w,
		[]Fact{{"exec to ready, the first time", milliseconds(ready[0]), "ms"}}, // later ones find the log on the disk
		spread("exec to ready", ready),
		[]Fact{{"broker CPU of the last start", cpu.broker.Seconds(), "s"}},
	)}, nil
}

// idleCase opens connections that say hello and then nothing.
type idleCase struct{ connections int }

func (c idleCase) run(ctx context.Context, l *lab, t Target, w *workload) ([]Row, error) {
	if _, err := t.Start(ctx); err != nil {
		return nil, err
	}
	if err := (stream{}).pause(ctx, l.o.Warmup); err != nil {
		return nil, err
	}
	empty, err := host.ReadMemory(t.PID())
	if err != nil {
		return nil, err
	}
	conns := make([]*load.Control, 0, c.connections)
	defer func() {
		for _, conn := range conns {
			conn.Close() // nothing is written any more, so nothing can be lost
		}
	}()
	for range c.connections {
		conn, err := load.Dial(ctx, t.Addr())
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	if err := greetAll(ctx, conns); err != nil {
		return nil, err
	}
	if err := (stream{}).pause(ctx, l.o.Warmup); err != nil {
		return nil, err
	}
	before, err := readUsage(t.PID())
	if err != nil {
		return nil, err
	}
	if err := (stream{}).pause(ctx, l.o.Window); err != nil {
		return nil, err
	}
	after, err := readUsage(t.PID())
	full, memErr := host.ReadMemory(t.PID())
	if err := errors.Join(err, memErr, greetAll(ctx, conns)); err != nil {
		return nil, err
	}
	return []Row{factRow(w, []Fact{
		{"RSS idle, no connection", float64(empty.Now) / 1e6, "MB"},
		{fmt.Sprintf("RSS with %d connections", c.connections), float64(full.Now) / 1e6, "MB"},
		{"per connection", float64(full.Now-empty.Now) / float64(c.connections) / 1024, "KiB"},
		{"idle CPU, of one core", (after.broker - before.broker).Seconds() / after.at.Sub(before.at).Seconds() * 100, "%"},
	})}, nil
}

// greetAll asks every connection for the versions served and the topics, as a client does first.
func greetAll(ctx context.Context, conns []*load.Control) error {
	for _, conn := range conns {
		versions := kmsg.NewPtrApiVersionsRequest()
		metadata := kmsg.NewPtrMetadataRequest()
		metadata.Version = 4
		for _, req := range []kmsg.Request{versions, metadata} {
			if _, err := conn.Do(ctx, req); err != nil {
				return err
			}
		}
	}
	return nil
}

func factRow(w *workload, facts ...[]Fact) Row {
	return Row{Workload: w.ID, Case: w.Case, Flush: w.Flush, Facts: slices.Concat(facts...)}
}

// spread is the median and the worst of several durations.
func spread(name string, d []time.Duration) []Fact {
	sorted := slices.SortedFunc(slices.Values(d), cmp.Compare[time.Duration])
	return []Fact{
		{name + fmt.Sprintf(", median of %d", len(d)), milliseconds(sorted[len(sorted)/2]), "ms"},
		{name + ", worst", milliseconds(sorted[len(sorted)-1]), "ms"},
	}
}
