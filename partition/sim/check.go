package sim

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/raftmeta"
)

// truth is what no broker knows of a partition: all that was ever written and shown.
type truth struct {
	committed []record            // below the greatest high watermark that any leader has shown
	shown     map[int32]int64     // the greatest high watermark of each leader epoch
	writers   map[int32]writer    // who appended in each leader epoch
	written   [][]record          // by offset: every record that any log ever had there
	deleted   int64               // the greatest log start
	lossy     []bool              // by broker: it lost data, and has not been in sync since
	leastMin  int                 // the smallest min.insync.replicas so far
	unclean   bool                // an unclean election has put committed records aside
	now       *raftmeta.Partition // as committed
	min       int                 // min.insync.replicas, as committed
}

type writer struct {
	broker     int32
	generation int
}

func (t *truth) hw() int64 { return int64(len(t.committed)) }

// hwBefore is the greatest high watermark that a leader of an earlier epoch has shown.
func (t *truth) hwBefore(epoch int32) int64 {
	hw := int64(0)
	for e, shown := range t.shown {
		if e < epoch {
			hw = max(hw, shown)
		}
	}
	return hw
}

func (w *world) addPart(topic uuid.ID, number int32) {
	pt := &part{index: len(w.parts), topic: topic, number: number}
	pt.truth = truth{shown: map[int32]int64{}, writers: map[int32]writer{}, lossy: make([]bool, w.plan.brokers+1), leastMin: w.plan.minISR}
	w.parts = append(w.parts, pt)
	w.refresh(w.meta.latest())
}

// refresh keeps at hand what the newest table says.
func (w *world) refresh(im *raftmeta.Image) {
	for _, b := range w.brokers {
		self, ok := im.Broker(b.id)
		b.current = ok && self.Incarnation == b.incarnation
	}
	for _, pt := range w.parts {
		t, p := pt.state(im)
		pt.now = p
		if p == nil {
			continue
		}
		pt.min, w.minInSync = im.MinInSync(t, len(p.Replicas)), im.MinInSync(t, len(w.brokers))
		pt.leastMin = min(pt.leastMin, pt.min)
		for _, id := range p.ISR {
			pt.lossy[id] = pt.lossy[id] && !w.brokers[id-1].current // it has caught up since
		}
	}
}

// checkStep asserts what must hold after every step.
func (w *world) checkStep() {
	for _, pt := range w.parts {
		if pt.now == nil {
			continue
		}
		if !pt.unclean {
			w.checkHolds(pt, pt.now.ISR)
			w.checkHolds(pt, pt.now.ELR)
		}
		for _, b := range w.brokers {
			if pt.index < len(b.replicas) && b.replicas[pt.index] != nil {
				w.checkReplica(b.replicas[pt.index])
			}
		}
	}
}

// checkHolds (I4): a running member of isr and elr has everything committed, as durable as its mode says.
func (w *world) checkHolds(pt *part, members []int32) {
	for _, id := range members {
		b := w.brokers[id-1]
		if !b.up || !b.current {
			continue
		}
		end := int64(0)
		if l := b.logs[pt.index]; l != nil {
			end = l.DurableOffset()
		}
		if end < pt.hw() {
			w.must(false, "I4", "b%d is in isr %v or elr %v of p%d with end %d, committed is %d", id, pt.now.ISR, pt.now.ELR, pt.index, end, pt.hw())
		}
	}
}

// checkReplica asserts what holds for a replica at any time.
func (w *world) checkReplica(r *replica) {
	hw, end := r.core.HighWatermark(), r.log.EndOffset()
	if hw > end || hw < r.lastHW {
		w.must(hw <= end, "I8", "b%d p%d: hw %d past end %d", r.b.id, r.part.index, hw, end)
		w.must(hw >= r.lastHW, "I8", "b%d p%d: hw falls from %d to %d", r.b.id, r.part.index, r.lastHW, hw)
	}
	r.lastHW = hw
	l, p := r.core.Leader(), r.part.now
	if l != nil && l.Settled() && hw < r.floor && !r.part.unclean {
		w.must(false, "I8", "leader b%d of p%d says that hw %d is the latest, an earlier leader has shown %d", r.b.id, r.part.index, hw, r.floor)
	}
	if l == nil || l.Epoch() != p.LeaderEpoch || len(p.ISR) < r.part.min {
		return
	}
	for _, id := range p.ISR {
		if !slices.Contains(l.View().ISR, id) && !slices.Contains(l.Proposed(), id) {
			w.must(false, "I5", "leader b%d of p%d waits for isr %v and proposed %v, committed is isr %v elr %v", r.b.id, r.part.index, l.View().ISR, l.Proposed(), p.ISR, p.ELR)
		}
	}
}

