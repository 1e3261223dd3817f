package raftmeta

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	committed, rejected, notProposed, unknown prometheus.Counter

	queued          prometheus.Gauge
	batchCommands   prometheus.Histogram
	batchBytes      prometheus.Histogram
	commitSeconds   prometheus.Histogram
	applySeconds    prometheus.Histogram
	snapshotSeconds prometheus.Histogram
	restores        prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	proposals := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_raftmeta_proposals_total",
		Help: "Commands proposed, by what they came to. Rising not_proposed or unknown: the Raft group has no steady leader.",
	}, []string{"outcome"})
	histogram := func(name, help string, start, factor float64, count int) prometheus.Histogram {
		return auto.NewHistogram(prometheus.HistogramOpts{
			Name: "chronik_raftmeta_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(start, factor, count),
		})
	}
	return &metrics{
		committed:   proposals.WithLabelValues("committed"),
		rejected:    proposals.WithLabelValues("rejected"),
		notProposed: proposals.WithLabelValues("not_proposed"),
		unknown:     proposals.WithLabelValues("unknown"),
		queued: auto.NewGauge(prometheus.GaugeOpts{
			Name: "chronik_raftmeta_queued_bytes",
			Help: "Encoded commands that wait for their Raft entry. Rising: proposals come faster than the Raft store syncs.",
		}),
		batchCommands: histogram("entry_commands", "Commands per Raft entry. Rising: more of them share one sync.", 1, 2, 14),
		batchBytes:    histogram("entry_bytes", "Size of a Raft entry.", 64, 4, 9),
		commitSeconds: histogram("commit_seconds", "From handing an entry to Raft until it is applied. Rising: the disk of the Raft store or the other voters are slow.", 0.0001, 2, 18),
		applySeconds:  histogram("apply_seconds", "Applying a batch of committed entries. Rising: commands touch more of the table.", 0.00001, 4, 12),
		snapshotSeconds: histogram("snapshot_seconds", "Writing a snapshot. Rising: the table grows or the disk is slow.",
			0.001, 4, 9),
		restores: auto.NewCounter(prometheus.CounterOpts{
			Name: "chronik_raftmeta_restores_total",
			Help: "Snapshots that replaced the table, at start or because this node had fallen behind the others' logs.",
		}),
	}
}
