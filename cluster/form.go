package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Formation is how a node gets into a Raft group.
type Formation struct {
	ClusterID uuid.ID
	// Founders are the first voters, for raftmeta.Options.Bootstrap. Nil: the group exists, and the node
	// is in it or joins it.
	Founders []raftmeta.Server
}

// ErrLogLost means that a data directory has lost its metadata log. The node must come back on a new
// directory, as another server; its cluster has the metadata, if there are other nodes.
var ErrLogLost = errors.New("the data directory has lost the metadata log")

const (
	// formPoll is how often Form looks again without news.
	formPoll = 250 * time.Millisecond
	// formSettle is how long the candidates must have been the same: who starts a moment later is in.
	formSettle = 500 * time.Millisecond
	// pledgeTimeout bounds one question during the forming.
	pledgeTimeout = 3 * time.Second
	// formReport is how often a node that waits says what for.
	formReport = 30 * time.Second
)

// Form blocks until it is known how this node gets into a Raft group (replication.md 4.8). The peer port
// must be served already. It fails when another node runs under this node's id, when this node's
// directory belongs to another cluster than the nodes to join, and when the pledge cannot be kept.
func (n *Node) Form(ctx context.Context) (Formation, error) {
	ctx, cancel := n.whileOpen(ctx)
	defer cancel()
	f, err := n.form(ctx)
	if err != nil {
		return Formation{}, fmt.Errorf("find a cluster: %w", err)
	}
	n.peers.SetClusterID(f.ClusterID)
	n.gossip.tell(func(m *member) { m.clusterID, m.standing = f.ClusterID, standingFormed })
	return f, nil
}

func (n *Node) form(ctx context.Context) (Formation, error) {
	given, err := n.pledges.current(ctx)
	switch {
	case err != nil:
		return Formation{}, err
	case n.o.HasState && n.o.ClusterID.IsZero() && given != nil:
		return Formation{ClusterID: given.clusterID}, nil // the id was not written down before a crash
	case !n.o.HasState && !n.o.ClusterID.IsZero() && (given != nil || n.alone()):
		// A founder writes the cluster's id down only once its log is there. To found the same cluster once
		// more, as the same server, could undo what it has voted for (replication.md 4.7, I24).
		return Formation{}, fmt.Errorf("%w of cluster %s", ErrLogLost, n.o.ClusterID)
	case n.o.HasState, given == nil && !n.o.ClusterID.IsZero():
		return Formation{ClusterID: n.o.ClusterID}, nil
	case given == nil && n.alone():
		return n.foundAlone(ctx)
	}
	waiter := &formWait{node: n, said: n.o.Now()}
	for {
		_, news := n.gossip.view()
		f, done, err := n.formStep(ctx, waiter)
		if done || err != nil {
			return f, err
		}
		timer := time.NewTimer(formPoll/2 + rand.N(formPoll))
		select {
		case <-news:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Formation{}, ctx.Err()
		}
		timer.Stop()
	}
}

// alone tells whether this node is to be a cluster of one: nobody else is expected or to be joined.
func (n *Node) alone() bool {
	others := slices.DeleteFunc(slices.Clone(n.o.Join), func(a string) bool { return a == n.gossip.address() })
	return n.o.BootstrapExpect == 1 && len(others) == 0
}

func (n *Node) foundAlone(ctx context.Context) (Formation, error) {
	f, err := n.newFoundation(nil)
	if err != nil {
		return Formation{}, err
	}
	if _, err := n.pledges.propose(ctx, f); err != nil {
		return Formation{}, err
	}
	if _, err := n.pledges.decide(ctx, f); err != nil {
		return Formation{}, err
	}
	return n.founded(f), nil
}

func (n *Node) founded(f *foundation) Formation {
	n.log.Info("the cluster is founded", "cluster", f.clusterID, "founders", len(f.founders), "proposer", f.proposer().String())
	return Formation{ClusterID: f.clusterID, Founders: f.servers()}
}

