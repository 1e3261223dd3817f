package log

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/wire/record"
	"golang.org/x/sync/errgroup"
)

// benchBatch has 150 records of 100 bytes.
func benchBatch(b *testing.B) record.Batch {
	builder := record.NewBuilder(record.Spec{})
	for i := range 150 {
		must(b, builder.Add(&record.Record{Offset: int64(i), Timestamp: testNow.UnixMilli(), Value: make([]byte, 100)}))
	}
	batch, err := builder.Build(nil)
	must(b, err)
	return batch
}

func benchLogs(b *testing.B, n int, cfg Config) (*Dir, []*Log) {
	d, err := OpenDir(DirOptions{Path: filepath.Join(b.TempDir(), "log"), SoftFreeBytes: -1})
	must(b, err)
	logs := make([]*Log, n)
	var work errgroup.Group
	work.SetLimit(16)
	for i := range logs {
		work.Go(func() (err error) {
			logs[i], err = d.Open(Ident{Topic: "t", Partition: int32(i), TopicID: uuid.ID{1}}, cfg)
			return err
		})
	}
	must(b, work.Wait())
	b.Cleanup(func() { must(b, d.Close()) })
	return d, logs
}

// BenchmarkAppend appends to the page cache, in turn to each of the logs.
func BenchmarkAppend(b *testing.B) {
	for _, partitions := range []int{1, 100} {
		b.Run(fmt.Sprintf("mode=os/partitions=%d", partitions), func(b *testing.B) {
			_, logs := benchLogs(b, partitions, Config{FlushMode: OS, SegmentBytes: 64 << 20, Retention: -1, RetentionBytes: 64 << 20, Delete: true})
			batch := benchBatch(b)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := logs[i%partitions].Append(batch, AppendOptions{}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkCommit keeps 60 batches in flight and counts one when it is durable.
func BenchmarkCommit(b *testing.B) {
	for _, partitions := range []int{1, 12, 100} {
		b.Run(fmt.Sprintf("mode=sync/partitions=%d", partitions), func(b *testing.B) {
			const inFlight = 60
			d, logs := benchLogs(b, partitions, Config{SegmentBytes: 64 << 20, Retention: -1, RetentionBytes: -1})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- d.Run(ctx) }()
			batch := benchBatch(b)
			b.SetBytes(int64(len(batch)))
			var work errgroup.Group
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			heard := make([]chan struct{}, inFlight)
			for i := range logs {
				logs[i].SetListener(func() {
					for j := i; j < inFlight; j += partitions {
						select {
						case heard[j] <- struct{}{}:
						default:
						}
					}
				})
			}
			for j := range inFlight {
				heard[j] = make(chan struct{}, 1)
			}
			b.ResetTimer()
			for j := range inFlight {
				l := logs[j%partitions]
				work.Go(func() error {
					own := append(record.Batch(nil), batch...)
					for range left {
						a, err := l.Append(own, AppendOptions{})
						if err != nil {
							return err
						}
						for l.DurableOffset() < a.Next {
							<-heard[j]
						}
					}
					return nil
				})
			}
			must(b, work.Wait())
			b.StopTimer()
			cancel()
			must(b, <-done)
		})
	}
}

// BenchmarkRead looks up and pins a megabyte of batches, as a fetch does before sendfile, and the last
// batch, as a consumer at the end of the log does.
func BenchmarkRead(b *testing.B) {
	_, logs := benchLogs(b, 1, Config{FlushMode: OS, Retention: -1, RetentionBytes: -1})
	l, batch := logs[0], benchBatch(b)
	for range 4000 {
		_, err := l.Append(batch, AppendOptions{})
		must(b, err)
	}
	read := func(b *testing.B, from int64, maxBytes int) {
		v, err := l.Read(from, l.EndOffset(), maxBytes, true)
		if err != nil || v.Size() == 0 {
			b.Fatal(v.Size(), err)
		}
		v.Release()
	}
	b.Run("where=catchup/bytes=1MiB", func(b *testing.B) {
		b.ReportAllocs()
		from := int64(0)
		for b.Loop() {
			read(b, from, 1<<20)
			from = (from + 7777) % (l.EndOffset() - 10000)
		}
	})
	b.Run("where=tail", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			read(b, l.EndOffset()-150, 1<<20)
		}
	})
}

// BenchmarkOpenDir opens and recovers 10,000 logs that were cleanly closed: empty ones, and ones with a
// batch in each.
func BenchmarkOpenDir(b *testing.B) {
	const logs = 10000
	for _, filled := range []bool{false, true} {
		b.Run(fmt.Sprintf("logs=%d/filled=%v", logs, filled), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "log")
			batch := benchBatch(b)
			open := func(first bool) *Dir {
				d, err := OpenDir(DirOptions{Path: path, SoftFreeBytes: -1})
				must(b, err)
				var work errgroup.Group
				work.SetLimit(16)
				for i := range logs {
					work.Go(func() error {
						l, err := d.Open(Ident{Topic: "t", Partition: int32(i), TopicID: uuid.ID{1}}, Config{FlushMode: OS})
						if err != nil {
							return err
						}
						if first && filled {
							_, err = l.Append(append(record.Batch(nil), batch...), AppendOptions{})
						}
						return err
					})
				}
				must(b, work.Wait())
				return d
			}
			started := time.Now()
			d := open(true)
			created := time.Since(started)
			must(b, d.Close())
			for b.Loop() {
				d := open(false)
				b.StopTimer()
				must(b, d.Close())
				b.StartTimer()
			}
			b.ReportMetric(created.Seconds(), "s/creation")
		})
	}
}
