package log

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/wire/record"
)

// rememberedBatches is how far back a repeated batch is recognised: as many batches as an idempotent
// producer may have in flight.
const rememberedBatches = 5

// Errors of the idempotence and transaction rules; nothing was appended.
var (
	ErrOutOfOrderSequence   = errors.New("out of order sequence number") // OUT_OF_ORDER_SEQUENCE_NUMBER
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")       // INVALID_PRODUCER_EPOCH
	ErrInvalidTxnState      = errors.New("invalid transaction state")    // INVALID_TXN_STATE
	ErrCoordinatorFenced    = errors.New("transaction coordinator fenced")
)

// ProducerInfo is the state of one producer in one partition, as DescribeProducers shows it.
type ProducerInfo struct {
	ID               int64
	Epoch            int16
	LastSequence     int32 // -1 if unknown
	LastTimestamp    int64 // of its newest batch or marker, in ms; -1 if unknown
	CoordinatorEpoch int32 // of the newest transaction marker; -1 if none
	TxnStartOffset   int64 // first offset of the open transaction; -1 if none
}

// seenBatch is what is kept of a batch to recognise it when it is sent again.
type seenBatch struct {
	lastOffset int64
	timestamp  int64 // the batch's largest, in ms
	lastSeq    int32
	delta      int32 // last offset and last sequence, less the first
}

func (s seenBatch) firstOffset() int64 { return s.lastOffset - int64(s.delta) }

func (s seenBatch) firstSeq() int32 {
	return int32((int64(s.lastSeq) - int64(s.delta)) & 0x7fffffff)
}

// producerState is what a log knows of one producer id: about 250 bytes, map entry included.
type producerState struct {
	epoch            int16
	seen             int8                         // batches in window
	window           [rememberedBatches]seenBatch // oldest first, all of this epoch
	lastTimestamp    int64
	lastActive       time.Time // when this process last saw it; carries the monotonic clock
	coordinatorEpoch int32
	txnFirst         int64 // -1 without an open transaction
}

func (s *producerState) lastSeq() int32 {
	if s.seen == 0 {
		return record.NoSequence
	}
	return s.window[s.seen-1].lastSeq
}

func (s *producerState) remember(b seenBatch) {
	if s.seen == rememberedBatches {
		copy(s.window[:], s.window[1:])
		s.seen--
	}
	s.window[s.seen] = b
	s.seen++
}

// txnSpan is a transaction in the log that readers of committed data may have to wait for.
type txnSpan struct {
	producerID int64
	first      int64
	marker     int64 // offset of the marker that ended it; -1 while it is open
}

// producerStates is what a log knows of its producers, derived from its batches alone, so that every
// replica and every later leader has the same. The zero value is empty and ready, and a log that
// no idempotent producer writes to never allocates more. Memory is bounded by the producer ids seen
// within producer.id.expiration.ms. It has no lock: the log's guards it.
type producerStates struct {
	producers map[int64]*producerState
	txns      []txnSpan // by first offset
}

// check applies replication.md 16 to a batch that a client wants appended. If the batch is in the log
// already, dup says where; it must be answered like the original, once that is committed. An error is
// one of ErrOutOfOrderSequence, ErrInvalidProducerEpoch, ErrInvalidTxnState. check changes nothing.
//
// A batch older than the remembered ones is ErrOutOfOrderSequence too, as in Kafka: it was appended
// once, but only the remembered ones can be answered with their offset after their commit.
func (p *producerStates) check(b record.Batch) (dup *seenBatch, err error) {
	id := b.ProducerID()
	if id == record.NoProducer || b.IsControl() {
		return nil, nil
	}
	s := p.producers[id]
	if s == nil {
		return nil, nil // new, expired, or gone with the log's start: any sequence may be its first
	}
	first, last := b.BaseSequence(), b.LastSequence()
	switch epoch := b.ProducerEpoch(); {
	case epoch < s.epoch:
		return nil, fmt.Errorf("%w: producer %d is at epoch %d, batch has %d", ErrInvalidProducerEpoch, id, s.epoch, epoch)
	case epoch > s.epoch:
		if first != 0 {
			return nil, fmt.Errorf("%w: producer %d begins epoch %d with sequence %d", ErrOutOfOrderSequence, id, epoch, first)
		}
	default:
		for i := range s.window[:s.seen] {
			if seen := s.window[i]; seen.firstSeq() == first && seen.lastSeq == last {
				return &seen, nil
			}
		}
		if want := record.AddSequence(s.lastSeq(), 1); first != want {
			return nil, fmt.Errorf("%w: producer %d sent sequence %d, expected %d", ErrOutOfOrderSequence, id, first, want)
		}
	}
	if s.txnFirst >= 0 && !b.IsTransactional() {
		return nil, fmt.Errorf("%w: producer %d has a transaction open since offset %d", ErrInvalidTxnState, id, s.txnFirst)
	}
	return nil, nil
}

// update takes in a batch that is now in the log, at the offsets in its header: one of a client after
// check, one from the leader, or one that recovery reads again. Batches come in offset order.
func (p *producerStates) update(b record.Batch, now time.Time) error {
	id := b.ProducerID()
	if id == record.NoProducer {
		return nil
	}
	if b.IsControl() {
		return p.updateMarker(b, now)
	}
	s := p.enter(id, b.ProducerEpoch(), now)
	s.remember(seenBatch{
		lastOffset: b.LastOffset(),
		timestamp:  b.MaxTimestamp(),
		lastSeq:    b.LastSequence(),
		delta:      b.LastOffsetDelta(),
	})
	s.lastTimestamp = b.MaxTimestamp()
	if b.IsTransactional() && s.txnFirst < 0 {
		s.txnFirst = b.BaseOffset()
		p.txns = append(p.txns, txnSpan{producerID: id, first: s.txnFirst, marker: -1})
	}
	return nil
}

