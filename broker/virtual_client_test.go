package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire/record"
)

// ask sends one request on a connection of its own and waits for the answer, as a client that gives up
// rather than failing the test.
func (c *virtualCluster) ask(to int32, req kmsg.Request, version int16, patience time.Duration) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := c.client.dial(ctx, "tcp", fmt.Sprintf("%s:%d", virtualIP(to), kafkaPort))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	req.SetVersion(version)
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("virtual")).AppendRequest(nil, req, 1)); err != nil {
		return nil, err
	}
	return readAnswer(conn, req)
}

func readAnswer(conn net.Conn, req kmsg.Request) (kmsg.Response, error) {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, err
	}
	r := kbin.Reader{Src: body}
	if id := r.Int32(); id != 1 {
		return nil, fmt.Errorf("correlation id %d", id)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		kmsg.SkipTags(&r)
	}
	return resp, resp.ReadFrom(r.Src)
}

// create makes a topic of one partition on all three nodes, with its leader on node leader, and waits until
// all know it.
func (c *virtualCluster) create(topic string, leader int32, configs ...string) {
	c.t.Helper()
	c.eventually(10*time.Second, "not every node knows that all are active", func() bool {
		for _, b := range c.running() {
			for _, n := range c.nodes {
				if known, ok := b.meta.Image().Broker(n.id); !ok || known.State != raftmeta.Active {
					return false
				}
			}
		}
		return true
	})
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, -1, -1
	replicas := []int32{leader}
	for _, n := range c.nodes {
		if n.id != leader {
			replicas = append(replicas, n.id)
		}
	}
	t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: replicas}}
	for i := 0; i < len(configs); i += 2 {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.ask(leader, req, 7, 20*time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	if answer := resp.(*kmsg.CreateTopicsResponse).Topics[0]; answer.ErrorCode != 0 {
		c.t.Fatalf("create %s: code %d: %s", topic, answer.ErrorCode, deref(answer.ErrorMessage))
	}
	c.eventually(10*time.Second, "all nodes know the topic and are in sync", func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *virtualNode) bool {
			p := n.partition(topic, 0)
			return p == nil || len(p.ISR) != 3 || n.hosted(topic) == nil
		})
	})
}

// hosted is what a node has of partition 0.
func (n *virtualNode) hosted(topic string) *hosted {
	found, ok := n.b.meta.Image().Topic(defaultTenant, topic)
	if !ok {
		return nil
	}
	return n.b.replicas.get(found.ID, 0)
}

// errKafka is the code of an answer.
type errKafka int16

func (e errKafka) Error() string { return kerr.ErrorForCode(int16(e)).Error() }

// produce sends one batch to a node, and returns the offset of its first record.
func (c *virtualCluster) produce(to int32, topic string, p *producer, patience time.Duration, values ...string) (int64, error) {
	req := produceRequest(-1, topic, 0, testBatch(c.t, p, values...))
	req.TimeoutMillis = int32(patience.Milliseconds())
	resp, err := c.ask(to, req, 9, patience+time.Second)
	if err != nil {
		return -1, err
	}
	answer := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if answer.ErrorCode != 0 {
		return -1, errKafka(answer.ErrorCode)
	}
	return answer.BaseOffset, nil
}

// mustProduce goes on until a node has acknowledged the batch; the nodes are asked for the leader.
func (c *virtualCluster) mustProduce(topic string, p *producer, within time.Duration, values ...string) (offset int64) {
	c.t.Helper()
	c.eventually(within, "a batch is not acknowledged", func() bool {
		leader := c.leader(topic)
		if leader < 0 {
			return false
		}
		at, err := c.produce(leader, topic, p, 2*time.Second, values...)
		if err == nil {
			offset = at
		}
		return err == nil
	})
	if p != nil {
		p.sequence += int32(len(values))
	}
	return offset
}

