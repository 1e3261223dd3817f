package raftmeta

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/internal/uuid"
)

// Reassign moves a partition to other replicas (KIP-455, replication.md 13.1). Those that it has now and
// the target hold it together until the new ones are in sync, so that nothing is dropped before it is
// replaced. Where nobody is added, it may be complete in the same entry.
//
//	{1 2 3} to {3 4}: replicas={3 4 1 2} adding={4} removing={1 2}, then, with 4 in sync, replicas={3 4}
//
// A second one replaces the first, and an empty target cancels it (else ErrNoReassignment): the replicas
// that were being added and are no longer wanted leave at once. Where some of them have joined, and
// without them fewer than min would be in sync, that is ErrTooFewInSync.
type Reassign struct {
	TopicID   uuid.ID
	Partition int32
	Replicas  []int32 // in order of preference
}

func (*Reassign) kind() kind { return kindReassign }

func (x *Reassign) fields(c *coder) {
	c.id(&x.TopicID)
	c.int32(&x.Partition)
	c.int32s(&x.Replicas)
}

func (x *Reassign) apply(e *edit) (Result, error) {
	t, p, err := e.partition(x.TopicID, x.Partition)
	if err != nil {
		return Result{}, err
	}
	if !e.registered(x.Replicas) {
		return partitionResult(p), ErrInvalidAssignment
	}
	cancel := len(x.Replicas) == 0
	if cancel && !p.Reassigning() {
		return partitionResult(p), ErrNoReassignment
	}
	next := *p
	original := minus(p.Replicas, p.Adding)
	replicas := slices.Concat(x.Replicas, minus(original, x.Replicas))
	unwanted := minus(p.Adding, x.Replicas)
	if err := e.checkDrop(t, p, unwanted, len(replicas)); err != nil {
		return partitionResult(p), err
	}
	e.drop(t, &next, unwanted)
	next.Adding, next.Removing = nil, nil
	if !cancel {
		next.Replicas = replicas
		next.Adding = minus(x.Replicas, original)
		next.Removing = minus(original, x.Replicas)
		next.setISR(next.ISR, nil, e.minInSync(t, len(next.Replicas)))
	}
	return e.changePartition(t, x.Partition, next), nil
}

// registered reports whether a list names registered brokers only, and none of them twice.
func (e *edit) registered(replicas []int32) bool {
	for i, id := range replicas {
		if _, ok := e.broker(id); !ok || slices.Contains(replicas[:i], id) {
			return false
		}
	}
	return true
}

// Reassigning reports whether the partition is on its way to other replicas.
func (p *Partition) Reassigning() bool { return len(p.Adding)+len(p.Removing) > 0 }

// completeReassignment drops the replicas that are to go once all new ones are in sync and enough of
// those that stay (I28).
func (e *edit) completeReassignment(t *Topic, p *Partition) {
	target := minus(p.Replicas, p.Removing)
	switch {
	case !p.Reassigning():
		return
	case len(minus(p.Adding, p.ISR)) > 0 && !mutant.On(mutant.ReassignDropsEarly):
		return
	case len(common(target, p.ISR)) < e.minInSync(t, len(target)):
		return
	}
	e.drop(t, p, p.Removing)
	p.Adding, p.Removing = nil, nil
	if p.Leader == NoLeader {
		e.elect(t, p)
	}
}

// checkDrop refuses to drop replicas that may be needed: some hold records, and too few of the others do for what is then a
// partition of so many replicas.
func (e *edit) checkDrop(t *Topic, p *Partition, gone []int32, replicas int) error {
	needed := slices.Concat(p.ISR, p.ELR, p.LastKnownELR)
	if len(common(gone, needed)) > 0 && len(minus(p.ISR, gone)) < e.minInSync(t, replicas) {
		return ErrTooFewInSync
	}
	return nil
}

func (e *edit) drop(t *Topic, p *Partition, gone []int32) {
	p.Replicas = minus(p.Replicas, gone)
	p.ELR, p.LastKnownELR = minus(p.ELR, gone), minus(p.LastKnownELR, gone)
	p.setISR(minus(p.ISR, gone), nil, e.minInSync(t, len(p.Replicas)))
	if slices.Contains(gone, p.Leader) {
		p.Leader = NoLeader
	}
}

// minus is what a holds and b does not, in the order of a; nil if nothing.
func minus(a, b []int32) []int32 {
	return filter(a, func(id int32) bool { return !slices.Contains(b, id) })
}

// common is what both hold, in the order of a; nil if nothing.
func common(a, b []int32) []int32 {
	return filter(a, func(id int32) bool { return slices.Contains(b, id) })
}

func filter(ids []int32, keep func(id int32) bool) (kept []int32) {
	for _, id := range ids {
		if keep(id) {
			kept = append(kept, id)
		}
	}
	return kept
}
