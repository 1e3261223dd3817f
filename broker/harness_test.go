package broker

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/wire/record"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// testNode is a node in this process, on real files and a real loopback port.
type testNode struct {
	t       *testing.T
	dir     string
	options Options
	addr    string
	peer    string // to come back at; empty: anywhere
	b       *Broker
	ready   chan *Broker
	done    chan error
	stop    func()
}

// startNode runs a node until the test ends, or stop is called.
func startNode(t *testing.T, config map[string]string) *testNode {
	t.Helper()
	n := &testNode{t: t, dir: t.TempDir(), options: Options{Config: config}}
	n.start()
	return n
}

func (n *testNode) start() {
	n.t.Helper()
	n.launch()
	n.await()
}

// launch begins a start, which await waits for: nodes of one cluster wait for each other.
func (n *testNode) launch() {
	n.t.Helper()
	listen := func(address string) net.Listener {
		l, err := net.Listen("tcp", address)
		if err != nil {
			n.t.Fatal(err)
		}
		return l
	}
	o := n.options
	o.DataDir, o.Kafka, o.Peer, o.strictWire = n.dir, listen("127.0.0.1:0"), listen(cmp.Or(n.peer, "127.0.0.1:0")), true
	n.addr = o.Kafka.Addr().String()
	if raceEnabled {
		n.peer = o.Peer.Addr().String() // Raft 1.7.3 reads a peer's id unlocked while its address changes: harmless, and reported
	}
	o.Logger = slog.New(slog.NewTextHandler(testWriter{n.t}, &slog.HandlerOptions{Level: slog.LevelWarn})).With("node", o.NodeID)
	ctx, cancel := context.WithCancel(context.Background())
	n.ready, n.done = make(chan *Broker, 1), make(chan error, 1)
	ready, done := n.ready, n.done
	go func() { done <- Run(ctx, o, func(b *Broker) { ready <- b }) }()
	var stopped atomic.Bool
	n.stop = func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("the node did not stop cleanly: %v", err)
		}
	}
	n.t.Cleanup(n.stop)
}

func (n *testNode) await() {
	n.t.Helper()
	select {
	case n.b = <-n.ready:
	case err := <-n.done:
		n.done <- err
		n.t.Fatalf("the node did not start: %v", err)
	case <-time.After(30 * time.Second):
		n.t.Fatal("the node is not ready after 30 s")
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("node: %s", p)
	return len(p), nil
}

// createTopic makes a topic and fails the test if it cannot.
func (n *testNode) createTopic(name string, partitions int32, configs ...string) {
	n.t.Helper()
	n.createReplicated(name, partitions, 1, configs...)
}

func (n *testNode) createReplicated(name string, partitions int32, factor int16, configs ...string) {
	n.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	for i := 0; i < len(configs); i += 2 {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Topics = append(req.Topics, t)
	resp := n.raw().ask(req, 7).(*kmsg.CreateTopicsResponse)
	if code := resp.Topics[0].ErrorCode; code != 0 {
		n.t.Fatalf("create %s: code %d: %s", name, code, deref(resp.Topics[0].ErrorMessage))
	}
}

// rawConn speaks the protocol one request at a time, at exactly the version asked for.
type rawConn struct {
	t    *testing.T
	conn net.Conn
	next int32
}

func (n *testNode) raw() *rawConn {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return &rawConn{t: n.t, conn: conn}
}

// send writes a request and returns its correlation id.
func (c *rawConn) send(req kmsg.Request, version int16) int32 {
	c.t.Helper()
	req.SetVersion(version)
	c.next++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, c.next)
	if _, err := c.conn.Write(frame); err != nil {
		c.t.Fatal(err)
	}
	return c.next
}

// receive reads the answer to a request and checks that it is that one, and nothing more.
func (c *rawConn) receive(req kmsg.Request, correlation int32) kmsg.Response {
	c.t.Helper()
	body, err := c.frame()
	if err != nil {
		c.t.Fatalf("%s v%d: no answer: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	r := kbin.Reader{Src: body}
	if got := r.Int32(); got != correlation {
		c.t.Fatalf("%s v%d: correlation id %d, want %d", kmsg.NameForKey(req.Key()), req.GetVersion(), got, correlation)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		kmsg.SkipTags(&r)
	}
	if err := resp.ReadFrom(r.Src); err != nil {
		c.t.Fatalf("%s v%d: answer cannot be decoded: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	// Java clients refuse an answer with a byte too many.
	if again := resp.AppendTo(nil); len(again) != len(r.Src) {
		c.t.Fatalf("%s v%d: answer has %d bytes, decoded and encoded again %d", kmsg.NameForKey(req.Key()), req.GetVersion(), len(r.Src), len(again))
	}
	return resp
}

func (c *rawConn) frame() ([]byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c.conn, body)
	return body, err
}

// ask is send and receive.
func (c *rawConn) ask(req kmsg.Request, version int16) kmsg.Response {
	c.t.Helper()
	return c.receive(req, c.send(req, version))
}

// closed reports whether the node has closed the connection.
func (c *rawConn) closed() bool {
	_, err := c.frame()
	return errors.Is(err, io.EOF)
}

// producer gives test batches an identity.
type producer struct {
	id       int64
	epoch    int16
	sequence int32
}

// testBatch is a batch of magic 2 with one record for each value.
func testBatch(t *testing.T, p *producer, values ...string) []byte {
	t.Helper()
	spec := record.Spec{}
	if p != nil {
		spec.Producer = &record.Producer{ID: p.id, Epoch: p.epoch, Sequence: p.sequence}
	}
	builder := record.NewBuilder(spec)
	for i, v := range values {
		if err := builder.Add(&record.Record{Offset: int64(i), Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// produce sends one batch and returns the answer for its partition.
func (c *rawConn) produce(version int16, acks int16, topic string, partition int32, records []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	return c.ask(produceRequest(acks, topic, partition, records), version).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
}

func produceRequest(acks int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	req.Topics = []kmsg.ProduceRequestTopic{{
		Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}},
	}}
	return req
}

// fetchRequest asks for one partition.
func fetchRequest(topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 1, 1<<20
	req.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = partition, offset, 1<<20, -1, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
}

// topicID looks a topic up in the node's metadata.
func (n *testNode) topicID(name string) [16]byte {
	n.t.Helper()
	topic, ok := n.b.meta.Image().Topic(defaultTenant, name)
	if !ok {
		n.t.Fatalf("no topic %s", name)
	}
	return topic.ID
}
