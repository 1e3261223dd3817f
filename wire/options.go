package wire

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configures a Server. A zero field means its default, except Registry, which is required.
type Options struct {
	// Registry holds what is served.
	Registry *Registry
	// Listener names the Kafka listener, for Session.Listener and the metrics. Default "PLAINTEXT".
	Listener string

	// MaxConnections refuses connections above it. Default no limit.
	MaxConnections int
	// MaxConnectionsPerIP refuses connections above it from one address. Default no limit.
	MaxConnectionsPerIP int

	// MaxInFlight bounds the requests of one connection that are read and not yet answered; at the
	// bound, reading stops. More pipelining costs memory. Default 100.
	MaxInFlight int
	// MaxInFlightBytes bounds the bytes of those requests and of their waiting replies. One request may
	// exceed it. Default 64 MiB.
	MaxInFlightBytes int64

	// FirstRequestBytes bounds a frame, unless it is a Produce, until the connection has sent one good
	// request. Default 512 KiB, which is what Kafka takes before authentication.
	FirstRequestBytes int
	// MaxRequestBytes bounds every later frame (socket.request.max.bytes). Default 100 MiB.
	MaxRequestBytes int
	// RequestMemory bounds the bytes of request buffers of all connections together. A connection that
	// finds it exhausted waits up to FrameTimeout and is closed then. Default 512 MiB; raised to
	// four times MaxRequestBytes if it is less.
	RequestMemory int64

	// IdleTimeout closes a connection on which nothing was read or written for so long while no request
	// was outstanding (connections.max.idle.ms). Default 10 minutes.
	IdleTimeout time.Duration
	// FrameTimeout closes a connection that stopped within a frame for so long. Default 30 s.
	FrameTimeout time.Duration
	// WriteTimeout closes a connection whose peer took no byte of a reply for so long. Default 30 s.
	WriteTimeout time.Duration

	// Logger defaults to none.
	Logger *slog.Logger
	// Registerer gets the metrics, with the label listener. Default none.
	Registerer prometheus.Registerer

	// Strict is for tests: a handler that answers a request twice panics instead of being logged, and
	// request buffers are overwritten when they are released, so that use after release shows.
	Strict bool
}

func (o Options) withDefaults() Options {
	setDefault(&o.Listener, "PLAINTEXT")
	setDefault(&o.MaxInFlight, 100)
	setDefault(&o.MaxInFlightBytes, 64<<20)
	setDefault(&o.FirstRequestBytes, 512<<10)
	setDefault(&o.MaxRequestBytes, 100<<20)
	setDefault(&o.RequestMemory, 512<<20)
	setDefault(&o.IdleTimeout, 10*time.Minute)
	setDefault(&o.FrameTimeout, 30*time.Second)
	setDefault(&o.WriteTimeout, 30*time.Second)
	o.FirstRequestBytes = min(o.FirstRequestBytes, o.MaxRequestBytes)
	// A buffer that grows exists twice for a moment, and its class may be twice its frame.
	o.RequestMemory = max(o.RequestMemory, 4*int64(max(o.MaxRequestBytes, readSize)))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
