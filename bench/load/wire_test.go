package load

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// body checks size and header of a request frame and returns what follows.
func body(t rapid.TB, frame []byte, key kmsg.Key, version int16, corr int32) []byte {
	t.Helper()
	var want []byte
	want = binary.BigEndian.AppendUint32(want, uint32(len(frame)-4))
	want = binary.BigEndian.AppendUint16(want, uint16(key.Int16()))
	want = binary.BigEndian.AppendUint16(want, uint16(version))
	want = binary.BigEndian.AppendUint32(want, uint32(corr))
	want = appendString(want, clientID)
	if !bytes.HasPrefix(frame, want) {
		t.Fatalf("frame begins %x, want %x", frame[:len(want)], want)
	}
	return frame[len(want):]
}

func TestProduceRequestDecodes(t *testing.T) {
	batch := newTestBatch(t, BatchSpec{ValueBytes: 100, BatchBytes: 1000}).Bytes
	head := newProduceHead("topic", -1, 1500)
	for corr := range int32(3) { // the same head, patched again
		head.patch(corr, int(corr)*7, len(batch))
		req := kmsg.NewPtrProduceRequest()
		req.Version = produceVersion
		if err := req.ReadFrom(body(t, append(bytes.Clone(head.bytes), batch...), kmsg.Produce, produceVersion, corr)); err != nil {
			t.Fatal(err)
		}
		p := req.Topics[0].Partitions[0]
		if req.TransactionID != nil || req.Acks != -1 || req.TimeoutMillis != 1500 || req.Topics[0].Topic != "topic" ||
			p.Partition != corr*7 || !bytes.Equal(p.Records, batch) {
			t.Errorf("request %d decodes as %+v", corr, req)
		}
	}
}

func produceResponse(corr, partition int32, code int16, base int64) []byte {
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.ErrorCode, p.BaseOffset, p.LogAppendTime, p.LogStartOffset = partition, code, base, 5, 6
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic, topic.Partitions = "topic", append(topic.Partitions, p)
	resp := kmsg.NewPtrProduceResponse()
	resp.Version, resp.Topics = produceVersion, append(resp.Topics, topic)
	return frameOf(corr, resp)
}