// checkLead (I3, I1): a cleanly elected leader has all that any earlier leader has shown.
func (w *world) checkLead(r *replica) {
	w.stats.Elections++
	pt := r.part
	shown := pt.hwBefore(r.core.Epoch())
	w.must(pt.unclean || r.log.EndOffset() >= shown, "I3", "b%d leads p%d in epoch %d with end %d, an earlier leader has shown hw %d", r.b.id, pt.index, r.core.Epoch(), r.log.EndOffset(), shown)
	w.checkCommitted(r, r.log.start, shown, "I1")
	r.floor = shown
}

// checkCommitted compares a part of a log with what was committed there.
func (w *world) checkCommitted(r *replica, from, to int64, invariant string) {
	if r.part.unclean {
		return
	}
	for offset := max(from, r.log.start); offset < to; offset++ {
		if r.log.records[offset] != r.part.committed[offset] {
			w.must(false, invariant, "b%d p%d holds %+v at %d, committed is %+v", r.b.id, r.part.index, r.log.records[offset], offset, r.part.committed[offset])
		}
	}
}

// checkLeaderHW judges a leader's new high watermark: it may be the first to show these records.
func (w *world) checkLeaderHW(r *replica, old int64) {
	pt, l, hw := r.part, r.core.Leader(), r.core.HighWatermark()
	view := l.View()
	w.must(len(view.ISR) >= view.MinISR, "I10", "leader b%d of p%d raises hw to %d with isr %v, min is %d", r.b.id, pt.index, hw, view.ISR, view.MinISR)
	for offset := pt.hw(); offset < hw; offset++ {
		pt.committed = append(pt.committed, r.log.records[offset])
	}
	w.checkCommitted(r, old, hw, "I2")
	pt.shown[view.LeaderEpoch] = max(pt.shown[view.LeaderEpoch], hw)
}

// checkRecord (I7): a place in the log and a leader epoch name one record.
func (w *world) checkRecord(r *replica, rec record, offset int64) {
	pt := r.part
	for int64(len(pt.written)) <= offset {
		pt.written = append(pt.written, nil)
	}
	for _, other := range pt.written[offset] {
		if other.epoch == rec.epoch {
			w.must(other == rec, "I7", "b%d p%d writes %+v at %d, another log has %+v there", r.b.id, pt.index, rec, offset, other)
			return
		}
	}
	pt.written[offset] = append(pt.written[offset], rec)
}

// checkAppend judges a leader's append before it happens.
func (w *world) checkAppend(r *replica, rec record, offset int64, all bool) {
	pt, view := r.part, r.core.Leader().View()
	w.must(!all || len(view.ISR) >= view.MinISR, "I10 (7.1)", "b%d p%d appends with acks=all, isr %v is below min %d", r.b.id, pt.index, view.ISR, view.MinISR)
	me := writer{r.b.id, r.b.generation}
	who, known := pt.writers[rec.epoch]
	w.must(!known || who == me, "I19", "b%d appends to p%d in epoch %d, so did b%d", r.b.id, pt.index, rec.epoch, who.broker)
	pt.writers[rec.epoch] = me
	w.checkRecord(r, rec, offset)
}

// checkAck (P1, I36): what is acknowledged is committed, is what was sent, and was appended in this epoch.
func (w *world) checkAck(r *replica, p *pending) {
	pt, q := r.part, &p.request
	if !q.producer.all {
		w.must(r.log.DurableOffset() > p.offset, "I36", "b%d p%d acknowledges offset %d, its own copy is safe up to %d", r.b.id, pt.index, p.offset, r.log.DurableOffset())
		return
	}
	w.stats.Acked++
	w.must(r.core.Leader() != nil && r.core.Epoch() == p.epoch, "I36", "b%d p%d acknowledges in epoch %d what was appended in %d", r.b.id, pt.index, r.core.Epoch(), p.epoch)
	w.must(p.offset < pt.hw(), "I36", "b%d p%d acknowledges offset %d, committed is up to %d", r.b.id, pt.index, p.offset, pt.hw())
	rec := pt.committed[p.offset]
	w.must(pt.unclean || rec.producer == q.producer.id && rec.seq == q.seq, "I1", "b%d p%d acknowledges producer %d seq %d at %d, where %+v is committed", r.b.id, pt.index, q.producer.id, q.seq, p.offset, rec)
}