// enter returns the state of a producer, which is fresh or cleared if epoch is new to it.
func (p *producerStates) enter(id int64, epoch int16, now time.Time) *producerState {
	s := p.producers[id]
	if s == nil {
		if p.producers == nil {
			p.producers = make(map[int64]*producerState)
		}
		s = &producerState{epoch: epoch, coordinatorEpoch: -1, txnFirst: -1, lastTimestamp: record.NoTimestamp}
		p.producers[id] = s
	}
	if s.epoch != epoch {
		s.epoch, s.seen, s.window = epoch, 0, [rememberedBatches]seenBatch{}
	}
	s.lastActive = now
	return s
}

// updateMarker ends the producer's transaction. The marker also counts as its activity (KAFKA-9144).
func (p *producerStates) updateMarker(b record.Batch, now time.Time) error {
	marker, ok, err := parseMarker(b)
	if err != nil || !ok {
		return err
	}
	s := p.enter(b.ProducerID(), b.ProducerEpoch(), now)
	s.lastTimestamp = b.MaxTimestamp()
	s.coordinatorEpoch = marker.CoordinatorEpoch
	if s.txnFirst < 0 {
		return nil // repeated, or of a transaction without records here
	}
	for i := range p.txns {
		if t := &p.txns[i]; t.producerID == b.ProducerID() && t.marker < 0 {
			t.marker = b.LastOffset()
		}
	}
	s.txnFirst = -1
	return nil
}

// checkMarker tells whether a coordinator may write the marker b: neither of an older producer epoch
// nor of an older coordinator (replication.md 17.6).
func (p *producerStates) checkMarker(b record.Batch) error {
	s := p.producers[b.ProducerID()]
	marker, ok, err := parseMarker(b)
	if err != nil || !ok || s == nil {
		return err
	}
	if b.ProducerEpoch() < s.epoch {
		return fmt.Errorf("%w: producer %d is at epoch %d, marker has %d", ErrInvalidProducerEpoch, b.ProducerID(), s.epoch, b.ProducerEpoch())
	}
	if marker.CoordinatorEpoch < s.coordinatorEpoch {
		return fmt.Errorf("%w: coordinator epoch %d, marker has %d", ErrCoordinatorFenced, s.coordinatorEpoch, marker.CoordinatorEpoch)
	}
	return nil
}

// parseMarker reads the marker in a control batch. A batch that compaction has emptied holds none.
func parseMarker(b record.Batch) (m record.Marker, ok bool, err error) {
	if b.Count() == 0 {
		return m, false, nil
	}
	if m, ok, err = b.Marker(); err != nil {
		return m, false, fmt.Errorf("control batch at offset %d: %w", b.BaseOffset(), err)
	}
	return m, ok, nil
}

// firstUnstable returns the first offset that readers of committed data may not pass: that of the
// oldest transaction which is open, or whose marker is not below hw (replication.md 8.5). ok is false
// if there is none. hw must not fall between calls.
func (p *producerStates) firstUnstable(hw int64) (offset int64, ok bool) {
	if len(p.txns) == 0 {
		return 0, false
	}
	p.txns = slices.DeleteFunc(p.txns, func(t txnSpan) bool { return t.marker >= 0 && t.marker < hw })
	if len(p.txns) == 0 {
		p.txns = nil
		return 0, false
	}
	return p.txns[0].first, true
}

// expire forgets the producers without an open transaction from which this process saw nothing for
// retention (producer.id.expiration.ms), and returns how many those were. Time is that of the broker,
// on its monotonic clock: record timestamps are the client's to choose.
func (p *producerStates) expire(now time.Time, retention time.Duration) int {
	before := len(p.producers)
	for id, s := range p.producers {
		if s.txnFirst < 0 && now.Sub(s.lastActive) >= retention {
			delete(p.producers, id)
		}
	}
	if len(p.producers) == 0 {
		p.producers = nil
	}
	return before - len(p.producers)
}

// ids returns the producer ids in order.
func (p *producerStates) ids() []int64 {
	ids := make([]int64, 0, len(p.producers))
	for id := range p.producers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// list describes all producers, by id.
func (p *producerStates) list() []ProducerInfo {
	infos := make([]ProducerInfo, 0, len(p.producers))
	for _, id := range p.ids() {
		s := p.producers[id]
		infos = append(infos, ProducerInfo{
			ID:               id,
			Epoch:            s.epoch,
			LastSequence:     s.lastSeq(),
			LastTimestamp:    s.lastTimestamp,
			CoordinatorEpoch: s.coordinatorEpoch,
			TxnStartOffset:   s.txnFirst,
		})
	}
	return infos
}

// lastOffsets returns for each producer the last offset of its newest batch. Compaction keeps the
// headers of those batches: the last sequence would be lost with them.
func (p *producerStates) lastOffsets() map[int64]int64 {
	last := make(map[int64]int64, len(p.producers))
	for id, s := range p.producers {
		if s.seen > 0 {
			last[id] = s.window[s.seen-1].lastOffset
		}
	}
	return last
}

// sortTxns restores the order of txns after they were collected from a map.
func (p *producerStates) sortTxns() {
	slices.SortFunc(p.txns, func(a, b txnSpan) int { return cmp.Compare(a.first, b.first) })
}
