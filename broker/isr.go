package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/raftmeta"
)

// isrKeeper proposes the changes of the in-sync replicas that are due in the partitions led here
// (replication.md 9, AlterPartition). What a proposal comes to is adopted through the reconciler only;
// until that is certain the partition waits for old and new members alike.
type isrKeeper struct {
	b     *Broker
	slots *semaphore.Weighted // proposals in flight

	mu   sync.Mutex // guards due
	due  map[*hosted]struct{}
	news chan struct{} // holds a token while due may have something

	running sync.WaitGroup
}

const (
	// isrChecks is how many times within replica.lag.time.max.ms followers are looked at for lag.
	isrChecks       = 5
	maxISRProposals = 256
	retryISR        = 100 * time.Millisecond
)

func newISRKeeper(b *Broker) *isrKeeper {
	return &isrKeeper{b: b, slots: semaphore.NewWeighted(maxISRProposals), due: map[*hosted]struct{}{}, news: make(chan struct{}, 1)}
}

// look marks a partition in which a follower may have caught up. It does not block.
func (k *isrKeeper) look(h *hosted) {
	k.mu.Lock()
	k.due[h] = struct{}{}
	k.mu.Unlock()
	select {
	case k.news <- struct{}{}:
	default:
	}
}

// run proposes until ctx ends, and returns when nothing of it is under way.
func (k *isrKeeper) run(ctx context.Context) error {
	defer k.running.Wait()
	for {
		timer := time.NewTimer(k.b.config().ReplicaLagTimeMax / isrChecks)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-k.news:
			timer.Stop()
			k.propose(ctx, k.take())
		case <-timer.C:
			k.propose(ctx, k.b.replicas.all())
		}
	}
}

func (k *isrKeeper) take() []*hosted {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]*hosted, 0, len(k.due))
	for h := range k.due {
		list = append(list, h)
	}
	clear(k.due)
	return list
}

func (k *isrKeeper) propose(ctx context.Context, list []*hosted) {
	img := k.b.meta.Image()
	broker := func(id int32) (int64, bool) {
		known, ok := img.Broker(id)
		if !ok {
			return 0, false
		}
		return known.Epoch, known.State == raftmeta.Active
	}
	for _, h := range list {
		change, due := h.replica.ProposeISR(k.b.now(), k.b.config().ReplicaLagTimeMax, broker)
		if !due {
			continue
		}
		if k.slots.Acquire(ctx, 1) != nil {
			return // the node stops: what is in flight stays so, and counts
		}
		k.running.Go(func() {
			defer k.slots.Release(1)
			k.send(ctx, h, change)
		})
	}
}

// settle ends a proposal that left the partition as it was. If the partition has changed, for whatever
// reason, adopting that change settles the proposal, and nothing else may: another one could be in
// flight by now.
func (k *isrKeeper) settle(h *hosted, change core.Change, p *raftmeta.Partition) {
	if p != nil && p.PartitionEpoch == change.PartitionEpoch {
		h.replica.ISRSettled(change.LeaderEpoch, p.PartitionEpoch)
		k.look(h) // it is withdrawn, and until then counts
	}
}

// send repeats a proposal until its outcome is definite or it has become pointless. Its epochs make it take
// effect at most once (replication.md 9.4).
func (k *isrKeeper) send(ctx context.Context, h *hosted, change core.Change) {
	cmd := &raftmeta.AlterPartition{
		TopicID: h.key.topic, Partition: h.key.number, Leader: k.b.nodeID, BrokerEpoch: k.b.brokerEpoch.Load(),
		LeaderEpoch: change.LeaderEpoch, PartitionEpoch: change.PartitionEpoch,
	}
	for _, m := range change.ISR {
		cmd.ISR = append(cmd.ISR, raftmeta.ISRMember{ID: m.ID, BrokerEpoch: m.BrokerEpoch})
	}
	for {
		bounded, cancel := context.WithTimeout(ctx, defaultWait)
		result, err := k.b.meta.Propose(bounded, cmd)
		cancel()
		var rejected raftmeta.Rejection
		switch {
		case err == nil:
			k.b.logger.Info("in-sync replicas changed", "log", h.replica.Log().Ident().String(), "isr", result.Partition.ISR, "leader_epoch", result.Partition.LeaderEpoch)
			k.settle(h, change, result.Partition)
			return
		case errors.As(err, &rejected):
			k.b.logger.Debug("a change of the in-sync replicas was refused", "log", h.replica.Log().Ident().String(), "err", err)
			k.settle(h, change, result.Partition)
			return
		}
		if view, leads := h.replica.Leading(); !leads || view.PartitionEpoch != change.PartitionEpoch {
			return
		}
		timer := time.NewTimer(retryISR)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
