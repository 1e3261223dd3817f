package log

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of one data directory.
type metrics struct {
	appends     prometheus.Counter
	appendBytes prometheus.Counter
	syncs       prometheus.Counter
	commits     prometheus.Histogram
	commitLogs  prometheus.Counter
	rolls       prometheus.Counter
	deleted     prometheus.Counter
	torn        prometheus.Counter
	quarantined prometheus.Counter
	diskFull    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, d *Dir) *metrics {
	f := promauto.With(reg)
	gauge := func(name, help string, value func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	gauge("chronik_log_logs", "Partitions open in the data directory.", func() float64 { return float64(d.countLogs()) })
	gauge("chronik_log_open_segment_files", "Segment files held open. Near the limit: more partitions are in use than it allows for.",
		func() float64 { return float64(d.files.openFiles()) })
	gauge("chronik_log_dir_failed", "1 if a write or sync failed in this run: nothing is acknowledged until the node is restarted.",
		func() float64 { return float64(boolToInt(d.Failed() != nil)) })
	gauge("chronik_log_disk_full", "1 while free space is below the limit and producers are refused.",
		func() float64 { return float64(boolToInt(d.full.Load())) })
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		appends:     counter("chronik_log_appends_total", "Appends of one or more batches."),
		appendBytes: counter("chronik_log_append_bytes_total", "Bytes of appended batches."),
		syncs:       counter("chronik_log_syncs_total", "Syncs of segment files and directories."),
		commits: f.NewHistogram(prometheus.HistogramOpts{
			Name: "chronik_log_commit_seconds", Help: "Time of a group commit. Rising: the disk is slow or busy, and acknowledgements wait for it.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17),
		}),
		commitLogs:  counter("chronik_log_commit_logs_total", "Partitions synced by group commits; over commits, the size of a group."),
		rolls:       counter("chronik_log_rolled_segments_total", "Segments closed."),
		deleted:     counter("chronik_log_deleted_segments_total", "Segments removed by retention or record deletion."),
		torn:        counter("chronik_log_torn_bytes_total", "Bytes of unfinished writes that recovery cut off."),
		quarantined: counter("chronik_log_quarantined_total", "Partitions found damaged below what was synced. Any: the disk loses data."),
		diskFull:    counter("chronik_log_no_space_total", "Writes that failed for want of space and were taken back."),
	}
}

func (m *metrics) appended(bytes int) {
	m.appends.Inc()
	m.appendBytes.Add(float64(bytes))
}

func (m *metrics) committed(logs int, took time.Duration) {
	m.commits.Observe(took.Seconds())
	m.commitLogs.Add(float64(logs))
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
