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

	current chan struct{} // closed when this node has applied all that was committed before its start

	mu    sync.Mutex // held while the node is brought up to date, by whoever does it
	trust bool       // what was applied to a replica still holds; guarded by mu

	retrying sync.Map // ids of the topics that have a retry pending: each has one at most
}

// parallelOpens bounds how many topics are looked at at once, and how many partitions of each.
const parallelOpens = 16

func newReconciler(b *Broker) *reconciler {
	return &reconciler{b: b, sub: b.meta.Subscribe(), current: make(chan struct{})}
}

// begin lets the node match the metadata from now on. Not earlier: a start replays the log, and the images on the way are of
// the past. They say that partitions have moved away which have come back since, and name topics whose successors have
// the directories by now; a node that made itself match them would throw away what it holds (I25).
func (r *reconciler) begin() {
	close(r.current)
	r.catchUp() // opens the logs; roles wait for the registration
}

// run follows the change stream, from begin on, until ctx ends.
func (r *reconciler) run(ctx context.Context) error {
	defer r.sub.Close()
	select {
	case <-ctx.Done():
		return nil
	case <-r.current:
	}
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

// everythingNow compares all there is: after the registration, which changes what this node may be.
func (r *reconciler) everythingNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sub.Take() // is part of it
	img := r.b.meta.Image()
	r.everything(img)
	r.sweep(img)
}

// apply makes the node match img in all that changes names.
func (r *reconciler) apply(changes raftmeta.Changes, img *raftmeta.Image) {
	if changes.All || len(changes.Configs) > 0 {
		r.b.reloadConfig()
		r.everything(img) // a broker default may be part of any topic's config
		return
	}
	for _, id := range changes.Topics {
		if _, ok := img.TopicByID(id); !ok {
			r.gone(img, id) // first: another topic may have the name by now, and with it the directories
		}
	}
	for _, id := range changes.Topics {
		if t, ok := img.TopicByID(id); ok {
			r.topic(img, t)
		}
	}
}

// everything drops replicas of topics that are no more, whose names others may have by now, and compares all topics.
func (r *reconciler) everything(img *raftmeta.Image) {
	r.trust = false
	defer func() { r.trust = true }()
	for _, h := range r.b.replicas.all() {
		if _, ok := img.TopicByID(h.key.topic); !ok {
			r.gone(img, h.key.topic)
		}
	}
	for t := range img.Tombstones() {
		r.gone(img, t.ID)
	}
	var work errgroup.Group
	work.SetLimit(parallelOpens)
	for t := range img.AllTopics() {
		work.Go(func() error {
			r.topic(img, t)
			return nil
		})
	}
	_ = work.Wait() // a partition that fails is logged, and stays without a replica
}

