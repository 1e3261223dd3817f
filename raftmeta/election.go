package raftmeta

import (
	"slices"
	"strconv"
)

// Leaders, in-sync replicas (ISR) and eligible leaders (ELR) are computed here and nowhere else, while a
// command is applied: nothing stale can slip in between deciding and committing (replication.md 4.1, 9.5, 11).

// minInSyncKey is Kafka's name of the config that says how many replicas an acknowledged record is on.
const minInSyncKey = "min.insync.replicas"

func minInSync(topic, defaults map[string]string, replicas int) int {
	text, ok := topic[minInSyncKey]
	if !ok {
		text = defaults[minInSyncKey]
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		n = 1
	}
	return max(min(n, replicas), 1)
}

func (e *edit) minInSync(t *Topic, p *Partition) int {
	return minInSync(t.Config, e.config(ConfigKey{BrokerResource, ""}), len(p.Replicas))
}

// eachTopic replaces the partitions of every topic for which change returns a new slice; nil means
// that the topic stays. It is one pass over all topics.
func (e *edit) eachTopic(change func(t *Topic) []Partition) {
	var changed []*Topic
	for t := range values(e.topics.root(), nil) {
		if partitions := change(t); partitions != nil {
			next := *t
			next.Partitions = partitions
			changed = append(changed, &next)
		}
	}
	for _, t := range changed { // only now: the tree must not change under its iterator
		e.putTopic(t)
	}
}

// eachPartition is a change for eachTopic: it calls alter with a copy of every partition that touched
// selects, and counts the partition epoch. The copy's slices are still those of the old partition.
func eachPartition(t *Topic, touched func(p *Partition) bool, alter func(p *Partition)) []Partition {
	var next []Partition
	for i := range t.Partitions {
		if !touched(&t.Partitions[i]) {
			continue
		}
		if next == nil {
			next = slices.Clone(t.Partitions)
		}
		alter(&next[i])
		next[i].PartitionEpoch++
	}
	return next
}

// fence takes a broker that is not active any more out of every ISR and elects where it led. One that
// is suspect also loses its place among the eligible leaders.
func (e *edit) fence(id int32, suspect bool) {
	var suspects []int32
	if suspect {
		suspects = []int32{id}
	}
	touched := func(p *Partition) bool {
		return p.Leader == id || slices.Contains(p.ISR, id) || suspect && slices.Contains(p.ELR, id)
	}
	e.eachTopic(func(t *Topic) []Partition {
		return eachPartition(t, touched, func(p *Partition) {
			led := p.Leader == id
			p.setISR(without(p.ISR, id), suspects, e.minInSync(t, p))
			if led {
				p.Leader = NoLeader
				e.elect(t, p)
				p.LeaderEpoch++
			}
		})
	})
}

// electWaiting gives a leader to the partitions that have waited for a broker which is active now.
func (e *edit) electWaiting(id int32) {
	touched := func(p *Partition) bool {
		return p.Leader == NoLeader && (slices.Contains(p.ISR, id) || len(p.ISR) == 0 && slices.Contains(p.ELR, id))
	}
	e.eachTopic(func(t *Topic) []Partition {
		return eachPartition(t, touched, func(p *Partition) {
			e.elect(t, p)
			p.LeaderEpoch++
		})
	})
}

// elect chooses a leader for a partition that has none: the first of its replicas that is in sync and
// active; only if none is in sync, the first that is eligible and active, which is then the whole ISR.
// Anybody else could lack committed records. The caller counts the epochs.
func (e *edit) elect(t *Topic, p *Partition) {
	candidates := p.ISR
	if len(candidates) == 0 {
		candidates = p.ELR
	}
	for _, id := range p.Replicas {
		if slices.Contains(candidates, id) && e.isActive(id) {
			p.Leader = id
			break
		}
	}
	if p.Leader != NoLeader && len(p.ISR) == 0 {
		p.setISR([]int32{p.Leader}, nil, e.minInSync(t, p))
	}
}

func (e *edit) isActive(id int32) bool {
	b, ok := e.broker(id)
	return ok && b.State == Active
}

// setISR replaces the ISR and computes what follows for the eligible leaders (replication.md 9.5). With
// at least min in sync nobody else is needed: everything committed is on the ISR. Below that the high
// watermark stands still, so who leaves the ISR still has all of it and stays eligible, suspects aside.
//
//	elr' = (elr ∪ old) \ new \ suspects
//	lke' = (lke ∪ elr ∪ old) \ new \ elr'
func (p *Partition) setISR(isr, suspects []int32, minISR int) {
	old, elr, lke := p.ISR, p.ELR, p.LastKnownELR
	p.ISR, p.ELR, p.LastKnownELR = nil, nil, nil
	for _, id := range p.Replicas { // one order for all nodes and all sets
		inOldOrELR := slices.Contains(old, id) || slices.Contains(elr, id)
		switch {
		case slices.Contains(isr, id):
			p.ISR = append(p.ISR, id)
		case len(isr) >= minISR:
		case inOldOrELR && !slices.Contains(suspects, id):
			p.ELR = append(p.ELR, id)
		case inOldOrELR || slices.Contains(lke, id):
			p.LastKnownELR = append(p.LastKnownELR, id)
		}
	}
}

// clearELR drops the eligible leaders of those partitions of t whose ISR has become large enough by a
// change of min.insync.replicas, nil if there are none; nobody is added, for nobody else is known to have everything.
func (e *edit) clearELR(t *Topic) []Partition {
	return eachPartition(t, func(p *Partition) bool {
		return len(p.ELR)+len(p.LastKnownELR) > 0 && len(p.ISR) >= e.minInSync(t, p)
	}, func(p *Partition) {
		p.ELR, p.LastKnownELR = nil, nil
	})
}

func without(ids []int32, id int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(x int32) bool { return x == id })
}
