package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// drainDeadline is within which idempotent producers have their last answers, and stopDeadline a node its end.
const drainDeadline = 30 * time.Second

// judge ends the load of a round and checks all that it saw, and the files of every node.
func (r *run) judge(ctx context.Context, load *Workload) error {
	w := r.world
	draining, cancel := context.WithTimeout(ctx, drainDeadline)
	defer cancel()
	if err := load.Drain(draining); err != nil {
		return r.broken(ctx, "I47", err)
	}
	if err := errors.Join(w.AwaitWhole(ctx), w.AwaitApplied(ctx)); err != nil {
		return r.broken(ctx, "I27", err)
	}
	reading, cancel := context.WithTimeout(ctx, 2*drainDeadline)
	defer cancel()
	if err := errors.Join(load.SettledReads(reading, w.ids()), load.SettledOffsets(reading)); err != nil {
		return r.broken(ctx, "I47", err)
	}
	final, err := ReadAll(reading, w.Fleet.Bootstrap(), w.Topics)
	if err != nil {
		return r.broken(ctx, "I1", err)
	}
	load.Stop()
	h := w.Ledger.History()
	h.Final = final
	r.report.count(h)
	r.report.Violations = append(r.report.Violations, h.Check()...)
	return r.judgeFiles(ctx, h)
}

// judgeFiles stops the nodes and compares what they hold.
func (r *run) judgeFiles(ctx context.Context, h *History) error {
	w := r.world
	stopping, cancel := context.WithTimeout(ctx, stopDeadline)
	defer cancel()
	if err := w.Fleet.Stop(stopping); err != nil {
		return r.broken(ctx, "I27", err)
	}
	for _, t := range w.Topics {
		for _, p := range t.partitions() {
			replicas, err := readReplicas(w, p)
			if err != nil {
				return r.broken(ctx, "I6", err)
			}
			r.report.Violations = append(r.report.Violations, CheckReplicas(p, replicas)...)
			for _, replica := range replicas {
				if n := int64(len(h.Final[p])); replica.End() < n {
					r.report.Violations = append(r.report.Violations, Violation{"I4", p, fmt.Sprintf("node %d was in sync and holds %d records of %d", replica.Node, replica.End(), n), nil})
				}
			}
		}
	}
	return nil
}

func readReplicas(w *World, p Partition) ([]Replica, error) {
	var all []Replica
	for _, n := range w.Fleet.Nodes() {
		r, err := ReadReplica(n.ID, n.DataDir, p)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// broken turns an error into a violation, with what every node says and what the load has seen so far; the logs cannot
// be judged then. Only the end of the run itself stays an error.
func (r *run) broken(ctx context.Context, invariant string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	v := Violation{Invariant: invariant, Text: err.Error(), Rows: []string{r.world.state(ctx)}}
	for _, n := range r.world.Fleet.Nodes() {
		v.Rows = append(v.Rows, n.LogTail(25))
	}
	r.report.Violations = append(r.report.Violations, v)
	h := r.world.Ledger.History()
	r.report.count(h)
	r.report.Violations = append(r.report.Violations, h.CheckSeen()...)
	return nil
}
