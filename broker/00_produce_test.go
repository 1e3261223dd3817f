package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestProduceRefusals(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("small", 1, "max.message.bytes", "300")
	good := func() []byte { return testBatch(t, nil, "value") }
	corrupt := good()
	corrupt[len(corrupt)-1] ^= 1
	long := make([]byte, 400)
	for _, c := range []struct {
		name      string
		version   int16
		acks      int16
		topic     string
		partition int32
		records   []byte
		want      *kerr.Error
	}{
		{"a flipped bit", 9, -1, "small", 0, corrupt, kerr.CorruptMessage},
		{"cut short", 9, -1, "small", 0, good()[:70], kerr.InvalidRecord},
		{"two batches", 9, -1, "small", 0, append(good(), good()...), kerr.InvalidRecord},
		{"an old set in a new request", 9, -1, "small", 0, legacySet(t, 1, "value"), kerr.InvalidRecord},
		{"too large", 9, -1, "small", 0, testBatch(t, nil, string(long)), kerr.MessageTooLarge},
		{"no such topic", 9, -1, "missing", 0, good(), kerr.UnknownTopicOrPartition},
		{"no such partition", 9, -1, "small", 7, good(), kerr.UnknownTopicOrPartition},
		{"a negative partition", 9, -1, "small", -1, good(), kerr.UnknownTopicOrPartition},
		{"acks of 2", 9, 2, "small", 0, good(), kerr.InvalidRequiredAcks},
		{"nothing", 9, -1, "small", 0, nil, kerr.InvalidRecord},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := n.raw().produce(c.version, c.acks, c.topic, c.partition, c.records)
			if got.ErrorCode != c.want.Code {
				t.Errorf("code %d (%s), want %s", got.ErrorCode, deref(got.ErrorMessage), c.want.Message)
			}
			if got.BaseOffset != -1 || got.LogAppendTime != -1 {
				t.Errorf("an error carries offset %d and time %d", got.BaseOffset, got.LogAppendTime)
			}
		})
	}
	if end := n.endOffset("small", 0); end != 0 {
		t.Errorf("something was stored: the log ends at %d", end)
	}
}

func TestIdempotentProducer(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	send := func(c *rawConn, epoch int16, sequence int32, values ...string) kmsg.ProduceResponseTopicPartition {
		t.Helper()
		return c.produce(9, -1, "t", 0, testBatch(t, &producer{id: 7, epoch: epoch, sequence: sequence}, values...))
	}
	c := n.raw()
	first := send(c, 0, 0, "a", "b")
	second := send(c, 0, 2, "c")
	again := send(c, 0, 0, "a", "b")
	if first.ErrorCode != 0 || second.BaseOffset != 2 || again.ErrorCode != 0 || again.BaseOffset != first.BaseOffset {
		t.Fatalf("first %+v, second %+v, first again %+v", first, second, again)
	}
	if gap := send(c, 0, 9, "z"); gap.ErrorCode != kerr.OutOfOrderSequenceNumber.Code {
		t.Errorf("a gap in the sequence: code %d", gap.ErrorCode)
	}
	if next := send(c, 1, 0, "d"); next.ErrorCode != 0 || next.BaseOffset != 3 {
		t.Errorf("the next epoch: %+v", next)
	}
	if old := send(c, 0, 3, "e"); old.ErrorCode != kerr.InvalidProducerEpoch.Code {
		t.Errorf("an old epoch: code %d", old.ErrorCode)
	}

	// The producer's state survives a restart: the same batch is still the same batch.
	n.stop()
	n.start()
	if again := send(n.raw(), 1, 0, "d"); again.ErrorCode != 0 || again.BaseOffset != 3 {
		t.Errorf("the same batch after a restart: %+v", again)
	}
	if end := n.endOffset("t", 0); end != 4 {
		t.Errorf("the log ends at %d, want 4", end)
	}
}

// TestAcksNone sends produces without acknowledgement before a request with one: no bytes may come for
// them, or every later correlation id is off by one. On an error the connection is the message.
func TestAcksNone(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	c := n.raw()
	for range 3 {
		c.send(produceRequest(0, "t", 0, testBatch(t, nil, "silent")), 9)
	}
	if got := c.produce(9, -1, "t", 0, testBatch(t, nil, "loud")); got.BaseOffset != 3 {
		t.Errorf("the fourth record is at %d", got.BaseOffset)
	}
	c.send(produceRequest(0, "missing", 0, testBatch(t, nil, "lost")), 9)
	if !c.closed() {
		t.Error("the connection outlived a failed produce with acks=0")
	}
}

// TestPipelinedProduces sends many requests before it reads an answer: they are stored and answered in
// their order.
func TestPipelinedProduces(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	c := n.raw()
	const requests = 50
	ids := make([]int32, requests)
	reqs := make([]*kmsg.ProduceRequest, requests)
	for i := range ids {
		reqs[i] = produceRequest(-1, "t", 0, testBatch(t, &producer{id: 1, sequence: int32(i)}, "v"))
		ids[i] = c.send(reqs[i], 9)
	}
	for i := range ids {
		p := c.receive(reqs[i], ids[i]).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.BaseOffset != int64(i) {
			t.Fatalf("request %d: code %d, offset %d", i, p.ErrorCode, p.BaseOffset)
		}
	}
}

// endOffset asks for the end of a partition.
func (n *testNode) endOffset(topic string, partition int32) int64 {
	n.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, latestTimestamp, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return n.raw().ask(req, 6).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset
}
