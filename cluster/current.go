package cluster

import "time"

// knowledge is how far the controller's metadata went when it answered a heartbeat.
type knowledge struct {
	sent  time.Time // when the heartbeat was
	index uint64    // of the metadata log
}

// learn takes what an answer says. It counts once this node has applied as much.
func (n *Node) learn(k knowledge) {
	n.broker.learning.CompareAndSwap(nil, &k) // an earlier one is reached sooner
}

// current is when this node last knew all that the controller knew, nil for never. An answered heartbeat alone does
// not make it so, nor does a sign of life from Raft: a node that was cut off hears both up to a second before Raft
// has brought it up to date, and until then leads by its own account what others lead by everybody's.
func (n *Node) current() *time.Time {
	if k := n.broker.learning.Load(); k != nil && n.metadata().Image().Index() >= k.index && n.broker.learning.CompareAndSwap(k, nil) {
		n.broker.known.Store(&k.sent)
	}
	return n.broker.known.Load()
}

// MayBeFenced tells whether others may lead by now what this node leads, for all that it knows: for half a session
// it has not known all that the controller knew. The controller may have heard it last a little before.
func (n *Node) MayBeFenced() bool {
	at := n.current()
	return at == nil || n.o.Now().Sub(*at) > n.o.SessionTimeout/2
}
