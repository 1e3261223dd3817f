package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// quickOptions are what a user of franz-go sets who wants a short failover more than few requests.
func quickOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.MetadataMinAge(100 * time.Millisecond),                                    // default 5 s: how soon it asks again who leads
		kgo.ProduceRequestTimeout(500 * time.Millisecond),                             // default 10 s: how long the broker may wait for its followers
		kgo.RequestTimeoutOverhead(500 * time.Millisecond),                            // default 10 s: how long the broker may take beyond that
		kgo.DialTimeout(500 * time.Millisecond),                                       // default 10 s
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }), // default 250 ms and doubling
	}
}

// producer sends a record at a fixed pace to one partition at a time and remembers when each was acknowledged.
type producer struct {
	name  string
	id    uint32
	topic string
	cl    *kgo.Client

	mu        sync.Mutex // guards the fields below
	partition int32
	next      uint64
	acks      []ack
	failed    error
}

// ack is a record that was acknowledged.
type ack struct {
	sequence  uint64
	partition int32
	offset    int64
	sent, at  time.Time
}

func newProducer(name string, id uint32, topic string, seeds []string, more ...kgo.Opt) (*producer, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, more...)...)
	if err != nil {
		return nil, err
	}
	return &producer{name: name, id: id, topic: topic, cl: cl}, nil
}

// run sends until ctx ends, and returns when nothing is on its way any more.
func (p *producer) run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.send(ctx)
		}
	}
}

func (p *producer) send(ctx context.Context) {
	p.mu.Lock()
	sequence, partition := p.next, p.partition
	p.next++
	p.mu.Unlock()
	sent := time.Now()
	record := &kgo.Record{Topic: p.topic, Partition: partition, Value: valueOf(p.id, sequence)}
	p.cl.Produce(ctx, record, func(r *kgo.Record, err error) {
		at := time.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case err == nil:
			p.acks = append(p.acks, ack{sequence, r.Partition, r.Offset, sent, at})
		case !errors.Is(err, context.Canceled) && p.failed == nil:
			p.failed = fmt.Errorf("the %s producer gave up a record: %w", p.name, err)
		}
	})
}

const valueSize = 4 + 8

func valueOf(producer uint32, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(make([]byte, 0, valueSize), producer), sequence)
}

func readValue(value []byte) (producer uint32, sequence uint64, ok bool) {
	if len(value) != valueSize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(value), binary.BigEndian.Uint64(value[4:]), true
}

// turn lets what is sent from now on go to another partition.
func (p *producer) turn(partition int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partition = partition
}

// ackedSince lists what was sent after a moment and has been acknowledged, in order of the acknowledgements.
func (p *producer) ackedSince(sent time.Time) ([]ack, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ack
	for i := len(p.acks) - 1; i >= 0 && !p.acks[i].at.Before(sent); i-- {
		if p.acks[i].sent.After(sent) {
			list = append(list, p.acks[i])
		}
	}
	return list, p.failed
}

// gap is the longest time without an acknowledgement of a partition between two moments, and when it ended. What was
// acknowledged last before from counts as its beginning.
func (p *producer) gap(partition int32, from, to time.Time) (longest time.Duration, ended time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last time.Time
	for _, a := range p.acks {
		switch {
		case a.partition != partition || a.at.After(to):
			continue
		case a.at.After(from) && !last.IsZero() && a.at.Sub(last) > longest:
			longest, ended = a.at.Sub(last), a.at
		}
		last = a.at
	}
	return longest, ended
}

// take hands over what was acknowledged so far and forgets it.
func (p *producer) take() []ack {
	p.mu.Lock()
	defer p.mu.Unlock()
	acks := p.acks
	p.acks = nil
	return acks
}
