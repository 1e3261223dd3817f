package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/raftmeta"
)

// faultLater arranges for the next fault.
func (w *world) faultLater() {
	w.after(w.about(w.plan.faultEvery), func() {
		if !w.healed {
			w.fault()
			w.faultLater()
		}
	})
}

// fault does one bad thing, or one thing that an operator does.
func (w *world) fault() {
	b := w.brokers[w.rnd.IntN(len(w.brokers))]
	switch w.rnd.IntN(18) {
	case 0, 1:
		w.crash(b, noteCrash)
	case 2, 3:
		w.crash(b, notePowerLoss)
	case 4:
		w.crash(b, noteWipe)
	case 5, 6:
		w.pause(b)
	case 7, 8:
		w.cutLinks()
	case 9:
		w.slowLink()
	case 10:
		w.ctl.move()
	case 11:
		w.elect()
	case 12:
		w.changeMin()
	case 13:
		w.retain()
	case 14, 15:
		w.suspect(b)
	case 16:
		w.reassign()
	case 17:
		w.shutDown(b)
	}
}

// suspect has the controller take a broker for dead that is only slow.
func (w *world) suspect(b *broker) {
	if self, ok := w.meta.latest().Broker(b.id); ok && w.ctl.up {
		w.ctl.propose(&raftmeta.FenceBroker{ID: b.id, Epoch: self.Epoch})
	}
}

// suspectNewcomer strikes now and then at the moment in which it hurts: who is proposed into an ISR is
// taken for dead before the proposal is decided, or soon after.
func (w *world) suspectNewcomer(l *core.Leader, change core.Change) {
	if w.healed || !w.chance(0.1) {
		return
	}
	for _, m := range change.ISR {
		if !slices.Contains(l.View().ISR, m.ID) {
			w.suspect(w.brokers[m.ID-1])
		}
	}
}

// shutDown stops a broker in order: it hands over what it leads first.
func (w *world) shutDown(b *broker) {
	self, ok := w.meta.latest().Broker(b.id)
	if !ok || !b.up || !b.current || b.paused {
		return
	}
	w.ctl.propose(&raftmeta.BeginShutdown{ID: b.id, Epoch: self.Epoch})
	generation := b.generation
	w.after(w.about(300*time.Millisecond), func() {
		if b.generation == generation {
			w.crash(b, noteStop)
		}
	})
}

// reassign moves a partition to other replicas, or cancels that.
func (w *world) reassign() {
	pt := w.parts[w.rnd.IntN(len(w.parts))]
	var target []int32
	if !w.chance(0.2) {
		for _, at := range w.rnd.Perm(w.plan.brokers)[:2+w.rnd.IntN(2)] {
			target = append(target, int32(at+1))
		}
		if !w.mayAskFor([]*part{pt}, min(w.minInSync, len(target))) {
			return
		}
	}
	w.ctl.propose(&raftmeta.Reassign{TopicID: pt.topic, Partition: pt.number, Replicas: target})
}

// crash ends a run of a broker and starts the next one later.
func (w *world) crash(b *broker, how kind) {
	if !b.up {
		return
	}
	loses := how == noteWipe || how == notePowerLoss && !w.plan.syncMode
	if loses && !w.mayLose(b) {
		how, loses = noteCrash, false
	}
	w.note(how, int(b.id))
	w.stats.Crashes++
	b.up, b.current, b.paused, b.inbox = false, false, false, nil
	b.generation++
	b.incarnation = w.newID()
	b.replicas, b.registering = nil, 0
	clear(b.fetches)
	b.suspect = b.suspect || how == notePowerLoss && !w.plan.syncMode
	if how == noteWipe {
		b.storage = w.newID()
		clear(b.logs)
	}
	for index := range w.parts {
		l := b.logs[index]
		if l == nil {
			continue
		}
		keep := l.EndOffset()
		switch how {
		case noteStop:
			l.sync(keep)
		case notePowerLoss:
			keep = l.durable + w.rnd.Int64N(l.EndOffset()-l.durable+1)
		}
		b.suspect = l.recover(keep) || b.suspect
	}
	if loses {
		w.stats.Losses++
		w.noteLoss(b)
	}
	if w.chance(0.5) { // its connections are refused: the controller knows at once (replication.md 5.3)
		if self, ok := w.meta.latest().Broker(b.id); ok && w.ctl.up {
			w.ctl.propose(&raftmeta.FenceBroker{ID: b.id, Epoch: self.Epoch})
		}
	}
	away := 600 * time.Millisecond
	if w.chance(0.3) {
		away = 50 * time.Millisecond // nobody may have noticed
	}
	w.after(w.about(away), func() { w.restart(b) })
}

func (w *world) restart(b *broker) {
	if b.up {
		return
	}
	b.up = true
	b.applied = max(0, b.applied-w.rnd.IntN(4)) // from its last snapshot
	suspect := 0
	if b.suspect {
		suspect = 1
	}
	w.note(noteRestart, int(b.id), suspect, b.applied)
	w.startTicking(b)
}

