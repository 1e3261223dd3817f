package broker

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/deadline"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
	"github.com/chronik-stream/chronik/wire/record"
)

// Produce (0), v0-v13. KIP-98, 110, 467, 516, 951.
//
// The handler appends every partition before it returns, so that the requests of one connection reach
// the log in their order; the answer follows when the acknowledgements are in. Sets of magic 0 and 1
// (below v3) are converted to a batch of magic 2. Transactional batches are refused: no coordinator
// exists yet that could enrol them.
func (b *Broker) produce(r *wire.Request) {
	req := r.Body.(*kmsg.ProduceRequest)
	op := &produceOp{b: b, r: r, req: req}
	op.appendAll()
	if req.Acks == 0 {
		op.finishSilently()
		return
	}
	op.arm(time.Duration(req.TimeoutMillis) * time.Millisecond)
}

// produceOp is one Produce request from its appends to its answer.
type produceOp struct {
	b   *Broker
	r   *wire.Request
	req *kmsg.ProduceRequest

	mu      sync.Mutex // guards the fields below
	resp    kmsg.ProduceResponse
	acks    []partitionAck
	pending int  // acknowledgements still out, plus one while partitions are being appended
	sent    bool // late acknowledgements no longer matter
	timer   *deadline.Entry
}

// partitionAck fills in one partition of the response once its batch is acknowledged. Until then the
// slot says REQUEST_TIMED_OUT, which is what remains true if nothing comes.
type partitionAck struct {
	op         *produceOp
	topic      *raftmeta.Topic
	slot       *kmsg.ProduceResponseTopicPartition
	appendTime int64
}

// Acked implements partition.AckWaiter.
func (a *partitionAck) Acked(appended log.Appended, err error) {
	a.op.mu.Lock()
	if !a.op.sent {
		a.slot.ErrorCode = a.op.b.codeOf(err)
		if err == nil {
			a.slot.BaseOffset, a.slot.LogAppendTime, a.slot.LogStartOffset = appended.Base, a.appendTime, appended.StartOffset
		}
		if errors.Is(err, partition.ErrNotLeader) {
			a.op.pointLocked(a)
		}
	}
	a.op.mu.Unlock()
	a.op.settleOne()
}

func (op *produceOp) appendAll() {
	partitions := 0
	for i := range op.req.Topics {
		partitions += len(op.req.Topics[i].Partitions)
	}
	op.acks = make([]partitionAck, partitions)
	op.pending = 1 + partitions
	op.resp = kmsg.NewProduceResponse()
	op.resp.Topics = make([]kmsg.ProduceResponseTopic, len(op.req.Topics))
	img, next := op.b.meta.Image(), 0
	for i := range op.req.Topics {
		rt, t := &op.req.Topics[i], &op.resp.Topics[i]
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		t.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(rt.Partitions))
		topic, err := op.b.resolve(img, op.r.Session.Tenant, topicRef{rt.Topic, uuid.ID(rt.TopicID)})
		for j := range rt.Partitions {
			slot := &t.Partitions[j]
			*slot = kmsg.NewProduceResponseTopicPartition()
			slot.Partition, slot.BaseOffset = rt.Partitions[j].Partition, -1
			slot.ErrorCode = kerr.RequestTimedOut.Code
			ack := &op.acks[next]
			next++
			ack.op, ack.slot, ack.topic = op, slot, topic
			partErr := err
			if partErr == nil {
				partErr = op.appendOne(topic, rt.Partitions[j], ack)
			}
			if partErr != nil {
				op.refuse(ack, partErr)
			}
		}
	}
}

// appendOne validates and appends one partition's records. On an error the log is as it was.
func (op *produceOp) appendOne(topic *raftmeta.Topic, p kmsg.ProduceRequestTopicPartition, ack *partitionAck) error {
	acks := partition.Acks(op.req.Acks)
	if op.req.Acks < -1 || op.req.Acks > 1 {
		return refuse(kerr.InvalidRequiredAcks, fmt.Sprintf("acks=%d is none of -1, 0 and 1", op.req.Acks))
	}
	h, err := op.b.lookup(topic, p.Partition)
	if err != nil {
		return err
	}
	if acks == partition.AcksAll && op.b.cluster.OutOfTouch() {
		return partition.ErrNotLeader // see watchTouch
	}
	cfg := h.config.Load()
	valid, err := record.ValidateProduce(p.Records, op.r.Version, produceRules(cfg, op.b.now()))
	if err != nil {
		return err
	}
	if len(valid.Batch) == 0 { // an empty set of an old client
		ack.Acked(log.Appended{Base: h.replica.Offsets().End}, nil)
		return nil
	}
	if valid.Batch.IsTransactional() {
		return refuse(kerr.InvalidTxnState, "transactional batches are not supported by this server")
	}
	ack.appendTime = valid.AppendTime
	appended, err := h.replica.Append(valid.Batch, acks, ack)
	if errors.Is(err, partition.ErrNotLeader) && op.b.comesToLead(op.r.Context(), h) {
		appended, err = h.replica.Append(valid.Batch, acks, ack)
	}
	if err != nil {
		return err
	}
	if acks == partition.AcksNone {
		op.settleOne()
	}
	op.b.metrics.produced(len(p.Records), int(appended.Next-appended.Base))
	return nil
}

