package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire/record"
)

// listByTime asks where records of a time begin.
func (c *rawConn) listByTime(topic string, ts int64) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = ts, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return c.ask(req, 7).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
}

// timedBatch has one record for each time.
func timedBatch(t *testing.T, codec record.Codec, times ...int64) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.Spec{Codec: codec})
	for i, ts := range times {
		if err := b.Add(&record.Record{Offset: int64(i), Timestamp: ts, Value: []byte("value")}); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func TestListOffsetsByTime(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	c := n.raw()
	if got := c.listByTime("t", 0); got.ErrorCode != 0 || got.Offset != -1 || got.Timestamp != -1 {
		t.Errorf("an empty log: %+v", got)
	}
	c.produce(9, -1, "t", 0, timedBatch(t, record.None, 100, 300, 200))
	c.produce(9, -1, "t", 0, timedBatch(t, record.LZ4, 150, 400))
	for _, q := range []struct{ ts, offset, at int64 }{
		{0, 0, 100}, {100, 0, 100}, {101, 1, 300}, {300, 1, 300}, {301, 4, 400}, {401, -1, -1},
		{latestTimestamp, 5, -1}, {earliestTimestamp, 0, -1}, {maxTimestamp, 4, 400},
	} {
		if got := c.listByTime("t", q.ts); got.ErrorCode != 0 || got.Offset != q.offset || got.Timestamp != q.at {
			t.Errorf("time %d: code %d, offset %d, time %d, want %d and %d", q.ts, got.ErrorCode, got.Offset, got.Timestamp, q.offset, q.at)
		}
	}
}

// TestListOffsetsFindsWhatCannotBeOpened: a producer of nonsense harms its own batch, not every search.
func TestListOffsetsFindsWhatCannotBeOpened(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	c := n.raw()
	c.produce(9, -1, "t", 0, timedBatch(t, record.None, 100))
	nonsense := timedBatch(t, record.LZ4, 200, 300)
	clear(nonsense.Payload())
	nonsense.Seal()
	if got := c.produce(9, -1, "t", 0, nonsense); got.ErrorCode != 0 {
		t.Fatalf("compressed batches are stored unopened: code %d", got.ErrorCode)
	}
	c.produce(9, -1, "t", 0, timedBatch(t, record.None, 400))
	for ts, want := range map[int64]int64{100: 0, 150: 1, 300: 1, 301: 3, 400: 3} {
		if got := c.listByTime("t", ts); got.ErrorCode != 0 || got.Offset != want {
			t.Errorf("time %d: code %d, offset %d, want %d", ts, got.ErrorCode, got.Offset, want)
		}
	}
}
