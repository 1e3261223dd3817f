package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Backoff of failed accepts: out of descriptors is an error that only time and closed connections end.
const (
	minAcceptBackoff = 5 * time.Millisecond
	maxAcceptBackoff = time.Second
)

// connIDs numbers the connections of the process.
var connIDs atomic.Uint64

// Server serves one Kafka listener. Its goroutines are the callers of Serve, and one or two for each
// connection, for which Shutdown waits.
type Server struct {
	o        Options
	apis     [kmsg.MaxKey + 1]*servedAPI
	budget   *budget
	metrics  *metrics
	ctx      context.Context // of all connections
	cancel   context.CancelFunc
	stopping chan struct{} // closed by Shutdown
	logs     struct{ refused, accept, unserved, closed logLimit }

	running sync.WaitGroup // Serve calls and connections; added to under mu while not stopped

	mu        sync.Mutex // guards the fields below
	stopped   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	perIP     map[string]int
}

// servedAPI is an API with what is kept about it.
type servedAPI struct {
	API
	metrics   apiMetrics
	replySize atomic.Int32 // of the last kmsg reply, to choose the buffer of the next
}

// NewServer makes a server; it does nothing until Serve. It panics without a Registry.
func NewServer(o Options) *Server {
	if o.Registry == nil {
		panic("wire: Options.Registry is required")
	}
	o = o.withDefaults()
	s := &Server{
		o:         o,
		budget:    newBudget(o.RequestMemory),
		stopping:  make(chan struct{}),
		listeners: map[net.Listener]struct{}{},
		conns:     map[*conn]struct{}{},
		perIP:     map[string]int{},
	}
	s.metrics = newMetrics(o.Registerer, o.Listener, s.budget)
	perAPI := newAPIMetrics(o.Registerer, o.Listener, o.Registry.apis)
	for i, a := range o.Registry.apis {
		s.apis[a.Key] = &servedAPI{API: a, metrics: perAPI[i]}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *Server) lookup(key int16) *servedAPI {
	if key < 0 || int(key) >= len(s.apis) {
		return nil
	}
	return s.apis[key]
}

// Serve accepts connections from ln until ctx ends, Shutdown is called or the listener is closed, and
// closes ln. It returns nil after the first two. The connections live on until Shutdown, which must
// be called even after ctx ended. An accept that fails otherwise is tried again after a while.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	if !s.addListener(ln) {
		return nil
	}
	defer s.removeListener(ln)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	backoff := minAcceptBackoff
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			backoff = minAcceptBackoff
			s.accept(nc)
		case ctx.Err() != nil || s.isStopped():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			s.metrics.acceptErrors.Inc()
			s.logs.accept.warn(s.o.Logger, "accept failed", "listener", s.o.Listener, "err", err, "retry_in", backoff)
			s.pause(ctx, backoff)
			backoff = min(2*backoff, maxAcceptBackoff)
		}
	}
}

func (s *Server) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-s.stopping:
	}
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.listeners[ln] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) removeListener(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	s.running.Done()
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// accept starts a connection, or closes it if it is one too many.
func (s *Server) accept(nc net.Conn) {
	ip := ipOf(nc.RemoteAddr())
	c := newConn(s, nc, ip, connIDs.Add(1))
	if refused := s.addConn(c); refused != "" {
		c.cancel()
		nc.Close()
		s.metrics.refused.WithLabelValues(refused).Inc()
		s.logs.refused.warn(s.o.Logger, "connection refused", "listener", s.o.Listener, "remote", nc.RemoteAddr(), "reason", refused)
		return
	}
	s.metrics.accepted.Inc()
	s.metrics.connections.Inc()
	go func() {
		defer s.removeConn(c)
		c.run()
	}()
}

// addConn returns the limit that forbids the connection, if one does.
func (s *Server) addConn(c *conn) (refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return "shutdown"
	case s.o.MaxConnections > 0 && len(s.conns) >= s.o.MaxConnections:
		return "max_connections"
	case s.o.MaxConnectionsPerIP > 0 && s.perIP[c.ip] >= s.o.MaxConnectionsPerIP:
		return "max_connections_per_ip"
	}
	s.conns[c] = struct{}{}
	s.perIP[c.ip]++
	s.running.Add(1)
	return ""
}

func (s *Server) removeConn(c *conn) {
	s.metrics.connections.Dec()
	s.mu.Lock()
	delete(s.conns, c)
	if s.perIP[c.ip]--; s.perIP[c.ip] == 0 {
		delete(s.perIP, c.ip)
	}
	s.mu.Unlock()
	s.running.Done()
}

func ipOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return a.String()
}

// Shutdown stops accepting and reading, lets the replies already owed go out until ctx ends, and
// closes the connections. When it returns no goroutine of the server is left, provided that every
// handler returns once its request's Context has ended. It returns ctx's error if replies were dropped.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		s.eachConn(func(c *conn) { c.abort(&closeError{closedShutdown, ErrServerClosed}) })
		<-done
	}
	s.cancel()
	return err
}

func (s *Server) stop() {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stopping)
		for ln := range s.listeners {
			ln.Close()
		}
	}
	s.mu.Unlock()
	s.eachConn(func(c *conn) { c.stopReading(&closeError{closedShutdown, ErrServerClosed}) })
}

// eachConn calls fn without the lock: fn takes the connection's, and its end takes ours.
func (s *Server) eachConn(fn func(*conn)) {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		fn(c)
	}
}
