package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// saramaClient is sarama held to one protocol version, as its users do. kafkactl is sarama at V2_5_0_0.
type saramaClient struct {
	addr    string
	version sarama.KafkaVersion
	cl      sarama.Client
	adm     sarama.ClusterAdmin
}

func newSarama(addr string, version sarama.KafkaVersion) (*saramaClient, error) {
	s := &saramaClient{addr: addr, version: version}
	var err error
	if s.cl, err = sarama.NewClient([]string{addr}, s.config()); err != nil {
		return nil, err
	}
	if s.adm, err = sarama.NewClusterAdminFromClient(s.cl); err != nil {
		return nil, errors.Join(err, s.cl.Close())
	}
	return s, nil
}

func (s *saramaClient) config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = s.version
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Return.Successes = true
	c.Producer.Flush.Messages = recordCount
	c.Producer.Flush.Frequency = 20 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.MaxWaitTime = 250 * time.Millisecond
	return c
}

func (s *saramaClient) close() { s.adm.Close() } // closes the client too

// lacksBefore says that the protocol of the pinned version has no such request.
func (s *saramaClient) lacksBefore(v sarama.KafkaVersion) error {
	if s.version.IsAtLeast(v) {
		return nil
	}
	return lacksError("the protocol of " + s.version.String() + " has no such request")
}

func (s *saramaClient) create(_ context.Context, topic string, partitions, replicas int, config map[string]string) error {
	entries := map[string]*string{}
	for k, v := range config {
		entries[k] = &v
	}
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: int16(replicas), ConfigEntries: entries}
	return s.adm.CreateTopic(topic, detail, false)
}

func (s *saramaClient) list(context.Context) ([]string, error) {
	if err := s.cl.RefreshMetadata(); err != nil {
		return nil, err
	}
	return s.cl.Topics()
}

func (s *saramaClient) describe(_ context.Context, topic string) (int, map[string]string, error) {
	topics, err := s.adm.DescribeTopics([]string{topic})
	if err != nil {
		return 0, nil, err
	}
	if topics[0].Err != sarama.ErrNoError {
		return 0, nil, topics[0].Err
	}
	if s.lacksBefore(sarama.V0_11_0_0) != nil {
		return len(topics[0].Partitions), nil, nil
	}
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic}
	results, err := s.adm.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return 0, nil, err
	}
	if results[0].ErrorCode != sarama.ErrNoError {
		return 0, nil, results[0].ErrorCode
	}
	config := map[string]string{}
	for _, e := range results[0].Configs {
		config[e.Name] = e.Value
	}
	return len(topics[0].Partitions), config, nil
}

