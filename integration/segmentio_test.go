package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafka "github.com/segmentio/kafka-go"
)

// segmentio is segmentio/kafka-go: its Client and Writer choose the highest common version, its Reader and Conn look at
// the broker's maximums only.
type segmentio struct {
	addr string
	cl   *kafka.Client
}

func newSegmentio(addr string) *segmentio {
	return &segmentio{addr: addr, cl: &kafka.Client{Addr: kafka.TCP(addr), Timeout: stepDeadline}}
}

func (s *segmentio) close() {}

func (s *segmentio) create(ctx context.Context, topic string, partitions, replicas int, config map[string]string) error {
	tc := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: replicas}
	for k, v := range config {
		tc.ConfigEntries = append(tc.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	resp, err := s.cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{tc}})
	if err != nil {
		return err
	}
	return resp.Errors[topic]
}

func (s *segmentio) list(ctx context.Context) ([]string, error) {
	resp, err := s.cl.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range resp.Topics {
		names = append(names, t.Name)
	}
	return names, nil
}

func (s *segmentio) describe(ctx context.Context, topic string) (int, map[string]string, error) {
	meta, err := s.cl.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, nil, err
	}
	resp, err := s.cl.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic},
	}})
	if err != nil {
		return 0, nil, err
	}
	config := map[string]string{}
	for _, e := range resp.Resources[0].ConfigEntries {
		config[e.ConfigName] = e.ConfigValue
	}
	return len(meta.Topics[0].Partitions), config, errors.Join(meta.Topics[0].Error, resp.Resources[0].Error)
}

func (s *segmentio) alter(ctx context.Context, topic, key, value string) error {
	resp, err := s.cl.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{
				{Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet},
			},
		}},
	})
	if err != nil {
		return err
	}
	return resp.Resources[0].Error
}

var segmentioCodecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func (s *segmentio) produce(ctx context.Context, topic, codec string, recs []rec) (err error) {
	w := &kafka.Writer{Addr: kafka.TCP(s.addr), Topic: topic, RequiredAcks: kafka.RequireAll,
		Compression: segmentioCodecs[codec], BatchSize: recordCount, BatchTimeout: 20 * time.Millisecond}
	defer func() { err = errors.Join(err, w.Close()) }()
	batch := make([]kafka.Message, len(recs))
	for i, r := range recs {
		batch[i] = kafka.Message{Key: r.key, Value: r.value, Time: time.UnixMilli(r.ts),
			Headers: []kafka.Header{{Key: "n", Value: []byte(r.header)}}}
	}
	return w.WriteMessages(ctx, batch...)
}

func (s *segmentio) read(ctx context.Context, topic string, from int64, n int) (got []rec, err error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{s.addr}, Topic: topic, MaxWait: 250 * time.Millisecond})
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.SetOffset(from); err != nil {
		return nil, err
	}
	for len(got) < n {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return got, fmt.Errorf("%d records of %d: %w", len(got), n, err)
		}
		r := rec{offset: m.Offset, key: m.Key, value: m.Value, ts: m.Time.UnixMilli()}
		for _, h := range m.Headers {
			if h.Key == "n" {
				r.header = string(h.Value)
			}
		}
		got = append(got, r)
	}
	return got, nil
}

// segmentioMember waits for one generation after the other.
type segmentioMember struct {
	group *kafka.ConsumerGroup
	done  chan struct{}

	mu   sync.Mutex // guards held
	held int
}

func (s *segmentio) join(_ context.Context, group, topic string) (member, error) {
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: group, Brokers: []string{s.addr}, Topics: []string{topic},
		HeartbeatInterval: 300 * time.Millisecond, SessionTimeout: 6 * time.Second, RebalanceTimeout: 6 * time.Second})
	if err != nil {
		return nil, err
	}
	m := &segmentioMember{group: g, done: make(chan struct{})}
	go func() { // ends when leave closes the group
		defer close(m.done)
		for {
			gen, err := g.Next(context.Background())
			if errors.Is(err, kafka.ErrGroupClosed) {
				return
			}
			if err != nil {
				continue
			}
			m.mu.Lock()
			m.held = len(gen.Assignments[topic])
			m.mu.Unlock()
		}
	}()
	return m, nil
}

func (m *segmentioMember) assigned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

func (m *segmentioMember) leave(context.Context) error {
	err := m.group.Close()
	<-m.done
	return err
}

func (s *segmentio) groupReader(group, topic string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{Brokers: []string{s.addr}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
		MaxWait: 250 * time.Millisecond, HeartbeatInterval: 300 * time.Millisecond, SessionTimeout: 6 * time.Second})
}

func (s *segmentio) consumeAndCommit(ctx context.Context, group, topic string, n int64) (err error) {
	r := s.groupReader(group, topic)
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return err
		}
		if m.Offset+1 == n {
			return r.CommitMessages(ctx, m)
		}
	}
}

func (s *segmentio) resume(ctx context.Context, group, topic string) (at int64, err error) {
	r := s.groupReader(group, topic)
	defer func() { err = errors.Join(err, r.Close()) }()
	m, err := r.FetchMessage(ctx)
	return m.Offset, err
}

func (s *segmentio) offsetAt(ctx context.Context, topic string, ts int64) (at int64, err error) {
	conn, err := kafka.DialLeader(ctx, "tcp", s.addr, topic, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.ReadOffset(time.UnixMilli(ts))
}

func (s *segmentio) committed(ctx context.Context, group, topic string) (int64, error) {
	listed, err := s.cl.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err := errors.Join(err, listedError(listed)); err != nil {
		return 0, err
	}
	found := false
	for _, g := range listed.Groups {
		found = found || g.GroupID == group
	}
	if !found {
		return 0, fmt.Errorf("group %s is not listed among %v", group, listed.Groups)
	}
	described, err := s.cl.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return 0, err
	}
	if g := described.Groups[0]; g.Error != nil || g.GroupState != "Empty" {
		return 0, fmt.Errorf("group %s is %s (%v), want Empty", group, g.GroupState, g.Error)
	}
	offsets, err := s.cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	if err := errors.Join(err, offsetsError(offsets)); err != nil {
		return 0, err
	}
	return offsets.Topics[topic][0].CommittedOffset, nil
}

func listedError(r *kafka.ListGroupsResponse) error {
	if r == nil {
		return nil
	}
	return r.Error
}

func offsetsError(r *kafka.OffsetFetchResponse) error {
	if r == nil {
		return nil
	}
	return r.Error
}

func (s *segmentio) remove(ctx context.Context, topic string) error {
	resp, err := s.cl.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return resp.Errors[topic]
}
