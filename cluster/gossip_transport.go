package cluster

import (
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// GossipTransport is how gossip travels: single packets, and connections.
type GossipTransport = memberlist.NodeAwareTransport

// gossipTransport is memberlist's own, but for calls that come from the address it listens on; see
// Peers.dialer.
type gossipTransport struct {
	*memberlist.NetTransport
	local net.IP // nil for any
}

// openGossipTransport binds TCP and UDP to one port. With port 0 the one that is free for TCP may be taken
// for UDP, then another is tried.
func openGossipTransport(host string, port int, logger *log.Logger) (*gossipTransport, error) {
	if host == "" {
		host = "0.0.0.0"
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return nil, fmt.Errorf("gossip address %s: %w", host, err)
	}
	tries := 1
	if port == 0 {
		tries = 10
	}
	config := &memberlist.NetTransportConfig{BindAddrs: []string{ip.String()}, BindPort: port, Logger: logger}
	for {
		inner, err := memberlist.NewNetTransport(config)
		if err == nil {
			t := &gossipTransport{NetTransport: inner}
			if !ip.IP.IsUnspecified() {
				t.local = ip.IP
			}
			return t, nil
		}
		if tries--; tries <= 0 || !strings.Contains(err.Error(), "address already in use") {
			return nil, fmt.Errorf("listen for gossip: %w", err)
		}
	}
}

// DialTimeout implements memberlist.Transport.
func (t *gossipTransport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: timeout}
	if t.local != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: t.local}
	}
	return dialer.Dial("tcp", address)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *gossipTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}
