package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	members         prometheus.Gauge
	heartbeats      *prometheus.CounterVec // by outcome
	fencings        *prometheus.CounterVec // by reason
	controller      prometheus.Gauge
	proposals       *prometheus.CounterVec // by outcome
	divergences     prometheus.Counter
	callsInFlight   prometheus.Gauge
	callSeconds     *prometheus.HistogramVec // by method
	callErrors      *prometheus.CounterVec   // by method
	membershipMoves *prometheus.CounterVec   // by what was done
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	counters := func(name, help, label string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: "chronik_cluster_" + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return auto.NewGauge(prometheus.GaugeOpts{Name: "chronik_cluster_" + name, Help: help})
	}
	return &metrics{
		members: gauge("members", "Nodes that gossip holds for alive, this one included. Falling: nodes died or cannot be reached."),
		heartbeats: counters("heartbeats_total",
			"Heartbeats of this broker to the controller, by outcome. Rising failed: the controller cannot be reached or does not want them.", "outcome"),
		fencings: counters("fencings_total",
			"Brokers that this node fenced as the controller, by reason. Rising: brokers die, hang or lose their network.", "reason"),
		controller: gauge("controller_active", "1 while this node is the controller. The sum over all nodes is 1, or 0 during an election."),
		proposals: counters("controller_proposals_total",
			"Commands that this node proposed as the controller, by outcome. Rising failed: the Raft group has no steady leader.", "outcome"),
		divergences: auto.NewCounter(prometheus.CounterOpts{Name: "chronik_cluster_metadata_divergences_total",
			Help: "Brokers whose metadata differed from the others' at the same log index. Anything but 0 is a bug or a broken disk or memory."}),
		callsInFlight: gauge("rpc_in_flight", "Private requests to other nodes that wait for their answer. Rising: a node or the network is slow."),
		callSeconds: auto.NewHistogramVec(prometheus.HistogramOpts{Name: "chronik_cluster_rpc_seconds",
			Help:    "Time to the answer of a private request to another node. Rising: a node or the network is slow.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 3, 11)}, []string{"method"}),
		callErrors: counters("rpc_errors_total", "Private requests to other nodes that failed. Rising: a node cannot be reached, or refuses.", "method"),
		membershipMoves: counters("membership_changes_total",
			"Changes of the Raft group that this node made as its leader: servers added, promoted and removed.", "change"),
	}
}
