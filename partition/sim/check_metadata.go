package sim

import (
	"slices"

	"github.com/chronik-stream/chronik/raftmeta"
)

// checkCommit judges one step of the metadata.
func (w *world) checkCommit(before, after *raftmeta.Image, cmd raftmeta.Command, err error) {
	for _, b := range w.brokers {
		old, known := before.Broker(b.id)
		if next, ok := after.Broker(b.id); known && ok {
			w.must(next.Epoch >= old.Epoch, "I22", "epoch of b%d falls from %d to %d", b.id, old.Epoch, next.Epoch)
		}
	}
	for _, pt := range w.parts {
		_, old := pt.state(before)
		_, next := pt.state(after)
		if old == nil || next == nil {
			continue
		}
		w.must(err == nil || samePartition(old, next), "I20", "a rejected command changes p%d", pt.index)
		w.checkEpochs(pt, old, next)
		w.checkPlaces(pt, next, after)
		w.checkElection(pt, old, next)
	}
	if err == nil {
		switch c := cmd.(type) {
		case *raftmeta.RegisterBroker:
			w.checkRegistered(before, after, c)
		case *raftmeta.AlterPartition:
			w.checkAltered(before, after, c)
		}
	}
	w.refresh(after)
}

func samePartition(a, b *raftmeta.Partition) bool {
	return a.Leader == b.Leader && a.LeaderEpoch == b.LeaderEpoch && a.Recovering == b.Recovering && slices.Equal(a.Replicas, b.Replicas) &&
		slices.Equal(a.ISR, b.ISR) && slices.Equal(a.ELR, b.ELR) && slices.Equal(a.LastKnownELR, b.LastKnownELR)
}

// checkEpochs (I22): epochs only rise, and with every change.
func (w *world) checkEpochs(pt *part, old, next *raftmeta.Partition) {
	w.must(next.LeaderEpoch >= old.LeaderEpoch && next.PartitionEpoch >= old.PartitionEpoch, "I22", "p%d falls from epoch %d.%d to %d.%d",
		pt.index, old.LeaderEpoch, old.PartitionEpoch, next.LeaderEpoch, next.PartitionEpoch)
	w.must(next.Leader == old.Leader || next.LeaderEpoch > old.LeaderEpoch, "I22", "p%d: the leader changes from b%d to b%d within epoch %d", pt.index, old.Leader, next.Leader, next.LeaderEpoch)
	w.must(samePartition(old, next) || next.PartitionEpoch == old.PartitionEpoch+1, "I22", "p%d changes, and its partition epoch goes from %d to %d", pt.index, old.PartitionEpoch, next.PartitionEpoch)
}

// checkPlaces (I14): who is fenced is in sync with nothing and leads nothing.
func (w *world) checkPlaces(pt *part, p *raftmeta.Partition, im *raftmeta.Image) {
	for _, id := range p.ISR {
		b, ok := im.Broker(id)
		w.must(ok && b.State != raftmeta.Fenced, "I14", "b%d is fenced and in isr %v of p%d", id, p.ISR, pt.index)
		w.must(slices.Contains(p.Replicas, id), "I14", "b%d is in isr %v of p%d and not in its replicas %v", id, p.ISR, pt.index, p.Replicas)
	}
	w.must(p.Leader == raftmeta.NoLeader || slices.Contains(p.ISR, p.Leader), "I14", "b%d leads p%d and is not in isr %v", p.Leader, pt.index, p.ISR)
}

// checkElection (I17): without an unclean election a new leader was in sync or eligible.
func (w *world) checkElection(pt *part, old, next *raftmeta.Partition) {
	if next.Leader == old.Leader || next.Leader == raftmeta.NoLeader {
		return
	}
	fromELR := slices.Contains(old.ELR, next.Leader) && len(next.ISR) == 1 // nobody in sync is active
	w.must(slices.Contains(old.ISR, next.Leader) || fromELR,
		"I17", "b%d is elected for p%d out of isr %v and elr %v", next.Leader, pt.index, old.ISR, old.ELR)
}

// checkRegistered (I16): who may have lost data is no candidate for anything.
func (w *world) checkRegistered(before, after *raftmeta.Image, c *raftmeta.RegisterBroker) {
	old, known := before.Broker(c.ID)
	now, _ := after.Broker(c.ID)
	if !known || old.Epoch == now.Epoch {
		return // a repetition
	}
	replaced := false
	for _, id := range old.StorageIDs {
		replaced = replaced || !slices.Contains(c.StorageIDs, id)
	}
	if !c.Suspect && !replaced {
		return
	}
	for _, pt := range w.parts {
		if _, p := pt.state(after); p != nil {
			w.must(!slices.Contains(p.ISR, c.ID) && !slices.Contains(p.ELR, c.ID), "I16", "b%d comes back suspect and is in isr %v or elr %v of p%d", c.ID, p.ISR, p.ELR, pt.index)
		}
	}
}

// checkAltered (I13, I22): a leader's proposal is a compare-and-set, and only runs that are active join.
func (w *world) checkAltered(before, after *raftmeta.Image, c *raftmeta.AlterPartition) {
	for _, pt := range w.parts {
		_, old := pt.state(before)
		if old == nil || pt.topic != c.TopicID || pt.number != c.Partition {
			continue
		}
		w.must(c.PartitionEpoch == old.PartitionEpoch && c.LeaderEpoch == old.LeaderEpoch, "I22", "a proposal at %d.%d is accepted when p%d is at %d.%d",
			c.LeaderEpoch, c.PartitionEpoch, pt.index, old.LeaderEpoch, old.PartitionEpoch)
		for _, m := range c.ISR {
			b, ok := after.Broker(m.ID)
			w.must(ok && b.State == raftmeta.Active && b.Epoch == m.BrokerEpoch, "I13", "b%d of run %d is let into the isr of p%d: it is %+v", m.ID, m.BrokerEpoch, pt.index, b)
		}
	}
}
