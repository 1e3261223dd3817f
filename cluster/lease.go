package cluster

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Leased tells whether the controller can hardly have given to others what this broker has: it answered a
// heartbeat that was sent less than SessionTimeout ago, and it fences for silence no earlier than that after
// it heard the last one. A successor starts all sessions afresh, later still.
//
// It is for reads whose answer must not be outdated, by a broker that is cut off or was paused and does not
// know yet that others have taken over. Nothing that is written may depend on it: clocks may run at
// different rates, and an operator may move things at any time. Epochs decide who is right, this bounds for
// how long somebody can be wrong and not know (replication.md 1, 5.5).
//
// The controller has its own word, for as long as Raft's lease lets it lead. That of a former controller
// counts no more: what it told itself after the others had elected another proves nothing.
func (n *Node) Leased() bool {
	if meta := n.metadata(); meta != nil && meta.IsLeader() {
		return true
	}
	sent := n.broker.leased.Load()
	return sent != nil && n.o.Now().Sub(*sent) < n.o.SessionTimeout
}

// renew takes the controller's answer to a heartbeat that was sent at a time for what it says of the lease.
func (b *brokerState) renew(sent time.Time, resp *kmsg.BrokerHeartbeatResponse) {
	switch {
	case resp.ErrorCode != 0:
	case resp.IsFenced:
		b.leased.Store(nil)
	default:
		b.leased.Store(&sent)
	}
}
