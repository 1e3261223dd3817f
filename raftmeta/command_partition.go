package raftmeta

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/internal/uuid"
)

// AlterPartition is a leader's proposal of a new ISR (replication.md 9.3, KIP-497). PartitionEpoch makes
// it a compare-and-set: repeated, it takes effect at most once. Accepted, it counts the partition epoch
// even if it changes nothing: with the ISR as it is a leader makes sure that no copy of a proposal that was
// refused can still take effect.
type AlterPartition struct {
	TopicID        uuid.ID
	Partition      int32
	Leader         int32 // the sender
	BrokerEpoch    int64 // of the sender
	LeaderEpoch    int32
	PartitionEpoch int32 // that the sender saw
	ISR            []ISRMember
	Recovering     bool // false from a leader that was elected uncleanly: it has recovered
}

// ISRMember is a proposed member of an ISR, and the run of its broker that the leader has seen caught up.
type ISRMember struct {
	ID          int32
	BrokerEpoch int64
}

func (*AlterPartition) kind() kind { return kindAlterPartition }

func (x *AlterPartition) fields(c *coder) {
	c.id(&x.TopicID)
	c.int32(&x.Partition)
	c.int32(&x.Leader)
	c.int64(&x.BrokerEpoch)
	c.int32(&x.LeaderEpoch)
	c.int32(&x.PartitionEpoch)
	list(c, &x.ISR, 2, func(c *coder, m *ISRMember) {
		c.int32(&m.ID)
		c.int64(&m.BrokerEpoch)
	})
	c.bool(&x.Recovering)
}

func (x *AlterPartition) apply(e *edit) (Result, error) {
	t, p, err := e.partition(x.TopicID, x.Partition)
	if err != nil {
		return Result{}, err
	}
	if err := x.checkSender(e, p); err != nil {
		return partitionResult(p), err
	}
	if err := x.checkISR(e, p); err != nil {
		return partitionResult(p), err
	}
	next := *p
	isr := make([]int32, len(x.ISR))
	for i, m := range x.ISR {
		isr[i] = m.ID
	}
	next.setISR(isr, nil, e.minInSync(t, len(p.Replicas)))
	next.Recovering = x.Recovering
	if !e.isActive(x.Leader) {
		e.leaveISR(t, &next, x.Leader) // it shuts down, and now somebody can lead in its place
	}
	if !e.settle(t, p, &next) {
		next.PartitionEpoch++
	}
	return e.replacePartition(t, x.Partition, next), nil
}

// checkSender judges, in this order, whether the sender is the leader that the log knows. Epochs
// newer than the log's mean that this log is behind the sender, which must ask another node (KAFKA-14154).
func (x *AlterPartition) checkSender(e *edit, p *Partition) error {
	switch {
	case x.LeaderEpoch < p.LeaderEpoch:
		return ErrFencedLeaderEpoch
	case x.LeaderEpoch > p.LeaderEpoch || x.PartitionEpoch > p.PartitionEpoch:
		return ErrNewerEpoch
	case x.Leader != p.Leader || x.Leader == NoLeader:
		return ErrNotPartitionLeader
	case x.PartitionEpoch != p.PartitionEpoch && !mutant.On(mutant.AlterIgnoresEpoch):
		return ErrPartitionEpoch
	}
	_, err := e.currentBroker(x.Leader, x.BrokerEpoch)
	return err
}

func (x *AlterPartition) checkISR(e *edit, p *Partition) error {
	seen := make(map[int32]bool, len(x.ISR))
	for _, m := range x.ISR {
		if seen[m.ID] || !slices.Contains(p.Replicas, m.ID) {
			return ErrInvalidISR
		}
		seen[m.ID] = true
	}
	switch {
	case !seen[x.Leader]:
		return ErrInvalidISR
	case x.Recovering && (len(x.ISR) > 1 || !p.Recovering):
		return ErrInvalidISR
	}
	for _, m := range x.ISR {
		b, ok := e.broker(m.ID)
		if mutant.On(mutant.AlterAdmitsFenced) {
			continue
		}
		if !ok || b.Epoch != m.BrokerEpoch || b.State != Active && m.ID != x.Leader {
			return ErrIneligibleReplica // a leader that shuts down is in the ISR as long as nobody else is
		}
	}
	return nil
}

