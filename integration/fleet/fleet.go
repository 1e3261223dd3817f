package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Options says what a fleet is made of.
type Options struct {
	Binary string // the broker
	Dir    string // data and logs; it stays the caller's to remove
	Nodes  int    // default 3
	// Settings are broker configs of every node, each "key=value".
	Settings []string
	// Direct leaves the proxy out: full speed, and links that cannot be broken.
	Direct bool
	// DataDir says where a node keeps its data. Default: node-N/data in Dir.
	DataDir func(id int32) string
}

// Fleet is a cluster of processes. Its methods may be called from several goroutines, those of one node from one at a time.
type Fleet struct {
	options Options
	links   *Links // nil if Direct
	nodes   []*Node
}

// New chooses the addresses of all nodes, which stay theirs from one life to the next. It starts nothing.
func New(o Options) (*Fleet, error) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	f := &Fleet{options: o}
	if !o.Direct {
		f.links = newLinks()
	}
	for i := range o.Nodes {
		n, err := f.newNode(int32(i + 1))
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

func (f *Fleet) newNode(id int32) (*Node, error) {
	n := &Node{ID: id, IP: fmt.Sprintf("127.0.0.%d", id), fleet: f, dir: filepath.Join(f.options.Dir, fmt.Sprintf("node-%d", id))}
	n.DataDir = filepath.Join(n.dir, "data")
	if f.options.DataDir != nil {
		n.DataDir = f.options.DataDir(id)
	}
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return nil, err
	}
	for _, address := range []*string{&n.Kafka, &n.Peer, &n.Gossip, &n.HTTP} {
		var err error
		if *address, err = freeAddress(n.IP); err != nil {
			return nil, err
		}
	}
	n.peerAdvertise = n.Peer
	if f.links != nil {
		var err error
		if n.peerAdvertise, err = f.links.add(id, n.IP, n.Peer); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Start starts every node that does not run, and returns when all are ready. All at once: a cluster that has never been
// serves only when enough nodes have met.
func (f *Fleet) Start(ctx context.Context) error {
	var all errgroup.Group
	for _, n := range f.nodes {
		if !n.Running() {
			all.Go(func() error { return n.Start(ctx) })
		}
	}
	return all.Wait()
}

// Stop asks every node that runs for a controlled shutdown and waits for all. One that does not end by itself is an error.
func (f *Fleet) Stop(ctx context.Context) error {
	var all errgroup.Group
	for _, n := range f.nodes {
		if n.Running() {
			all.Go(func() error { return n.Stop(ctx) })
		}
	}
	return all.Wait()
}

// Close kills what still runs and ends the proxy.
func (f *Fleet) Close() error {
	var errs []error
	for _, n := range f.nodes {
		if n.Running() {
			errs = append(errs, n.Kill())
		}
		<-n.watched()
	}
	if f.links != nil {
		errs = append(errs, f.links.Close())
	}
	return errors.Join(errs...)
}

// Nodes are all of them, by id.
func (f *Fleet) Nodes() []*Node { return f.nodes }

// Node is the one with an id from 1 on.
func (f *Fleet) Node(id int32) *Node { return f.nodes[id-1] }

// Others are all nodes but one.
func (f *Fleet) Others(id int32) []*Node {
	var others []*Node
	for _, n := range f.nodes {
		if n.ID != id {
			others = append(others, n)
		}
	}
	return others
}

// Links is the network between the nodes; nil if Direct.
func (f *Fleet) Links() *Links { return f.links }

// Bootstrap is where clients may begin.
func (f *Fleet) Bootstrap() []string {
	var addresses []string
	for _, n := range f.nodes {
		addresses = append(addresses, n.Kafka)
	}
	return addresses
}

// gossip is what a node is told to join.
func (f *Fleet) gossip() string {
	var addresses []string
	for _, n := range f.nodes {
		addresses = append(addresses, n.Gossip)
	}
	return strings.Join(addresses, ",")
}
