package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

const (
	crashWriters    = 2
	crashReaders    = 2
	crashPartitions = 3
	// Small enough that fifty kills see many segments, large enough that a batch never fills one.
	crashSegmentBytes = "1048576"
	crashStep         = 30 * time.Second // within which acknowledgements come again, or a check ends
)

// seed is CHRONIK_SEED, or the clock's; it is logged, so that a failure can be replayed (as far as the scheduler allows).
func seed(t *testing.T) int64 {
	t.Helper()
	s := time.Now().UnixNano()
	if text := os.Getenv("CHRONIK_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("CHRONIK_SEED: %v", err)
		}
	}
	t.Logf("seed: CHRONIK_SEED=%d", s)
	return s
}

// intEnv is a number from the environment, or what a short or a whole run takes.
func intEnv(t *testing.T, name string, short, whole int) int {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	if testing.Short() {
		return short
	}
	return whole
}

// TestCrash kills the broker again and again under load. After every restart and at the end, nothing that was promised is
// missing, doubled, moved or out of order, and no committed offset has gone back. CHRONIK_KILLS sets how often.
func TestCrash(t *testing.T) {
	kills := intEnv(t, "CHRONIK_KILLS", 5, 50)
	rng := rand.New(rand.NewPCG(uint64(seed(t)), 0))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(kills)*5*time.Second)
	defer cancel()
	b := startBroker(t)
	adm, err := newFranz(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.close()
	if err := adm.create(ctx, "ledger", crashPartitions, 1, map[string]string{"segment.bytes": crashSegmentBytes}); err != nil {
		t.Fatal(err)
	}
	l, o := newLedger("ledger", crashPartitions), newOffsetLedger("ledger", crashPartitions)
	audit := newAuditor(l, b.kafka)
	check := func(a *auditor) error {
		ctx, cancel := context.WithTimeout(ctx, crashStep)
		defer cancel()
		return errors.Join(a.check(ctx), o.check(ctx, adm, "ledger-readers"))
	}
	load := startCrashLoad(ctx, t, rng, l, o, b.kafka)

	var ready []time.Duration
	caught := 0 // kills that left records without an answer
	for kill := range kills {
		if err := crashMoment(ctx, rng, l); err != nil {
			t.Fatalf("before kill %d: %v\n%s", kill+1, err, b.logTail())
		}
		b.kill9(t)
		if sent, acked := l.totals(); sent > acked {
			caught++
		}
		b.start(t)
		ready = append(ready, b.readyIn)
		if err := check(audit); err != nil {
			t.Fatalf("after kill %d: %v\n%s", kill+1, err, b.logTail())
		}
		if load.ended() {
			break // a fault, which end tells
		}
	}
	if err := load.end(); err != nil {
		t.Errorf("the load: %v", err)
	}
	// Everything once more, from the first record on, and after one last kill.
	b.kill9(t)
	b.start(t)
	if err := check(newAuditor(l, b.kafka)); err != nil {
		t.Errorf("at the end: %v", err)
	}
	sent, acked := l.totals()
	if sent != acked {
		t.Errorf("%d records were sent, %d acknowledged", sent, acked)
	}
	t.Logf("%d kills, %d of them with records under way; %d records; %d commits; %s", kills, caught, acked, o.commits(), spread(ready))
	if caught < max(1, kills/4) {
		t.Errorf("only %d kills of %d met records under way: too little load to prove anything", caught, kills)
	}
	reportReady(t, "kill -9 under load", ready)
}

// crashLoad is the writers and readers of TestCrash. One that sees a fault ends them all.
type crashLoad struct {
	over context.CancelFunc
	ctx  context.Context // ends with the load
	all  *errgroup.Group
}

func startCrashLoad(ctx context.Context, t *testing.T, rng *rand.Rand, l *ledger, o *offsetLedger, addr string) *crashLoad {
	over, end := context.WithCancel(ctx)
	all, loadCtx := errgroup.WithContext(over)
	for w := range crashWriters {
		padding := strings.Repeat("x", 100+rng.IntN(200))
		all.Go(func() error { return l.write(ctx, loadCtx.Done(), addr, w, padding) })
	}
	for range crashReaders {
		all.Go(func() error { return o.read(loadCtx, addr, "ledger-readers") })
	}
	load := &crashLoad{over: end, ctx: loadCtx, all: all}
	t.Cleanup(func() { _ = load.end() }) // of a test that has failed; t's context, and so ctx, has ended
	return load
}

