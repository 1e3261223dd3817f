package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The error codes that the cases below insist on.
const (
	codeCorruptMessage  = 2
	codeMessageTooLarge = 10
	codeInvalidRecord   = 87
)

// batch is a magic 2 batch before it is bytes, in which any field can lie.
type batch struct {
	attributes int16
	count      int32 // of the header; lastOffsetDelta is count-1
	lastDelta  int32
	payload    []byte
}

// goodBatch holds one record with the value "fine".
func goodBatch() batch { return batch{count: 1, payload: batchRecord(nil, 4, []byte("fine"))} }

// batchRecord appends one record whose value is announced as size bytes and holds what is given.
func batchRecord(dst []byte, size int, value []byte) []byte {
	var body []byte
	body = append(body, 0)                        // attributes
	body = binary.AppendVarint(body, 0)           // timestamp delta
	body = binary.AppendVarint(body, 0)           // offset delta
	body = binary.AppendVarint(body, 1)           // key length
	body = append(body, 'k')                      // compacted topics want a key
	body = binary.AppendVarint(body, int64(size)) // value length
	dst = binary.AppendVarint(dst, int64(len(body)+size+1))
	return append(append(append(dst, body...), value...), 0) // no headers
}

// bytes makes the batch whole, with a right CRC.
func (b batch) bytes() []byte {
	var tail wireBuf
	tail.i16(b.attributes)
	tail.i32(b.lastDelta)
	now := time.Now().UnixMilli()
	tail.i64(now)
	tail.i64(now)
	tail.i64(-1) // producer id
	tail.i16(-1) // producer epoch
	tail.i32(-1) // base sequence
	tail.i32(b.count)
	tail = append(tail, b.payload...)
	var out wireBuf
	out.i64(0)                    // base offset
	out.i32(int32(len(tail) + 9)) // batch length
	out.i32(-1)                   // leader epoch
	out.i8(2)                     // magic
	out.i32(int32(crc32.Checksum(tail, crc32.MakeTable(crc32.Castagnoli))))
	return append(out, tail...)
}

