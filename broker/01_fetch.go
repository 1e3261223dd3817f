package broker

import (
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/deadline"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
	"github.com/chronik-stream/chronik/wire/record"
)

// Fetch (1), v0-v18. KIP-74, 98, 107, 227, 320, 516, 595.
//
// A fetch that finds less than min.bytes is parked: it holds a place in the waiting list of each of its
// partitions and one entry in the deadline queue, no goroutine. Whatever moves first wakes it, and it
// looks again. Records leave as ranges of segment files; only clients below v4 get converted copies.
// Replicas fetch over the peer port, so a request with a replica id has no business here.
func (b *Broker) fetch(r *wire.Request) {
	req := r.Body.(*kmsg.FetchRequest)
	if replica := max(req.ReplicaID, req.ReplicaState.ID); replica >= 0 {
		r.Reply(wire.ErrorResponse(req, kerr.ClusterAuthorizationFailed.Code))
		return
	}
	b.startFetch(r, b.sessions, nil)
}

// startFetch serves a consumer, or with follower the replicas of another broker.
func (b *Broker) startFetch(r *wire.Request, sessions *fetchSessions, follower *follower) {
	req := r.Body.(*kmsg.FetchRequest)
	plan, code := sessions.open(r.Session, req)
	if code != 0 {
		resp := kmsg.NewFetchResponse()
		resp.ErrorCode = code
		r.Reply(&resp)
		return
	}
	op := &fetchOp{b: b, r: r, req: req, plan: plan, follower: follower}
	op.run()
}

// fetchOp is one Fetch request from its first look at the logs to its answer.
type fetchOp struct {
	b    *Broker
	r    *wire.Request
	req  *kmsg.FetchRequest
	plan fetchPlan

	follower *follower // nil for a consumer

	mu     sync.Mutex // guards the fields below
	state  fetchState
	woken  bool // something moved while a look was under way: look again
	ending bool // the wait is over: the next look answers whatever it finds
	timer  *deadline.Entry
	parked []*hosted // where Wake is registered
}

type fetchState uint8

const (
	fetchLooking fetchState = iota
	fetchParked
	fetchDone
)

// fetchedPartition is what one look found in one partition.
type fetchedPartition struct {
	want   *wantedPartition
	host   *hosted
	result partition.ReadResult
	leader raftmeta.Partition // who leads, for clients that came to the wrong place
	// preferred is the broker that the client should read from, -1 for this one.
	preferred int32
	err       error
}

// run looks until the request is answered or parked. It is called by the connection's reader, and
// again by whoever wakes a parked request, on a goroutine of its own.
func (op *fetchOp) run() {
	for {
		if op.follower != nil && op.r.Context().Err() != nil {
			op.abandon() // what a cut-off fetch asked for tells nothing of where its follower is now
			return
		}
		found := op.look()
		if op.complete(found) {
			op.answer(found)
			return
		}
		release(found)
		if op.park(found) {
			return
		}
	}
}

// complete decides whether what a look found is the answer.
func (op *fetchOp) complete(found []fetchedPartition) bool {
	bytes := 0
	for i := range found {
		f := &found[i]
		if f.err != nil || f.result.Diverging != nil || f.preferred >= 0 || op.follower != nil && f.result.Offsets.HighWatermark > f.want.toldHW {
			return op.done()
		}
		bytes += f.result.View.Size()
	}
	op.mu.Lock()
	ending := op.ending
	op.mu.Unlock()
	enough := bytes >= op.minBytes() || len(found) == 0 || op.req.MaxWaitMillis <= 0
	if enough || ending {
		return op.done()
	}
	return false
}

// abandon ends a request whose connection is gone.
func (op *fetchOp) abandon() {
	op.done()
	op.r.NoReply()
}

func (op *fetchOp) minBytes() int {
	least := int(op.req.MinBytes)
	if op.req.Version >= 3 {
		least = min(least, int(op.req.MaxBytes))
	}
	return least
}

func (op *fetchOp) done() bool {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.state = fetchDone
	op.b.polls.Stop(op.timer)
	for _, h := range op.parked {
		h.replica.Forget(op)
	}
	op.parked = nil
	return true
}

