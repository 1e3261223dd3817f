package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire/record"
)

// TestFetchDeliversInEveryVersion reads the same records with each version of Fetch, as batches or, for
// the old ones, as message sets.
func TestFetchDeliversInEveryVersion(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	var want []string
	c := n.raw()
	for i := range 20 {
		values := []string{fmt.Sprint("a", i), fmt.Sprint("b", i)}
		c.produce(9, -1, "t", 0, testBatch(t, nil, values...))
		want = append(want, values...)
	}
	for v := int16(0); v <= kmsg.NewPtrFetchRequest().MaxVersion(); v++ {
		p := n.raw().ask(fetchRequest("t", n.topicID("t"), 0, 10), v).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.HighWatermark != 40 {
			t.Fatalf("v%d: code %d, high watermark %d", v, p.ErrorCode, p.HighWatermark)
		}
		got := valuesFrom(t, v, p.RecordBatches, 10)
		if fmt.Sprint(got) != fmt.Sprint(want[10:]) {
			t.Errorf("v%d: got %v", v, got)
		}
	}
}

// valuesFrom lists the values of the records at or after an offset, as a client would.
func valuesFrom(t *testing.T, version int16, records []byte, offset int64) (values []string) {
	t.Helper()
	collect := func(r *record.Record) error {
		if r.Offset >= offset {
			values = append(values, string(r.Value))
		}
		return nil
	}
	if version < 4 {
		if err := record.EachLegacy(records, record.Limits{}, collect); err != nil {
			t.Fatal(err)
		}
		return values
	}
	for len(records) > 0 {
		b, rest, err := record.Next(records)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		if err := b.Each(record.Limits{}, collect); err != nil {
			t.Fatal(err)
		}
		records = rest
	}
	return values
}

// TestFetchLimits checks that limits hold, except for the first batch of an answer.
func TestFetchLimits(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 2)
	size := 0
	for p := range int32(2) {
		for range 10 {
			batch := testBatch(t, nil, string(make([]byte, 1000)))
			size = len(batch)
			n.raw().produce(9, -1, "t", p, batch)
		}
	}
	both := func(maxBytes, partitionMax int32) (got [2]int) {
		req := fetchRequest("t", n.topicID("t"), 0, 0)
		req.MaxBytes = maxBytes
		second := req.Topics[0].Partitions[0]
		second.Partition = 1
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = partitionMax
		}
		resp := n.raw().ask(req, 12).(*kmsg.FetchResponse)
		for _, p := range resp.Topics[0].Partitions {
			got[p.Partition] = len(p.RecordBatches)
		}
		return got
	}
	for _, c := range []struct {
		maxBytes, partitionMax int32
		want                   [2]int
	}{
		{1, 1, [2]int{size, 0}},
		{1 << 20, int32(3*size + 10), [2]int{3 * size, 3 * size}},
		{int32(4 * size), int32(3 * size), [2]int{3 * size, size}},
		{1 << 20, 1 << 20, [2]int{10 * size, 10 * size}},
	} {
		if got := both(c.maxBytes, c.partitionMax); got != c.want {
			t.Errorf("max.bytes %d, per partition %d: got %v bytes, want %v", c.maxBytes, c.partitionMax, got, c.want)
		}
	}
}

func TestFetchErrors(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	n.stop()
	n.start() // into an epoch that has an older one
	n.raw().produce(9, -1, "t", 0, testBatch(t, nil, "a"))
	ask := func(change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)) kmsg.FetchResponseTopicPartition {
		req := fetchRequest("t", n.topicID("t"), 0, 0)
		change(req, &req.Topics[0].Partitions[0])
		return n.raw().ask(req, 13).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	}
	epoch := n.b.replicas.get(n.topicID("t"), 0).replica.Offsets().LeaderEpoch
	for _, c := range []struct {
		name   string
		change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)
		want   *kerr.Error
	}{
		{"past the end", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 2 }, kerr.OffsetOutOfRange},
		{"before the start", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = -1 }, kerr.OffsetOutOfRange},
		{"an older epoch", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = epoch - 1 }, kerr.FencedLeaderEpoch},
		{"a newer epoch", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = epoch + 1 }, kerr.UnknownLeaderEpoch},
		{"records of a newer epoch", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = epoch + 1 }, kerr.UnknownLeaderEpoch},
		{"no such topic id", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.Topics[0].TopicID[3]++ }, kerr.UnknownTopicID},
		{"no such partition", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.Partition = 4 }, kerr.UnknownTopicOrPartition},
	} {
		if got := ask(c.change); got.ErrorCode != c.want.Code {
			t.Errorf("%s: code %d, want %s", c.name, got.ErrorCode, c.want.Message)
		}
	}
	if at := ask(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 1 }); at.ErrorCode != 0 || len(at.RecordBatches) != 0 {
		t.Errorf("at the end: %+v", at)
	}
	if d := ask(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
		p.FetchOffset, p.LastFetchedEpoch = 2, epoch
	}); d.DivergingEpoch.Epoch != epoch || d.DivergingEpoch.EndOffset != 1 || len(d.RecordBatches) != 0 {
		t.Errorf("a reader of another history: %+v", d)
	}
}