func frameOf(corr int32, resp kmsg.Response) []byte {
	b := resp.AppendTo(binary.BigEndian.AppendUint32(make([]byte, 4), uint32(corr)))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func TestProduceResponseIsChecked(t *testing.T) {
	reply := newProduceReply("topic")
	good := produceResponse(9, 4, 0, 1<<40)
	if len(good) != reply.size {
		t.Fatalf("a response has %d bytes, expected %d", len(good), reply.size)
	}
	if base, err := reply.check(good, 9, 4); err != nil || base != 1<<40 {
		t.Errorf("base %d, %v", base, err)
	}
	for name, frame := range map[string][]byte{
		"another request":   produceResponse(8, 4, 0, 1),
		"another partition": produceResponse(9, 5, 0, 1),
		"an error":          produceResponse(9, 4, kerr.NotLeaderForPartition.Code, -1),
	} {
		if _, err := reply.check(frame, 9, 4); !errors.Is(err, ErrResponse) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := reply.check(produceResponse(9, 4, kerr.NotLeaderForPartition.Code, -1), 9, 4); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("the broker's error is lost in %v", err)
	}
}

func TestFetchRequestDecodes(t *testing.T) {
	spec := fetchSpec{topic: "topic", maxBytes: 1 << 20, partitionMaxBytes: 1 << 16, maxWaitMillis: 500, minBytes: 1}
	targets := []fetchTarget{{3, 70}, {0, 1 << 40}}
	req := kmsg.NewPtrFetchRequest()
	req.Version = fetchVersion
	if err := req.ReadFrom(body(t, appendFetch(nil, 77, &spec, targets), kmsg.Fetch, fetchVersion, 77)); err != nil {
		t.Fatal(err)
	}
	if req.ReplicaID != -1 || req.MaxWaitMillis != 500 || req.MinBytes != 1 || req.MaxBytes != 1<<20 || req.SessionID != 0 ||
		req.SessionEpoch != -1 || len(req.ForgottenTopics) != 0 || req.Rack != "" || req.Topics[0].Topic != "topic" {
		t.Errorf("decodes as %+v", req)
	}
	for i, p := range req.Topics[0].Partitions {
		if int(p.Partition) != targets[i].partition || p.FetchOffset != targets[i].offset || p.PartitionMaxBytes != 1<<16 ||
			p.CurrentLeaderEpoch != -1 || p.LogStartOffset != -1 {
			t.Errorf("target %d decodes as %+v", i, p)
		}
	}
}

// fetchedBatches is a partition's share of a response: n batches from base on.
func fetchedBatches(sent *Batch, base int64, n int) []byte {
	var all []byte
	for i := range n {
		one := bytes.Clone(sent.Bytes)
		binary.BigEndian.PutUint64(one, uint64(base+int64(i*sent.Records)))
		all = append(all, one...)
	}
	return all
}

func fetchResponse(corr int32, shares ...[]byte) []byte {
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic = "topic"
	for i, records := range shares {
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.RecordBatches = int32(i), records
		if i%2 == 1 { // none and an empty list are both seen
			p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1, FirstOffset: 2}}
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.Version, resp.Topics = fetchVersion, append(resp.Topics, topic)
	return frameOf(corr, resp)
}

// offline is a connection whose broker has said everything it will ever say.
func offline(t testing.TB, sent *Batch, partitions int, said []byte) *consumeConn {
	t.Helper()
	o := ConsumeOptions{Topic: "topic", Partitions: partitions, Consumers: 1, Sent: sent, Stamped: true, CheckEvery: 1, Limit: 1}
	if err := o.settle(); err != nil {
		t.Fatal(err)
	}
	c := newConsumeConn(&Consumer{o: o}, nil, 0)
	c.c.Measure(true)
	c.in = bufio.NewReaderSize(bytes.NewReader(said), consumeBuffer)
	c.corr = 1
	return c
}

func TestFetchResponseIsWalked(t *testing.T) {
	sent := newTestBatch(t, BatchSpec{ValueBytes: 100, BatchBytes: 2000})
	cut := fetchedBatches(sent, 0, 3)
	for _, short := range []int{1, batchHeaderSize - 1, batchHeaderSize + 1, len(sent.Bytes) - 1} {
		share := cut[:2*len(sent.Bytes)+short] // brokers may cut the last batch
		c := offline(t, sent, 3, fetchResponse(1, fetchedBatches(sent, 0, 4), nil, share))
		if err := c.response(); err != nil {
			t.Fatal(err)
		}
		each := int64(sent.Records)
		if want := []int64{4 * each, 0, 2 * each}; !slices.Equal(c.next, want) {
			t.Errorf("next offsets %v, want %v", c.next, want)
		}
		if c.records.Load() != 6*each || c.checked != 6 || c.latency.Count() != 6 || c.bytes.Load() != int64(6*len(sent.Bytes)) {
			t.Errorf("%d records, %d checked, %d latencies, %d bytes", c.records.Load(), c.checked, c.latency.Count(), c.bytes.Load())
		}
	}
}

func TestFetchResponseFaultsAreFound(t *testing.T) {
	sent := newTestBatch(t, BatchSpec{ValueBytes: 100, BatchBytes: 2000})
	flipped := fetchedBatches(sent, 0, 2)
	flipped[len(flipped)-10] ^= 1
	refused := kmsg.NewPtrFetchResponse()
	refused.Version, refused.ErrorCode = fetchVersion, kerr.UnknownServerError.Code
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"a gap":           {fetchResponse(1, fetchedBatches(sent, 1, 1)), ErrBatch},
		"a flipped bit":   {fetchResponse(1, flipped), ErrBatch},
		"another request": {fetchResponse(2, nil), ErrResponse},
		"no such one":     {fetchResponse(1, nil, nil, nil, nil), ErrResponse},
		"an error":        {frameOf(1, refused), ErrResponse},
	} {
		if err := offline(t, sent, 3, c.frame).response(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No response, however wrong, does worse than fail.
func FuzzFetchResponse(f *testing.F) {
	sent := newTestBatch(f, BatchSpec{ValueBytes: 20, BatchBytes: 200})
	good := fetchResponse(1, fetchedBatches(sent, 0, 2), nil, fetchedBatches(sent, 0, 1))
	f.Add(good)
	f.Add(good[:len(good)-7])
	f.Add(bytes.Replace(good, []byte("topic"), []byte("\xff\xff\xff\xffc"), 1))
	f.Fuzz(func(t *testing.T, said []byte) {
		c := offline(t, sent, 3, said)
		err := c.response()
		if c.bytes.Load() > int64(len(said)) {
			t.Errorf("%d bytes of batches in a response of %d", c.bytes.Load(), len(said))
		}
		if total := c.next[0] + c.next[1] + c.next[2]; total != c.records.Load() {
			t.Errorf("%d records counted, offsets moved by %d (%v)", c.records.Load(), total, err)
		}
	})
}
