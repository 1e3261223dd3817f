package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is franz-go: kgo for records and groups, kadm for the rest.
type franz struct {
	addr string
	adm  *kadm.Client
}

func newFranz(addr string) (*franz, error) {
	// kadm answers from metadata of this age, which would hide what the broker says now.
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return &franz{addr: addr, adm: kadm.NewClient(cl)}, nil
}

func (f *franz) close() { f.adm.Close() }

func (f *franz) create(ctx context.Context, topic string, partitions, replicas int, config map[string]string) error {
	pointers := map[string]*string{}
	for k, v := range config {
		pointers[k] = &v
	}
	_, err := f.adm.CreateTopic(ctx, int32(partitions), int16(replicas), pointers, topic)
	return err
}

func (f *franz) list(ctx context.Context) ([]string, error) {
	topics, err := f.adm.ListTopics(ctx)
	return topics.Names(), err
}

func (f *franz) describe(ctx context.Context, topic string) (int, map[string]string, error) {
	topics, err := f.adm.ListTopics(ctx, topic)
	if err := errors.Join(err, topics.Error()); err != nil {
		return 0, nil, err
	}
	resources, err := f.adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return 0, nil, err
	}
	config := map[string]string{}
	for _, resource := range resources {
		if resource.Err != nil {
			return 0, nil, resource.Err
		}
		for _, c := range resource.Configs {
			config[c.Key] = c.MaybeValue()
		}
	}
	return len(topics[topic].Partitions), config, nil
}

func (f *franz) alter(ctx context.Context, topic, key, value string) error {
	resp, err := f.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err != nil {
		return err
	}
	for _, r := range resp {
		err = errors.Join(err, r.Err)
	}
	return err
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (f *franz) produce(ctx context.Context, topic, codec string, recs []rec) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	batch := make([]*kgo.Record, len(recs))
	for i, r := range recs {
		batch[i] = &kgo.Record{Topic: topic, Key: r.key, Value: r.value, Timestamp: time.UnixMilli(r.ts),
			Headers: []kgo.RecordHeader{{Key: "n", Value: []byte(r.header)}}}
	}
	for i, res := range cl.ProduceSync(ctx, batch...) {
		if res.Err != nil {
			return res.Err
		}
		if res.Record.Offset != recs[i].offset {
			return fmt.Errorf("record %d was given offset %d", i, res.Record.Offset)
		}
	}
	return nil
}

func (f *franz) read(ctx context.Context, topic string, from int64, n int) ([]rec, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {0: kgo.NewOffset().At(from)},
	}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var got []rec
	for len(got) < n {
		fetches := cl.PollRecords(ctx, n-len(got))
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return got, err
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, fromKgo(r)) })
	}
	return got, nil
}

// franzMember polls for as long as it is a member, so that rebalances go on.
type franzMember struct {
	cl   *kgo.Client
	done chan struct{}

	mu   sync.Mutex // guards held
	held int
}

func groupOptions(addr, group, topic string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(300 * time.Millisecond), kgo.FetchMaxWait(250 * time.Millisecond),
	}
}

func (f *franz) join(_ context.Context, group, topic string) (member, error) {
	return joinFranz(f.addr, group, topic)
}

// joinFranz starts a member. Options given win over those of groupOptions.
func joinFranz(addr, group, topic string, opts ...kgo.Opt) (*franzMember, error) {
	m := &franzMember{done: make(chan struct{})}
	change := func(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.held += sign * len(parts[topic])
		}
	}
	all := append(groupOptions(addr, group, topic), kgo.Balancers(kgo.RangeBalancer()),
		kgo.OnPartitionsAssigned(change(+1)), kgo.OnPartitionsRevoked(change(-1)), kgo.OnPartitionsLost(change(-1)))
	var err error
	if m.cl, err = kgo.NewClient(append(all, opts...)...); err != nil {
		return nil, err
	}
	go func() { // ends when leave closes the client
		defer close(m.done)
		for !m.cl.PollFetches(context.Background()).IsClientClosed() {
		}
	}()
	return m, nil
}

func (m *franzMember) assigned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

func (m *franzMember) leave(context.Context) error {
	m.cl.Close()
	<-m.done
	return nil
}

func (f *franz) consumeAndCommit(ctx context.Context, group, topic string, n int64) error {
	cl, err := kgo.NewClient(groupOptions(f.addr, group, topic)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for read := int64(0); read < n; {
		fetches := cl.PollRecords(ctx, int(n-read))
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return err
		}
		read += int64(fetches.NumRecords())
		if err := cl.CommitRecords(ctx, fetches.Records()...); err != nil {
			return err
		}
	}
	return nil
}

func (f *franz) resume(ctx context.Context, group, topic string) (int64, error) {
	cl, err := kgo.NewClient(groupOptions(f.addr, group, topic)...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	for {
		fetches := cl.PollRecords(ctx, 1)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return 0, err
		}
		if recs := fetches.Records(); len(recs) > 0 {
			return recs[0].Offset, nil
		}
	}
}

func (f *franz) offsetAt(ctx context.Context, topic string, ts int64) (int64, error) {
	listed, err := f.adm.ListOffsetsAfterMilli(ctx, ts, topic)
	if err := errors.Join(err, listed.Error()); err != nil {
		return 0, err
	}
	return listed[topic][0].Offset, nil
}

func (f *franz) committed(ctx context.Context, group, topic string) (int64, error) {
	listed, err := f.adm.ListGroups(ctx)
	if err != nil {
		return 0, err
	}
	if _, ok := listed[group]; !ok {
		return 0, fmt.Errorf("group %s is not listed among %v", group, listed.Groups())
	}
	described, err := f.adm.DescribeGroups(ctx, group)
	if err := errors.Join(err, described.Error()); err != nil {
		return 0, err
	}
	if state := described[group].State; state != "Empty" {
		return 0, fmt.Errorf("group %s is %s, want Empty", group, state)
	}
	offsets, err := f.adm.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	at, ok := offsets.Lookup(topic, 0)
	if !ok {
		return 0, fmt.Errorf("group %s has no offset for %s", group, topic)
	}
	return at.At, at.Err
}

func (f *franz) remove(ctx context.Context, topic string) error {
	_, err := f.adm.DeleteTopic(ctx, topic)
	return err
}