// topic makes this node hold its share of a topic. A partition that fails is answered for with its error
// and tried again later.
func (r *reconciler) topic(img *raftmeta.Image, t *raftmeta.Topic) {
	cfg := r.b.topicConfig(t)
	var work errgroup.Group
	work.SetLimit(parallelOpens) // new directories are synced together
	for i := range t.Partitions {
		key := partitionKey{t.ID, int32(i)}
		if !slices.Contains(t.Partitions[i].Replicas, r.b.nodeID) {
			r.moved(t, key)
			continue
		}
		if r.matches(img, t, key, cfg) {
			continue
		}
		work.Go(func() error {
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

// applied is what a replica was last made to match.
type applied struct {
	partitionEpoch int32
	minISR         int
	brokerEpoch    int64
}

func (r *reconciler) wanted(img *raftmeta.Image, t *raftmeta.Topic, p *raftmeta.Partition) applied {
	return applied{p.PartitionEpoch, img.MinInSync(t, len(p.Replicas)), r.b.brokerEpoch.Load()}
}

// matches tells whether there is nothing to do for a partition: a change of one in a topic of thousands
// must not cost a look at each.
func (r *reconciler) matches(img *raftmeta.Image, t *raftmeta.Topic, key partitionKey, cfg *config.TopicConfig) bool {
	h, err := r.b.replicas.find(key)
	return r.trust && err == nil && h != nil && h.applied == r.wanted(img, t, &t.Partitions[key.number]) && *h.config.Load() == *cfg
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
	h := r.b.replicas.get(key.topic, key.number)
	if h == nil {
		l, err := r.b.logs.Open(log.Ident{Tenant: t.Tenant, Topic: t.Name, Partition: key.number, TopicID: t.ID}, r.b.logConfig(cfg))
		if err != nil {
			return err
		}
		h = &hosted{key: key, replica: partition.New(l)}
		h.replica.OnISR(func() { r.b.isr.look(h) })
	}
	h.config.Store(cfg)
	h.replica.Log().SetConfig(r.b.logConfig(cfg))
	r.b.replicas.put(h)
	h.applied = applied{}
	self, ok := img.Broker(r.b.nodeID)
	registered := ok && self.Epoch == r.b.brokerEpoch.Load()
	if err := h.replica.Log().Failed(); err != nil {
		r.b.fetchers.unassign(h.replica)
		if registered && errors.Is(err, log.ErrQuarantined) && r.canBeReplaced(&t.Partitions[key.number]) {
			return r.replace(img, t, h, cfg)
		}
		return err
	}
	if !registered {
		return nil // the roles in this image are those of an earlier run
	}
	if err := r.role(img, t, h); err != nil {
		return err
	}
	h.applied = r.wanted(img, t, &t.Partitions[key.number])
	return nil
}

// canBeReplaced tells whether a damaged replica can be copied anew: somebody else leads, and nobody counts
// on this one.
func (r *reconciler) canBeReplaced(p *raftmeta.Partition) bool {
	return p.Leader != raftmeta.NoLeader && p.Leader != r.b.nodeID &&
		!slices.Contains(p.ISR, r.b.nodeID) && !slices.Contains(p.ELR, r.b.nodeID)
}

// replace begins a damaged replica anew, empty and outside the ISR; what was damaged stays on the disk.
func (r *reconciler) replace(img *raftmeta.Image, t *raftmeta.Topic, damaged *hosted, cfg *config.TopicConfig) error {
	r.b.replicas.remove(damaged.key)
	damaged.replica.Close()
	if err := r.b.logs.SetAside(damaged.replica.Log()); err != nil {
		return err
	}
	r.b.logger.Warn("a damaged replica is copied anew from its leader, what was damaged is set aside", "topic", t.Name, "partition", damaged.key.number)
	return r.partition(img, t, damaged.key, cfg)
}

// role makes a replica what the partition says it is. A change of role ends the copying first, and begins
// it last (replication.md 6).
func (r *reconciler) role(img *raftmeta.Image, t *raftmeta.Topic, h *hosted) error {
	p := &t.Partitions[h.key.number]
	h.became(p.Leader == r.b.nodeID, r.b.now())
	switch p.Leader {
	case r.b.nodeID:
		r.b.fetchers.unassign(h.replica)
		return h.replica.Lead(r.b.nodeID, viewOf(img, t, p), r.b.now())
	case raftmeta.NoLeader:
		r.b.fetchers.unassign(h.replica)
		h.replica.Resign(p.LeaderEpoch)
	default:
		anew := h.replica.Follow(p.LeaderEpoch, p.UncleanEpoch)
		r.b.fetchers.assign(h, t, streamKey{p.Leader, !slices.Contains(p.ISR, r.b.nodeID)}, anew)
	}
	return nil
}

// moved drops the replica of a partition that lives elsewhere now. Only an image that lists the topic
// without this node says so (replication.md 13.2).
func (r *reconciler) moved(t *raftmeta.Topic, key partitionKey) {
	h := r.b.replicas.remove(key)
	if h == nil {
		return
	}
	r.b.fetchers.unassign(h.replica)
	h.replica.Close()
	r.removeMoved(t, key)
}

func (r *reconciler) removeMoved(t *raftmeta.Topic, key partitionKey) {
	if err := r.b.logs.RemovePartition(key.topic, key.number); err != nil {
		r.b.logger.Error("the files of a replica that has moved away could not be removed", "topic", t.Name, "partition", key.number, "err", err)
		return
	}
	r.b.logger.Info("a replica has moved away, its files are removed", "topic", t.Name, "partition", key.number)
}

// sweep removes the files of replicas that moved away while this node was down. Those of topics that the
// metadata do not know are only reported: absence is no reason to delete (replication.md 13.4).
func (r *reconciler) sweep(img *raftmeta.Image) {
	for _, id := range r.b.logs.Logs() {
		t, ok := img.TopicByID(id.TopicID)
		if _, deleted := img.Tombstone(id.TopicID); !ok && !deleted {
			r.b.logger.Warn("a directory belongs to a topic that the cluster does not know, it is left alone", "log", id.String(), "topic_id", id.TopicID)
		}
		if !ok || int(id.Partition) >= len(t.Partitions) || slices.Contains(t.Partitions[id.Partition].Replicas, r.b.nodeID) {
			continue
		}
		r.removeMoved(t, partitionKey{id.TopicID, id.Partition})
	}
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
		r.b.fetchers.unassign(h.replica)
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
