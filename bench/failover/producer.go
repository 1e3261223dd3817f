package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quickOptions are what a user of franz-go sets who wants a short failover more than few requests.
func quickOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.MetadataMinAge(100 * time.Millisecond),                                    // default 5 s: how soon it asks again who leads
		kgo.ProduceRequestTimeout(100 * time.Millisecond),                             // default 10 s: how long the broker may wait for its followers
		kgo.RequestTimeoutOverhead(580 * time.Millisecond),                            // default 10 s: how long the broker may take beyond that
		kgo.DialTimeout(300 * time.Millisecond),                                       // default 10 s
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }), // default 250 ms and doubling
	}
}

// producer sends a record at a fixed pace to one partition at a time and remembers when each was acknowledged.
type producer struct {
	name  string
	id    uint32
	topic string
	cl    *kgo.Client
	asked metadataClock

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
	p := &producer{name: name, id: id, topic: topic}
	var err error
	p.cl, err = kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.WithHooks(&p.asked)}, more...)...)
	return p, err
}

// metadataClock is when a client last asked for metadata.
type metadataClock struct{ nanos atomic.Int64 }

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (c *metadataClock) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Metadata) {
		c.nanos.Store(time.Now().UnixNano())
	}
}

// metadataMinAge is franz-go's default.
const metadataMinAge = 5 * time.Second

// settled tells whether the producer is free to ask for metadata, as one is that has been running for a while: after an
// earlier failover the stock producer does not for some seconds. What it held back so long it asks at their end, and is not
// free then either.
func (p *producer) settled() bool {
	asked := p.asked.nanos.Load()
	return asked != 0 && time.Since(time.Unix(0, asked)) > metadataMinAge+300*time.Millisecond
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