// park registers the request with its partitions. It reports false if one of them has moved since the
// look, which must then be repeated.
func (op *fetchOp) park(found []fetchedPartition) bool {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.woken = false
	op.state = fetchParked
	if op.timer == nil {
		wait := time.Duration(op.req.MaxWaitMillis) * time.Millisecond
		op.timer = op.b.polls.At(op.r.Received.Add(wait), op.end)
	}
	op.parked = op.parked[:0]
	for i := range found {
		h := found[i].host
		op.parked = append(op.parked, h)
		offsets := &found[i].result.Offsets
		if !h.replica.WakeAbove(offsets.HighWatermark, op) || op.follower != nil && !h.replica.WakeAboveEnd(offsets.End, op) {
			op.state = fetchLooking
			return false
		}
	}
	return true
}

// Wake implements partition.Waker.
func (op *fetchOp) Wake() { op.resume(false) }

// end is the deadline's call.
func (op *fetchOp) end() { op.resume(true) }

func (op *fetchOp) resume(ending bool) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.ending = op.ending || ending
	if op.state != fetchParked {
		return // the look under way, or the answer, has it
	}
	op.state = fetchLooking
	op.b.spawn(op.run)
}

// fetchBudget is what is left of a response's size while partitions are read in the request's order.
type fetchBudget struct {
	bytes int
	empty bool // nothing is in it yet, so the next batch goes in however large (KIP-74)
}

func (op *fetchOp) look() []fetchedPartition {
	img := op.b.meta.Image()
	budget := fetchBudget{bytes: op.b.config().FetchMaxBytes, empty: true}
	if op.req.Version >= 3 {
		budget.bytes = min(budget.bytes, max(int(op.req.MaxBytes), 0))
	}
	found := make([]fetchedPartition, len(op.plan.wanted))
	for i := range found {
		f := &found[i]
		f.want, f.preferred = op.plan.wanted[i], -1
		op.read(img, f, &budget)
	}
	return found
}

func (op *fetchOp) read(img *raftmeta.Image, f *fetchedPartition, budget *fetchBudget) {
	topic, err := op.topic(img, f.want.topic)
	if err != nil {
		f.err = err
		return
	}
	if n := f.want.number; n >= 0 && int(n) < len(topic.Partitions) {
		f.leader = topic.Partitions[n]
	}
	if f.host, f.err = op.b.lookup(topic, f.want.number); f.err != nil {
		return
	}
	if zstdNeedsNewer(f.host, op.req.Version) {
		f.err = refuse(kerr.UnsupportedCompressionType, "the topic is stored with zstd, which clients below Fetch v10 cannot read")
		return
	}
	size := max(min(int(f.want.MaxBytes), budget.bytes), 0)
	if op.follower != nil {
		f.result, f.err = op.follower.read(f, size, budget.empty, op.b.now())
	} else if f.preferred = op.b.closest(img, f, op.req.Rack); f.preferred >= 0 {
		f.result.Offsets, f.err = f.host.replica.LeaderOffsets(f.want.CurrentEpoch)
	} else {
		f.result, f.err = f.host.replica.Read(partition.ReadRequest{
			From: f.want.Offset, MaxBytes: size, AtLeastOne: budget.empty,
			CurrentEpoch: f.want.CurrentEpoch, LastFetchedEpoch: f.want.LastFetchedEpoch,
			Isolation: partition.Isolation(op.req.IsolationLevel), FromFollower: op.req.Version >= firstFetchFromFollower,
		})
	}
	if errors.Is(f.err, partition.ErrClosed) || op.isAhead(f) {
		f.err = partition.ErrNotLeader
	}
	if n := f.result.View.Size(); n > 0 {
		budget.bytes -= n
		budget.empty = false
	}
}

// isAhead tells of a consumer that would be sent back, because it has read further than this log goes or in a history that
// parts from it, by a replica that others may have replaced: it comes from the next leader, and is right (I18).
func (op *fetchOp) isAhead(f *fetchedPartition) bool {
	beyond := errors.Is(f.err, log.ErrOffsetOutOfRange) && f.want.Offset > f.result.Offsets.End
	if op.follower != nil || !beyond && f.result.Diverging == nil {
		return false
	}
	return op.b.mayBeReplaced(f.host, f.result.Offsets.LeaderEpoch)
}

// mayBeReplaced tells whether others may know more of a partition by now than a replica that answered in a leader epoch. Ask
// it after the answer is there: it judges by the metadata of a node that is up to date.
func (b *Broker) mayBeReplaced(h *hosted, epoch int32) bool {
	if b.cluster.MayBeFenced() {
		return true
	}
	topic, ok := b.meta.Image().TopicByID(h.key.topic)
	return !ok || topic.Partitions[h.key.number].LeaderEpoch != epoch
}