// produceRaw sends bytes as the records of one partition and returns the error code.
func produceRaw(t *testing.T, addr, topic string, version int16, records []byte) int16 {
	t.Helper()
	c, err := dialRaw(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	req.Acks, req.TimeoutMillis = -1, 10_000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rt.Topic, rp.Records = topic, records
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(version)
	if err := c.ask(req, resp); err != nil {
		t.Fatalf("Produce v%d of %d bytes: %v", version, len(records), err)
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

// ask sends a request of kmsg's and reads its response.
func (c *rawConn) ask(req kmsg.Request, resp kmsg.Response) error {
	c.corr = 1
	if err := c.SetDeadline(time.Now().Add(2 * rawDeadline)); err != nil {
		return err
	}
	if _, err := c.Write(requestFrame(req, req.AppendTo(nil))); err != nil {
		return err
	}
	r, err := c.receive()
	if err != nil {
		return err
	}
	if resp.IsFlexible() {
		r.next(1) // no tags
	}
	return errors.Join(r.err, resp.ReadFrom(r.b))
}

func endOffset(t *testing.T, addr, topic string) int64 {
	t.Helper()
	cl, err := newFranz(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	ends, err := cl.adm.ListEndOffsets(t.Context(), topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
	}
	return ends[topic][0].Offset
}

func createWith(t *testing.T, addr, topic string, config map[string]string) {
	t.Helper()
	cl, err := newFranz(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	if err := cl.create(t.Context(), topic, 1, 1, config); err != nil {
		t.Fatal(err)
	}
}

// testBadBatches sends batches with one fault each: each is refused with its code, and none is stored.
func testBadBatches(t *testing.T, b *broker) {
	createWith(t, b.kafka, "strict", nil)
	createWith(t, b.kafka, "strict-compact", map[string]string{"cleanup.policy": "compact"})
	flip := func(p []byte, at int) []byte {
		p = bytes.Clone(p)
		p[at] ^= 1
		return p
	}
	good := goodBatch().bytes()
	with := func(change func(*batch)) []byte {
		x := goodBatch()
		change(&x)
		return x.bytes()
	}
	const anyCode = 0
	both, compacted := []string{"strict", "strict-compact"}, []string{"strict-compact"}
	cases := map[string]struct {
		records []byte
		code    int16 // anyCode: some code that is not 0
		topics  []string
	}{
		"a flipped bit in the CRC":        {flip(good, 18), codeCorruptMessage, both},
		"a flipped bit in the header":     {flip(good, 30), codeCorruptMessage, both},
		"a flipped bit in a record":       {flip(good, len(good)-2), codeCorruptMessage, both},
		"a batch length below its header": {append(good[:8:8], append([]byte{0, 0, 0, 5}, good[12:]...)...), anyCode, both},
		"an unknown magic":                {append(good[:16:16], append([]byte{9}, good[17:]...)...), anyCode, both},
		"half a batch":                    {good[:len(good)/2], anyCode, both},
		"no batch":                        {[]byte{}, anyCode, both},
		"two batches":                     {append(bytes.Clone(good), good...), codeInvalidRecord, both},
		"more records than are there":     {with(func(x *batch) { x.count, x.lastDelta = 5, 4 }), anyCode, both},
		"a count that is not the delta's": {with(func(x *batch) { x.lastDelta = 3 }), codeInvalidRecord, both},
		"a negative count":                {with(func(x *batch) { x.count, x.lastDelta = -1, -2 }), codeInvalidRecord, both},
		"a control batch":                 {with(func(x *batch) { x.attributes = 1 << 5 }), codeInvalidRecord, both},
		"an unknown codec":                {with(func(x *batch) { x.attributes = 7 }), anyCode, both},
		"a record longer than the batch":  {with(func(x *batch) { x.payload = batchRecord(nil, 1<<20, []byte("short")) }), anyCode, both},
		// A compressed batch is believed by its header unless the topic's rules make the broker open it, as compaction does.
		"gzip that is none": {with(func(x *batch) { x.attributes = 1 }), anyCode, compacted},
		"zstd that is none": {with(func(x *batch) { x.attributes = 4 }), anyCode, compacted},
	}
	for name, c := range cases {
		for _, topic := range c.topics {
			got := produceRaw(t, b.kafka, topic, 7, c.records)
			if got == 0 || c.code != anyCode && got != c.code {
				t.Errorf("%s, to %s: error code %d, want %d (0: any)", name, topic, got, c.code)
			}
		}
	}
	for _, topic := range []string{"strict", "strict-compact"} {
		if end := endOffset(t, b.kafka, topic); end != 0 {
			t.Errorf("%s ends at offset %d: something bad was stored", topic, end)
		}
		if code := produceRaw(t, b.kafka, topic, 7, good); code != 0 {
			t.Errorf("a good batch to %s: error code %d", topic, code)
		}
		if end := endOffset(t, b.kafka, topic); end != 1 {
			t.Errorf("%s ends at offset %d after one good batch", topic, end)
		}
	}
}

// testTooLarge sends batches over the topic's limit.
func testTooLarge(t *testing.T, b *broker) {
	createWith(t, b.kafka, "small", map[string]string{"max.message.bytes": "1000"})
	createWith(t, b.kafka, "usual", nil)
	for topic, size := range map[string]int{"small": 1001, "usual": 2 << 20} {
		large := batch{count: 1, payload: batchRecord(nil, size, make([]byte, size))}
		if code := produceRaw(t, b.kafka, topic, 7, large.bytes()); code != codeMessageTooLarge {
			t.Errorf("%d bytes to %s: error code %d, want %d", size, topic, code, codeMessageTooLarge)
		}
		if end := endOffset(t, b.kafka, topic); end != 0 {
			t.Errorf("%s ends at offset %d", topic, end)
		}
	}
}

// bomb is a batch of one record of size zero bytes, compressed.
func bomb(t *testing.T, codec string, size int) []byte {
	t.Helper()
	var packed bytes.Buffer
	var w io.WriteCloser
	var err error
	switch codec {
	case "gzip":
		w, err = gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	case "snappy":
		w = &snappyBlocks{out: &packed}
		packed.Write(xerialMagic)
	case "lz4":
		w = lz4.NewWriter(&packed)
	case "zstd":
		w, err = zstd.NewWriter(&packed)
	}
	if err != nil {
		t.Fatal(err)
	}
	record := batchRecord(nil, size, nil)
	zeros := make([]byte, 1<<20)
	_, err = w.Write(record[:len(record)-1])
	for n := 0; n < size && err == nil; n += len(zeros) {
		_, err = w.Write(zeros)
	}
	if err == nil {
		_, err = w.Write([]byte{0}) // no headers
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	attributes := map[string]int16{"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}[codec]
	return batch{attributes: attributes, count: 1, payload: packed.Bytes()}.bytes()
}

// snappyBlocks writes xerial blocks.
type snappyBlocks struct{ out *bytes.Buffer }

func (s *snappyBlocks) Write(p []byte) (int, error) {
	block := wireBuf{}
	block.bytes(snappy.Encode(nil, p))
	return s.out.Write(append([]byte(nil), block...))
}

func (s *snappyBlocks) Close() error { return nil }

// testBombs sends a few MB that decompress to far more, to topics for which the broker must open them and to one for which
// it may. Its memory stays within bounds all the while.
func testBombs(t *testing.T, b *broker) {
	const bound = 384 << 10 // kB above what the process held before
	large := "16777216"
	createWith(t, b.kafka, "bombs", map[string]string{"max.message.bytes": large})
	createWith(t, b.kafka, "bombs-compact", map[string]string{"max.message.bytes": large, "cleanup.policy": "compact"})
	createWith(t, b.kafka, "bombs-recompress", map[string]string{"max.message.bytes": large, "compression.type": "uncompressed"})
	for codec, size := range map[string]int{"gzip": 512 << 20, "snappy": 256 << 20, "lz4": 512 << 20, "zstd": 1 << 30} {
		records := bomb(t, codec, size)
		for _, topic := range []string{"bombs", "bombs-compact", "bombs-recompress"} {
			if isReference() && topic == "bombs-recompress" {
				continue // Kafka decompresses into its heap
			}
			before := resetPeak(t, b)
			code := produceRaw(t, b.kafka, topic, 7, records)
			grown := b.procStatus(t, "VmHWM") - before
			t.Logf("%s to %s: %d kB that are %d MB: error code %d, %d MB of memory", codec, topic, len(records)>>10, size>>20, code,
				max(0, grown)>>10)
			if grown > bound {
				t.Errorf("a bomb of %s to %s cost %d MB of memory, more than %d", codec, topic, grown>>10, bound>>10)
			}
			if code == 0 && strings.HasSuffix(topic, "recompress") {
				t.Errorf("a bomb of %s was accepted where it had to be opened", codec)
			}
		}
	}
}

// resetPeak makes VmHWM start anew and returns it, in kB.
func resetPeak(t *testing.T, b *broker) int64 {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", b.proc.PID()), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	return b.procStatus(t, "VmHWM")
}
