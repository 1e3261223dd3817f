package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/chronik-stream/chronik/broker"
)

// serveCmd runs a node. A single one is a cluster of one; nodes that name each other with --join become
// one cluster, which the first --bootstrap-expect of them form.
type serveCmd struct {
	Config          configFile        `help:"YAML file whose keys are the names of these flags. The command line wins over the environment, that over the file." placeholder:"FILE"`
	DataDir         string            `default:"./data" help:"Everything durable. Default: ${default}." placeholder:"DIR"`
	NodeID          int32             `name:"node-id" default:"0" help:"Kafka broker id, at least 1. 0: choose once, remember."`
	KafkaListen     string            `default:"127.0.0.1:9092" help:"Address for Kafka clients. Port 0 picks a free one. Default: ${default}." placeholder:"HOST:PORT"`
	KafkaAdvertise  string            `help:"Where clients are told to connect. Default: --kafka-listen." placeholder:"HOST:PORT"`
	PeerListen      string            `default:"127.0.0.1:9093" help:"Address for other nodes: Raft, replication, forwarded requests. Default: ${default}." placeholder:"HOST:PORT"`
	PeerAdvertise   string            `help:"Where other nodes are told to connect. Default: --peer-listen." placeholder:"HOST:PORT"`
	PeerTLSCert     string            `name:"peer-tls-cert" help:"Certificate of this node for the peer port, PEM. With --peer-tls-key and --peer-tls-ca both ends prove who they are." placeholder:"FILE"`
	PeerTLSKey      string            `name:"peer-tls-key" help:"Private key of --peer-tls-cert, PEM." placeholder:"FILE"`
	PeerTLSCA       string            `name:"peer-tls-ca" help:"Certificate authority of all nodes, PEM." placeholder:"FILE"`
	GossipListen    string            `default:"127.0.0.1:7946" help:"Address for discovery, TCP and UDP. Default: ${default}." placeholder:"HOST:PORT"`
	GossipAdvertise string            `help:"Where discovery is told to connect. Default: --gossip-listen." placeholder:"HOST:PORT"`
	GossipKey       string            `help:"Key that encrypts discovery: 16, 24 or 32 bytes in base64. Required beyond loopback. Better in CHRONIK_GOSSIP_KEY than on the command line." placeholder:"BASE64"`
	HTTPListen      string            `name:"http-listen" default:"127.0.0.1:6092" help:"Address for health, metrics and status. Default: ${default}." placeholder:"HOST:PORT"`
	Join            []string          `help:"Gossip addresses of members of a cluster, any of them." placeholder:"HOST:PORT"`
	BootstrapExpect int               `default:"1" help:"How many new nodes must have met before they form a cluster: 1, 3 or 5. It matters once. Default: ${default}."`
	Rack            string            `help:"Failure domain of this node."`
	Set             map[string]string `help:"Kafka broker config by its Kafka name, repeatable." placeholder:"KEY=VALUE"`
	LogLevel        slog.Level        `default:"info" help:"debug, info, warn or error."`
	LogFormat       string            `default:"text" enum:"text,json" help:"text or json."`
}

func (c *serveCmd) Run(a *app) error {
	options, err := c.options(a)
	if err != nil {
		return err
	}
	return broker.Run(a.ctx, options, func(b *broker.Broker) {
		// The one line that scripts wait for.
		fmt.Fprintf(a.stdout, "chronik ready node=%d kafka=%s peer=%s gossip=%s http=%s\n",
			b.NodeID(), options.Kafka.Addr(), options.Peer.Addr(), b.GossipAddress(), options.HTTP.Addr())
	})
}

