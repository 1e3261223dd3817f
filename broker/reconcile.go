package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
)

// reconciler makes this node hold what the metadata says: it opens and removes replicas, makes leaders
// of them, and hands on configs. It acts on the difference between the image and the node, never on
// events, so doing it twice or after a gap comes to the same (replication.md 4.6).
type reconciler struct {
	b   *Broker
	sub *raftmeta.Subscription

	mu sync.Mutex // held while the node is brought up to date, by whoever does it

	retrying sync.Map // ids of the topics that have a retry pending: each has one at most
}

// parallelOpens bounds how many topics are looked at at once, and how many partitions of each.
const parallelOpens = 16

func newReconciler(b *Broker) *reconciler { return &reconciler{b: b, sub: b.meta.Subscribe()} }

// run follows the change stream until ctx ends.
func (r *reconciler) run(ctx context.Context) error {
	defer r.sub.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.sub.Changed():
			r.catchUp()
		}
	}
}

// catchUp makes the node match everything that was committed before the call, as far as the change
// stream names it. A handler that has proposed something calls it before it answers, so that what its
// client was told is in force here: a created partition is led, a deleted one is gone, a config acts.
func (r *reconciler) catchUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if changes, img, ok := r.sub.Take(); ok {
		r.apply(changes, img)
	}
}

// apply makes the node match img in all that changes names.
func (r *reconciler) apply(changes raftmeta.Changes, img *raftmeta.Image) {
	if changes.All || len(changes.Configs) > 0 {
		r.b.reloadConfig()
		r.everything(img) // a broker default may be part of any topic's config
		return
	}
	for _, id := range changes.Topics {
		if t, ok := img.TopicByID(id); ok {
			r.topic(img, t)
		} else {
			r.gone(img, id)
		}
	}
}

// everything compares all topics, and drops replicas of topics that are no more.
func (r *reconciler) everything(img *raftmeta.Image) {
	var work errgroup.Group
	work.SetLimit(parallelOpens)
	for t := range img.AllTopics() {
		work.Go(func() error {
			r.topic(img, t)
			return nil
		})
	}
	_ = work.Wait() // a partition that fails is logged, and stays without a replica
	for _, h := range r.b.replicas.all() {
		if _, ok := img.TopicByID(h.key.topic); !ok {
			r.gone(img, h.key.topic)
		}
	}
	for t := range img.Tombstones() {
		r.gone(img, t.ID)
	}
}

// topic makes this node hold its share of a topic. A partition that fails is answered for with its error
// and tried again later.
func (r *reconciler) topic(img *raftmeta.Image, t *raftmeta.Topic) {
	cfg := r.b.topicConfig(t)
	var work errgroup.Group
	work.SetLimit(parallelOpens) // new directories are synced together
	for i := range t.Partitions {
		if !slices.Contains(t.Partitions[i].Replicas, r.b.nodeID) {
			continue
		}
		work.Go(func() error {
			key := partitionKey{t.ID, int32(i)}
			err := r.partition(img, t, key, cfg)
			if news := r.b.replicas.fail(key, err); news && err != nil {
				r.b.logger.Error("a partition is not served and will be tried again", "topic", t.Name, "partition", i, "every", retryOpen, "err", err)
			}
			return err
		})
	}
	if work.Wait() != nil {
		r.retryLater(t.ID)
	}
}

// retryOpen is how long a partition that could not be opened is left alone.
const retryOpen = 10 * time.Second

func (r *reconciler) retryLater(id uuid.ID) {
	if _, pending := r.retrying.LoadOrStore(id, struct{}{}); pending {
		return
	}
	r.b.deadlines.At(time.Now().Add(retryOpen), func() { r.b.spawn(func() { r.again(id) }) })
}

func (r *reconciler) again(id uuid.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retrying.Delete(id)
	img := r.b.meta.Image()
	if t, ok := img.TopicByID(id); ok {
		r.topic(img, t)
	}
}

// partition opens one partition if it is not, and gives it its config and role.
func (r *reconciler) partition(img *raftmeta.Image, t *raftmeta.Topic, key partitionKey, cfg *config.TopicConfig) error {
	p := &t.Partitions[key.number]
	h := r.b.replicas.get(key.topic, key.number)
	if h == nil {
		l, err := r.b.logs.Open(log.Ident{Tenant: t.Tenant, Topic: t.Name, Partition: key.number, TopicID: t.ID}, r.b.logConfig(cfg))
		if err != nil {
			return err
		}
		h = &hosted{key: key, replica: partition.New(l)}
	}
	h.config.Store(cfg)
	h.replica.Log().SetConfig(r.b.logConfig(cfg))
	r.b.replicas.put(h)
	if err := h.replica.Log().Failed(); err != nil {
		return err
	}
	if p.Leader != r.b.nodeID {
		h.replica.Resign(p.LeaderEpoch)
		return nil
	}
	return h.replica.Lead(r.b.nodeID, viewOf(img, t, p), r.b.now())
}

// viewOf is what a partition's leader goes by.
func viewOf(img *raftmeta.Image, t *raftmeta.Topic, p *raftmeta.Partition) core.View {
	return core.View{
		Replicas: p.Replicas, ISR: p.ISR, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		MinISR: img.MinInSync(t, len(p.Replicas)), Recovering: p.Recovering,
	}
}

// gone removes the replicas of a deleted topic and tells the metadata that this node holds none any
// more. A topic that is merely absent is left alone: absence is no reason to delete (replication.md 13.4).
func (r *reconciler) gone(img *raftmeta.Image, id uuid.ID) {
	tombstone, ok := img.Tombstone(id)
	if !ok || !slices.Contains(tombstone.Pending, r.b.nodeID) {
		return
	}
	for number := range tombstone.Partitions {
		h := r.b.replicas.remove(partitionKey{id, number})
		if h == nil {
			continue
		}
		h.replica.Close()
		if err := r.b.logs.Remove(h.replica.Log()); err != nil {
			r.b.logger.Error("the files of a deleted partition could not be removed", "topic", tombstone.Name, "partition", number, "err", err)
			return // not confirmed: tried again at the next start
		}
	}
	if err := r.b.logs.RemoveTopic(id); err != nil {
		r.b.logger.Error("the files of a deleted topic could not be removed", "topic", tombstone.Name, "err", err)
		return
	}
	r.b.spawn(func() { r.confirm(id) })
}

// confirm runs on its own goroutine: the proposal waits for the disk, the reconciler should not.
func (r *reconciler) confirm(id uuid.ID) {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	_, err := r.b.meta.Propose(ctx, &raftmeta.ConfirmDeletion{ID: id, Broker: r.b.nodeID})
	if err != nil && !errors.Is(err, raftmeta.ErrUnknownTopic) {
		r.b.logger.Warn("a deletion could not be confirmed and will be at the next start", "id", id, "err", err)
	}
}
