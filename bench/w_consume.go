package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/bench/load"
)

// catchUpCase reads a topic from its start to its end, over and over, out of the page cache.
type catchUpCase struct {
	consumers int
}

func (c catchUpCase) run(ctx context.Context, l *lab, t Target, w *workload) ([]Row, error) {
	if _, err := t.Start(ctx); err != nil {
		return nil, err
	}
	o, err := fillCase.options(l, t)
	if err != nil {
		return nil, err
	}
	if err := createTopic(ctx, t, o); err != nil {
		return nil, err
	}
	ends, err := fill(ctx, o, l.o.FillBytes)
	if err != nil {
		return nil, err
	}
	consumer, err := load.StartConsumer(ctx, load.ConsumeOptions{
		Addr: o.Addr, Topic: o.Topic, Partitions: o.Partitions, Consumers: c.consumers, Ends: ends, Sent: o.Batches[0], Limit: o.Limit,
	})
	if err != nil {
		return nil, err
	}
	s := stream{progress: consumer.Read, failed: [2]<-chan struct{}{consumer.Failed()}}
	row, err := l.warmWindow(ctx, t, w, s, sum(ends)*int64(c.consumers))
	res, stopErr := consumer.Stop()
	if err := errors.Join(err, stopErr); err != nil {
		return nil, err
	}
	if res.Checked == 0 {
		return nil, errors.New("no CRC was verified")
	}
	return []Row{row}, errors.Join(load.Sample(ctx, o, ends, samplesPerPartition), deleteTopic(ctx, t, o))
}

// warmWindow opens the window only after so many records went through: what has not been read for a
// while may have left the page cache.
func (l *lab) warmWindow(ctx context.Context, t Target, w *workload, s stream, records int64) (Row, error) {
	for s.progress().Records < records {
		if err := s.pause(ctx, 5*time.Millisecond); err != nil {
			return Row{}, err
		}
	}
	return l.window(ctx, t, w, s)
}

// fillCase is how topics are filled that are then read or recovered.
var fillCase = produceCase{valueBytes: 100, batchBytes: 16 << 10, acks: 1, partitions: 12, connections: 4, inFlight: 5}

// endToEndCase sends at a rate and follows with one consumer.
type endToEndCase struct {
	rate       int // messages per second
	perBatch   int // messages in each
	valueBytes int
}

func (e endToEndCase) run(ctx context.Context, l *lab, t Target, w *workload) ([]Row, error) {
	if _, err := t.Start(ctx); err != nil {
		return nil, err
	}
	perRecord := e.valueBytes + 16 // more than its framing takes, so that perBatch fit, and less than one more
	p := produceCase{valueBytes: e.valueBytes, batchBytes: 61 + e.perBatch*perRecord, acks: -1, partitions: 12, connections: 4, inFlight: 5}
	o, err := p.options(l, t)
	if err != nil {
		return nil, err
	}
	o.Stamp, o.Rate = true, float64(e.rate)/float64(o.Batches[0].Records)
	if err := createTopic(ctx, t, o); err != nil {
		return nil, err
	}
	consumer, err := load.StartConsumer(ctx, load.ConsumeOptions{
		Addr: o.Addr, Topic: o.Topic, Partitions: o.Partitions, Consumers: 1, Sent: o.Batches[0], Stamped: true, Limit: o.Limit,
	})
	if err != nil {
		return nil, err
	}
	producer, err := load.StartProducer(ctx, o)
	if err != nil {
		_, stopErr := consumer.Stop()
		return nil, errors.Join(err, stopErr)
	}
	row, windowErr := l.window(ctx, t, w, stream{
		progress: consumer.Read, measure: []func(bool){producer.Measure, consumer.Measure},
		failed: [2]<-chan struct{}{producer.Failed(), consumer.Failed()},
	})
	sent, err := producer.Stop()
	if err := errors.Join(windowErr, err); err != nil {
		_, stopErr := consumer.Stop()
		return nil, errors.Join(err, stopErr)
	}
	got, err := consumer.StopAt(sent.Ends)
	if err != nil {
		return nil, err
	}
	if want := sum(sent.Ends); got.Total.Records != want || got.Checked == 0 {
		return nil, fmt.Errorf("%w: %d of %d records came back, %d CRCs verified", load.ErrVerify, got.Total.Records, want, got.Checked)
	}
	if err := load.Sample(ctx, o, sent.Ends, samplesPerPartition); err != nil {
		return nil, err
	}
	ack := row
	row.Case, row.Latency = w.Case+": to the consumer", latencyOf(&got.Latency)
	ack.Case, ack.Latency = w.Case+": to the ack", latencyOf(&sent.Latency)
	return []Row{row, ack}, deleteTopic(ctx, t, o)
}

func sum(offsets []int64) (total int64) {
	for _, o := range offsets {
		total += o
	}
	return total
}
