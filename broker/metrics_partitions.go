package broker

import "github.com/prometheus/client_golang/prometheus"

// partitionMetrics tells of all partitions of the cluster, as this node's copy of the metadata has them: also a node that
// leads nothing shows what is the matter. It counts when it is asked.
type partitionMetrics struct{ b *Broker }

var (
	leadingPartitions         = prometheus.NewDesc("chronik_broker_leading_partitions", "Partitions that this node leads.", nil, nil)
	underReplicatedPartitions = prometheus.NewDesc("chronik_cluster_under_replicated_partitions", "Partitions of the cluster with a replica that is not in sync. One more node lost may stop them.", nil, nil)
	underMinISRPartitions     = prometheus.NewDesc("chronik_cluster_under_min_isr_partitions", "Partitions of the cluster that refuse acks=all: fewer in sync than min.insync.replicas.", nil, nil)
	offlinePartitions         = prometheus.NewDesc("chronik_cluster_offline_partitions", "Partitions of the cluster without a leader: neither written nor read.", nil, nil)
)

// Describe implements prometheus.Collector.
func (partitionMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- leadingPartitions
	out <- underReplicatedPartitions
	out <- underMinISRPartitions
	out <- offlinePartitions
}

// Collect implements prometheus.Collector. Before the metadata log is open there is nothing to tell.
func (m partitionMetrics) Collect(out chan<- prometheus.Metric) {
	if !m.b.open() {
		return
	}
	img := m.b.meta.Image()
	var leading, underReplicated, underMinISR, offline int
	count := func(n *int, counts bool) {
		if counts {
			*n++
		}
	}
	for t := range img.AllTopics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			is := conditionOf(p, img.MinInSync(t, len(p.Replicas)))
			count(&leading, p.Leader == m.b.nodeID)
			count(&underReplicated, is.underReplicated)
			count(&underMinISR, is.underMinISR)
			count(&offline, is.offline)
		}
	}
	for desc, n := range map[*prometheus.Desc]int{
		leadingPartitions: leading, underReplicatedPartitions: underReplicated, underMinISRPartitions: underMinISR, offlinePartitions: offline,
	} {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n))
	}
}