// TestLongPoll parks a fetch at the end of a log and checks that a produce wakes it, and that without one
// it is answered when its time is up.
func TestLongPoll(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	c := n.raw()
	poll := func(wait int32) (kmsg.FetchResponseTopicPartition, time.Duration) {
		req := fetchRequest("t", n.topicID("t"), 0, n.endOffset("t", 0))
		req.MaxWaitMillis = wait
		start := time.Now()
		return c.ask(req, 13).(*kmsg.FetchResponse).Topics[0].Partitions[0], time.Since(start)
	}
	if got, took := poll(200); len(got.RecordBatches) != 0 || took < 190*time.Millisecond {
		t.Errorf("an empty poll came back after %v with %d bytes", took, len(got.RecordBatches))
	}
	parked := make(chan struct{})
	go func() {
		defer close(parked)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n.b.polls.Len() == 0 { // until the poll waits
			<-tick.C
		}
		n.raw().produce(9, -1, "t", 0, testBatch(t, nil, "news"))
	}()
	got, took := poll(15_000)
	<-parked
	if len(got.RecordBatches) == 0 || took > 10*time.Second {
		t.Errorf("the poll came back after %v with %d bytes", took, len(got.RecordBatches))
	}
}

// TestFetchSession opens a session and checks that later answers name only what changed.
func TestFetchSession(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 3)
	c := n.raw()
	full := fetchRequest("t", n.topicID("t"), 0, 0)
	full.SessionEpoch = 0
	for p := range int32(2) {
		next := full.Topics[0].Partitions[0]
		next.Partition = p + 1
		full.Topics[0].Partitions = append(full.Topics[0].Partitions, next)
	}
	first := c.ask(full, 13).(*kmsg.FetchResponse)
	if first.SessionID == 0 || len(first.Topics[0].Partitions) != 3 {
		t.Fatalf("a full fetch: %+v", first)
	}
	incremental := func(epoch int32, change func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
		req := kmsg.NewPtrFetchRequest()
		req.MinBytes, req.MaxBytes, req.SessionID, req.SessionEpoch = 1, 1<<20, first.SessionID, epoch
		if change != nil {
			change(req)
		}
		return c.ask(req, 13).(*kmsg.FetchResponse)
	}
	if got := incremental(1, nil); got.ErrorCode != 0 || len(got.Topics) != 0 {
		t.Errorf("nothing changed: %+v", got)
	}
	n.raw().produce(9, -1, "t", 1, testBatch(t, nil, "news"))
	if got := incremental(2, nil); len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 || got.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("one partition has news: %+v", got)
	}
	if got := incremental(2, nil); got.ErrorCode != kerr.InvalidFetchSessionEpoch.Code {
		t.Errorf("a repeated epoch: %d", got.ErrorCode)
	}
	forget := func(req *kmsg.FetchRequest) {
		req.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{TopicID: n.topicID("t"), Partitions: []int32{1}}}
	}
	if got := incremental(3, forget); got.ErrorCode != 0 || len(got.Topics) != 0 {
		t.Errorf("a forgotten partition is still read: %+v", got)
	}
	closing := kmsg.NewPtrFetchRequest()
	closing.SessionID, closing.SessionEpoch = first.SessionID, -1
	c.ask(closing, 13)
	if got := incremental(4, nil); got.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("a closed session: %d", got.ErrorCode)
	}
	if n.b.sessions.len() != 0 {
		t.Errorf("%d sessions are left", n.b.sessions.len())
	}
}
