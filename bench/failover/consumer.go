package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// consumer reads the topic from its start and holds every record against what was acknowledged.
type consumer struct {
	cl *kgo.Client

	mu     sync.Mutex // guards the fields below
	seen   map[recordKey]place
	newest map[stream]uint64 // sequence
	err    error
}

type recordKey struct {
	producer uint32
	sequence uint64
}

type place struct {
	partition int32
	offset    int64
}

// stream is what one producer sent to one partition: its sequence only rises.
type stream struct {
	producer  uint32
	partition int32
}

func newConsumer(topic string, seeds []string) (*consumer, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics(topic), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RequestTimeoutOverhead(time.Second), kgo.DialTimeout(time.Second), kgo.FetchMaxWait(500*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	if err != nil {
		return nil, err
	}
	return &consumer{cl: cl, seen: map[recordKey]place{}, newest: map[stream]uint64{}}, nil
}

// run reads until ctx ends.
func (c *consumer) run(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := c.cl.PollFetches(ctx)
		c.mu.Lock()
		fetches.EachRecord(c.takeLocked)
		c.mu.Unlock()
	}
}

func (c *consumer) takeLocked(r *kgo.Record) {
	id, sequence, ok := readValue(r.Value)
	if !ok {
		c.failLocked("partition %d, offset %d: %d bytes that no producer sent", r.Partition, r.Offset, len(r.Value))
		return
	}
	s := stream{id, r.Partition}
	if last, any := c.newest[s]; any && sequence <= last {
		c.failLocked("partition %d, offset %d: record %d of producer %d comes after its record %d", r.Partition, r.Offset, sequence, id, last)
		return
	}
	c.newest[s] = sequence
	c.seen[recordKey{id, sequence}] = place{r.Partition, r.Offset}
}

func (c *consumer) failLocked(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// readTimeout is how long the consumer may take to have read what was acknowledged.
const readTimeout = 60 * time.Second

// verify waits until every acknowledged record of a producer was read, and says if one was at another offset. It forgets them.
func (c *consumer) verify(ctx context.Context, p *producer) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for _, a := range p.take() {
		key := recordKey{p.id, a.sequence}
		err := fleet.Eventually(ctx, func() error {
			c.mu.Lock()
			defer c.mu.Unlock()
			if at, ok := c.seen[key]; !ok {
				return fmt.Errorf("record %d of the %s producer was acknowledged at partition %d, offset %d, and is not read", a.sequence, p.name, a.partition, a.offset)
			} else if at != (place{a.partition, a.offset}) {
				c.failLocked("record %d of the %s producer was acknowledged at partition %d, offset %d, and is at partition %d, offset %d",
					a.sequence, p.name, a.partition, a.offset, at.partition, at.offset)
			}
			delete(c.seen, key)
			return nil
		})
		if err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
