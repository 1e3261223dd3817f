package cluster

import (
	"context"
	"net"
	"sync"
)

const (
	// linksPerPeer is how many calls to one node can be on their way at once; more wait for their turn.
	linksPerPeer = 4
	// maxPeers is how many addresses a pool remembers; unused ones make room.
	maxPeers = 64
)

// linkPool lends links to peer ports, and keeps their connections for the next call.
type linkPool struct {
	peers *Peers

	mu     sync.Mutex // guards the fields below
	byAddr map[string]*peerLinks
	closed bool
}

type peerLinks struct {
	slots chan struct{} // a token for each link that is lent
	users int           // who wait for a token or have one
	idle  []*Link       // the one used last at the end
	lent  map[*Link]struct{}
}

func newLinkPool(p *Peers) *linkPool { return &linkPool{peers: p, byAddr: map[string]*peerLinks{}} }

// take lends a link to address. It waits for its turn, until ctx ends.
func (p *linkPool) take(ctx context.Context, address string) (*Link, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, net.ErrClosed
	}
	links := p.linksLocked(address)
	links.users++
	p.mu.Unlock()
	select {
	case links.slots <- struct{}{}:
	case <-ctx.Done():
		p.mu.Lock()
		links.users--
		p.mu.Unlock()
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		links.users--
		<-links.slots
		return nil, net.ErrClosed
	}
	var link *Link
	if last := len(links.idle) - 1; last >= 0 {
		link, links.idle = links.idle[last], links.idle[:last]
	} else {
		link = p.peers.Link(address)
	}
	links.lent[link] = struct{}{}
	return link, nil
}

func (p *linkPool) linksLocked(address string) *peerLinks {
	links, ok := p.byAddr[address]
	if ok {
		return links
	}
	if len(p.byAddr) >= maxPeers {
		for other, unused := range p.byAddr {
			if unused.users == 0 {
				unused.close()
				delete(p.byAddr, other)
			}
		}
	}
	links = &peerLinks{slots: make(chan struct{}, linksPerPeer), lent: map[*Link]struct{}{}}
	p.byAddr[address] = links
	return links
}

// put takes a link back.
func (p *linkPool) put(link *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := p.byAddr[link.Address()]
	delete(links.lent, link)
	links.idle = append(links.idle, link)
	links.users--
	<-links.slots
	if p.closed {
		links.close()
	}
}

// close ends all connections, also those in use.
func (p *linkPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, links := range p.byAddr {
		links.close()
	}
}

func (l *peerLinks) close() {
	for _, link := range l.idle {
		link.Close()
	}
	l.idle = nil
	for link := range l.lent {
		link.Close()
	}
}