// leader is who leads as most of the running nodes see it: that of the highest epoch, -1 for none.
func (c *virtualCluster) leader(topic string) int32 {
	leader, epoch := int32(-1), int32(-1)
	for _, b := range c.running() {
		if p := b.partitionSeen(topic, 0); p != nil && p.LeaderEpoch > epoch {
			leader, epoch = p.Leader, p.LeaderEpoch
		}
	}
	return leader
}

// fetch reads from a node what it shows to consumers from an offset on, and how far it shows anything.
func (c *virtualCluster) fetch(from int32, topic string, offset int64) (values []string, highWatermark int64, err error) {
	resp, err := c.ask(from, fetchRequest(topic, [16]byte{}, 0, offset), 12, 2*time.Second)
	if err != nil {
		return nil, -1, err
	}
	answer := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if answer.ErrorCode != 0 {
		return nil, -1, errKafka(answer.ErrorCode)
	}
	for rest := answer.RecordBatches; len(rest) > 0; {
		var b record.Batch
		if b, rest, err = record.Next(rest); err != nil {
			return nil, -1, err
		}
		err = errors.Join(b.Check(), b.Each(record.Limits{}, func(r *record.Record) error {
			if r.Offset >= offset {
				values = append(values, string(r.Value))
			}
			return nil
		}))
		if err != nil {
			return nil, -1, err
		}
	}
	return values, answer.HighWatermark, nil
}

// epochEnd asks a node, as a consumer does, where its history of a leader epoch ends.
func (c *virtualCluster) epochEnd(of int32, topic string, epoch int32) (end int64, err error) {
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.CurrentLeaderEpoch, p.LeaderEpoch = partition.AnyEpoch, epoch
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	resp, err := c.ask(of, req, 4, 2*time.Second)
	if err != nil {
		return -1, err
	}
	answer := resp.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
	if answer.ErrorCode != 0 {
		return -1, errKafka(answer.ErrorCode)
	}
	return answer.EndOffset, nil
}

// all reads everything from the leader.
func (c *virtualCluster) all(topic string) (values []string) {
	c.t.Helper()
	c.eventually(20*time.Second, "the leader cannot be read", func() bool {
		list, end, err := c.fetch(c.leader(topic), topic, 0)
		values = list
		return err == nil && int64(len(list)) == end
	})
	return values
}

// settled waits until every running node has the same bytes, all of them in sync and acknowledged.
func (c *virtualCluster) settled(topic string, within time.Duration) {
	c.t.Helper()
	state := ""
	defer func() {
		if c.t.Failed() {
			c.t.Log(state)
		}
	}()
	c.eventually(within, "the replicas differ", func() bool {
		var logs []string
		var text strings.Builder
		for _, n := range c.nodes {
			h, p := n.hosted(topic), n.partition(topic, 0)
			if h == nil || p == nil {
				return false
			}
			o := h.replica.Offsets()
			fmt.Fprintf(&text, "node %d: %+v leader %d epoch %d isr %v elr %v\n", n.id, o, p.Leader, p.LeaderEpoch, p.ISR, p.ELR)
			if len(p.ISR) == len(c.nodes) && o.HighWatermark == o.End {
				logs = append(logs, string(n.bytes(topic)))
			}
		}
		state = text.String()
		return len(logs) == len(c.nodes) && len(slices.Compact(logs)) == 1
	})
}

// bytes is the content of a node's log.
func (n *virtualNode) bytes(topic string) []byte {
	n.c.t.Helper()
	l := n.hosted(topic).replica.Log()
	view, err := l.Read(l.StartOffset(), l.EndOffset(), 64<<20, true)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer view.Release()
	content, err := view.Bytes(nil)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return content
}

// node is a node by its id.
func (c *virtualCluster) node(id int32) *virtualNode { return c.nodes[id-1] }

// controller is the broker id of the controller, once there is one.
func (c *virtualCluster) controller() (id int32) {
	c.t.Helper()
	c.eventually(10*time.Second, "no controller", func() bool {
		for _, b := range c.running() {
			if b.meta.IsLeader() && b.cluster.Controller() == b.nodeID {
				id = b.nodeID
				return true
			}
		}
		return false
	})
	return id
}
