package raftmeta

import "fmt"

// stamp numbers an entry of commands: the run of the broker that proposes it, and the entry's place among
// all of that run.
//
// A broker that does not learn what became of an entry sends the next one all the same, by another
// connection or to another leader, and the old one may arrive last: an offset commit of 10 behind an
// acknowledged 20 would take the group back (I42). So the table remembers the last sequence of each
// registered run, and an entry that comes behind a later one of its run, or behind a later registration of
// its broker, changes nothing. Whoever proposed it has heard that its outcome is unknown, or is dead.
//
// Without a stamp go what a run proposes before it is registered, and what the controller proposes through
// its own Raft leadership, which cannot come late. All of it carries preconditions of its own or is the same
// when repeated: a run that registers names the registration that it takes the place of.
type stamp struct {
	broker   int32
	epoch    int64  // of the run's registration
	sequence uint64 // from 1 on; 0 is no stamp
}

func (s *stamp) fields(c *coder) {
	c.int32(&s.broker)
	c.int64(&s.epoch)
	c.uint64(&s.sequence)
	if c.decoding && c.err == nil && s.sequence == 0 {
		c.corrupt("entry number 0")
	}
}

func (s stamp) String() string {
	return fmt.Sprintf("%d of broker %d in epoch %d", s.sequence, s.broker, s.epoch)
}

// admit notes that an entry is applied, or reports that it comes too late to be.
func (e *edit) admit(s stamp) bool {
	if s.sequence == 0 {
		return true
	}
	b, err := e.currentBroker(s.broker, s.epoch)
	if err != nil || s.sequence <= e.sequence(b.ID) {
		return false
	}
	e.putSequence(b.ID, s.sequence)
	return true
}

// SetProposer says that this process is the run of the broker that is registered under this epoch: what it
// proposes from now on is numbered. Without it the order of proposals whose outcome is unknown is not kept.
func (n *Node) SetProposer(broker int32, epoch int64) { n.proposals.setProposer(broker, epoch) }

func (p *proposals) setProposer(broker int32, epoch int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.broker != broker || p.last.epoch != epoch { // a run never starts again at 1
		p.last = stamp{broker: broker, epoch: epoch}
	}
}

// nextStamp numbers an entry. One that is proposed again, because it was not before, keeps its number.
func (p *proposals) nextStamp() stamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.epoch != 0 {
		p.last.sequence++
	}
	return p.last
}
