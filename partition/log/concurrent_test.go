package log

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/wire/record"
)

// TestConcurrentUse appends, reads, searches, rolls, settles and deletes at once, with one file held
// open; readers see every batch whole, in order and intact. It is for the race detector, too.
func TestConcurrentUse(t *testing.T) {
	cfg := testConfig()
	cfg.FileDeleteDelay = time.Nanosecond
	w := &logWorld{cfg: cfg, now: testNow}
	d, err := OpenDir(DirOptions{Path: t.TempDir(), MaxOpenFiles: 1, CheckpointInterval: time.Millisecond, RetentionCheckInterval: 2 * time.Millisecond})
	must(t, err)
	l, err := d.Open(testIdent, cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- d.Run(ctx) }()
	l.SetListener(func() { l.SetHighWatermark(l.DurableOffset()) })

	const appenders, appends = 3, 300
	var left atomic.Int64
	left.Store(appenders)
	var work errgroup.Group
	for id := range int64(appenders) {
		work.Go(func() error {
			defer left.Add(-1)
			for i := range int32(appends) {
				b := producedBatch(t, 0, record.Producer{ID: id, Sequence: 2 * i}, 2, false)
				if _, err := l.Append(b, AppendOptions{}); err != nil {
					return err
				}
				if i%50 == 49 {
					if err := l.Sync(); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	for range 2 {
		work.Go(func() error { return readWhile(l, func() bool { return left.Load() > 0 }) })
	}
	work.Go(func() error {
		for left.Load() > 0 {
			err := l.settle(true)
			if err == nil {
				err = l.Roll()
			}
			if err == nil {
				err = l.DeleteBefore(max(l.StartOffset(), l.HighWatermark()-500))
			}
			if err == nil {
				_, _, err = l.OffsetForTime(w.now.UnixMilli()+l.StartOffset(), l.EndOffset())
			}
			if err == nil {
				_, _, err = l.MaxTimestamp(l.EndOffset())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := work.Wait(); err != nil {
		t.Error(err)
	}
	if end := l.EndOffset(); end != 2*appenders*appends {
		t.Errorf("log ends at %d", end)
	}
	must(t, checkDerived(l))
	cancel()
	must(t, <-stopped)
	must(t, d.Close())
}

// readWhile reads through the log again and again.
func readWhile(l *Log, more func() bool) error {
	var buf []byte
	for from := int64(0); more(); {
		from = max(from, l.StartOffset())
		v, err := l.Read(from, l.EndOffset(), 2000, true)
		if err != nil {
			if from < l.StartOffset() {
				continue // deleted in between
			}
			return err
		}
		buf, err = v.Bytes(buf[:0])
		v.Release()
		if err != nil {
			return err
		}
		for rest := buf; len(rest) > 0; {
			b, after, err := record.Next(rest)
			if err != nil {
				return err
			}
			if err := b.Check(); err != nil {
				return err
			}
			if b.NextOffset() <= from || b.BaseOffset() > from {
				return fmt.Errorf("batch [%d, %d) read at %d", b.BaseOffset(), b.NextOffset(), from)
			}
			from, rest = b.NextOffset(), after
		}
	}
	return nil
}

// TestFilesHaveKafkasNames: this is what Kafka's tools look for.
func TestFilesHaveKafkasNames(t *testing.T) {
	cfg := testConfig()
	w, rng := newTestWorld(t, cfg)
	for range 12 {
		must(t, w.append(rng))
	}
	must(t, w.l.Roll())
	must(t, w.l.StartEpoch(1))
	must(t, w.sync())
	must(t, w.d.Close())
	list := func(dir string) []string {
		entries, err := w.m.ReadDir(dir)
		must(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	next := fmt.Sprintf("%020d", w.end())
	want := strings.Fields("00000000000000000000.index 00000000000000000000.log 00000000000000000000.timeindex " +
		next + ".log " + next + ".snapshot leader-epoch-checkpoint partition.metadata")
	if got := list("/data/log/topic-3"); !slices.Equal(got, want) {
		t.Errorf("log has %v, want %v", got, want)
	}
	want = strings.Fields(".kafka_cleanshutdown .lock chronik.run meta.properties recovery-point-offset-checkpoint " +
		"replication-offset-checkpoint synced-offset-checkpoint topic-3")
	if got := list("/data/log"); !slices.Equal(got, want) {
		t.Errorf("directory has %v, want %v", got, want)
	}
}
