package groups

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	rebalances     prometheus.Counter
	expiredMembers prometheus.Counter
	saveFailures   prometheus.Counter
	commits        prometheus.Counter
	commitFailures prometheus.Counter
	expiredOffsets prometheus.Counter
	unleased       prometheus.Counter
	loaded         prometheus.Gauge
	shards         prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		rebalances: counter("chronik_group_rebalances_total",
			"Completed rebalances of all groups. Rising without deployments: members miss heartbeats or poll too slowly."),
		expiredMembers: counter("chronik_group_expired_members_total",
			"Members removed because they fell silent. Rising: consumers crash, hang, or cannot reach this broker."),
		saveFailures: counter("chronik_group_save_failures_total",
			"Group changes that could not be made durable. Rising: the metadata log is in trouble, groups cannot settle."),
		commits: counter("chronik_group_offset_commits_total",
			"Offsets committed, counted by partition."),
		commitFailures: counter("chronik_group_offset_commit_failures_total",
			"Commit requests that the metadata log refused or failed. Rising: consumers will process records again."),
		expiredOffsets: counter("chronik_group_expired_offsets_total",
			"Offsets removed after their retention."),
		unleased: counter("chronik_group_offset_fetches_unleased_total",
			"Offset fetches refused because the controller has not answered this broker for longer than a session. Rising: it is cut off or starved."),
		loaded: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
			Name: "chronik_groups_loaded",
			Help: "Groups in memory: those with members, and those touched lately.",
		}),
		shards: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
			Name: "chronik_group_shards",
			Help: "Shards of groups that this broker coordinates. Up and down: brokers come and go, and consumers look for their coordinator each time.",
		}),
	}
}
