package raftmeta

import (
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/internal/uuid"
)

// Leaders, in-sync replicas (ISR) and eligible leaders (ELR) are computed here and nowhere else, while a
// command is applied: nothing stale can slip in between deciding and committing (replication.md 4.1, 9.5, 11).

// Kafka's names of the configs on which elections depend.
const (
	minInSyncKey = "min.insync.replicas"            // how many replicas an acknowledged record is on
	uncleanKey   = "unclean.leader.election.enable" // whether one that may lack some can lead if no other can
)

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

func (e *edit) minInSync(t *Topic, replicas int) int {
	return minInSync(t.Config, e.config(ConfigKey{BrokerResource, ""}), replicas)
}

// unclean reports whether a topic gives up committed records for a leader (replication.md 11.3).
func (e *edit) unclean(t *Topic) bool {
	text, ok := t.Config[uncleanKey]
	if !ok {
		text = e.config(ConfigKey{BrokerResource, ""})[uncleanKey]
	}
	return strings.EqualFold(strings.TrimSpace(text), "true")
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

// eachPartition is a change for eachTopic: it calls alter with a copy of every partition and settles what
// follows. The copy's slices are still those of the old partition and must be replaced, not modified.
func (e *edit) eachPartition(t *Topic, alter func(number int, p *Partition)) []Partition {
	var next []Partition
	for i := range t.Partitions {
		p := t.Partitions[i]
		alter(i, &p)
		if !e.settle(t, &t.Partitions[i], &p) {
			continue
		}
		if next == nil {
			next = slices.Clone(t.Partitions)
		}
		next[i] = p
	}
	return next
}

// settle draws the consequences of a change of one partition from old to p: without a leader it gets
// one if anybody may lead, its reassignment completes if it can, and the epochs count. It reports
// whether anything changed at all.
func (e *edit) settle(t *Topic, old, p *Partition) bool {
	if p.Leader == NoLeader {
		e.elect(t, p)
	}
	e.completeReassignment(t, p)
	if p.equal(old) {
		return false
	}
	reassigned := old.Reassigning() && !p.Reassigning() || len(minus(old.Replicas, p.Replicas)) > 0
	if (reassigned || p.Leader != old.Leader) && !mutant.On(mutant.ElectKeepsEpoch) {
		p.LeaderEpoch++ // once, whatever came together: nobody has seen what lay between
	}
	p.PartitionEpoch++
	return true
}

func (p *Partition) equal(q *Partition) bool {
	return p.Leader == q.Leader && p.LeaderEpoch == q.LeaderEpoch && p.PartitionEpoch == q.PartitionEpoch &&
		p.Recovering == q.Recovering && p.UncleanEpoch == q.UncleanEpoch &&
		slices.Equal(p.Replicas, q.Replicas) && slices.Equal(p.Adding, q.Adding) && slices.Equal(p.Removing, q.Removing) &&
		slices.Equal(p.ISR, q.ISR) && slices.Equal(p.ELR, q.ELR) && slices.Equal(p.LastKnownELR, q.LastKnownELR)
}

// suspicion says of which partitions a broker may have lost acknowledged data.
type suspicion struct {
	all        bool
	partitions map[TopicPartition]bool
}

func suspicionOf(partitions []TopicPartition) suspicion {
	s := suspicion{partitions: make(map[TopicPartition]bool, len(partitions))}
	for _, p := range partitions {
		s.partitions[p] = true
	}
	return s
}

func (s suspicion) of(topic uuid.ID, partition int) bool {
	return s.all || s.partitions[TopicPartition{topic, int32(partition)}]
}

// fence takes a broker that is not active any more out of every ISR, elects where it led, and moves its
// coordinator shards. Where it is suspect it also loses its place among the eligible leaders.
func (e *edit) fence(id int32, suspect suspicion) {
	e.eachTopic(func(t *Topic) []Partition {
		return e.eachPartition(t, func(number int, p *Partition) {
			if !slices.Contains(p.ISR, id) && !slices.Contains(p.ELR, id) {
				return
			}
			var suspects []int32
			if suspect.of(t.ID, number) {
				suspects = []int32{id}
			}
			if p.Leader == id {
				p.Leader = NoLeader
			}
			isr := p.ISR
			if !mutant.On(mutant.FenceKeepsISR) {
				isr = minus(isr, []int32{id})
			}
			p.setISR(isr, suspects, e.minInSync(t, len(p.Replicas)))
		})
	})
	e.settleShards()
}

// handOver takes a broker that shuts down out of every ISR which can do without it.
func (e *edit) handOver(id int32) {
	e.eachTopic(func(t *Topic) []Partition {
		return e.eachPartition(t, func(_ int, p *Partition) { e.leaveISR(t, p, id) })
	})
	e.settleShards()
}

// leaveISR takes a broker that shuts down out of the ISR of one partition, unless it is the whole.
func (e *edit) leaveISR(t *Topic, p *Partition, id int32) {
	if len(p.ISR) < 2 || !slices.Contains(p.ISR, id) {
		return
	}
	if p.Leader == id {
		p.Leader = NoLeader
	}
	p.setISR(minus(p.ISR, []int32{id}), nil, e.minInSync(t, len(p.Replicas)))
}

// electWaiting gives a leader to the partitions, and an owner to the shards, that have waited for a
// broker to become active.
func (e *edit) electWaiting() {
	e.eachTopic(func(t *Topic) []Partition {
		return e.eachPartition(t, func(int, *Partition) {})
	})
	e.settleShards()
}

// elect chooses a leader for a partition that has none: the first of its replicas that is in sync and
// active; only if none is in sync, the first that is eligible and active, which is then the whole ISR.
// Anybody else could lack committed records, and gets in only where the topic allows that.
func (e *edit) elect(t *Topic, p *Partition) {
	candidates := p.ISR
	if len(candidates) == 0 {
		candidates = p.ELR
	}
	if mutant.On(mutant.ElectOutsideISR) && len(p.ISR) > 0 || mutant.On(mutant.ELRForgotten) && len(p.ISR) == 0 {
		candidates = p.Replicas
	}
	p.Leader = e.firstActive(p.Replicas, candidates)
	switch {
	case p.Leader != NoLeader && len(p.ISR) == 0:
		p.setISR([]int32{p.Leader}, nil, e.minInSync(t, len(p.Replicas)))
	case p.Leader == NoLeader && e.unclean(t):
		if id := e.firstActive(p.Replicas, p.Replicas); id != NoLeader {
			p.electUncleanly(id)
		}
	}
}

// electUncleanly makes a replica the leader and the whole ISR, whatever it lacks (replication.md 11.3,
// 11.4). All others follow it, even below their high watermarks: UncleanEpoch allows that (10.5). The
// partition had no leader, so that settle counts the epoch.
func (p *Partition) electUncleanly(id int32) {
	p.Leader, p.ISR, p.ELR, p.LastKnownELR = id, []int32{id}, nil, nil
	p.Recovering = true
	p.UncleanEpoch = p.LeaderEpoch + 1
}

// firstActive is the first of replicas that is a candidate and active, NoLeader if there is none. One
// that does not drain goes before all that do.
func (e *edit) firstActive(replicas, candidates []int32) int32 {
	first := NoLeader
	for _, id := range replicas {
		b, ok := e.broker(id)
		switch {
		case !ok || b.State != Active || !slices.Contains(candidates, id):
		case !b.Draining:
			return id
		case first == NoLeader:
			first = id
		}
	}
	return first
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
		case inOldOrELR && (!slices.Contains(suspects, id) || mutant.On(mutant.ELRKeepsSuspect)):
			p.ELR = append(p.ELR, id)
		case inOldOrELR || slices.Contains(lke, id):
			p.LastKnownELR = append(p.LastKnownELR, id)
		}
	}
}

// reconfigure is a change for eachTopic after a change of config. Where the ISR has become large enough
// the eligible leaders are dropped; nobody is added, for nobody else is known to have everything. A
// partition that waits for a leader may get one now.
func (e *edit) reconfigure(t *Topic) []Partition {
	return e.eachPartition(t, func(_ int, p *Partition) {
		if len(p.ISR) >= e.minInSync(t, len(p.Replicas)) {
			p.ELR, p.LastKnownELR = nil, nil
		}
	})
}
