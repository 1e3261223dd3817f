package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	joinBackoff    = 200 * time.Millisecond
	maxJoinBackoff = 5 * time.Second
	// rejoinInterval is how often members that went silent, and addresses of Join that nobody answers
	// from, are looked for again: after a partition each side has given up on the other.
	rejoinInterval = 5 * time.Second
	// firstJoin is how long Open waits to learn whether somebody objects to this node.
	firstJoin = 3 * time.Second
)

// keepJoined looks for the others until ctx ends. The result of the first round goes to first.
func (n *Node) keepJoined(ctx context.Context, first chan<- error) {
	backoff := joinBackoff
	said := ""
	for {
		err := n.joinOnce(ctx)
		select {
		case first <- err:
		default:
		}
		said = n.reportJoin(said, err)
		pause := rejoinInterval
		if members, _ := n.gossip.view(); len(members) == 0 {
			pause, backoff = backoff, min(2*backoff, maxJoinBackoff)
		} else {
			backoff = joinBackoff
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// reportJoin logs how the search goes when that is news, and returns what it said.
func (n *Node) reportJoin(said string, err error) string {
	now := ""
	switch {
	case err != nil:
		now = err.Error()
	case len(n.o.Join) > 0:
		now = "joined"
	}
	switch {
	case now == said:
	case err != nil:
		n.log.Warn("not all gossip addresses answer yet, trying on", "err", err)
	case said != "":
		n.log.Info("all gossip addresses answer")
	}
	return now
}

// joinOnce calls everybody who is not heard of at present. A refusal for good is kept for refusal.
func (n *Node) joinOnce(ctx context.Context) error {
	var errs []error
	for _, address := range n.gossip.missing(n.o.Join) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := n.gossip.list.Join([]string{address}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", address, n.judgeJoin(ctx, err)))
		}
	}
	return errors.Join(errs...)
}

// missing lists the addresses to call: lost members, and those of join that no live member has.
func (g *gossip) missing(join []string) []string {
	here := map[string]bool{}
	for _, node := range g.list.Members() {
		here[node.Address()] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	addresses := slices.Sorted(maps.Values(g.lost))
	for _, address := range join {
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return slices.DeleteFunc(addresses, func(a string) bool { return here[a] })
}

// judgeJoin finds out what a failed join means. Gossip may remember a node that is no more, so who is said
// to run under this node's id is asked on its peer port: a wiped node must be able to come back.
func (n *Node) judgeJoin(ctx context.Context, err error) error {
	taken, foreign := n.gossip.objections()
	switch {
	case foreign != nil:
		err = fmt.Errorf("%w: node %d is of cluster %s, this directory of %s", ErrOtherCluster, foreign.node, foreign.clusterID, n.ClusterID())
		n.refuse(err)
	case taken != nil:
		met, _ := n.peers.introduce(ctx, taken.peerAddress)
		if met.identity != taken.identity {
			n.gossip.bury(*taken)
			return fmt.Errorf("the directory %s of this node id is still remembered, waiting until it is forgotten", taken.directory)
		}
		err = fmt.Errorf("%w: node id %d with directory %s answers at %s, this is directory %s",
			ErrNodeIDTaken, taken.node, taken.directory, taken.peerAddress, n.o.DirectoryID)
		n.refuse(err)
	}
	return err
}

// objections returns what NotifyMerge found, once.
func (g *gossip) objections() (taken, foreign *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken, foreign = g.taken, g.foreign
	g.taken, g.foreign = nil, nil
	return taken, foreign
}

// bury remembers that a directory under this node's id is not alive, whatever others say.
func (g *gossip) bury(m member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.stale) < maxLost {
		g.stale[m.directory] = true
	}
}
