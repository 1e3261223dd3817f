package broker

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// TestDamagedPartition starts on a partition whose identity is unreadable: it alone is refused, it has one
// retry pending however often the node is brought up to date, and nothing of it stays when the topic is
// deleted.
func TestDamagedPartition(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("damaged", 1)
	n.createTopic("sound", 1)
	id := n.topicID("damaged")
	n.raw().produce(9, -1, "damaged", 0, testBatch(t, nil, "a"))
	n.stop()
	meta := filepath.Join(n.dir, "log", "damaged-0", "partition.metadata")
	if err := os.WriteFile(meta, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()

	if got := n.raw().produce(9, -1, "damaged", 0, testBatch(t, nil, "b")); got.ErrorCode != kerr.KafkaStorageError.Code {
		t.Errorf("produce to the damaged partition: code %d", got.ErrorCode)
	}
	if got := n.raw().produce(9, -1, "sound", 0, testBatch(t, nil, "b")); got.ErrorCode != 0 {
		t.Errorf("produce to its neighbour: code %d", got.ErrorCode)
	}
	for range 5 {
		topic, _ := n.b.meta.Image().TopicByID(id)
		n.b.reconciler.mu.Lock()
		n.b.reconciler.topic(n.b.meta.Image(), topic)
		n.b.reconciler.mu.Unlock()
	}
	if retries := n.b.deadlines.Len(); retries != 1 {
		t.Errorf("%d retries are pending, want 1", retries)
	}

	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{"damaged"}
	if got := n.raw().ask(req, 5).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; got != 0 {
		t.Fatalf("delete: code %d", got)
	}
	if _, err := n.b.replicas.find(partitionKey{id, 0}); err != nil {
		t.Errorf("after the deletion: %v", err)
	}
}

// TestRecreatedBetweenTwoLooks deletes a topic and makes another of its name before the node looks at either: it gives up
// the old one's directories before it needs their names.
func TestRecreatedBetweenTwoLooks(t *testing.T) {
	for name, look := range map[string]func(r *reconciler){"changes": (*reconciler).catchUp, "everything": (*reconciler).everythingNow} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, nil)
			n.createTopic("again", 2)
			old := n.topicID("again")
			n.b.reconciler.mu.Lock()
			n.propose(&raftmeta.DeleteTopic{ID: old})
			n.propose(&raftmeta.CreateTopic{ID: uuid.ID{1}, Name: "again", Assignments: [][]int32{{n.b.nodeID}, {n.b.nodeID}}})
			n.b.reconciler.mu.Unlock()
			look(n.b.reconciler)
			for number := range int32(2) {
				if h, err := n.b.replicas.find(partitionKey{uuid.ID{1}, number}); err != nil || h == nil {
					t.Errorf("partition %d of the new topic: %v", number, err)
				}
			}
			if strays, _ := filepath.Glob(filepath.Join(n.dir, "log", "*-stray")); len(strays) > 0 {
				t.Errorf("kept as strays: %v", strays)
			}
		})
	}
}

// TestAStartDoesNotLiveThroughThePast lets a reconciler run that has not begun, as while a start replays the log: it takes
// nothing of what the images on the way say. TestChaos lost the only good copies of a partition by that.
func TestAStartDoesNotLiveThroughThePast(t *testing.T) {
	n := startNode(t, nil)
	r := newReconciler(n.b)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	select {
	case <-r.sub.Changed(): // still there, as everything is news at first
	case <-time.After(defaultWait):
		t.Fatal("it was taken")
	}
	silence := time.After(100 * time.Millisecond)
	n.propose(&raftmeta.CreateTopic{ID: uuid.ID{1}, Name: "past", Assignments: [][]int32{{n.b.nodeID}}})
	<-silence
	if _, _, ok := r.sub.Take(); !ok {
		t.Error("the change was taken")
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
