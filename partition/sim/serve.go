package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Outcomes of a request that are not the core's own.
var (
	errOutOfOrder   = errors.New("out of order sequence number")
	errStaleBroker  = errors.New("broker epoch is stale")
	errNotHosted    = errors.New("no replica here")
	errUnregistered = errors.New("the broker is not registered yet")
)

// code is an error as a number for the trace.
func code(err error) int {
	for i, known := range []error{
		nil, core.ErrNotLeader, core.ErrFencedEpoch, core.ErrUnknownEpoch, core.ErrNotEnoughReplicas, core.ErrNotReplica,
		core.ErrOffsetOutOfRange, errOutOfOrder, errStaleBroker, errNotHosted, errUnregistered,
	} {
		if errors.Is(err, known) {
			return i
		}
	}
	var rejection raftmeta.Rejection
	if errors.As(err, &rejection) {
		return 100 + int(rejection)
	}
	return -1
}

// replicaOf finds the replica that serves a part, if this run of the broker may serve at all.
func (b *broker) replicaOf(pt *part) (*replica, error) {
	if _, ok := b.registered(); !ok {
		return nil, errUnregistered
	}
	if pt.index >= len(b.replicas) || b.replicas[pt.index] == nil {
		return nil, errNotHosted
	}
	return b.replicas[pt.index], nil
}

// fetchBytes is how many records an answer holds at most.
const fetchBytes = 8

// serveFetch answers a follower's fetch (replication.md 10.2).
func (b *broker) serveFetch(from int32, brokerEpoch int64, pt *part, at core.FetchPosition) got {
	w := b.w
	r, err := b.replicaOf(pt)
	if err != nil {
		return got{err: err}
	}
	if known, ok := b.image().Broker(from); ok && brokerEpoch < known.Epoch && !mutant.On(mutant.OldRunFetch) {
		return got{err: errStaleBroker}
	}
	before := r.followerEnd(from)
	diverging, err := r.core.AcceptFetch(&core.Fetch{
		Replica: from, BrokerEpoch: brokerEpoch, From: at.From, CurrentEpoch: at.Epoch, LastFetchedEpoch: at.LastEpoch, Now: w.clock(),
	})
	answer := got{base: at.From, hw: r.core.HighWatermark(), start: r.log.StartOffset(), diverging: diverging, err: err}
	if err != nil {
		w.note(noteFetchRefused, int(b.id), pt.index, int(from), int(at.From), int(at.Epoch), code(err))
		return answer
	}
	if diverging != nil {
		w.note(noteDiverging, int(b.id), pt.index, int(from), int(at.From), int(diverging.Epoch), int(diverging.End))
		w.must(r.followerEnd(from) == before, "I12", "b%d counts the diverging fetch of b%d from %d in p%d", b.id, from, at.From, pt.index)
		return answer
	}
	w.checkFetch(r, from, brokerEpoch, at)
	r.witness[from] = witness{true, at.From, brokerEpoch}
	r.moved()
	answer.hw = r.core.HighWatermark()
	n := min(r.log.EndOffset(), at.From+int64(1+w.rnd.IntN(fetchBytes)))
	answer.records = slices.Clone(r.log.records[at.From:n])
	w.note(noteFetch, int(b.id), pt.index, int(from), int(at.From), int(at.LastEpoch), len(answer.records))
	if r.core.Leader().MayJoin(from) {
		r.proposeISR()
	}
	return answer
}

// followerEnd is what a leader believes of a follower.
func (r *replica) followerEnd(id int32) int64 {
	if l := r.core.Leader(); l != nil {
		if end, ok := l.FollowerEnd(id); ok {
			return end
		}
	}
	return -1
}

// produce is a client's request with one batch.
type produce struct {
	producer   *producer
	connection int
	seq        int32
}

// serveProduce appends a batch and answers when its ack is due (replication.md 7.1 to 7.3).
func (b *broker) serveProduce(q produce) {
	w, pt := b.w, q.producer.part
	r, err := b.replicaOf(pt)
	if err != nil {
		b.answer(q, err, -1)
		return
	}
	if err := r.core.MayAppend(q.producer.all); err != nil {
		w.note(noteRefuseAppend, int(b.id), pt.index, int(q.producer.id), int(q.seq), code(err))
		r.reply(&q, err, -1)
		return
	}
	offset, inOrder := r.log.checkSequence(q.producer.id, q.seq)
	switch {
	case !inOrder:
		w.note(noteRefuseAppend, int(b.id), pt.index, int(q.producer.id), int(q.seq), code(errOutOfOrder))
		r.reply(&q, errOutOfOrder, -1)
		return
	case offset >= 0:
		w.note(noteDuplicate, int(b.id), pt.index, int(q.producer.id), int(q.seq), int(offset))
	default:
		offset = r.log.EndOffset()
		rec := record{epoch: r.core.Epoch(), producer: q.producer.id, seq: q.seq}
		w.note(noteAppend, int(b.id), pt.index, int(rec.producer), int(rec.seq), int(offset), int(rec.epoch))
		w.checkAppend(r, rec, offset, q.producer.all)
		r.log.append(rec)
	}
	r.syncLater()
	waiting := &pending{q, offset, r.core.Epoch()}
	if !r.core.Wait(q.producer.all, offset+1, waiting) {
		r.acknowledge(waiting)
	}
	r.moved()
}

