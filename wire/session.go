// Package wire carries Kafka's protocol between sockets and handlers: framing, headers, and the loop
// of a connection. It has no idea what is served; it is handed a Registry of handlers.
//
// What always holds on a connection:
//
//   - Requests are handled one after another in the order they came, and answered in that order,
//     however late and from whichever goroutine the answers are made.
//   - An answer carries its own request's correlation id, in the response header version of its own
//     key and version.
//   - What a peer makes us hold is bounded: bytes before they arrive are not allocated, requests and
//     bytes in flight have limits per connection and for the server, and every wait for the peer ends.
//   - What one connection sends never stops the others: it is answered, or it alone is closed.
package wire

import "net"

// Session is what is known of the peer. A Session does not change once a request carries it, so that
// goroutines may read it at any time; handlers change it for later requests with
// Request.UpdateSession.
type Session struct {
	Principal string // "" until authenticated
	Tenant    string // "" is the default tenant
	Listener  string // Options.Listener of the server that accepted the connection
	ClientID  string // of the first request; Request.ClientID has the current one

	// From ApiVersions v3+, "" if the client did not say.
	ClientSoftwareName, ClientSoftwareVersion string

	RemoteAddr, LocalAddr net.Addr
	ConnID                uint64 // unique in the process
}
