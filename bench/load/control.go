package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	clientID        = "bench"
	dialTimeout     = 10 * time.Second
	controlDeadline = 30 * time.Second // for one request outside the measured loops
	maxControlBytes = 64 << 20         // of one response
)

// Control is a connection for the requests around a run: one at a time, through kmsg, at versions that
// both Chronik and Apache Kafka 4 serve. It is not safe for concurrent use.
type Control struct {
	conn   net.Conn
	format *kmsg.RequestFormatter
	corr   int32
	buf    []byte
}

// Dial connects to a broker at host:port.
func Dial(ctx context.Context, addr string) (*Control, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &Control{conn: conn, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))}, nil
}

func dial(ctx context.Context, addr string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	return conn.(*net.TCPConn), nil
}

// Close closes the connection.
func (c *Control) Close() error { return c.conn.Close() }

// Do sends req at its own version and returns the decoded response, which aliases a buffer that the
// next call uses again. The error codes inside are the caller's to read.
func (c *Control) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	resp, err := c.do(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp, nil
}

func (c *Control) do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() }) // nothing more is sent after that
	defer stop()
	if err := c.conn.SetDeadline(time.Now().Add(controlDeadline)); err != nil {
		return nil, err
	}
	c.corr++
	c.buf = c.format.AppendRequest(c.buf[:0], req, c.corr)
	if _, err := c.conn.Write(c.buf); err != nil {
		return nil, err
	}
	body, err := c.frame()
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("tags in the response header")
		}
		body = body[1:]
	}
	return resp, resp.ReadFrom(body)
}

// frame reads one response and returns what follows its correlation id.
func (c *Control) frame() ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	corr := int32(binary.BigEndian.Uint32(head[4:]))
	if size < 4 || size > maxControlBytes || corr != c.corr {
		return nil, fmt.Errorf("response of %d bytes to request %d, while %d is out", size, corr, c.corr)
	}
	if need := int(size) - 4; cap(c.buf) < need {
		c.buf = make([]byte, need)
	}
	c.buf = c.buf[:size-4]
	_, err := io.ReadFull(c.conn, c.buf)
	return c.buf, err
}

// CreateTopic creates a topic with one replica and returns when every partition answers. Configs are
// topic configs by their Kafka names.
func (c *Control) CreateTopic(ctx context.Context, topic string, partitions int, configs map[string]string) error {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, int32(partitions), 1
	for name, value := range configs {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = name, &value
		t.Configs = append(t.Configs, cfg)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 5, int32(controlDeadline.Milliseconds())
	req.Topics = append(req.Topics, t)
	resp, err := c.Do(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.CreateTopicsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return c.awaitLeaders(ctx, topic, partitions)
}

// awaitLeaders asks for end offsets until all partitions know theirs.
func (c *Control) awaitLeaders(ctx context.Context, topic string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, controlDeadline)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := c.EndOffsets(ctx, topic, partitions)
		if err == nil || !kerr.IsRetriable(err) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("leaders of topic %s: %w", topic, errors.Join(ctx.Err(), err))
		}
	}
}

// DeleteTopic deletes a topic and its records.
func (c *Control) DeleteTopic(ctx context.Context, topic string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 4, int32(controlDeadline.Milliseconds()), []string{topic}
	resp, err := c.Do(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.DeleteTopicsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("delete topic %s: %w", topic, err)
		}
	}
	return nil
}

// EndOffsets returns the end offset of each partition.
func (c *Control) EndOffsets(ctx context.Context, topic string, partitions int) ([]int64, error) {
	return c.listOffsets(ctx, topic, partitions, -1)
}

// StartOffsets returns the log start offset of each partition.
func (c *Control) StartOffsets(ctx context.Context, topic string, partitions int) ([]int64, error) {
	return c.listOffsets(ctx, topic, partitions, -2)
}

func (c *Control) listOffsets(ctx context.Context, topic string, partitions int, which int64) ([]int64, error) {
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for i := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = int32(i), which, -1
		t.Partitions = append(t.Partitions, p)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 5, -1
	req.Topics = append(req.Topics, t)
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	offsets, seen := make([]int64, partitions), 0
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("offsets of partition %d: %w", p.Partition, err)
			}
			if p.Partition < 0 || int(p.Partition) >= partitions {
				return nil, fmt.Errorf("offsets of partition %d, which nobody asked for", p.Partition)
			}
			offsets[p.Partition] = p.Offset
			seen++
		}
	}
	if seen != partitions {
		return nil, fmt.Errorf("offsets of %d partitions, asked for %d", seen, partitions)
	}
	return offsets, nil
}
