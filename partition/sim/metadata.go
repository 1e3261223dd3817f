package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/raftmeta"
)

// metadata is the Raft log: what is committed, in order, and the table after each entry. Tables never
// change, so all nodes share those of their positions; that the log alone leads to them is checked at the
// end by applying it once more (I20).
type metadata struct {
	term    uint64
	entries []raftmeta.Command // entries[i] has index i+1
	terms   []uint64           // of the entries
	images  []*raftmeta.Image  // images[i] is the table after entry i
}

func (m *metadata) init() {
	m.term = 1
	m.images = []*raftmeta.Image{raftmeta.NewImage()}
}

// last is the index of the newest committed entry.
func (m *metadata) last() int { return len(m.entries) }

// latest is the table after it.
func (m *metadata) latest() *raftmeta.Image { return m.images[len(m.images)-1] }

// state finds a partition in a table; nil if it is not there.
func (pt *part) state(im *raftmeta.Image) (*raftmeta.Topic, *raftmeta.Partition) {
	t, ok := im.TopicByID(pt.topic)
	if !ok || int(pt.number) >= len(t.Partitions) {
		return nil, nil
	}
	return t, &t.Partitions[pt.number]
}

// errNoOutcome is a proposal of which nobody will hear again: Raft refused it to a controller whose term
// is over, or its answer was lost.
var errNoOutcome = errors.New("no outcome")

// commit applies a command that the controller of term wants committed.
func (w *world) commit(term uint64, cmd raftmeta.Command) (raftmeta.Result, error) {
	m := &w.meta
	if term != m.term {
		w.note(noteOldTerm, int(term), int(m.term))
		return raftmeta.Result{}, errNoOutcome
	}
	before := m.latest()
	index := len(m.entries) + 1
	after, result, err := raftmeta.Apply(before, uint64(index), term, cmd)
	m.entries, m.terms, m.images = append(m.entries, cmd), append(m.terms, term), append(m.images, after)
	if err != nil {
		w.note(noteRejected, index)
	} else {
		w.note(noteCommit, index)
	}
	w.checkCommit(before, after, cmd, err)
	for _, b := range w.brokers {
		if b.ticking {
			w.net.toBroker(0, b, func() { b.apply(index) })
		}
	}
	return result, err
}

// describe is a committed command for a reader.
func (m *metadata) describe(index int) string {
	switch c := m.entries[index-1].(type) {
	case *raftmeta.RegisterBroker:
		return fmt.Sprintf("register b%d suspect=%v", c.ID, c.Suspect)
	case *raftmeta.ActivateBroker:
		return fmt.Sprintf("activate b%d of epoch %d", c.ID, c.Epoch)
	case *raftmeta.FenceBroker:
		return fmt.Sprintf("fence b%d of epoch %d", c.ID, c.Epoch)
	case *raftmeta.AlterPartition:
		return fmt.Sprintf("alter p%d by b%d at epoch %d.%d: ISR %v", c.Partition, c.Leader, c.LeaderEpoch, c.PartitionEpoch, c.ISR) + m.outcome(index)
	case *raftmeta.ElectLeader:
		return fmt.Sprintf("elect preferred leader of p%d, unclean=%v", c.Partition, c.Unclean)
	case *raftmeta.Reassign:
		return fmt.Sprintf("reassign p%d to %v", c.Partition, c.Replicas)
	case *raftmeta.BeginShutdown:
		return fmt.Sprintf("b%d shuts down", c.ID)
	case *raftmeta.RecoverLeader:
		return fmt.Sprintf("recover p%d with leader b%d", c.Partition, c.Leader)
	default:
		return fmt.Sprintf("%T", c)
	}
}

// outcome is how a partition came out of an entry.
func (m *metadata) outcome(index int) string {
	c := m.entries[index-1].(*raftmeta.AlterPartition)
	t, ok := m.images[index].TopicByID(c.TopicID)
	if !ok {
		return ""
	}
	p := &t.Partitions[c.Partition]
	return fmt.Sprintf(" => leader %d epoch %d.%d isr %v elr %v lke %v", p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.ISR, p.ELR, p.LastKnownELR)
}

