package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// groupOf is the group that reads a topic.
func groupOf(topic string) string { return topic + "-readers" }

// startGroups starts for each topic a group whose members come and go, commit what they read, and are asked after from
// outside.
func (w *Workload) startGroups(ctx, _ context.Context) error {
	for _, t := range w.topics {
		for range membersEach {
			rng := w.chance()
			w.readers.Go(func() error { return w.beMembers(ctx, t, rng) })
		}
		cl, err := kgo.NewClient(clientOptions(w.seeds)...)
		if err != nil {
			return err
		}
		w.closing = append(w.closing, cl.Close)
		w.readers.Go(func() error { w.askCommitted(ctx, kadm.NewClient(cl), t); return nil })
	}
	return nil
}

// beMembers is one member after another, so that the group rebalances without a fault as well.
func (w *Workload) beMembers(ctx context.Context, t Topic, rng *rand.Rand) error {
	for ctx.Err() == nil {
		life, end := context.WithTimeout(ctx, memberLeaves/2+time.Duration(rng.Int64N(int64(memberLeaves))))
		err := w.beMember(life, t)
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Workload) beMember(ctx context.Context, t Topic) error {
	m := &member{w: w, topic: t, group: groupOf(t.Name), next: map[Partition]int64{}, given: map[Partition]time.Duration{}}
	cl, err := kgo.NewClient(append(clientOptions(w.seeds), kgo.ConsumerGroup(m.group), kgo.ConsumeTopics(t.Name),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(kgo.RangeBalancer()),
		kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.FetchMaxWait(200*time.Millisecond), kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.revoked))...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := cl.PollRecords(ctx, 2000)
		m.take(ctx, cl, fetches)
		cl.AllowRebalance()
	}
	return nil
}

// member is one life of a group's member.
type member struct {
	w     *Workload
	topic Topic
	group string

	mu    sync.Mutex                  // guards the fields below, which callbacks share with the loop
	next  map[Partition]int64         // the offset that must come next
	given map[Partition]time.Duration // when a partition was given of which nothing has been read yet
}

func (m *member) assigned(_ context.Context, cl *kgo.Client, given map[string][]int32) {
	name, generation := cl.GroupMetadata()
	a := Assigned{Member: name, Generation: generation}
	m.mu.Lock()
	for _, p := range given[m.topic.Name] {
		at := Partition{m.topic.Name, p}
		a.Partitions = append(a.Partitions, at)
		delete(m.next, at)
		m.given[at] = m.w.ledger.Now()
	}
	m.mu.Unlock()
	m.w.ledger.SawAssigned(m.group, a)
}

func (m *member) revoked(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range taken[m.topic.Name] {
		delete(m.next, Partition{m.topic.Name, p})
		delete(m.given, Partition{m.topic.Name, p})
	}
}

// take enters what was read and commits it. Where a member begins to read is what it was told of the committed offset.
func (m *member) take(ctx context.Context, cl *kgo.Client, fetches kgo.Fetches) {
	name, _ := cl.GroupMetadata()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := Partition{f.Topic, f.Partition}
		for _, r := range f.Records {
			m.w.ledger.saw(p, r)
			m.step(name, p, r.Offset)
		}
	})
	for _, e := range fetches.Errors() {
		m.w.complainOfFetch(Partition{e.Topic, e.Partition}, -1, e.Err)
	}
	if !fetches.Empty() {
		m.commit(ctx, cl, fetches)
	}
}

func (m *member) step(name string, p Partition, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	want, reading := m.next[p]
	if began, first := m.given[p]; first {
		m.w.ledger.SawCommitted(m.group, CommittedSeen{Partition: p, Offset: beginning(offset), By: name, Start: began})
		delete(m.given, p)
	} else if reading && offset != want {
		m.w.ledger.Complain("I9", p, fmt.Sprintf("a member of %s was given offset %d after %d", m.group, offset, want-1))
	}
	m.next[p] = offset + 1
}

// beginning is the committed offset of a member that begins to read at offset: none makes it begin at the start.
func beginning(offset int64) int64 {
	if offset == 0 {
		return -1
	}
	return offset
}

// commit commits what was read. The client sends it again on its own, which does no harm: a repeated commit is the same.
func (m *member) commit(ctx context.Context, cl *kgo.Client, fetches kgo.Fetches) {
	var last []*kgo.Record
	began := m.w.ledger.Now()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if n := len(f.Records); n > 0 {
			last = append(last, f.Records[n-1])
		}
	})
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	outcome := commitOutcome(cl.CommitRecords(ctx, last...))
	name, _ := cl.GroupMetadata()
	for _, r := range last {
		m.w.ledger.SawCommit(m.group, Commit{Partition: Partition{r.Topic, r.Partition}, Offset: r.Offset + 1, Member: name, Start: began, Outcome: outcome})
	}
}

func commitOutcome(err error) Outcome {
	switch {
	case err == nil:
		return Acked
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.RebalanceInProgress):
		return Refused
	}
	return Unknown
}

// askCommitted asks for the group's offsets from outside, again and again.
func (w *Workload) askCommitted(ctx context.Context, adm *kadm.Client, t Topic) {
	for rest(ctx, 2*probeEvery) {
		_ = w.committed(ctx, adm, t, true) // it is asked again
	}
}

func (w *Workload) committed(ctx context.Context, adm *kadm.Client, t Topic, bystander bool) error {
	began := w.ledger.Now()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	offsets, err := adm.FetchOffsets(ctx, groupOf(t.Name))
	if err := errors.Join(err, offsets.Error()); err != nil {
		return err
	}
	for _, p := range t.partitions() {
		seen := CommittedSeen{Partition: p, Offset: -1, By: "a bystander", Start: began, Bystander: bystander}
		if at, ok := offsets.Lookup(p.Topic, p.Index); ok {
			seen.Offset = at.At
		}
		w.ledger.SawCommitted(groupOf(t.Name), seen)
	}
	return nil
}

// SettledOffsets asks for the offsets of every group when nobody is cut off any more: whoever answers must know the present.
func (w *Workload) SettledOffsets(ctx context.Context) error {
	cl, err := kgo.NewClient(clientOptions(w.seeds)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, t := range w.topics {
		err = errors.Join(err, fleet.Eventually(ctx, func() error { return w.committed(ctx, kadm.NewClient(cl), t, false) }))
	}
	return err
}