func (s *saramaClient) alter(_ context.Context, topic, key, value string) error {
	if err := s.lacksBefore(sarama.V0_11_0_0); err != nil {
		return err
	}
	if s.lacksBefore(sarama.V2_3_0_0) != nil {
		return s.adm.AlterConfig(sarama.TopicResource, topic, map[string]*string{key: &value}, false)
	}
	return s.adm.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		key: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value},
	}, false)
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func (s *saramaClient) produce(_ context.Context, topic, codec string, recs []rec) (err error) {
	config := s.config()
	config.Producer.Compression = saramaCodecs[codec]
	if s.version.IsAtLeast(sarama.V0_11_0_0) {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewSyncProducer([]string{s.addr}, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	batch := make([]*sarama.ProducerMessage, len(recs))
	for i, r := range recs {
		m := &sarama.ProducerMessage{Topic: topic, Timestamp: time.UnixMilli(r.ts)}
		if r.key != nil {
			m.Key = sarama.ByteEncoder(r.key)
		}
		if r.value != nil {
			m.Value = sarama.ByteEncoder(r.value)
		}
		if s.version.IsAtLeast(sarama.V0_11_0_0) {
			m.Headers = []sarama.RecordHeader{{Key: []byte("n"), Value: []byte(r.header)}}
		}
		batch[i] = m
	}
	if err := producer.SendMessages(batch); err != nil {
		return err
	}
	for i, m := range batch {
		if m.Offset != recs[i].offset {
			return fmt.Errorf("record %d was given offset %d", i, m.Offset)
		}
	}
	return nil
}

func (s *saramaClient) read(ctx context.Context, topic string, from int64, n int) (got []rec, err error) {
	consumer, err := sarama.NewConsumerFromClient(s.cl)
	if err != nil {
		return nil, err
	}
	part, err := consumer.ConsumePartition(topic, 0, from)
	if err != nil {
		return nil, errors.Join(err, consumer.Close())
	}
	defer func() { err = errors.Join(err, part.Close(), consumer.Close()) }()
	for len(got) < n {
		select {
		case m := <-part.Messages():
			r := rec{offset: m.Offset, key: m.Key, value: m.Value, ts: m.Timestamp.UnixMilli()}
			for _, h := range m.Headers {
				if string(h.Key) == "n" {
					r.header = string(h.Value)
				}
			}
			got = append(got, r)
		case <-ctx.Done():
			return got, fmt.Errorf("%d records of %d: %w", len(got), n, ctx.Err())
		}
	}
	return got, nil
}

// saramaMember is one sarama.ConsumerGroup; Consume returns at each rebalance and is called again.
type saramaMember struct {
	group  sarama.ConsumerGroup
	cancel context.CancelFunc
	done   chan struct{}
	claims func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error

	mu   sync.Mutex // guards held
	held int
}

func (s *saramaClient) joinGroup(group, topic string,
	claims func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error,
) (*saramaMember, error) {
	g, err := sarama.NewConsumerGroup([]string{s.addr}, group, s.config())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &saramaMember{group: g, cancel: cancel, done: make(chan struct{}), claims: claims}
	go func() { // ends when leave cancels ctx
		defer close(m.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, m); errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
		}
	}()
	return m, nil
}

func (s *saramaClient) join(_ context.Context, group, topic string) (member, error) {
	return s.joinGroup(group, topic, func(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for range claim.Messages() {
		}
		return nil
	})
}

func (m *saramaMember) setHeld(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = n
}

// Setup, Cleanup and ConsumeClaim are sarama's callbacks.
func (m *saramaMember) Setup(s sarama.ConsumerGroupSession) error {
	n := 0
	for _, parts := range s.Claims() {
		n += len(parts)
	}
	m.setHeld(n)
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { m.setHeld(0); return nil }

func (m *saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	return m.claims(s, c)
}

func (m *saramaMember) assigned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

func (m *saramaMember) leave(context.Context) error {
	m.cancel()
	<-m.done
	return m.group.Close()
}

// firstOffset joins alone and calls seen for every record until that returns true.
func (s *saramaClient) firstOffset(ctx context.Context, group, topic string,
	seen func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage) bool,
) error {
	done := make(chan struct{})
	var once sync.Once
	m, err := s.joinGroup(group, topic, func(ses sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for {
			select {
			case msg, ok := <-claim.Messages():
				if !ok {
					return nil
				}
				if seen(ses, msg) {
					once.Do(func() { close(done) })
					return nil
				}
			case <-ses.Context().Done():
				return nil
			}
		}
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errors.Join(err, m.leave(ctx))
}

func (s *saramaClient) consumeAndCommit(ctx context.Context, group, topic string, n int64) error {
	return s.firstOffset(ctx, group, topic, func(ses sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) bool {
		ses.MarkMessage(msg, "")
		if msg.Offset+1 < n {
			return false
		}
		ses.Commit()
		return true
	})
}

func (s *saramaClient) resume(ctx context.Context, group, topic string) (at int64, err error) {
	err = s.firstOffset(ctx, group, topic, func(_ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) bool {
		at = msg.Offset
		return true
	})
	return at, err
}

func (s *saramaClient) offsetAt(_ context.Context, topic string, ts int64) (int64, error) {
	return s.cl.GetOffset(topic, 0, ts)
}

func (s *saramaClient) committed(_ context.Context, group, topic string) (int64, error) {
	listed, err := s.adm.ListConsumerGroups()
	if err != nil {
		return 0, err
	}
	if _, ok := listed[group]; !ok {
		return 0, fmt.Errorf("group %s is not listed among %v", group, listed)
	}
	described, err := s.adm.DescribeConsumerGroups([]string{group})
	if err != nil {
		return 0, err
	}
	if described[0].State != "Empty" {
		return 0, fmt.Errorf("group %s is %s, want Empty", group, described[0].State)
	}
	offsets, err := s.adm.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
	if err != nil {
		return 0, err
	}
	return offsets.GetBlock(topic, 0).Offset, nil
}

func (s *saramaClient) remove(_ context.Context, topic string) error { return s.adm.DeleteTopic(topic) }