// ElectLeader is an operator's wish for another leader of one partition (KIP-460). Without Unclean the
// first replica must be in sync and active, and takes over. With Unclean a partition that has no
// leader takes any active replica, at the price of the records that it lacks (replication.md 11.3).
type ElectLeader struct {
	TopicID   uuid.ID
	Partition int32
	Unclean   bool
}

func (*ElectLeader) kind() kind { return kindElectLeader }

func (x *ElectLeader) fields(c *coder) {
	c.id(&x.TopicID)
	c.int32(&x.Partition)
	c.bool(&x.Unclean)
}

func (x *ElectLeader) apply(e *edit) (Result, error) {
	t, p, err := e.partition(x.TopicID, x.Partition)
	if err != nil {
		return Result{}, err
	}
	next := *p
	switch preferred := p.Replicas[0]; {
	case !x.Unclean && p.Leader == preferred, x.Unclean && p.Leader != NoLeader:
		return partitionResult(p), ErrElectionNotNeeded
	case !x.Unclean && (!slices.Contains(p.ISR, preferred) || !e.isActive(preferred)):
		return partitionResult(p), ErrNoCandidate
	case !x.Unclean:
		next.Leader = preferred
	default:
		leader := e.firstActive(p.Replicas, p.Replicas)
		if leader == NoLeader {
			return partitionResult(p), ErrNoCandidate
		}
		next.electUncleanly(leader)
	}
	return e.changePartition(t, x.Partition, next), nil
}

// RecoverLeader gives a leader to a partition whose candidates all came back under suspicion of lost data:
// neither ISR nor ELR has a member (replication.md 11.4). The controller has asked for the logs and
// chosen the one that reaches furthest. PartitionEpoch makes it a compare-and-set.
type RecoverLeader struct {
	TopicID        uuid.ID
	Partition      int32
	PartitionEpoch int32
	Leader         int32 // an active replica
}

func (*RecoverLeader) kind() kind { return kindRecoverLeader }

func (x *RecoverLeader) fields(c *coder) {
	c.id(&x.TopicID)
	c.int32(&x.Partition)
	c.int32(&x.PartitionEpoch)
	c.int32(&x.Leader)
}

func (x *RecoverLeader) apply(e *edit) (Result, error) {
	t, p, err := e.partition(x.TopicID, x.Partition)
	if err != nil {
		return Result{}, err
	}
	switch {
	case x.PartitionEpoch != p.PartitionEpoch:
		return partitionResult(p), ErrPartitionEpoch
	case p.Leader != NoLeader || len(p.ISR)+len(p.ELR) > 0:
		return partitionResult(p), ErrElectionNotNeeded
	case !slices.Contains(p.Replicas, x.Leader) || !e.isActive(x.Leader):
		return partitionResult(p), ErrNoCandidate
	}
	next := *p
	next.electUncleanly(x.Leader)
	return e.changePartition(t, x.Partition, next), nil
}

// partition finds one partition of a live topic.
func (e *edit) partition(id uuid.ID, number int32) (*Topic, *Partition, error) {
	t, ok := e.topic(id)
	if !ok {
		return nil, nil, ErrUnknownTopic
	}
	if number < 0 || int(number) >= len(t.Partitions) {
		return nil, nil, ErrUnknownPartition
	}
	return t, &t.Partitions[number], nil
}

// partitionResult has a copy: a result may be kept for long, and must not keep all partitions of a topic.
func partitionResult(p *Partition) Result {
	kept := *p
	return Result{Partition: &kept}
}

// changePartition settles a change of one partition and replaces it.
func (e *edit) changePartition(t *Topic, number int32, p Partition) Result {
	old := &t.Partitions[number]
	if !e.settle(t, old, &p) {
		return partitionResult(old)
	}
	return e.replacePartition(t, number, p)
}

func (e *edit) replacePartition(t *Topic, number int32, p Partition) Result {
	next := *t
	next.Partitions = slices.Clone(t.Partitions)
	next.Partitions[number] = p
	e.putTopic(&next)
	return partitionResult(&p)
}