// controller is the Raft leader's other half: it knows who has been heard of, and proposes what follows.
type controller struct {
	w     *world
	up    bool // false while another is being elected
	heard []heartbeat
}

type heartbeat struct {
	at      time.Duration
	applied int
}

func (c *controller) init(w *world) {
	c.w, c.up = w, true
	c.heard = make([]heartbeat, len(w.brokers)+1)
	c.tick()
}

func (c *controller) tick() {
	if c.up {
		c.judge()
	}
	c.w.after(c.w.about(tickEvery), c.tick)
}

// judge fences whoever is silent, and activates whoever is back and has caught up with the metadata.
func (c *controller) judge() {
	w := c.w
	for b := range w.meta.latest().Brokers() {
		h := &c.heard[b.ID]
		silent := w.now-h.at > sessionEnds
		switch {
		case b.State != raftmeta.Fenced && silent:
			c.propose(&raftmeta.FenceBroker{ID: b.ID, Epoch: b.Epoch})
		case b.State == raftmeta.Fenced && !silent && h.applied >= int(b.Epoch):
			c.propose(&raftmeta.ActivateBroker{ID: b.ID, Epoch: b.Epoch})
		}
	}
	for _, pt := range w.parts {
		c.recoverLeader(pt)
	}
}

// recoverLeader ends the state in which all candidates are suspect, when every one of the last known is
// there to say what it has: the one that reaches furthest leads (replication.md 11.4).
func (c *controller) recoverLeader(pt *part) {
	w, p := c.w, pt.now
	if p.Leader != raftmeta.NoLeader || len(p.ISR)+len(p.ELR) > 0 || !w.plan.unclean {
		return
	}
	best := raftmeta.NoLeader
	var bestEpoch int32
	var bestEnd int64
	for _, id := range p.LastKnownELR {
		b := w.brokers[id-1]
		self, ok := w.meta.latest().Broker(id)
		if !ok || self.State != raftmeta.Active || !b.up || !b.current {
			return
		}
		epoch, end := int32(-1), int64(0)
		if l := b.logs[pt.index]; l != nil {
			epoch, end = l.LatestEpoch(), l.EndOffset()
		}
		if best == raftmeta.NoLeader || epoch > bestEpoch || epoch == bestEpoch && end > bestEnd {
			best, bestEpoch, bestEnd = id, epoch, end
		}
	}
	if best != raftmeta.NoLeader {
		c.propose(&raftmeta.RecoverLeader{TopicID: pt.topic, Partition: pt.number, PartitionEpoch: p.PartitionEpoch, Leader: best})
	}
}

// hear notes a heartbeat. That of a run which is not registered says nothing about the one that is.
func (c *controller) hear(b *broker, epoch int64, applied int) {
	if self, ok := c.w.meta.latest().Broker(b.id); ok && self.Epoch == epoch {
		c.heard[b.id] = heartbeat{c.w.now, applied}
	}
}

// propose commits a command a little later, unless the term has ended by then (I23).
func (c *controller) propose(cmd raftmeta.Command) {
	term := c.w.meta.term
	c.w.after(c.w.about(3*time.Millisecond), func() { c.w.commit(term, cmd) })
}

// move has another node become controller: it knows nobody's silence, and gives all a full session.
func (c *controller) move() {
	w := c.w
	w.meta.term++
	w.note(noteController, int(w.meta.term))
	c.up = false
	w.after(w.about(150*time.Millisecond), func() {
		c.up = true
		for id := range c.heard {
			c.heard[id] = heartbeat{at: w.now}
		}
	})
}

// propose sends a command to the controller. answer is called with what it came to, or never.
func (b *broker) propose(cmd raftmeta.Command, answer func(result raftmeta.Result, err error)) {
	w, generation := b.w, b.generation
	w.net.toController(int(b.id), func() {
		term := w.meta.term
		w.after(w.about(3*time.Millisecond), func() {
			result, err := w.commit(term, cmd)
			if errors.Is(err, errNoOutcome) || b.generation != generation {
				return
			}
			w.net.toBroker(0, b, func() { answer(result, err) })
		})
	})
}
