package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// offsetLedger remembers what a group's readers read and committed, and proves:
//
//   - a committed offset is never below one whose commit was acknowledged, nor above any that was tried;
//   - a reader that is given a partition begins at such an offset, so it neither skips a record nor goes back behind
//     what was committed;
//   - it then reads without gaps.
type offsetLedger struct {
	topic string

	mu    sync.Mutex // guards the fields below
	parts []partitionOffsets
	count int // acknowledged commits
}

type partitionOffsets struct {
	acked int64 // the highest acknowledged commit
	tried int64 // the highest commit that was sent
	found int64 // the highest that the broker was seen to hold
}

func newOffsetLedger(topic string, partitions int) *offsetLedger {
	return &offsetLedger{topic: topic, parts: make([]partitionOffsets, partitions)}
}

func (o *offsetLedger) commits() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count
}

// read is one member of the group, until ctx ends. What it reads it commits at once.
func (o *offsetLedger) read(ctx context.Context, addr, group string) error {
	var mu sync.Mutex           // guards next, which the callbacks share with the loop
	next := map[int32]int64{}   // by partition that it was given: the offset that must come next
	floors := map[int32]int64{} // what was committed for sure when the partition was given
	given := func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
		mu.Lock()
		defer mu.Unlock()
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, p := range parts[o.topic] {
			next[p], floors[p] = -1, o.parts[p].acked
		}
	}
	opts := append(groupOptions(addr, group, o.topic), impatient()...)
	cl, err := kgo.NewClient(append(opts, kgo.Balancers(kgo.RangeBalancer()), kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(given),
		kgo.HeartbeatInterval(100*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := cl.PollRecords(ctx, 2000)
		mu.Lock()
		err := o.follow(fetches, next, floors)
		mu.Unlock()
		if err != nil {
			return err
		}
		o.commit(ctx, cl, fetches)
		cl.AllowRebalance()
	}
	return nil
}

// follow checks that records continue what the member has read, or begin where it had to begin.
func (o *offsetLedger) follow(fetches kgo.Fetches, next, floors map[int32]int64) error {
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		switch at := next[r.Partition]; {
		case at >= 0 && r.Offset != at:
			return fmt.Errorf("a reader of partition %d was given offset %d after %d", r.Partition, r.Offset, at-1)
		case at < 0:
			o.mu.Lock()
			tried := o.parts[r.Partition].tried
			o.mu.Unlock()
			if r.Offset < floors[r.Partition] || r.Offset > tried {
				return fmt.Errorf("a reader was given partition %d from offset %d on; committed were %d to %d",
					r.Partition, r.Offset, floors[r.Partition], tried)
			}
		}
		next[r.Partition] = r.Offset + 1
	}
	return nil
}

// commit commits what was read. A commit that fails may still have been applied.
func (o *offsetLedger) commit(ctx context.Context, cl *kgo.Client, fetches kgo.Fetches) {
	ends := map[int32]int64{}
	var last []*kgo.Record
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if n := len(p.Records); n > 0 {
			last = append(last, p.Records[n-1])
			ends[p.Partition] = p.Records[n-1].Offset + 1
		}
	})
	if len(last) == 0 {
		return
	}
	o.mu.Lock()
	for p, end := range ends {
		o.parts[p].tried = max(o.parts[p].tried, end)
	}
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if cl.CommitRecords(ctx, last...) != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	for p, end := range ends {
		o.parts[p].acked = max(o.parts[p].acked, end)
	}
}

// check asks the broker for the group's offsets.
func (o *offsetLedger) check(ctx context.Context, adm *franz, group string) error {
	o.mu.Lock()
	before := append([]partitionOffsets(nil), o.parts...)
	o.mu.Unlock()
	offsets, err := adm.adm.FetchOffsets(ctx, group)
	if err := errors.Join(err, offsets.Error()); err != nil {
		return fmt.Errorf("the group's offsets: %w", err)
	}
	found := make([]int64, len(before))
	for p := range found {
		if at, ok := offsets.Lookup(o.topic, int32(p)); ok {
			found[p] = max(0, at.At)
		}
	}
	return o.judge(before, found)
}

// judge holds what the broker said against what was known before it was asked.
func (o *offsetLedger) judge(before []partitionOffsets, found []int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, at := range found {
		if floor := max(before[p].acked, before[p].found); at < floor || at > o.parts[p].tried {
			return fmt.Errorf("partition %d: the committed offset is %d; it was %d, and the highest that was tried is %d",
				p, at, floor, o.parts[p].tried)
		}
		o.parts[p].found = max(o.parts[p].found, at)
	}
	return nil
}
