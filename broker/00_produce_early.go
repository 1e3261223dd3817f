package broker

import (
	"context"
	"time"
)

const (
	// earlyWait is how long a producer waits for a leader that does not know of it yet: about what the metadata
	// log takes to reach every broker.
	earlyWait = 30 * time.Millisecond
	// lateAfter is how long clients may still come to a broker that leads no more. They are told at once.
	lateAfter = time.Second
)

// comesToLead tells whether this node leads a partition now that it did not lead a moment ago. When leaders move, a
// client can be here before the news: the old leader, or any other broker, has sent it. It is better off waiting than
// with a refusal, after which it pauses, franz-go for 250 ms.
func (b *Broker) comesToLead(ctx context.Context, h *hosted) bool {
	if !b.isToLead(h) && !b.awaitLead(ctx, h) {
		return false
	}
	b.reconciler.catchUp()
	return true
}

// isToLead tells whether the metadata make this node the leader, which it may not have become yet.
func (b *Broker) isToLead(h *hosted) bool {
	topic, ok := b.meta.Image().TopicByID(h.key.topic)
	return ok && int(h.key.number) < len(topic.Partitions) && topic.Partitions[h.key.number].Leader == b.nodeID
}

// awaitLead waits a little for the metadata to make this node the leader.
func (b *Broker) awaitLead(ctx context.Context, h *hosted) bool {
	if resigned := h.resigned.Load(); resigned != nil && b.now().Sub(*resigned) < lateAfter {
		return false
	}
	changes := b.meta.Subscribe()
	defer changes.Close()
	timer := time.NewTimer(earlyWait)
	defer timer.Stop()
	for !b.isToLead(h) {
		select {
		case <-changes.Changed():
			changes.Take()
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}
