package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ledger remembers every attempt to write, and proves what the log must hold because of them:
//
//   - an acknowledged record is there once, at the offset that it was acknowledged with;
//   - a record that was never acknowledged is there at most once (the producers are idempotent);
//   - the records of one producer are in the order in which it sent them;
//   - nothing else is there.
type ledger struct {
	topic      string
	partitions int32

	mu      sync.Mutex         // guards the fields below
	parts   []partitionLedger  // by partition
	refused []error            // errors that the producers were given
	acked   chan struct{}      // a token when an acknowledgement has come since the last look
	next    map[writerSeat]int // the sequence number of each producer's next record, per partition
}

// writerSeat is one producer in one partition.
type writerSeat struct {
	writer    int
	partition int32
}

// attempt names a record: its value is "writer/seq/…".
type attempt struct{ writer, seq int }

type partitionLedger struct {
	sent  map[attempt]bool
	acked map[attempt]int64 // offset
	end   int64             // one past the highest acknowledged offset
}

func newLedger(topic string, partitions int32) *ledger {
	l := &ledger{topic: topic, partitions: partitions, parts: make([]partitionLedger, partitions), acked: make(chan struct{}, 1),
		next: map[writerSeat]int{}}
	for i := range l.parts {
		l.parts[i] = partitionLedger{sent: map[attempt]bool{}, acked: map[attempt]int64{}}
	}
	return l
}

func (a attempt) value(padding string) []byte {
	return fmt.Appendf(nil, "%d/%d/%s", a.writer, a.seq, padding)
}

func parseAttempt(value []byte) (a attempt, err error) {
	parts := strings.SplitN(string(value), "/", 3)
	if len(parts) != 3 {
		return a, fmt.Errorf("a record that nobody sent: %.40q", value)
	}
	if a.writer, err = strconv.Atoi(parts[0]); err != nil {
		return a, err
	}
	a.seq, err = strconv.Atoi(parts[1])
	return a, err
}

// The load of one writer: bursts, so that a kill finds many batches under way, and pauses between them, so that the log
// stays small enough to be read again and again.
const (
	burstRecords  = 300
	burstEvery    = 200 * time.Millisecond
	burstBatch    = 1 << 10 // bytes: a few records, so a burst is a hundred batches, a dozen of them on the wire at a time
	writerBacklog = 1000    // records unacknowledged, beyond which a writer waits
)

// impatient are the options of a client whose broker is gone for an instant: a client with its usual back-offs would sit
// out most of a life of the broker.
func impatient() []kgo.Opt {
	return []kgo.Opt{
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		// A partition that failed rests until the metadata has been asked for again.
		kgo.MetadataMinAge(10 * time.Millisecond),
	}
}

// write produces as writer, in bursts, to all partitions in turn, until the load is over, and then waits for the last
// acknowledgements. The records live as long as ctx, so that none is given up before the test is.
func (l *ledger) write(ctx context.Context, over <-chan struct{}, addr string, writer int, padding string) error {
	cl, err := kgo.NewClient(append(impatient(), kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(l.topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.StopProducerOnDataLossDetected(),
		kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(burstBatch), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(writerBacklog))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(burstEvery)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-over:
			return cl.Flush(ctx)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for range burstRecords {
			a, partition := l.attempt(writer, int32(n)%l.partitions)
			n++
			cl.Produce(ctx, &kgo.Record{Partition: partition, Value: a.value(padding)},
				func(r *kgo.Record, err error) { l.settle(partition, a, r.Offset, err) })
		}
	}
}

func (l *ledger) attempt(writer int, partition int32) (attempt, int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seat := writerSeat{writer, partition}
	a := attempt{writer, l.next[seat]}
	l.next[seat]++
	l.parts[partition].sent[a] = true
	return a, partition
}

func (l *ledger) settle(partition int32, a attempt, offset int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.refused = append(l.refused, fmt.Errorf("partition %d, record %d/%d: %w", partition, a.writer, a.seq, err))
		return
	}
	p := &l.parts[partition]
	p.acked[a] = offset
	p.end = max(p.end, offset+1)
	select {
	case l.acked <- struct{}{}:
	default:
	}
}