// topic finds what a fetch names. A follower copies the topics of all tenants.
func (op *fetchOp) topic(img *raftmeta.Image, ref topicRef) (*raftmeta.Topic, error) {
	if op.follower == nil {
		return op.b.resolve(img, op.r.Session.Tenant, ref)
	}
	if t, ok := img.TopicByID(ref.id); ok {
		return t, nil
	}
	return nil, errUnknownTopicID
}

// zstdNeedsNewer tells whether a client of Fetch version may not be sent what the topic stores.
func zstdNeedsNewer(h *hosted, version int16) bool {
	return version < 10 && h.config.Load().CompressionType == record.Zstd.String()
}

func (op *fetchOp) answer(found []fetchedPartition) {
	enc := fetchEncoder{version: op.req.Version, sessionID: op.plan.sessionID}
	for i := range found {
		f := &found[i]
		out := op.outcome(f)
		if op.plan.skip(f.want, out) {
			f.result.View.Release()
			continue
		}
		enc.add(f.want.topic, out)
	}
	op.b.metrics.fetched(enc.recordBytes)
	op.r.ReplyParts(enc.finish(), func() { release(found) })
}

// outcome is one partition's part of the answer, with records converted for clients that need it.
func (op *fetchOp) outcome(f *fetchedPartition) fetchOutcome {
	out := fetchOutcome{partition: f.want.number, offsets: f.result.Offsets, diverging: f.result.Diverging, preferred: f.preferred}
	if f.err == nil && op.req.Version < 4 && f.result.View.Size() > 0 {
		out.converted, f.err = op.downConvert(f)
	} else if f.err == nil {
		out.view = f.result.View
	}
	if f.err == nil {
		return out
	}
	out.code = op.b.codeOf(f.err)
	if out.code == kerr.KafkaStorageError.Code && op.req.Version <= 5 {
		out.code = kerr.NotLeaderForPartition.Code // these clients do not know the other
	}
	if out.code != kerr.OffsetOutOfRange.Code {
		out.offsets = partition.Offsets{Start: -1, HighWatermark: -1, LastStable: -1}
	}
	if out.code == kerr.NotLeaderForPartition.Code || out.code == kerr.FencedLeaderEpoch.Code {
		if f.leader.Leader != op.b.nodeID { // which has just refused
			out.leader = &f.leader
			out.endpoint, _ = op.b.meta.Image().Broker(f.leader.Leader)
		}
	}
	return out
}

// downConvert copies a view as a message set of magic 0 or 1.
func (op *fetchOp) downConvert(f *fetchedPartition) ([]byte, error) {
	if !f.host.config.Load().MessageDownconversion {
		return nil, refuse(kerr.UnsupportedVersion, "message.downconversion.enable is false for this topic")
	}
	batches, err := f.result.View.Bytes(nil)
	if err != nil {
		return nil, err
	}
	magic := int8(0)
	if op.req.Version >= 2 {
		magic = 1
	}
	return record.DownConvert(batches, magic, f.want.Offset, int(f.want.MaxBytes), openLimits)
}

func release(found []fetchedPartition) {
	for i := range found {
		found[i].result.View.Release()
	}
}

// wantedPartition is one partition of a fetch, as its session remembers it.
type wantedPartition struct {
	topic            topicRef
	number           int32
	CurrentEpoch     int32
	Offset           int64
	LastFetchedEpoch int32
	MaxBytes         int32

	// What the session last told the client of the partition.
	toldHW, toldStart int64
}

func wanted(topic topicRef, p *kmsg.FetchRequestTopicPartition, version int16) wantedPartition {
	w := wantedPartition{
		topic: topic, number: p.Partition, Offset: p.FetchOffset, MaxBytes: p.PartitionMaxBytes,
		CurrentEpoch: partition.AnyEpoch, LastFetchedEpoch: partition.AnyEpoch, toldHW: -1, toldStart: -1,
	}
	if version >= 9 {
		w.CurrentEpoch = p.CurrentLeaderEpoch
	}
	if version >= 12 {
		w.LastFetchedEpoch = p.LastFetchedEpoch
	}
	return w
}

func refOf(topic string, id [16]byte) topicRef { return topicRef{topic, uuid.ID(id)} }
