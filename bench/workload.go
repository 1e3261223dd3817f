package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/bench/host"
	"github.com/chronik-stream/chronik/bench/load"
)

// workload is one experiment: a fresh broker, a load, one or more rows.
type workload struct {
	ID    string // of the list in the package comment
	Case  string // what is special about this one
	Flush flushMode
	Quick bool // part of --quick
	Owned bool // needs a broker that bench starts itself
	run   func(context.Context, *lab, Target, *workload) ([]Row, error)
}

// Row is one line of the report. A row with an Err has no figures.
type Row struct {
	Workload string    `json:"workload"`
	Case     string    `json:"case"`
	Flush    flushMode `json:"flush_mode"`
	Err      string    `json:"error,omitempty"`

	WindowSeconds       float64  `json:"window_s,omitempty"`
	Messages            int64    `json:"messages,omitempty"`
	Bytes               int64    `json:"bytes,omitempty"` // of record batches
	MessagesPerSecond   float64  `json:"messages_per_s,omitempty"`
	MBPerSecond         float64  `json:"mb_per_s,omitempty"`
	Latency             *latency `json:"latency_ms,omitempty"`
	CPUPerMillion       float64  `json:"broker_cpu_s_per_million_messages,omitempty"`
	CPUPerGB            float64  `json:"broker_cpu_s_per_gb,omitempty"`
	ClientCPUPerMillion float64  `json:"client_cpu_s_per_million_messages,omitempty"`
	ForeignCPU          float64  `json:"foreign_cpu_share,omitempty"`
	Dropped             int      `json:"dropped_attempts,omitempty"` // before this one, for their foreign CPU
	RSSMB               float64  `json:"rss_mb,omitempty"`
	PeakRSSMB           float64  `json:"peak_rss_mb,omitempty"`

	Facts []Fact `json:"facts,omitempty"` // figures of rows that are not about a stream of messages
}

// latency is a distribution in milliseconds. Max is exact, the quantiles within 0.8 %.
type latency struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
	Count uint64  `json:"count"`
}

// Fact is a named figure with its unit.
type Fact struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func latencyOf(h *load.Hist) *latency {
	return &latency{
		P50: milliseconds(h.Quantile(0.5)), P99: milliseconds(h.Quantile(0.99)), P999: milliseconds(h.Quantile(0.999)),
		Max: milliseconds(h.Max()), Count: h.Count(),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// lab is what all experiments of one run share.
type lab struct {
	o         options
	newTarget func(flushMode) (Target, error)
	log       io.Writer // progress, for whoever waits
}

// runAll runs the experiments one after the other. It goes on after a failure, which becomes a row.
func (l *lab) runAll(ctx context.Context, all []workload) []Row {
	var rows []Row
	for i := range all {
		w := &all[i]
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(l.log, "%d/%d  %s  %s, flush.mode=%s\n", i+1, len(all), w.ID, w.Case, w.Flush)
		got, err := l.runQuietly(ctx, w)
		if err != nil {
			fmt.Fprintf(l.log, "      failed: %v\n", err)
			got = []Row{{Workload: w.ID, Case: w.Case, Flush: w.Flush, Err: err.Error()}}
		}
		rows = append(rows, got...)
	}
	return rows
}

// runQuietly repeats an experiment that others disturbed, as often as the options allow, and returns
// the last attempt. A fault is never repeated away.
func (l *lab) runQuietly(ctx context.Context, w *workload) ([]Row, error) {
	for dropped := 0; ; dropped++ {
		rows, err := l.runOne(ctx, w)
		for i := range rows {
			rows[i].Dropped = dropped
		}
		if err != nil || !slices.ContainsFunc(rows, Row.noisy) || dropped+1 >= l.o.Attempts {
			return rows, err
		}
		fmt.Fprintf(l.log, "      dropped: %.0f %% of the CPU went to others\n", rows[0].ForeignCPU*100)
	}
}

func (l *lab) runOne(ctx context.Context, w *workload) (rows []Row, err error) {
	target, err := l.newTarget(w.Flush)
	if err != nil {
		return nil, err
	}
	defer func() {
		if trouble := target.Trouble(); err != nil && trouble != "" {
			fmt.Fprintf(l.log, "the end of the broker's log:\n%s\n", trouble)
		}
		err = errors.Join(err, target.Close())
	}()
	return w.run(ctx, l, target, w)
}

// stream is a load that is running: a load.Producer, a load.Consumer, or both.
type stream struct {
	progress func() load.Progress
	measure  []func(bool)
	failed   [2]<-chan struct{} // nil: cannot fail
}

// errStreamFailed is a fault that the stream's own Stop can tell more about.
var errStreamFailed = errors.New("the load ended early")

// window lets a stream warm up, measures it for the window and returns a row without latencies.
func (l *lab) window(ctx context.Context, t Target, w *workload, s stream) (Row, error) {
	if err := s.pause(ctx, l.o.Warmup); err != nil {
		return Row{}, err
	}
	before, err := readUsage(t.PID())
	if err != nil {
		return Row{}, err
	}
	first := s.progress()
	for _, measure := range s.measure {
		measure(true)
	}
	pauseErr := s.pause(ctx, l.o.Window)
	done := s.progress().Minus(first)
	after, err := readUsage(t.PID())
	for _, measure := range s.measure {
		measure(false)
	}
	mem, memErr := host.ReadMemory(t.PID())
	if err := errors.Join(pauseErr, err, memErr); err != nil {
		return Row{}, err
	}
	if done.Records == 0 {
		return Row{}, errors.New("not one message in the whole window")
	}
	return rowOf(w, before, after, done, mem), nil
}

func rowOf(w *workload, before, after usage, done load.Progress, mem host.Memory) Row {
	seconds := after.at.Sub(before.at).Seconds()
	cpu := (after.broker - before.broker).Seconds()
	million, mb := float64(done.Records)/1e6, float64(done.Bytes)/1e6
	return Row{
		Workload: w.ID, Case: w.Case, Flush: w.Flush,
		WindowSeconds: seconds, Messages: done.Records, Bytes: done.Bytes,
		MessagesPerSecond: float64(done.Records) / seconds, MBPerSecond: mb / seconds,
		CPUPerMillion: cpu / million, CPUPerGB: cpu / (mb / 1e3),
		ClientCPUPerMillion: (after.self - before.self).Seconds() / million,
		ForeignCPU:          foreignShare(before, after),
		RSSMB:               float64(mem.Now) / 1e6, PeakRSSMB: float64(mem.Peak) / 1e6,
	}
}

// pause waits, but not longer than the stream lives.
func (s stream) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.failed[0]:
	case <-s.failed[1]:
	case <-ctx.Done():
		return ctx.Err()
	}
	return errStreamFailed
}