// acknowledge answers a produce request that has what it waits for.
func (r *replica) acknowledge(p *pending) {
	w, q := r.b.w, &p.request
	acks := 1
	if q.producer.all {
		acks = -1
	}
	w.note(noteAck, int(r.b.id), r.part.index, int(q.producer.id), int(q.seq), int(p.offset), acks)
	w.checkAck(r, p)
	r.reply(q, nil, p.offset)
}

func (r *replica) reply(q *produce, err error, offset int64) { r.b.answer(*q, err, offset) }

func (b *broker) answer(q produce, err error, offset int64) {
	b.w.net.toClient(int(b.id), func() { q.producer.answered(q.connection, q.seq, err, offset) })
}

// serveRead answers a consumer (replication.md 12, 19): records below this replica's high watermark.
func (b *broker) serveRead(pt *part, q core.Read) got {
	r, err := b.replicaOf(pt)
	if err != nil {
		return got{err: err}
	}
	diverging, err := r.core.MayRead(&q)
	answer := got{base: q.From, hw: r.core.HighWatermark(), start: r.log.StartOffset(), diverging: diverging, err: err}
	if err == nil && diverging == nil && q.From < answer.hw {
		answer.records = slices.Clone(r.log.records[q.From:min(answer.hw, q.From+2*fetchBytes)])
	}
	return answer
}

// proposal is a change of the ISR whose outcome is not known yet (replication.md 9.4).
type proposal struct {
	change core.Change
	call   int // which of the calls that carried it is under way
	at     time.Duration
}

// proposeISR sends the change that is due, or the one under way again when its answer is overdue.
func (r *replica) proposeISR() {
	l, w := r.core.Leader(), r.b.w
	if l == nil {
		return
	}
	if r.sent != nil {
		if w.now < r.sent.at+retryAfter {
			return
		}
		w.note(noteResend, int(r.b.id), r.part.index, bits(r.sent.change.ISR), int(r.sent.change.LeaderEpoch), int(r.sent.change.PartitionEpoch))
		r.sendProposal(r.sent.change)
		return
	}
	im := r.b.image()
	change, due := l.Propose(r.log.EndOffset(), w.clock(), w.plan.lag, func(id int32) (int64, bool) {
		other, ok := im.Broker(id)
		if !ok {
			return 0, false
		}
		return other.Epoch, other.State == raftmeta.Active
	})
	if due {
		w.note(notePropose, int(r.b.id), r.part.index, bits(change.ISR), int(change.LeaderEpoch), int(change.PartitionEpoch))
		w.checkProposal(r, change)
		w.suspectNewcomer(l, change)
		r.sendProposal(change)
	}
}

func (r *replica) sendProposal(change core.Change) {
	b := r.b
	b.w.calls++
	call := b.w.calls
	r.sent = &proposal{change, call, b.w.now}
	epoch, _ := b.registered()
	isr := make([]raftmeta.ISRMember, len(change.ISR))
	for i, m := range change.ISR {
		isr[i] = raftmeta.ISRMember{ID: m.ID, BrokerEpoch: m.BrokerEpoch}
	}
	b.propose(&raftmeta.AlterPartition{
		TopicID: r.part.topic, Partition: r.part.number, Leader: b.id, BrokerEpoch: epoch,
		LeaderEpoch: change.LeaderEpoch, PartitionEpoch: change.PartitionEpoch, ISR: isr,
	}, func(result raftmeta.Result, err error) {
		if r.sent != nil && r.sent.call == call {
			r.proposalAnswered(change, result, err)
		}
	})
}

// proposalAnswered ends a call with a definite answer that quotes the partition's epoch. The leader has not
// changed since it was sent: that would have ended the call.
func (r *replica) proposalAnswered(change core.Change, result raftmeta.Result, err error) {
	if result.Partition == nil || errors.Is(err, raftmeta.ErrNewerEpoch) {
		return
	}
	r.b.w.note(noteSettled, int(r.b.id), r.part.index, int(change.LeaderEpoch), code(err), int(result.Partition.PartitionEpoch))
	r.sent = nil
	if err != nil {
		r.core.Leader().Refused(result.Partition.PartitionEpoch)
		r.moved()
	}
}

// forgetSettled ends the call of a proposal that is settled.
func (r *replica) forgetSettled() {
	if r.core.Leader().Proposed() == nil {
		r.sent = nil
	}
}

// bits shows a set of brokers as one number.
func bits(isr []core.Member) int {
	n := 0
	for _, m := range isr {
		n |= 1 << m.ID
	}
	return n
}