func (c *crashLoad) ended() bool { return c.ctx.Err() != nil }

// end waits until every writer has its acknowledgements.
func (c *crashLoad) end() error {
	c.over()
	return c.all.Wait()
}

// crashMoment waits for a good moment to kill the broker: mostly the one in which an acknowledgement has just come, so that
// the rest of its burst is under way; one time in four just any. Either way acknowledgements have come since the latest
// start.
func crashMoment(ctx context.Context, rng *rand.Rand, l *ledger) error {
	ctx, cancel := context.WithTimeout(ctx, crashStep)
	defer cancel()
	if err := l.awaitAcks(ctx, 1); err != nil {
		return err
	}
	pause(ctx, time.Duration(rng.IntN(300))*time.Millisecond)
	if rng.IntN(4) == 0 {
		return nil
	}
	return l.awaitAcks(ctx, 1+rng.IntN(4))
}

// pause lets the load run on. It is no wait for anything, so there is nothing to poll.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// spread sums up times to ready.
func spread(times []time.Duration) string {
	s := slices.Sorted(slices.Values(times))
	if len(s) == 0 {
		return "no restarts"
	}
	ms := func(i int) time.Duration { return s[i].Round(time.Millisecond) }
	return fmt.Sprintf("ready after: min %v, median %v, max %v", ms(0), ms(len(s)/2), ms(len(s)-1))
}

// reportReady adds a line to what CI keeps.
func reportReady(t *testing.T, what string, times []time.Duration) {
	t.Helper()
	if err := os.MkdirAll(cacheDir, 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(cacheDir, "ready.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "%s %s: %s\n", time.Now().UTC().Format(time.RFC3339), what, spread(times))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestReadyAfterKill reports how long a broker with a large log takes to be ready after a kill -9: recovery reads what lies
// past the last checkpoint, not the log. CHRONIK_LOG_MB sets the size.
func TestReadyAfterKill(t *testing.T) {
	megabytes := intEnv(t, "CHRONIK_LOG_MB", 64, 1024)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	b := startBroker(t)
	adm, err := newFranz(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.close()
	if err := adm.create(ctx, "large", 4, 1, map[string]string{"segment.bytes": strconv.Itoa(128 << 20)}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	records := fillLarge(ctx, t, b.kafka, megabytes)
	t.Logf("%d MB written in %v", megabytes, time.Since(began).Round(time.Millisecond))
	b.kill9(t)
	b.start(t)
	t.Logf("ready %v after a kill -9 with a log of %d MB", b.readyIn.Round(time.Millisecond), megabytes)
	reportReady(t, fmt.Sprintf("kill -9 with a log of %d MB", megabytes), []time.Duration{b.readyIn})
	if limit := 30 * time.Second; b.readyIn > limit {
		t.Errorf("ready after %v, more than %v", b.readyIn, limit)
	}
	var held int64
	ends, err := adm.adm.ListEndOffsets(ctx, "large")
	if err := errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
	}
	for _, p := range ends["large"] {
		held += p.Offset
	}
	if held != int64(records) {
		t.Errorf("the log holds %d records, want %d", held, records)
	}
}

// fillLarge writes records of 64 KiB that do not compress.
func fillLarge(ctx context.Context, t *testing.T, addr string, megabytes int) (records int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("large"), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedBytes(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	value := make([]byte, 64<<10)
	for i := range value {
		value[i] = byte(i * 131)
	}
	failed := make(chan error, 1)
	for range megabytes * 16 {
		records++
		cl.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	first := cl.Flush(ctx)
	select {
	case err := <-failed:
		first = errors.Join(first, err)
	default:
	}
	if first != nil {
		t.Fatal(first)
	}
	return records
}
