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
	shard := raftmeta.ShardOf("", group)
	w.must(after.Shard(shard).Epoch >= before.Shard(shard).Epoch, "I22", "coordinator epoch falls from %d to %d", before.Shard(shard).Epoch, after.Shard(shard).Epoch)
	for _, pt := range w.parts {
		_, old := pt.state(before)
		t, next := pt.state(after)
		if old == nil || next == nil {
			continue
		}
		w.must(err == nil || samePartition(old, next), "I20", "a rejected command changes p%d", pt.index)
		w.checkEpochs(pt, old, next)
		w.checkPlaces(pt, next, after)
		w.checkElection(pt, old, next, cmd)
		w.checkMove(pt, old, next, after.MinInSync(t, len(next.Replicas)))
	}
	if err == nil {
		switch c := cmd.(type) {
		case *raftmeta.RegisterBroker:
			w.checkRegistered(before, after, c)
		case *raftmeta.AlterPartition:
			w.checkAltered(before, after, c)
		case *raftmeta.PutGroup:
			owner := before.Shard(shard)
			w.must(owner.Owner != raftmeta.NoLeader && owner.Epoch == c.CoordEpoch, "I43", "a coordinator of epoch %d writes when b%d coordinates in epoch %d", c.CoordEpoch, owner.Owner, owner.Epoch)
		}
	}
	w.refresh(after)
}

func samePartition(a, b *raftmeta.Partition) bool {
	return a.Leader == b.Leader && a.LeaderEpoch == b.LeaderEpoch && a.Recovering == b.Recovering &&
		slices.Equal(a.Adding, b.Adding) && slices.Equal(a.Removing, b.Removing) && slices.Equal(a.Replicas, b.Replicas) &&
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
		staysAlone := ok && b.State == raftmeta.ShuttingDown && len(p.ISR) == 1
		w.must(ok && b.State == raftmeta.Active || staysAlone, "I14", "b%d is fenced or shuts down, and is in isr %v of p%d", id, p.ISR, pt.index)
		w.must(slices.Contains(p.Replicas, id), "I14", "b%d is in isr %v of p%d and not in its replicas %v", id, p.ISR, pt.index, p.Replicas)
	}
	w.must(p.Leader == raftmeta.NoLeader || slices.Contains(p.ISR, p.Leader), "I14", "b%d leads p%d and is not in isr %v", p.Leader, pt.index, p.ISR)
}

// checkElection (I17): a new leader was in sync or eligible, or the election is on record as unclean. A
// leader that shuts down goes in the very entry in which another joins the ISR.
func (w *world) checkElection(pt *part, old, next *raftmeta.Partition, cmd raftmeta.Command) {
	if next.UncleanEpoch != old.UncleanEpoch {
		w.must(w.plan.unclean, "I17", "p%d is led by b%d after an unclean election, which nobody allowed", pt.index, next.Leader)
		w.must(next.UncleanEpoch == next.LeaderEpoch && next.LeaderEpoch == old.LeaderEpoch+1 && next.Recovering, "I17", "p%d: unclean election in epoch %d, on record is %d", pt.index, next.LeaderEpoch, next.UncleanEpoch)
		pt.unclean = true
		w.stats.Unclean++
		return
	}
	if next.Leader == old.Leader || next.Leader == raftmeta.NoLeader {
		return
	}
	fromELR := slices.Contains(old.ELR, next.Leader) && len(next.ISR) == 1 // nobody in sync is active
	_, joined := cmd.(*raftmeta.AlterPartition)
	w.must(slices.Contains(old.ISR, next.Leader) || fromELR || joined && slices.Contains(next.ISR, next.Leader),
		"I17", "b%d is elected for p%d out of isr %v and elr %v", next.Leader, pt.index, old.ISR, old.ELR)
}

// checkMove (I28): a replica that may be needed goes only when those that replace it are in sync, and
// leaves at least min of them.
func (w *world) checkMove(pt *part, old, next *raftmeta.Partition, least int) {
	var gone []int32
	for _, id := range old.Replicas {
		if !slices.Contains(next.Replicas, id) {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return
	}
	w.stats.Moves++
	w.must(next.LeaderEpoch > old.LeaderEpoch, "I22", "p%d drops %v within epoch %d", pt.index, gone, next.LeaderEpoch)
	for _, id := range gone {
		if slices.Contains(old.Adding, id) && !slices.Contains(old.ISR, id) && !slices.Contains(old.ELR, id) {
			continue // it never had everything
		}
		w.must(len(next.ISR) >= least, "I28", "p%d drops %v and is left with isr %v, min is %d", pt.index, gone, next.ISR, least)
		for _, added := range old.Adding {
			complete := slices.Contains(next.ISR, added) || !slices.Contains(next.Replicas, added) || slices.Contains(next.Adding, added)
			w.must(complete, "I28", "p%d drops %v before b%d is in sync", pt.index, gone, added)
		}
	}
}

// checkDrop (I25, I28): a broker deletes its files of a partition that lives only when nobody counts on it.
func (w *world) checkDrop(b *broker, pt *part) {
	w.must(!slices.Contains(pt.now.ISR, b.id) && !slices.Contains(pt.now.ELR, b.id), "I25", "b%d deletes its replica of p%d, isr is %v and elr %v", b.id, pt.index, pt.now.ISR, pt.now.ELR)
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
			leaves := ok && b.State == raftmeta.ShuttingDown && m.ID == c.Leader
			w.must(ok && (b.State == raftmeta.Active || leaves) && b.Epoch == m.BrokerEpoch, "I13", "b%d of run %d is let into the isr of p%d: it is %+v", m.ID, m.BrokerEpoch, pt.index, b)
		}
	}
}