// options opens the listeners, so that a port in use is known before anything is touched.
func (c *serveCmd) options(a *app) (o broker.Options, err error) {
	logger := c.logger(a)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o = broker.Options{
		DataDir: c.DataDir, NodeID: c.NodeID, Rack: c.Rack, Config: c.Set,
		Gossip: c.GossipListen, GossipAdvertise: c.GossipAdvertise, Join: c.Join, BootstrapExpect: c.BootstrapExpect,
		PeerAdvertise: c.PeerAdvertise, Logger: logger, Registry: registry,
	}
	if err := c.check(); err != nil {
		return o, err
	}
	if c.KafkaAdvertise != "" {
		if o.AdvertiseHost, o.AdvertisePort, err = splitHostPort(c.KafkaAdvertise); err != nil {
			return o, fmt.Errorf("--kafka-advertise: %w", err)
		}
	}
	if o.GossipKey, err = base64.StdEncoding.DecodeString(c.GossipKey); err != nil {
		return o, errors.New("--gossip-key is not base64")
	}
	if o.PeerTLS, err = c.peerTLS(); err != nil {
		return o, err
	}
	return o, c.listen(a, &o)
}

// check refuses what could only fail later, or elsewhere.
func (c *serveCmd) check() error {
	switch {
	case c.BootstrapExpect != 1 && c.BootstrapExpect != 3 && c.BootstrapExpect != 5:
		return fmt.Errorf("--bootstrap-expect %d: a cluster is formed by 1, 3 or 5 nodes; others join it later", c.BootstrapExpect)
	case c.BootstrapExpect > 1 && len(c.Join) == 0:
		return errors.New("--bootstrap-expect needs --join: the nodes must find each other")
	}
	for _, given := range []struct{ flag, address string }{{"--peer-advertise", c.PeerAdvertise}, {"--gossip-advertise", c.GossipAdvertise}} {
		if given.address == "" {
			continue
		}
		if _, _, err := splitHostPort(given.address); err != nil {
			return fmt.Errorf("%s: %w", given.flag, err)
		}
	}
	return nil
}

// listen opens the ports of o, all or none.
func (c *serveCmd) listen(a *app, o *broker.Options) (err error) {
	var opened []net.Listener
	defer func() {
		for _, l := range opened {
			if err != nil {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	for _, port := range []struct {
		to                       *net.Listener
		flag, address, advertise string
		mustAdvertise            bool
	}{
		{&o.Kafka, "kafka", c.KafkaListen, c.KafkaAdvertise, true},
		{&o.Peer, "peer", c.PeerListen, c.PeerAdvertise, true},
		{&o.HTTP, "http", c.HTTPListen, "", false},
	} {
		if *port.to, err = listen(a.ctx, o.Logger, "--"+port.flag+"-listen", port.address); err != nil {
			return err
		}
		opened = append(opened, *port.to)
		if tcp := (*port.to).Addr().(*net.TCPAddr); port.mustAdvertise && port.advertise == "" && tcp.IP.IsUnspecified() {
			return fmt.Errorf("--%s-listen %s is every address: say with --%s-advertise which one others shall use", port.flag, port.address, port.flag)
		}
	}
	return nil
}

// peerTLS is mutual: both ends of a peer connection show a certificate of the cluster's own authority.
func (c *serveCmd) peerTLS() (*tls.Config, error) {
	switch given := []string{c.PeerTLSCert, c.PeerTLSKey, c.PeerTLSCA}; {
	case !slices.ContainsFunc(given, func(s string) bool { return s != "" }):
		return nil, nil
	case slices.Contains(given, ""):
		return nil, errors.New("--peer-tls-cert, --peer-tls-key and --peer-tls-ca go together")
	}
	cert, err := tls.LoadX509KeyPair(c.PeerTLSCert, c.PeerTLSKey)
	if err != nil {
		return nil, fmt.Errorf("--peer-tls-cert: %w", err)
	}
	pem, err := os.ReadFile(c.PeerTLSCA)
	if err != nil {
		return nil, fmt.Errorf("--peer-tls-ca: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--peer-tls-ca: %s holds no certificate", c.PeerTLSCA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: authorities, ClientCAs: authorities,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
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
