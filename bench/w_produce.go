package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/bench/load"
)

const (
	// samplesPerPartition is how many batches of each partition are read back and compared after a run.
	samplesPerPartition = 8
	// variants is how many different batches a run sends, so that a broker which mixes up partitions is
	// found out. More would leave the client's cache and be paid for in its CPU.
	variants = 16
	grace    = 60 * time.Second // for a load to start and to drain, besides its window
)

// produceCase is a flat-out produce experiment.
type produceCase struct {
	valueBytes  int
	batchBytes  int
	codec       load.Codec
	acks        int16
	partitions  int
	connections int
	inFlight    int
}

func (p produceCase) run(ctx context.Context, l *lab, t Target, w *workload) ([]Row, error) {
	if _, err := t.Start(ctx); err != nil {
		return nil, err
	}
	o, err := p.options(l, t)
	if err != nil {
		return nil, err
	}
	if err := createTopic(ctx, t, o); err != nil {
		return nil, err
	}
	producer, err := load.StartProducer(ctx, o)
	if err != nil {
		return nil, err
	}
	row, err := l.window(ctx, t, w, stream{
		progress: producer.Acked, measure: []func(bool){producer.Measure}, failed: [2]<-chan struct{}{producer.Failed()},
	})
	res, stopErr := producer.Stop()
	if err := errors.Join(err, stopErr); err != nil {
		return nil, err
	}
	if err := load.Sample(ctx, o, res.Ends, samplesPerPartition); err != nil {
		return nil, err
	}
	row.Latency = latencyOf(&res.Latency)
	return []Row{row}, deleteTopic(ctx, t, o)
}

func (p produceCase) options(l *lab, t Target) (load.ProduceOptions, error) {
	batches, err := newBatches(load.BatchSpec{ValueBytes: p.valueBytes, BatchBytes: p.batchBytes, Codec: p.codec}, p.partitions)
	return load.ProduceOptions{
		Addr: t.Addr(), Topic: newTopicName(), Partitions: p.partitions, Batches: batches, Acks: p.acks,
		Connections: p.connections, InFlight: p.inFlight, Limit: l.o.Warmup + l.o.Window + grace,
	}, err
}

// newTopicName is one that a broker which lives on has not seen before.
func newTopicName() string { return fmt.Sprintf("bench-%d", time.Now().UnixNano()) }

// newBatches encodes the different batches of a run. They have the same number of records, since their
// values have the same size.
func newBatches(spec load.BatchSpec, partitions int) ([]*load.Batch, error) {
	spec.TimeMillis = time.Now().UnixMilli()
	var batches []*load.Batch
	for i := range min(partitions, variants) {
		spec.Seed = uint64(i)
		b, err := load.NewBatch(spec)
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	return batches, nil
}

func createTopic(ctx context.Context, t Target, o load.ProduceOptions) error {
	return withControl(ctx, t, func(c *load.Control) error { return c.CreateTopic(ctx, o.Topic, o.Partitions, nil) })
}

// deleteTopic matters only to a broker that goes on living.
func deleteTopic(ctx context.Context, t Target, o load.ProduceOptions) error {
	return withControl(ctx, t, func(c *load.Control) error { return c.DeleteTopic(ctx, o.Topic) })
}

func withControl(ctx context.Context, t Target, do func(*load.Control) error) error {
	c, err := load.Dial(ctx, t.Addr())
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close())
}

// fill produces at least so many bytes of batches and returns the end offsets.
func fill(ctx context.Context, o load.ProduceOptions, bytes int64) ([]int64, error) {
	producer, err := load.StartProducer(ctx, o)
	if err != nil {
		return nil, err
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for producer.Acked().Bytes < bytes {
		select {
		case <-look.C:
			continue
		case <-producer.Failed():
		}
		break
	}
	res, err := producer.Stop()
	if err != nil {
		return nil, fmt.Errorf("fill the topic: %w", err)
	}
	return res.Ends, nil
}