func (n *Node) newFoundation(others []member) (*foundation, error) {
	id, err := uuid.New(nil)
	if err != nil {
		return nil, err
	}
	f := &foundation{clusterID: id, founders: []founder{{n.self, n.peers.Address()}}}
	for _, m := range others {
		f.founders = append(f.founders, founder{m.identity, m.peerAddress})
	}
	slices.SortFunc(f.founders, func(a, b founder) int { return a.compare(b.identity) })
	return f, nil
}

// formStep does what is possible now; done says that the formation is known.
func (n *Node) formStep(ctx context.Context, w *formWait) (f Formation, done bool, err error) {
	if err := n.refusal(); err != nil {
		return f, false, err
	}
	given, err := n.pledges.current(ctx)
	if err != nil {
		return f, false, err
	}
	members, _ := n.gossip.view()
	if given != nil {
		founded, err := n.resolve(ctx, given, members)
		if err != nil || !founded {
			w.report(fmt.Sprintf("pledged to found cluster %s, waiting to hear from its proposer %s at %s",
				given.clusterID, given.proposer(), n.reach(given.proposer())))
			return f, false, err
		}
		return n.founded(given), true, nil
	}
	if id, err := n.formed(ctx, members); err != nil || !id.IsZero() {
		if err != nil {
			return f, false, err
		}
		settled, err := n.pledges.settle(ctx)
		if settled {
			n.log.Info("joining the cluster that gossip knows", "cluster", id)
		}
		return Formation{ClusterID: id}, settled, err
	}
	candidates := n.candidates(members)
	if n.o.BootstrapExpect == 1 {
		w.report("looking for a cluster to join")
		return f, false, nil
	}
	if !w.settled(candidates) || len(candidates) < n.o.BootstrapExpect-1 {
		w.report(fmt.Sprintf("%d of %d nodes have met to form a cluster", len(candidates)+1, n.o.BootstrapExpect))
		return f, false, nil
	}
	list, err := n.newFoundation(candidates[:n.o.BootstrapExpect-1])
	if err != nil || list.proposer().identity != n.self {
		return f, false, err
	}
	founded, failure, err := n.attempt(ctx, list)
	if failure != nil {
		w.report(fmt.Sprintf("not all of %d nodes give their word: %v", len(list.founders), failure))
	}
	if err != nil || !founded {
		return f, false, err
	}
	return n.founded(list), true, nil
}

// candidates are the others that wait for as many founders as this node, lowest first. One that is pledged
// counts: it may be released, and says no itself if not.
func (n *Node) candidates(members []member) []member {
	return slices.DeleteFunc(members, func(m member) bool {
		return m.standing == standingFormed || m.expect != n.o.BootstrapExpect
	})
}

// formed finds the cluster that gossip knows, if one of its members confirms it. Two are an error: this
// node must not choose.
func (n *Node) formed(ctx context.Context, members []member) (uuid.ID, error) {
	var id uuid.ID
	for _, m := range members {
		if m.standing != standingFormed || m.clusterID.IsZero() || m.clusterID == id {
			continue
		}
		met, err := n.peers.introduce(ctx, m.peerAddress)
		if err != nil || met.clusterID != m.clusterID {
			continue // gone meanwhile
		}
		if !id.IsZero() {
			return uuid.ID{}, fmt.Errorf("gossip knows two clusters, %s and %s: check --join", id, m.clusterID)
		}
		id = m.clusterID
	}
	if !n.o.ClusterID.IsZero() && !id.IsZero() && id != n.o.ClusterID {
		return uuid.ID{}, fmt.Errorf("%w: gossip knows %s, this directory is of %s", ErrOtherCluster, id, n.o.ClusterID)
	}
	return id, nil
}

