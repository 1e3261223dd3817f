package chaos

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// TestRecreatedTopicKnowsNothingOfTheOld deletes a topic and makes another of its name while one node is down, and then
// brings that node back with the old topic's files: no record, committed offset or producer of the old topic may show in
// the new one (I26).
func TestRecreatedTopicKnowsNothingOfTheOld(t *testing.T) {
	w, ctx := newWorld(t, 3)
	w.Topics = []Topic{{"again", 1}}
	p := Partition{"again", 0}
	if err := w.CreateTopics(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.AwaitWhole(ctx); err != nil {
		t.Fatal(err)
	}
	r, err := newRouter(w.Fleet.Bootstrap(), p.Topic)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()

	pid := producerID(ctx, t, r)
	old := w.Ledger.Open(Once, p)
	for seq := range int32(5) {
		if offset := w.mustProduce(ctx, t, r, p, w.Ledger.Begin(old), pid, seq); offset != int64(seq) {
			t.Fatalf("record %d of the old topic has offset %d", seq, offset)
		}
	}
	commit(ctx, t, w, p, 5)
	oldID := topicIDOtherThan(ctx, t, r, p.Topic, [16]byte{})

	absent := w.Fleet.Node(3)
	if err := absent.Kill(); err != nil {
		t.Fatal(err)
	}
	recreate(ctx, t, w)
	topicIDOtherThan(ctx, t, r, p.Topic, oldID)
	if err := start(ctx, absent); err != nil {
		t.Fatal(err)
	}
	if err := w.AwaitWhole(ctx); err != nil {
		t.Fatalf("%v\n%s", err, w.state(ctx))
	}

	if end, err := latestOf(ctx, r, p); err != nil || end != 0 {
		t.Errorf("the new topic ends at %d, %v", end, err)
	}
	if at := committed(ctx, t, w, p); at != -1 {
		t.Errorf("the new topic has an offset of %d committed", at)
	}
	// The same batches of the same producer: one that remembers them answers with their old offsets and appends nothing.
	fresh := w.Ledger.Open(Once, p)
	for i, seq := range []int32{4, 5, 6} {
		if offset := w.mustProduce(ctx, t, r, p, w.Ledger.Begin(fresh), pid, seq); offset != int64(i) {
			t.Errorf("record %d of the new topic has offset %d", i, offset)
		}
	}
	if code := fetchByID(ctx, t, r, p, oldID); code != kerr.UnknownTopicID.Code {
		t.Errorf("a fetch from the old topic's id gave code %d", code)
	}
	w.verifyRecreated(ctx, t, p)
}

// verifyRecreated checks the log as clients see it and as the nodes hold it.
func (w *World) verifyRecreated(ctx context.Context, t *testing.T, p Partition) {
	t.Helper()
	h := w.Ledger.History()
	h.Streams[0].Attempts = nil // of the old topic
	var err error
	if h.Final, err = ReadAll(ctx, w.Fleet.Bootstrap(), w.Topics); err != nil {
		t.Fatal(err)
	}
	for _, v := range h.Check() {
		t.Error(v)
	}
	if err := w.AwaitWhole(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.Fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	replicas, err := readReplicas(w, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replicas {
		if r.End() != 3 {
			t.Errorf("node %d holds %d records of the new topic", r.Node, r.End())
		}
	}
}

// recreate deletes the topics of the load and makes them again. The deletion is done when it is answered; that brokers
// know of it takes a moment.
func recreate(ctx context.Context, t *testing.T, w *World) {
	t.Helper()
	if err := w.DeleteTopics(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.CreateTopics(ctx); err != nil {
		t.Fatal(err)
	}
}

func producerID(ctx context.Context, t *testing.T, r *router) int64 {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(ctx, r.cl)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatal(err, resp)
	}
	return resp.ProducerID
}

// mustProduce sends one batch of an idempotent producer until it is acknowledged.
func (w *World) mustProduce(ctx context.Context, t *testing.T, r *router, p Partition, id ID, pid int64, seq int32) int64 {
	t.Helper()
	var at int64
	err := fleet.Eventually(ctx, func() error {
		if err := r.refresh(ctx); err != nil {
			return err
		}
		_, offset, code := r.produce(ctx, p, -1, recordBatch(id.Value(), 1, pid, 0, seq))
		at = offset
		return kerr.ErrorForCode(code)
	})
	if err != nil {
		t.Fatalf("sequence %d: %v", seq, err)
	}
	w.Ledger.Settle(id, Acked, at, 0)
	return at
}

func commit(ctx context.Context, t *testing.T, w *World, p Partition, at int64) {
	t.Helper()
	err := w.withAdmin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		var offsets kadm.Offsets
		offsets.AddOffset(p.Topic, p.Index, at, -1)
		return adm.CommitAllOffsets(ctx, groupOf(p.Topic), offsets)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := committed(ctx, t, w, p); got != at {
		t.Fatalf("%d is committed, want %d", got, at)
	}
}

// committed is the group's offset, -1 for none.
func committed(ctx context.Context, t *testing.T, w *World, p Partition) int64 {
	t.Helper()
	at := int64(-1)
	err := w.withAdmin(ctx, func(ctx context.Context, adm *kadm.Client) error {
		offsets, err := adm.FetchOffsets(ctx, groupOf(p.Topic))
		if err != nil {
			return err
		}
		if o, ok := offsets.Lookup(p.Topic, p.Index); ok {
			at = o.At
		}
		return offsets.Error()
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// topicIDOtherThan waits until the brokers tell of another topic than before.
func topicIDOtherThan(ctx context.Context, t *testing.T, r *router, topic string, before [16]byte) [16]byte {
	t.Helper()
	var id [16]byte
	if err := fleet.Eventually(ctx, func() error {
		if err := r.refresh(ctx); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if id = r.ids[topic]; id == before {
			return errors.New("the new topic has the old one's id")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

func fetchByID(ctx context.Context, t *testing.T, r *router, p Partition, id kadm.TopicID) int16 {
	t.Helper()
	at, _, ok := r.leader(p)
	if !ok {
		t.Fatalf("%v has no leader", p)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 1 << 20
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID = id
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.Partition, partition.CurrentLeaderEpoch, partition.PartitionMaxBytes = p.Index, -1, 1<<20
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	answer, err := r.ask(ctx, at.leader, req)
	if err != nil {
		t.Fatal(err)
	}
	resp := answer.(*kmsg.FetchResponse)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return resp.ErrorCode
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}
