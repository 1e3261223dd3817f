package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/chronik-stream/chronik/broker"
)

// serveCmd runs a node. The peer and gossip ports belong to clusters of several nodes, which this
// release does not form: nothing listens there, and flags that ask for a cluster are refused.
type serveCmd struct {
	Config          configFile        `help:"YAML file whose keys are the names of these flags. The command line wins over the environment, that over the file." placeholder:"FILE"`
	DataDir         string            `default:"./data" help:"Everything durable. Default: ${default}." placeholder:"DIR"`
	NodeID          int32             `name:"node-id" default:"0" help:"Kafka broker id, at least 1. 0: choose once, remember."`
	KafkaListen     string            `default:"127.0.0.1:9092" help:"Address for Kafka clients. Port 0 picks a free one. Default: ${default}." placeholder:"HOST:PORT"`
	KafkaAdvertise  string            `help:"Where clients are told to connect. Default: --kafka-listen." placeholder:"HOST:PORT"`
	PeerListen      string            `default:"127.0.0.1:9093" help:"Address for other nodes; unused by a single node. Default: ${default}." placeholder:"HOST:PORT"`
	PeerAdvertise   string            `help:"Where other nodes are told to connect." placeholder:"HOST:PORT"`
	GossipListen    string            `default:"127.0.0.1:7946" help:"Address for discovery; unused by a single node. Default: ${default}." placeholder:"HOST:PORT"`
	GossipAdvertise string            `help:"Where discovery is told to connect." placeholder:"HOST:PORT"`
	HTTPListen      string            `name:"http-listen" default:"127.0.0.1:6092" help:"Address for health, metrics and status. Default: ${default}." placeholder:"HOST:PORT"`
	Join            []string          `help:"Gossip addresses of members of a cluster." placeholder:"HOST:PORT"`
	BootstrapExpect int               `default:"1" help:"Servers that form the cluster first."`
	Rack            string            `help:"Failure domain of this node."`
	Set             map[string]string `help:"Kafka broker config by its Kafka name, repeatable." placeholder:"KEY=VALUE"`
	LogLevel        slog.Level        `default:"info" help:"debug, info, warn or error."`
	LogFormat       string            `default:"text" enum:"text,json" help:"text or json."`
}

func (c *serveCmd) Run(a *app) error {
	if len(c.Join) > 0 || c.BootstrapExpect != 1 {
		return errors.New("clusters of several nodes are not supported yet: leave out --join and --bootstrap-expect (see KNOWN_ISSUES.md)")
	}
	options, err := c.options(a)
	if err != nil {
		return err
	}
	return broker.Run(a.ctx, options, func(b *broker.Broker) {
		// The one line that scripts wait for. There is no peer and no gossip listener to name.
		fmt.Fprintf(a.stdout, "chronik ready node=%d kafka=%s peer=- gossip=- http=%s\n", b.NodeID(), options.Kafka.Addr(), options.HTTP.Addr())
	})
}

// options opens the listeners, so that a port in use is known before anything is touched.
func (c *serveCmd) options(a *app) (broker.Options, error) {
	logger := c.logger(a)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o := broker.Options{
		DataDir: c.DataDir, NodeID: c.NodeID, Rack: c.Rack, Config: c.Set,
		Logger: logger, Registry: registry,
	}
	var err error
	if c.KafkaAdvertise != "" {
		if o.AdvertiseHost, o.AdvertisePort, err = splitHostPort(c.KafkaAdvertise); err != nil {
			return o, fmt.Errorf("--kafka-advertise: %w", err)
		}
	}
	if o.Kafka, err = listen(a.ctx, logger, "--kafka-listen", c.KafkaListen); err != nil {
		return o, err
	}
	if o.HTTP, err = listen(a.ctx, logger, "--http-listen", c.HTTPListen); err != nil {
		return o, errors.Join(err, o.Kafka.Close())
	}
	if tcp := o.Kafka.Addr().(*net.TCPAddr); o.AdvertiseHost == "" && tcp.IP.IsUnspecified() {
		return o, errors.Join(fmt.Errorf("--kafka-listen %s is every address: say with --kafka-advertise which one clients shall use", c.KafkaListen), o.Kafka.Close(), o.HTTP.Close())
	}
	return o, nil
}

func (c *serveCmd) logger(a *app) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
}

func listen(ctx context.Context, logger *slog.Logger, flag, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		logger.Warn("listening beyond this machine, without authentication: whoever reaches the port may do anything", "flag", flag, "address", l.Addr())
	}
	return l, nil
}

func splitHostPort(s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 || host == "" {
		return "", 0, fmt.Errorf("%q is not HOST:PORT", s)
	}
	return host, port, nil
}
