package broker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics counts what passes through the handlers.
type metrics struct {
	producedBytes   prometheus.Counter
	producedRecords prometheus.Counter
	fetchedBytes    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, b *Broker) *metrics {
	factory := promauto.With(reg)
	reg.MustRegister(partitionMetrics{b})
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chronik_broker_waiting_requests",
		Help: "Requests that wait for a deadline: parked fetches and produces without their acks. Rising with steady load: acks are slow.",
	}, func() float64 { return float64(b.polls.Len() + b.deadlines.Len()) })
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chronik_broker_fetch_sessions",
		Help: "Open incremental fetch sessions. At max.incremental.fetch.session.cache.slots new consumers fetch without one.",
	}, func() float64 { return float64(b.sessions.len()) })
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chronik_broker_partitions",
		Help: "Replicas on this node.",
	}, func() float64 { return float64(len(b.replicas.all())) })
	follows := func(of func(streams, partitions int) int) func() float64 {
		return func() float64 { return float64(of(b.fetchers.count())) }
	}
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chronik_broker_fetch_streams",
		Help: "Brokers that this node copies partitions from.",
	}, follows(func(streams, _ int) int { return streams }))
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chronik_broker_followed_partitions",
		Help: "Replicas on this node that copy from a leader elsewhere.",
	}, follows(func(_, partitions int) int { return partitions }))
	return &metrics{
		producedBytes: factory.NewCounter(prometheus.CounterOpts{
			Name: "chronik_broker_produced_bytes_total", Help: "Bytes of record batches appended for clients.",
		}),
		producedRecords: factory.NewCounter(prometheus.CounterOpts{
			Name: "chronik_broker_produced_records_total", Help: "Records appended for clients.",
		}),
		fetchedBytes: factory.NewCounter(prometheus.CounterOpts{
			Name: "chronik_broker_fetched_bytes_total", Help: "Bytes of record batches answered to clients.",
		}),
	}
}

func (m *metrics) produced(bytes, records int) {
	m.producedBytes.Add(float64(bytes))
	m.producedRecords.Add(float64(records))
}

func (m *metrics) fetched(bytes int) { m.fetchedBytes.Add(float64(bytes)) }