// awaitAcks waits for n acknowledgements that come after the call.
func (l *ledger) awaitAcks(ctx context.Context, n int) error {
	for range n + 1 { // the first token may be from before
		select {
		case <-l.acked:
		case <-ctx.Done():
			return fmt.Errorf("the broker is up and acknowledges nothing: %w", ctx.Err())
		}
	}
	return nil
}

func (l *ledger) totals() (sent, acked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		sent += len(p.sent)
		acked += len(p.acked)
	}
	return sent, acked
}

// audit follows one partition's log from where the last look ended.
type audit struct {
	next int64 // offset of the next record to read
	seen map[attempt]bool
	last map[int]int // writer -> highest sequence number so far
}

// auditor checks a ledger against the log.
type auditor struct {
	l      *ledger
	addr   string
	audits []audit
}

func newAuditor(l *ledger, addr string) *auditor {
	a := &auditor{l: l, addr: addr, audits: make([]audit, l.partitions)}
	for i := range a.audits {
		a.audits[i] = audit{seen: map[attempt]bool{}, last: map[int]int{}}
	}
	return a
}

// snapshot is what is known to be acknowledged at this moment.
func (l *ledger) snapshot() []partitionLedger {
	l.mu.Lock()
	defer l.mu.Unlock()
	parts := make([]partitionLedger, len(l.parts))
	for i, p := range l.parts {
		parts[i] = partitionLedger{acked: maps.Clone(p.acked), end: p.end}
	}
	return parts
}

func (l *ledger) refusals() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.refused...)
}

// check reads on from where the last check ended until it has passed everything that was acknowledged before the call.
func (a *auditor) check(ctx context.Context) error {
	if err := a.l.refusals(); err != nil {
		return fmt.Errorf("a producer was refused: %w", err)
	}
	promised := a.l.snapshot()
	froms := map[int32]kgo.Offset{}
	for i := range a.audits {
		if a.audits[i].next < promised[i].end {
			froms[int32(i)] = kgo.NewOffset().At(a.audits[i].next)
		}
	}
	if len(froms) > 0 {
		if err := a.read(ctx, froms, promised); err != nil {
			return err
		}
	}
	return a.missing(promised)
}

// missing looks for what was promised and has not been read.
func (a *auditor) missing(promised []partitionLedger) error {
	for i := range a.audits {
		for at, offset := range promised[i].acked {
			if !a.audits[i].seen[at] {
				return fmt.Errorf("partition %d: record %d/%d was acknowledged at offset %d and is not there", i, at.writer, at.seq, offset)
			}
		}
	}
	return nil
}

func (a *auditor) read(ctx context.Context, froms map[int32]kgo.Offset, promised []partitionLedger) error {
	cl, err := kgo.NewClient(append(impatient(), kgo.SeedBrokers(a.addr), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{a.l.topic: froms}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(froms) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return fmt.Errorf("reading %v: %w", slices.Sorted(maps.Keys(froms)), err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if err := a.record(r); err != nil {
				return fmt.Errorf("partition %d, offset %d: %w", r.Partition, r.Offset, err)
			}
			if r.Offset+1 >= promised[r.Partition].end {
				delete(froms, r.Partition)
			}
		}
	}
	return nil
}

// record judges one record of the log.
func (a *auditor) record(r *kgo.Record) error {
	p := &a.audits[r.Partition]
	if r.Offset != p.next {
		return fmt.Errorf("follows offset %d", p.next-1)
	}
	p.next++
	at, err := parseAttempt(r.Value)
	if err != nil {
		return err
	}
	a.l.mu.Lock()
	sent := a.l.parts[r.Partition].sent[at]
	acked, isAcked := a.l.parts[r.Partition].acked[at]
	a.l.mu.Unlock()
	last, known := p.last[at.writer]
	switch {
	case !sent:
		return fmt.Errorf("holds %d/%d, which was never sent", at.writer, at.seq)
	case p.seen[at]:
		return fmt.Errorf("holds %d/%d for the second time", at.writer, at.seq)
	case isAcked && acked != r.Offset:
		return fmt.Errorf("holds %d/%d, which was acknowledged at offset %d", at.writer, at.seq, acked)
	case known && at.seq <= last:
		return fmt.Errorf("holds %d/%d after %d/%d", at.writer, at.seq, at.writer, last)
	}
	p.seen[at] = true
	p.last[at.writer] = at.seq
	return nil
}
