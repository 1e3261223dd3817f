package broker

import (
	"testing"
	"time"
)

// TestAProducerThatComesEarlyWaits: a broker that is to lead by its metadata begins before it answers.
func TestAProducerThatComesEarlyWaits(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	h := n.b.replicas.get(n.topicID("t"), 0)
	h.replica.Resign(0)
	c := n.raw()
	n.b.reconciler.mu.Lock()
	done := make(chan int16, 1)
	go func() { done <- c.produce(9, -1, "t", 0, testBatch(t, nil, "a")).ErrorCode }()
	select {
	case code := <-done:
		t.Errorf("answered with code %d before the role was applied", code)
	case <-time.After(20 * time.Millisecond):
	}
	n.b.reconciler.mu.Unlock()
	<-done
}

// TestALateProducerIsToldAtOnce: to one that comes where the leader was a moment ago there is nothing to wait for.
func TestALateProducerIsToldAtOnce(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	h := n.b.replicas.get(n.topicID("t"), 0)
	if !n.b.awaitLead(t.Context(), h) {
		t.Error("the leader by the metadata does not come to lead")
	}
	h.became(false, n.b.now())
	if n.b.awaitLead(t.Context(), h) {
		t.Error("the old leader waits to lead again")
	}
}