// checkFetch (I11): only a fetch of this leader epoch, and of the newest run heard of, counts.
func (w *world) checkFetch(r *replica, from int32, brokerEpoch int64, at core.FetchPosition) {
	w.must(at.Epoch == r.core.Epoch(), "I11", "b%d p%d counts b%d's fetch of epoch %d in epoch %d", r.b.id, r.part.index, from, at.Epoch, r.core.Epoch())
	known, ok := r.b.image().Broker(from)
	w.must(brokerEpoch >= r.witness[from].brokerEpoch && (!ok || brokerEpoch >= known.Epoch), "I11", "b%d p%d counts a fetch of an earlier run of b%d", r.b.id, r.part.index, from)
}

// checkProposal (I13): who is proposed in has met all of replication.md 9.1, as the judge saw it.
func (w *world) checkProposal(r *replica, change core.Change) {
	w.stats.ISRChanges++
	l := r.core.Leader()
	for _, m := range change.ISR {
		if m.ID == r.b.id || slices.Contains(l.View().ISR, m.ID) {
			continue
		}
		seen := r.witness[m.ID]
		known, ok := r.b.image().Broker(m.ID)
		active := ok && known.State == raftmeta.Active && known.Epoch == m.BrokerEpoch
		w.must(seen.fetched && seen.end >= l.HighWatermark() && seen.end >= l.Start() && seen.brokerEpoch == m.BrokerEpoch && active,
			"I13", "b%d proposes b%d of run %d into the isr of p%d: seen %+v, hw %d, epoch began at %d, active %v",
			r.b.id, m.ID, m.BrokerEpoch, r.part.index, seen, l.HighWatermark(), l.Start(), active)
	}
}

// checkFollower judges a follower after an answer that was its own.
func (w *world) checkFollower(r *replica, old int64, a *got) {
	hw := r.core.HighWatermark()
	w.must(a.diverging == nil || hw <= old, "I12", "b%d p%d takes hw %d from an answer that diverges", r.b.id, r.part.index, hw)
	w.must(r.part.unclean || hw <= r.part.hw(), "I9", "b%d p%d shows hw %d, committed is up to %d", r.b.id, r.part.index, hw, r.part.hw())
	w.must(hw <= r.log.EndOffset(), "I8", "b%d p%d: hw %d past end %d", r.b.id, r.part.index, hw, r.log.EndOffset())
	w.checkCommitted(r, old, hw, "I6")
}

func (w *world) checkTruncation(r *replica, to int64) {
	w.must(r.part.unclean || to >= r.core.HighWatermark(), "I15", "b%d p%d truncates to %d below its hw %d", r.b.id, r.part.index, to, r.core.HighWatermark())
}

// checkWouldLose (I3): without an unclean election no leader's history contradicts what is committed here.
func (w *world) checkWouldLose(r *replica, diverging core.EpochEnd) {
	w.must(r.part.unclean, "I3", "b%d p%d holds hw %d, the leader's epoch %d ends at %d", r.b.id, r.part.index, r.core.HighWatermark(), diverging.Epoch, diverging.End)
}

// checkRead (I9, I2): a consumer sees what is committed, and nothing else.
func (w *world) checkRead(pt *part, a *got) {
	if pt.unclean {
		return
	}
	end := a.base + int64(len(a.records))
	w.must(end <= pt.hw(), "I9", "a consumer of p%d reads up to %d, committed is up to %d", pt.index, end, pt.hw())
	for i, rec := range a.records {
		at := a.base + int64(i)
		w.must(rec == pt.committed[at], "I2", "a consumer of p%d reads %+v at %d, committed is %+v", pt.index, rec, at, pt.committed[at])
	}
}
