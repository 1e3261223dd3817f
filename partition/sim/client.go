package sim

import (
	"errors"
	"time"

	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/raftmeta"
)

// firstIdempotent is the first id of a producer with acks=all, which numbers its batches; those below
// write with acks=1 and without sequences.
const firstIdempotent int32 = 100

// producer writes to one partition, as stock clients do: several requests on one connection, a new
// connection after any error, and then the oldest request alone until it is through.
type producer struct {
	w          *world
	id         int32
	part       *part
	all        bool
	next       int32   // sequence of the next new batch
	unacked    []int32 // sequences not acknowledged yet, ascending
	inFlight   int     // how many of them were sent on this connection
	connection int
	arrives    time.Duration // when the last request on it arrives
	broken     bool          // a message on it was lost: nothing arrives any more
	retrying   bool
	sent       time.Duration
	leader     int32   // as this client believes
	epoch      int32   // of that leader: what is older is dropped (replication.md 19)
	acked      []int64 // offset by sequence
}

const maxInFlight = 5

func (w *world) startClients() {
	for i, pt := range w.parts {
		w.producers = append(w.producers, w.newProducer(firstIdempotent+int32(i), pt, true))
		if w.chance(0.5) {
			w.producers = append(w.producers, w.newProducer(firstIdempotent+int32(i)+50, pt, true))
		}
		if w.chance(0.5) {
			w.producers = append(w.producers, w.newProducer(int32(i), pt, false))
		}
		for range 1 + w.rnd.IntN(2) {
			r := &reader{w: w, id: len(w.readers), part: pt, lastEpoch: core.AnyEpoch, anyReplica: w.chance(0.5)}
			w.readers = append(w.readers, r)
			r.tickLater()
		}
	}
	for _, p := range w.producers {
		p.tickLater()
	}
}

func (w *world) newProducer(id int32, pt *part, all bool) *producer {
	return &producer{w: w, id: id, part: pt, all: all, retrying: true, leader: 1}
}

func (p *producer) tickLater() { p.w.after(p.w.about(tickEvery), p.tick) }

func (p *producer) tick() {
	w := p.w
	if len(p.unacked) > 0 && p.inFlight > 0 && w.now > p.sent+retryAfter*2 {
		p.reconnect()
	}
	if !w.healed && len(p.unacked) < maxInFlight && w.chance(0.8) {
		p.unacked = append(p.unacked, p.next)
		p.next++
	}
	limit := len(p.unacked)
	if p.retrying {
		limit = min(limit, 1)
	}
	for p.inFlight < limit {
		p.send(p.unacked[p.inFlight])
		p.inFlight++
	}
	p.tickLater()
}

// reconnect gives up on what is under way and asks who leads now.
func (p *producer) reconnect() {
	p.w.stats.Resent += p.inFlight
	p.connection++
	p.inFlight, p.broken, p.arrives, p.retrying = 0, false, 0, true
	if m := p.w.askMetadata(p.part); m != nil && m.Leader > 0 && m.LeaderEpoch >= p.epoch {
		p.leader, p.epoch = m.Leader, m.LeaderEpoch
	}
}

// askMetadata asks some broker for the state of a partition; nil if it does not answer.
func (w *world) askMetadata(pt *part) *raftmeta.Partition {
	b := w.brokers[w.rnd.IntN(len(w.brokers))]
	if !b.up || b.paused {
		return nil
	}
	_, p := pt.state(b.image())
	return p
}

// send puts a request on the connection: it arrives after those before it, or not at all after one that
// was lost. A copy may arrive any time later: it was stuck in a connection that is given up.
func (p *producer) send(seq int32) {
	w, b := p.w, p.w.brokers[p.leader-1]
	q := produce{p, p.connection, seq}
	p.sent = w.now
	delays, copies := w.net.travels(w.net.clients(), int(b.id))
	if copies == 0 || p.broken || !b.up {
		p.broken = true
		return
	}
	p.arrives = max(p.arrives, w.now+delays[0])
	w.on(b, p.arrives-w.now, func() { b.serveProduce(q) })
	if copies > 1 && p.all {
		w.on(b, p.arrives-w.now+delays[1], func() { b.serveProduce(q) })
	}
}