// mayLose tells whether a broker may lose what is on it: fewer than min replicas of each partition are
// allowed to (P1), and one that has lost its data counts until it is in sync again.
func (w *world) mayLose(b *broker) bool {
	if w.plan.unclean {
		return true
	}
	im := w.meta.latest()
	for _, pt := range w.parts {
		_, p := pt.state(im)
		if p == nil || !slices.Contains(p.Replicas, b.id) && b.logs[pt.index] == nil {
			continue
		}
		lossy := 1
		for _, other := range p.Replicas {
			if other != b.id && pt.lossy[other] {
				lossy++
			}
		}
		if lossy >= pt.leastMin {
			return false
		}
	}
	return true
}

// noteLoss remembers that a broker's replicas may lack what they had.
func (w *world) noteLoss(b *broker) {
	for _, pt := range w.parts {
		pt.lossy[b.id] = true
	}
}

func (w *world) pause(b *broker) {
	if !b.up || b.paused {
		return
	}
	b.paused = true
	generation := b.generation
	w.note(notePause, int(b.id))
	w.after(w.about(800*time.Millisecond), func() {
		if b.generation == generation && b.paused {
			w.resume(b)
		}
	})
}

// resume plays what has come in, in order.
func (w *world) resume(b *broker) {
	b.paused = false
	waiting := b.inbox
	b.inbox = nil
	w.note(noteResume, int(b.id), len(waiting))
	for _, handle := range waiting {
		handle()
	}
}

// cutLinks partitions the network for a while: some links, in one direction or both.
func (w *world) cutLinks() {
	nodes := len(w.net.links)
	isolated := w.rnd.IntN(nodes - 1) // a broker or the controller
	mode := w.rnd.IntN(4)
	var cut [][2]int
	for other := range nodes {
		if other == isolated || mode == 3 && w.chance(0.6) {
			continue
		}
		if mode != 0 {
			cut = append(cut, [2]int{isolated, other})
		}
		if mode != 1 {
			cut = append(cut, [2]int{other, isolated})
		}
	}
	for _, l := range cut {
		w.note(noteCut, l[0], l[1])
		w.net.links[l[0]][l[1]].cut = true
	}
	w.after(w.about(900*time.Millisecond), func() {
		for _, l := range cut {
			w.net.links[l[0]][l[1]].cut = false
			w.note(noteHealLink, l[0], l[1])
		}
	})
}

// slowLink makes a link slow for the rest of the faults, half the time one to the controller.
func (w *world) slowLink() {
	from, to := w.rnd.IntN(len(w.net.links)), w.rnd.IntN(len(w.net.links))
	if w.chance(0.5) {
		to = 0
	}
	w.net.links[from][to].delay = w.about(w.plan.delay * 15)
}

// elect is an operator's preferred election.
func (w *world) elect() {
	pt := w.parts[w.rnd.IntN(len(w.parts))]
	w.ctl.propose(&raftmeta.ElectLeader{TopicID: pt.topic, Partition: pt.number, Unclean: w.plan.unclean && w.chance(0.5)})
}

// changeMin is an operator's change of min.insync.replicas.
func (w *world) changeMin() {
	least := 1 + w.rnd.IntN(w.plan.rf)
	if !w.mayAskFor(w.parts, least) {
		return
	}
	op := raftmeta.ConfigOp{Kind: raftmeta.ConfigSet, Key: "min.insync.replicas", Value: fmt.Sprint(least)}
	w.ctl.propose(&raftmeta.SetTopicConfig{ID: w.parts[0].topic, Change: raftmeta.ConfigChange{Ops: []raftmeta.ConfigOp{op}}})
}

// mayAskFor notes that acks of least replicas may be asked for from now on. It refuses while a replica lacks
// what it had: for one that may be lost now it would be too late.
func (w *world) mayAskFor(parts []*part, least int) bool {
	for _, pt := range parts {
		if slices.Contains(pt.lossy, true) && least < pt.leastMin && !w.plan.unclean {
			return false
		}
	}
	for _, pt := range parts {
		pt.leastMin = min(pt.leastMin, least)
	}
	return true
}

// retain has a leader delete what all producers are done with.
func (w *world) retain() {
	pt := w.parts[w.rnd.IntN(len(w.parts))]
	for _, b := range w.brokers {
		r, err := b.replicaOf(pt)
		if !b.up || b.paused || err != nil || r.core.Leader() == nil {
			continue
		}
		to := r.core.HighWatermark() - 10
		for _, p := range w.producers {
			if p.part == pt && p.all {
				if len(p.acked) == 0 {
					return
				}
				to = min(to, p.acked[len(p.acked)-1])
			}
		}
		if to > r.log.StartOffset() {
			w.note(noteRetention, int(b.id), pt.index, int(to))
			pt.deleted = max(pt.deleted, to)
			r.log.deleteBefore(to)
		}
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.healed = true
	w.note(noteHealed)
	w.net.heal()
	for _, b := range w.brokers {
		if b.paused {
			w.resume(b)
		}
		w.restart(b)
	}
	if !w.ctl.up {
		w.ctl.up = true
	}
}
