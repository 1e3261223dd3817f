package sim

import (
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/raftmeta"
)

// converge plays on without faults until everything is as it should be (I27).
func (w *world) converge() {
	limit := w.now + settleWithin
	for !w.converged() {
		w.must(w.now < limit, "I27", "%s", w.unsettled())
		w.until(w.now + tickEvery)
	}
}

func (w *world) converged() bool { return w.unsettled() == "" }

// unsettled names the first thing that is not as it should be when nothing is broken.
func (w *world) unsettled() string {
	for _, b := range w.brokers {
		if b.applied != w.meta.last() {
			return fmt.Sprintf("b%d is at metadata %d of %d", b.id, b.applied, w.meta.last())
		}
	}
	for _, pt := range w.parts {
		p := pt.now
		if p.Leader == raftmeta.NoLeader || len(p.ISR) < len(p.Replicas) || p.Reassigning() {
			return fmt.Sprintf("p%d has leader b%d, isr %v of %v (adding %v, removing %v), elr %v, lke %v", pt.index, p.Leader, p.ISR, p.Replicas, p.Adding, p.Removing, p.ELR, p.LastKnownELR)
		}
		end := w.brokers[p.Leader-1].endOf(pt)
		for _, id := range p.Replicas {
			r, err := w.brokers[id-1].replicaOf(pt)
			if err != nil || r.log.EndOffset() != end || r.core.HighWatermark() != end {
				return fmt.Sprintf("b%d p%d has not caught up with %d", id, pt.index, end)
			}
		}
	}
	for _, p := range w.producers {
		if len(p.unacked) > 0 && !p.part.unclean {
			return fmt.Sprintf("producer %d still has %d batches to send", p.id, len(p.unacked))
		}
	}
	return ""
}

// endOf is where a broker's log of a part ends.
func (b *broker) endOf(pt *part) int64 {
	if l := b.logs[pt.index]; l != nil {
		return l.EndOffset()
	}
	return 0
}

// checkEnd asserts what must hold once all is well again.
func (w *world) checkEnd() {
	for _, pt := range w.parts {
		for _, id := range pt.now.Replicas {
			w.checkLog(pt, w.brokers[id-1].replicas[pt.index])
		}
	}
	for _, p := range w.producers {
		w.checkProducer(p)
	}
	w.checkReplay()
}

// checkLog (I1, I6, I35): a log holds what is committed, and of each idempotent producer all batches once
// and in order.
func (w *world) checkLog(pt *part, r *replica) {
	leader := w.brokers[pt.now.Leader-1].logs[pt.index]
	from := max(r.log.start, leader.start)
	w.must(slices.Equal(r.log.records[from:], leader.records[from:]), "I6", "b%d and leader b%d hold different logs of p%d", r.b.id, pt.now.Leader, pt.index)
	if pt.unclean {
		return
	}
	w.must(r.log.EndOffset() >= pt.hw(), "I1", "b%d p%d ends at %d, committed is up to %d", r.b.id, pt.index, r.log.EndOffset(), pt.hw())
	w.checkCommitted(r, 0, pt.hw(), "I6")
	last := map[int32]int32{}
	for offset, rec := range pt.committed {
		if rec.producer < firstIdempotent {
			continue
		}
		old, known := last[rec.producer]
		w.must(known && rec.seq == old+1 || !known && rec.seq == 0, "I35", "p%d: producer %d's seq %d at %d comes after %d", pt.index, rec.producer, rec.seq, offset, old)
		last[rec.producer] = rec.seq
	}
}

// checkProducer (I1, I36): all that was acknowledged is at its offset.
func (w *world) checkProducer(p *producer) {
	if !p.all || p.part.unclean {
		return
	}
	for seq, offset := range p.acked {
		w.must(offset < p.part.hw(), "I1", "producer %d's seq %d was acknowledged at %d, p%d ends at %d", p.id, seq, offset, p.part.index, p.part.hw())
		rec := p.part.committed[offset]
		w.must(rec.producer == p.id && int(rec.seq) == seq, "I1", "producer %d's seq %d was acknowledged at %d of p%d, where %+v is", p.id, seq, offset, p.part.index, rec)
	}
}

// checkReplay (I20): the log alone leads to the same table at every index.
func (w *world) checkReplay() {
	im := raftmeta.NewImage()
	for i, cmd := range w.meta.entries {
		im, _, _ = raftmeta.Apply(im, uint64(i+1), w.meta.terms[i], cmd)
		if i%16 == 0 || i == len(w.meta.entries)-1 {
			w.must(im.Hash() == w.meta.images[i+1].Hash(), "I20", "applied once more, entry %d leads to another table", i+1)
		}
	}
	w.must(slices.IsSorted(w.meta.terms), "I23", "an entry of an older term follows one of a newer")
}