// attempt asks all other founders for their word, and founds the cluster if it gets it from all. failure says
// why it did not; the next attempt may.
func (n *Node) attempt(ctx context.Context, f *foundation) (founded bool, failure, err error) {
	if began, err := n.pledges.propose(ctx, f); err != nil || !began {
		return false, nil, err
	}
	if err := n.o.crash("proposed"); err != nil {
		return false, nil, err
	}
	body := f.append(nil)
	asking, asked := errgroup.WithContext(ctx)
	for _, x := range f.founders {
		if x.identity != n.self {
			asking.Go(func() error {
				asked, cancel := context.WithTimeout(asked, pledgeTimeout)
				defer cancel()
				_, err := n.Call(asked, x.address, MethodPledge, body)
				return err
			})
		}
	}
	if failure := asking.Wait(); failure != nil {
		return false, failure, n.pledges.abandon(ctx, f)
	}
	if err := n.o.crash("all pledged"); err != nil {
		return false, nil, err
	}
	founded, err = n.pledges.decide(ctx, f)
	return founded, nil, err
}

// resolve finds out whether the list that this node is pledged to was founded. It releases the pledge if
// the proposer has abandoned it.
func (n *Node) resolve(ctx context.Context, f *foundation, members []member) (founded bool, err error) {
	if f.proposer().identity == n.self {
		return true, nil
	}
	for _, m := range members {
		if m.standing == standingFormed && m.clusterID == f.clusterID && f.holds(m.identity) {
			return true, nil
		}
	}
	asking, cancel := context.WithTimeout(ctx, pledgeTimeout)
	defer cancel()
	body := appendIdentity(append([]byte(nil), f.clusterID[:]...), f.proposer().identity)
	answer, err := n.Call(asking, n.reach(f.proposer()), MethodOutcome, body)
	switch {
	case err != nil || len(answer) != 1:
		n.log.Debug("the proposer of a cluster does not answer", "cluster", f.clusterID, "err", err)
		return false, nil
	case answer[0] == outcomeAbandoned:
		n.log.Info("released from a pledge", "cluster", f.clusterID, "proposer", f.proposer().String())
		n.gossip.tell(func(m *member) { m.standing = standingEmpty })
		return false, n.pledges.release(ctx, f)
	}
	return answer[0] == outcomeFounded, nil
}

// reach is where a founder is now: its address may have changed since the list was made.
func (n *Node) reach(x founder) string {
	if address, ok := n.gossip.find(x.identity); ok {
		return address
	}
	return x.address
}

func (n *Node) servePledge(ctx context.Context, body []byte) ([]byte, error) {
	f, err := readFoundation(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := n.pledges.accept(ctx, f); err != nil {
		return nil, err
	}
	n.gossip.tell(func(m *member) {
		if m.standing == standingEmpty {
			m.standing = standingPledged
		}
	})
	return nil, nil
}

func (n *Node) serveOutcome(ctx context.Context, body []byte) ([]byte, error) {
	if len(body) != 16+identityBytes || readIdentity(body[16:]) != n.self {
		return nil, fmt.Errorf("%w: this is %s", ErrRefused, n.self) // somebody else has this address now
	}
	outcome, err := n.pledges.outcome(ctx, uuid.ID(body[:16]))
	return []byte{outcome}, err
}

// refuse keeps why this node must stay outside, for Open and Form to return.
func (n *Node) refuse(err error) { n.refused.CompareAndSwap(nil, &err) }

func (n *Node) refusal() error {
	if err := n.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// formWait remembers between the steps of Form what was seen and said.
type formWait struct {
	node  *Node
	seen  []member
	since time.Time // when seen was new
	text  string
	said  time.Time
}

// settled tells whether the candidates have been the same for long enough.
func (w *formWait) settled(candidates []member) bool {
	now := w.node.o.Now()
	same := slices.EqualFunc(w.seen, candidates, func(a, b member) bool { return a.identity == b.identity })
	if !same || w.since.IsZero() {
		w.seen, w.since = candidates, now
	}
	return now.Sub(w.since) >= formSettle
}

// report logs what is waited for, when that is news and from time to time.
func (w *formWait) report(text string) {
	now := w.node.o.Now()
	if text == w.text && now.Sub(w.said) < formReport {
		return
	}
	w.text, w.said = text, now
	w.node.log.Info("waiting for a cluster", "state", text)
}