// refuse answers a partition with err.
func (op *produceOp) refuse(ack *partitionAck, err error) {
	slot := ack.slot
	slot.ErrorCode = op.b.codeOf(err)
	slot.ErrorMessage = messageOf(err)
	var invalid *record.ProduceError
	if errors.As(err, &invalid) {
		for _, e := range invalid.RecordErrors {
			text := e.Message
			slot.ErrorRecords = append(slot.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{
				RelativeOffset: e.Index, ErrorMessage: &text,
			})
		}
	}
	if ack.topic != nil && errors.Is(err, partition.ErrNotLeader) {
		op.mu.Lock()
		op.pointLocked(ack)
		op.mu.Unlock()
	}
	op.settleOne()
}

// pointLocked tells the client who leads the partition by now, and where that is (KIP-951): it goes there at
// once, and need not ask for metadata, which clients do at intervals of seconds. This node, which has just
// refused, is no such answer.
func (op *produceOp) pointLocked(ack *partitionAck) {
	img := op.b.meta.Image()
	topic, ok := img.TopicByID(ack.topic.ID)
	if !ok || op.r.Version < firstProduceWithEndpoints || int(ack.slot.Partition) >= len(topic.Partitions) {
		return
	}
	now := &topic.Partitions[ack.slot.Partition]
	leader, ok := img.Broker(now.Leader)
	if !ok || leader.ID == op.b.nodeID {
		return
	}
	ack.slot.CurrentLeader.LeaderID, ack.slot.CurrentLeader.LeaderEpoch = now.Leader, now.LeaderEpoch
	if slices.ContainsFunc(op.resp.Brokers, func(b kmsg.ProduceResponseBroker) bool { return b.NodeID == leader.ID }) {
		return
	}
	endpoint := kmsg.NewProduceResponseBroker()
	endpoint.NodeID, endpoint.Host, endpoint.Port, endpoint.Rack = leader.ID, leader.KafkaHost, leader.KafkaPort, rackOf(leader)
	op.resp.Brokers = append(op.resp.Brokers, endpoint)
}

// firstProduceWithEndpoints is the first version that can say where a broker is.
const firstProduceWithEndpoints = 10

// settleOne counts one partition as done; the last one sends the answer.
func (op *produceOp) settleOne() {
	op.mu.Lock()
	op.pending--
	last := op.pending == 0 && !op.sent && op.req.Acks != 0
	op.sent = op.sent || last
	timer := op.timer
	op.mu.Unlock()
	if last {
		op.b.deadlines.Stop(timer)
		op.r.Reply(&op.resp)
	}
}

// arm gives up the appender's hold on the answer, and bounds the wait for what is still out.
func (op *produceOp) arm(timeout time.Duration) {
	op.mu.Lock()
	if op.pending > 1 {
		op.timer = op.b.deadlines.At(time.Now().Add(timeout), op.timeOut)
	}
	op.mu.Unlock()
	op.settleOne()
}

func (op *produceOp) timeOut() {
	op.mu.Lock()
	late := op.sent
	op.sent = true
	op.mu.Unlock()
	if !late {
		op.r.Reply(&op.resp)
	}
}

// finishSilently ends a request with acks=0: no answer, ever. A client that cannot be told of an error
// learns of it by the loss of the connection, as with Kafka.
func (op *produceOp) finishSilently() {
	for i := range op.acks {
		if slot := op.acks[i].slot; slot.ErrorCode != 0 && slot.ErrorCode != kerr.RequestTimedOut.Code {
			op.r.Close(fmt.Errorf("produce with acks=0 to partition %d failed: %w", slot.Partition, kerr.ErrorForCode(slot.ErrorCode)))
			return
		}
	}
	op.r.NoReply()
}

// produceRules are what a topic's config demands of batches.
func produceRules(cfg *config.TopicConfig, now time.Time) record.Rules {
	codec, forced := codecOf(cfg.CompressionType)
	return record.Rules{
		MaxMessageBytes: int(cfg.MaxMessageBytes),
		Compacted:       cfg.CleanupCompact,
		LogAppendTime:   cfg.LogAppendTime,
		Now:             now.UnixMilli(),
		BeforeMax:       cfg.TimestampBeforeMax.Milliseconds(),
		AfterMax:        cfg.TimestampAfterMax.Milliseconds(),
		ForceCodec:      forced,
		Codec:           codec,
		Level:           cfg.CompressionLevel(),
		Limits:          openLimits,
	}
}
