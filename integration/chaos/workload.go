package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// The pace of the load: enough that every fault meets records under way, little enough that two cores carry three brokers,
// their clients and the checks.
const (
	writeEvery   = 20 * time.Millisecond // each stream, a burst
	burst        = 3                     // records, of an idempotent stream
	probeEvery   = 150 * time.Millisecond
	maxBuffered  = 20_000 // records that wait in an idempotent producer, about a minute's
	batchBytes   = 1 << 10
	membersEach  = 2
	memberLeaves = 6 * time.Second // mean life of a group member
	rereadsEvery = 3 * time.Second // life of the reader that starts over
)

// Topic is one that the load uses.
type Topic struct {
	Name       string
	Partitions int32
}

func (t Topic) partitions() []Partition {
	var all []Partition
	for i := range t.Partitions {
		all = append(all, Partition{t.Name, i})
	}
	return all
}

// Workload is the clients of a round.
type Workload struct {
	ledger *Ledger
	seeds  []string
	topics []Topic

	writing, reading context.CancelFunc // end the writers, and all
	writers, readers errgroup.Group
	closing          []func()
	admin            *adminLoad

	mu  sync.Mutex // guards rng
	rng *rand.Rand // from which each client gets a source of chance of its own
}

// StartWorkload begins to write to, read from and administer the topics, which exist. It ends with Drain and Stop.
func StartWorkload(ctx context.Context, seeds []string, topics []Topic, ledger *Ledger, rng *rand.Rand) (*Workload, error) {
	w := &Workload{ledger: ledger, seeds: seeds, topics: topics, rng: rng}
	reading, stop := context.WithCancel(ctx)
	writing, drain := context.WithCancel(reading)
	w.reading, w.writing = stop, drain
	for _, start := range []func(ctx, writing context.Context) error{w.startWriters, w.startReaders, w.startGroups, w.startProbes, w.startAdmins} {
		if err := start(reading, writing); err != nil {
			w.Stop()
			return nil, err
		}
	}
	return w, nil
}

// router is a client that is closed with the workload.
func (w *Workload) router() (*router, error) {
	var names []string
	for _, t := range w.topics {
		names = append(names, t.Name)
	}
	r, err := newRouter(w.seeds, names...)
	if err == nil {
		w.closing = append(w.closing, r.close)
	}
	return r, err
}

// chance is a source of chance for one goroutine.
func (w *Workload) chance() *rand.Rand {
	w.mu.Lock()
	defer w.mu.Unlock()
	return rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64()))
}

// Drain ends the writers and waits until every record of an idempotent producer has its answer.
func (w *Workload) Drain(ctx context.Context) error {
	w.writing()
	done := make(chan error, 1)
	go func() { done <- w.writers.Wait() }() // ends at the latest with Stop
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("idempotent producers still wait for answers: %w", ctx.Err())
	}
}

// Stop ends all clients and waits for them.
func (w *Workload) Stop() {
	w.reading()
	_ = w.writers.Wait() // Drain has told, or nobody asks any more
	_ = w.readers.Wait()
	for _, end := range w.closing {
		end()
	}
}

func (w *Workload) startWriters(ctx, writing context.Context) error {
	for _, kind := range []Kind{Once, Leader} {
		r, err := w.router()
		if err != nil {
			return err
		}
		for _, t := range w.topics {
			for _, p := range t.partitions() {
				w.writers.Go(func() error { w.writeOnce(ctx, writing, r, kind, p); return nil })
			}
		}
	}
	for _, t := range w.topics {
		w.writers.Go(func() error { return w.writeIdempotent(ctx, writing, t) })
	}
	return nil
}

// writeOnce writes the records of one stream, one at a time and each one time.
func (w *Workload) writeOnce(ctx, writing context.Context, r *router, kind Kind, p Partition) {
	acks := map[Kind]int16{Once: -1, Leader: 1}[kind]
	stream := w.ledger.Open(kind, p)
	for rest(writing, writeEvery) {
		if _, _, ok := r.leader(p); !ok {
			_ = r.refresh(writing) // it is tried again
			continue
		}
		id := w.ledger.Begin(stream)
		outcome, offset, code := r.produce(ctx, p, acks, recordBatch(id.Value(), time.Now().UnixMilli(), -1, -1, -1))
		w.ledger.Settle(id, outcome, offset, code)
		if outcome != Acked {
			_ = r.refresh(writing)
		}
	}
}

// writeIdempotent writes bursts to all partitions of a topic until writing ends, and then waits for the last answers. The
// client sends again for as long as ctx lives, so an error that it gives up with is a fault of the cluster.
func (w *Workload) writeIdempotent(ctx, writing context.Context, t Topic) error {
	cl, err := kgo.NewClient(append(clientOptions(w.seeds), kgo.DefaultProduceTopic(t.Name),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.StopProducerOnDataLossDetected(),
		kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(maxBuffered))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	partitions := t.partitions()
	streams := make([]int32, len(partitions))
	for i, p := range partitions {
		streams[i] = w.ledger.Open(Idempotent, p)
	}
	for rest(writing, writeEvery) {
		for i, p := range partitions {
			for range burst {
				id := w.ledger.Begin(streams[i])
				cl.Produce(ctx, &kgo.Record{Partition: p.Index, Value: id.Value()}, func(r *kgo.Record, err error) {
					w.settleIdempotent(ctx, p, id, r.Offset, err)
				})
			}
		}
	}
	return cl.Flush(ctx)
}

func (w *Workload) settleIdempotent(ctx context.Context, p Partition, id ID, offset int64, err error) {
	if err == nil {
		w.ledger.Settle(id, Acked, offset, 0)
		return
	}
	w.ledger.Settle(id, Unknown, 0, 0)
	if ctx.Err() == nil {
		w.ledger.Complain("I47", p, fmt.Sprintf("an idempotent producer was stopped at record %v: %v", id, err))
	}
}
