package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// startReaders starts for each topic a reader that follows the end, and one that starts over again and again somewhere
// in what was read before: what it is given twice must be the same.
func (w *Workload) startReaders(ctx, _ context.Context) error {
	for _, t := range w.topics {
		w.readers.Go(func() error { return w.follow(ctx, t) })
		rng := w.chance()
		w.readers.Go(func() error { return w.reread(ctx, t, rng) })
	}
	return nil
}

// follow reads from the start on. A reader that a partition was taken from by an error begins again where it was.
func (w *Workload) follow(ctx context.Context, t Topic) error {
	next := map[Partition]int64{}
	for ctx.Err() == nil {
		if err := w.readOn(ctx, t, next); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (w *Workload) reread(ctx context.Context, t Topic, rng *rand.Rand) error {
	reached := map[Partition]int64{}
	for ctx.Err() == nil {
		next := map[Partition]int64{}
		for p, end := range reached {
			next[p] = rng.Int64N(end + 1)
		}
		life, end := context.WithTimeout(ctx, rereadsEvery)
		err := w.readOn(life, t, next)
		end()
		if err != nil && life.Err() == nil {
			return err
		}
		for p, at := range next {
			reached[p] = max(reached[p], at)
		}
	}
	return nil
}

// readOn reads all partitions of t from next on, and moves next, until ctx ends or a partition cannot be read on.
func (w *Workload) readOn(ctx context.Context, t Topic, next map[Partition]int64) error {
	from := map[int32]kgo.Offset{}
	for _, p := range t.partitions() {
		from[p.Index] = kgo.NewOffset().At(next[p])
	}
	cl, err := kgo.NewClient(append(clientOptions(w.seeds), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Name: from}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			p := Partition{r.Topic, r.Partition}
			w.ledger.saw(p, r)
			next[p] = r.Offset + 1
		}
		lost := false
		for _, e := range fetches.Errors() {
			p := Partition{e.Topic, e.Partition}
			lost = w.complainOfFetch(p, next[p], e.Err) || lost
		}
		if lost {
			return nil
		}
	}
	return ctx.Err()
}

// complainOfFetch enters errors that a consumer may never be given at or below the high watermark (I18). It reports
// whether the client has stopped reading the partition.
func (w *Workload) complainOfFetch(p Partition, at int64, err error) bool {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange), errors.As(err, &loss):
		w.ledger.Complain("I18", p, fmt.Sprintf("a consumer at offset %d was given: %v", at, err))
		return true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	// Anything else is temporary; the client has said so by giving it up, so begin anew.
	return !kerr.IsRetriable(err)
}

// saw enters a record; one that cannot be the workload's is a violation.
func (l *Ledger) saw(p Partition, r *kgo.Record) {
	id, err := ParseValue(r.Value)
	if err != nil {
		l.Complain("I2", p, fmt.Sprintf("offset %d: %v", r.Offset, err))
		return
	}
	l.SawRecord(p, Read{Offset: r.Offset, ID: id, Epoch: r.LeaderEpoch})
}

// startProbes asks for the latest offset of every partition, again and again.
func (w *Workload) startProbes(ctx, _ context.Context) error {
	for _, t := range w.topics {
		for _, p := range t.partitions() {
			r, err := w.router() // of its own: one that waits for a paused broker keeps no other waiting
			if err != nil {
				return err
			}
			w.readers.Go(func() error { w.probe(ctx, r, p); return nil })
		}
	}
	return nil
}

func (w *Workload) probe(ctx context.Context, r *router, p Partition) {
	for rest(ctx, probeEvery) {
		began := w.ledger.Now()
		offset, epoch, err := r.latest(ctx, p)
		if err != nil {
			_ = r.refresh(ctx) // it is tried again
			continue
		}
		w.ledger.SawEnd(p, EndSeen{Offset: offset, Epoch: epoch, Start: began})
	}
}

// ReadAll reads partitions from the first record to the latest offset and returns what they hold.
func ReadAll(ctx context.Context, seeds []string, topics []Topic) (map[Partition][]Read, error) {
	final := map[Partition][]Read{}
	for _, t := range topics {
		var all errgroup.Group
		logs := make([][]Read, t.Partitions)
		for _, p := range t.partitions() {
			all.Go(func() (err error) {
				logs[p.Index], err = readWhole(ctx, seeds, p)
				return err
			})
		}
		if err := all.Wait(); err != nil {
			return nil, err
		}
		for _, p := range t.partitions() {
			final[p] = logs[p.Index]
		}
	}
	return final, nil
}

func readWhole(ctx context.Context, seeds []string, p Partition) ([]Read, error) {
	r, err := newRouter(seeds, p.Topic)
	if err != nil {
		return nil, err
	}
	defer r.close()
	end, err := latestOf(ctx, r, p)
	if err != nil || end == 0 {
		return nil, err
	}
	cl, err := kgo.NewClient(append(clientOptions(seeds), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.Topic: {p.Index: kgo.NewOffset().At(0)}}))...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var log []Read
	for len(log) == 0 || log[len(log)-1].Offset < end-1 {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return nil, fmt.Errorf("reading %v, %d records of %d: %w", p, len(log), end, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			id, err := ParseValue(rec.Value)
			if err != nil {
				return nil, fmt.Errorf("%v, offset %d: %w", p, rec.Offset, err)
			}
			log = append(log, Read{Offset: rec.Offset, ID: id, Epoch: rec.LeaderEpoch})
		}
	}
	return log, nil
}

func latestOf(ctx context.Context, r *router, p Partition) (end int64, err error) {
	for {
		if err = r.refresh(ctx); err == nil {
			if end, _, err = r.latest(ctx, p); err == nil {
				return end, nil
			}
		}
		if !rest(ctx, probeEvery) {
			return 0, fmt.Errorf("the latest offset of %v: %w", p, errors.Join(ctx.Err(), err))
		}
	}
}