// answered takes an answer, if it is the one to the oldest request on the present connection.
func (p *producer) answered(connection int, seq int32, err error, offset int64) {
	if connection != p.connection || p.inFlight == 0 {
		return
	}
	w := p.w
	if err != nil {
		w.must(!errors.Is(err, errOutOfOrder) || seq != p.unacked[0] || p.part.unclean, "I35", "producer %d: its oldest batch, seq %d, is out of order", p.id, seq)
		p.reconnect()
		return
	}
	if seq != p.unacked[0] {
		p.reconnect() // the answer before it was lost
		return
	}
	w.must(!p.all || int(seq) == len(p.acked), "I35", "producer %d: seq %d acknowledged after %d", p.id, seq, len(p.acked)-1)
	p.acked = append(p.acked, offset)
	p.unacked = p.unacked[1:]
	p.inFlight--
	p.retrying = false
}

// reader reads one partition from its start, from the leader or the replica at hand.
type reader struct {
	w          *world
	id         int
	part       *part
	at         int64
	lastEpoch  int32 // of the last record read
	anyReplica bool
	metadata   *raftmeta.Partition // what this client believes
	newest     int32               // the newest leader epoch that it has heard of
}

func (r *reader) tickLater() { r.w.after(r.w.about(tickEvery), r.tick) }

func (r *reader) tick() {
	w := r.w
	defer r.tickLater()
	// An older leader epoch is dropped (replication.md 12, 19), but not for ever: franz-go believes the fifth. Where the
	// reader has no records of a later one yet, that the old leader has lost its lease saves it, which is not played here.
	if m := w.askMetadata(r.part); m != nil && (m.LeaderEpoch >= r.newest || m.LeaderEpoch < r.lastEpoch && w.chance(0.2)) {
		r.metadata, r.newest = m, max(r.newest, m.LeaderEpoch)
	}
	if r.metadata == nil {
		return
	}
	target := r.metadata.Leader
	if r.anyReplica {
		target = r.metadata.Replicas[w.rnd.IntN(len(r.metadata.Replicas))]
	}
	if target < 1 {
		return
	}
	b, at := w.brokers[target-1], r.at
	q := core.Read{From: at, CurrentEpoch: r.metadata.LeaderEpoch, LastFetchedEpoch: core.AnyEpoch, FromFollower: true}
	if r.metadata.LeaderEpoch < r.newest || w.chance(0.5) {
		q.LastFetchedEpoch = r.lastEpoch // who goes back to an older leader epoch knows of epochs, and compares (KIP-320)
	}
	w.net.toBroker(w.net.clients(), b, func() {
		answer := b.serveRead(r.part, q)
		w.net.toClient(int(b.id), func() {
			if r.at == at {
				r.take(b, &answer)
			}
		})
	})
}

// take judges what a consumer gets to see.
func (r *reader) take(b *broker, a *got) {
	w, pt := r.w, r.part
	if errors.Is(a.err, core.ErrOffsetOutOfRange) {
		w.must(r.at < pt.deleted || pt.unclean, "I18", "reader %d at %d of p%d, committed up to %d, gets out of range [%d] from b%d", r.id, r.at, pt.index, pt.hw(), a.start, b.id)
		r.at, r.lastEpoch = max(r.at, a.start), core.AnyEpoch
		return
	}
	if a.err != nil {
		return
	}
	if a.diverging != nil {
		w.must(a.diverging.End >= r.at || pt.unclean, "I18", "reader %d at %d of p%d, committed up to %d, is sent back to %d by b%d", r.id, r.at, pt.index, pt.hw(), a.diverging.End, b.id)
		return
	}
	if len(a.records) == 0 {
		return
	}
	w.note(noteRead, r.id, pt.index, int(a.base), int(a.base)+len(a.records), int(b.id))
	w.checkRead(pt, a)
	w.stats.Read += len(a.records)
	r.at = a.base + int64(len(a.records))
	r.lastEpoch = a.records[len(a.records)-1].epoch
}
