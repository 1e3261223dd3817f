package wire

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metrics of one server. What is counted per request is resolved to its labels when the server is
// made: a label look-up for each request would show in the profile.
type metrics struct {
	connections   prometheus.Gauge
	accepted      prometheus.Counter
	refused       *prometheus.CounterVec // by reason
	acceptErrors  prometheus.Counter
	closed        [closeReasons]prometheus.Counter
	inFlight      prometheus.Gauge
	requestBytes  prometheus.Counter
	responseBytes prometheus.Counter
	throttles     prometheus.Counter
	violations    prometheus.Counter
	panics        prometheus.Counter
	unsupported   prometheus.Counter
}

// apiMetrics are those of one API key.
type apiMetrics struct {
	requests             prometheus.Counter
	queue, handle, reply prometheus.Observer
}

func newMetrics(reg prometheus.Registerer, listener string, mem *budget) *metrics {
	f := promauto.With(labelled(reg, listener))
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		connections:   gauge("chronik_wire_connections", "Open connections."),
		accepted:      counter("chronik_wire_connections_accepted_total", "Connections accepted. Rising fast with few open: clients reconnect in a loop."),
		acceptErrors:  counter("chronik_wire_accept_errors_total", "Failed accepts. Rising: out of file descriptors."),
		inFlight:      gauge("chronik_wire_requests_in_flight", "Requests read and not yet answered."),
		requestBytes:  counter("chronik_wire_request_bytes_total", "Bytes of requests, with their length prefixes."),
		responseBytes: counter("chronik_wire_response_bytes_total", "Bytes of responses, with their length prefixes."),
		throttles:     counter("chronik_wire_throttles_total", "Times a connection was not read for a while because of a quota."),
		violations:    counter("chronik_wire_handler_violations_total", "Requests that were answered twice. Any is a bug."),
		panics:        counter("chronik_wire_handler_panics_total", "Panics in handlers. Any is a bug."),
		unsupported:   counter("chronik_wire_requests_unsupported_total", "Requests of keys or versions that are not served. Rising: clients ignore ApiVersions."),
	}
	m.refused = f.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_wire_connections_refused_total",
		Help: "Connections closed at once because a limit was reached, by limit.",
	}, []string{"reason"})
	closed := f.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_wire_connections_closed_total",
		Help: "Connections that ended, by reason. Rising bad_request: a broken client, or not a Kafka client.",
	}, []string{"reason"})
	for r := range closeReasons {
		m.closed[r] = closed.WithLabelValues(r.String())
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chronik_wire_request_memory_bytes",
		Help: "Memory of request buffers in use. Near its limit, connections wait and are closed.",
	}, func() float64 { return float64(mem.used.Load()) })
	return m
}

// newAPIMetrics makes the metrics of each API, in the order of apis.
func newAPIMetrics(reg prometheus.Registerer, listener string, apis []API) []apiMetrics {
	f := promauto.With(labelled(reg, listener))
	requests := f.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_wire_requests_total",
		Help: "Requests handed to handlers, by API.",
	}, []string{"api"})
	seconds := f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "chronik_wire_request_seconds",
		Help: "Time of requests by API and phase: queue until the handler is called (rising: the connection is " +
			"busy), handle until it is answered, reply until the answer is written (rising: earlier answers or the client are slow).",
		Buckets: []float64{50e-6, 200e-6, 1e-3, 5e-3, 20e-3, 100e-3, 500e-3, 2, 10, 60},
	}, []string{"api", "phase"})
	all := make([]apiMetrics, len(apis))
	for i, a := range apis {
		name := kmsg.NameForKey(a.Key)
		all[i] = apiMetrics{
			requests: requests.WithLabelValues(name),
			queue:    seconds.WithLabelValues(name, "queue"),
			handle:   seconds.WithLabelValues(name, "handle"),
			reply:    seconds.WithLabelValues(name, "reply"),
		}
	}
	return all
}

func labelled(reg prometheus.Registerer, listener string) prometheus.Registerer {
	if reg == nil {
		return nil
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{"listener": listener}, reg)
}

// observe records the phases of a request that was written, or took its turn, at now.
func (m *apiMetrics) observe(r *Request, now time.Time) {
	m.requests.Inc()
	m.queue.Observe(r.started.Sub(r.Received).Seconds())
	m.handle.Observe(r.answeredAt.Sub(r.started).Seconds())
	m.reply.Observe(now.Sub(r.answeredAt).Seconds())
}
