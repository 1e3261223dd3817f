package sim

import (
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/raftmeta"
)

// part is one partition, and what the judge knows of it.
type part struct {
	index  int
	topic  uuid.ID
	number int32
	truth
}

// broker is one node. Its logs survive a crash, the rest of a run does not.
type broker struct {
	w  *world
	id int32

	logs       map[int]*diskLog // by part: the disk
	storage    uuid.ID
	applied    int  // metadata index
	suspect    bool // the last stop may have lost what was acknowledged
	generation int  // counts the runs

	up, paused, ticking bool
	inbox               []func() // what waits while it is paused
	incarnation         uuid.ID
	current             bool          // the newest metadata has this run registered
	registering         time.Duration // when the registration was sent
	replicas            []*replica    // by part, nil where there is none
	fetches             []fetching    // by leader
}

// replica is the shell around one core.Replica, as partition.Replica is.
type replica struct {
	b       *broker
	part    *part
	log     *diskLog
	core    *core.Replica[*pending]
	sent    *proposal
	witness []witness // what this leader was told, by follower
	lastHW  int64     // to see that it does not fall
	floor   int64     // what leaders of earlier epochs had shown when this one began
}

// pending is a produce request that waits for its ack.
type pending struct {
	request produce
	offset  int64
	epoch   int32 // in which it was appended
}

// witness is what the judge remembers of a follower's last accepted fetch in this leader epoch.
type witness struct {
	fetched     bool
	end         int64
	brokerEpoch int64
}

func (w *world) newBroker(id int32) *broker {
	return &broker{
		w: w, id: id, logs: map[int]*diskLog{}, storage: w.newID(), up: true, incarnation: w.newID(),
		fetches: make([]fetching, w.plan.brokers+1),
	}
}

func (b *broker) registration() *raftmeta.RegisterBroker {
	cmd := &raftmeta.RegisterBroker{
		ID: b.id, Incarnation: b.incarnation, StorageIDs: []uuid.ID{b.storage}, KafkaHost: "h", KafkaPort: 1, Suspect: b.suspect,
	}
	if previous, ok := b.image().Broker(b.id); ok {
		cmd.Previous = previous.Epoch
	}
	return cmd
}

// image is the metadata as this broker knows it.
func (b *broker) image() *raftmeta.Image { return b.w.meta.images[b.applied] }

// registered returns this run's broker epoch; ok is false until the broker has applied its registration.
// Before, whatever the metadata says of this broker is said of an earlier run, which may have known more.
func (b *broker) registered() (epoch int64, ok bool) {
	self, known := b.image().Broker(b.id)
	if !known || self.Incarnation != b.incarnation {
		return 0, false
	}
	return self.Epoch, true
}

func (w *world) startTicking(b *broker) {
	b.ticking = true
	w.on(b, w.about(tickEvery), b.tick)
}

// tick does what is due on its own: registration, heartbeat, fetches, changes of the ISR, checkpoints.
func (b *broker) tick() {
	w := b.w
	defer w.on(b, w.about(tickEvery), b.tick)
	epoch, registered := b.registered()
	applied := b.applied
	w.net.toController(int(b.id), func() { w.ctl.hear(b, epoch, applied) })
	if w.chance(0.3) {
		w.net.toController(int(b.id), b.catchUp)
	}
	if !registered {
		b.register()
		return
	}
	b.coordinate()
	for leader := range b.fetches {
		b.fetchFrom(int32(leader))
	}
	for _, r := range b.replicas {
		if r == nil {
			continue
		}
		r.proposeISR()
		if w.chance(0.1) {
			r.log.checkpoint = r.core.HighWatermark()
		}
		if !r.log.syncMode && w.chance(0.1) {
			r.log.sync(r.log.EndOffset())
		}
	}
}

// catchUp has the controller send what this broker may have missed.
func (b *broker) catchUp() {
	last := b.w.meta.last()
	b.w.net.toBroker(0, b, func() { b.apply(last) })
}

// coordinate writes for a group whose shard this broker owns, as far as it knows.
func (b *broker) coordinate() {
	shard := b.image().Shard(raftmeta.ShardOf("", group))
	if shard.Owner == b.id && b.w.chance(0.1) {
		b.propose(&raftmeta.PutGroup{CoordEpoch: shard.Epoch, Group: raftmeta.Group{ID: group}}, func(raftmeta.Result, error) {})
	}
}

// group is the one group of a run.
const group = "g"

func (b *broker) register() {
	w := b.w
	if b.registering > 0 && w.now < b.registering+retryAfter {
		return
	}
	b.registering = w.now
	b.propose(b.registration(), func(raftmeta.Result, error) { b.registering = 0 })
}

// apply brings the broker to a metadata index. It may pass over several entries at once, as a reconciler
// does that goes by the table and not by events.
func (b *broker) apply(index int) {
	if index <= b.applied {
		return
	}
	b.applied = index
	b.w.note(noteApply, int(b.id), index)
	if _, ok := b.registered(); !ok {
		return
	}
	b.suspect = false // it has been told
	for _, pt := range b.w.parts {
		b.reconcile(pt)
	}
}

// reconcile gives one replica the role that the metadata has for it.
func (b *broker) reconcile(pt *part) {
	im := b.image()
	t, p := pt.state(im)
	if p == nil {
		return
	}
	if !slices.Contains(p.Replicas, b.id) {
		b.drop(pt)
		return
	}
	r := b.open(pt)
	switch p.Leader {
	case b.id:
		r.lead(viewOf(im, t, p))
	case raftmeta.NoLeader:
		if r.core.Leader() != nil || r.core.Following() || r.core.Epoch() < p.LeaderEpoch {
			b.w.note(noteResign, int(b.id), pt.index, int(p.LeaderEpoch))
		}
		r.stepDown()
		r.core.Resign(p.LeaderEpoch)
	default:
		r.follow(p.LeaderEpoch, p.UncleanEpoch)
	}
}

func viewOf(im *raftmeta.Image, t *raftmeta.Topic, p *raftmeta.Partition) core.View {
	return core.View{
		Replicas: p.Replicas, ISR: p.ISR, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		MinISR: im.MinInSync(t, len(p.Replicas)), Recovering: p.Recovering,
	}
}

// open finds the replica of a part, or makes it from what is on disk.
func (b *broker) open(pt *part) *replica {
	for len(b.replicas) <= pt.index {
		b.replicas = append(b.replicas, nil)
	}
	if r := b.replicas[pt.index]; r != nil {
		return r
	}
	l := b.logs[pt.index]
	if l == nil {
		l = newDiskLog(b.w.plan.syncMode)
		b.logs[pt.index] = l
	}
	r := &replica{b: b, part: pt, log: l, core: core.NewReplica[*pending](l)}
	r.core.StartAt(l.highWatermark())
	r.lastHW = r.core.HighWatermark()
	b.replicas[pt.index] = r
	return r
}

// drop removes a replica that the metadata has taken away from this broker (replication.md 13.2).
func (b *broker) drop(pt *part) {
	if pt.index < len(b.replicas) && b.replicas[pt.index] != nil {
		r := b.replicas[pt.index]
		r.sent = nil
		r.settle(r.core.StepDown(true))
		b.replicas[pt.index] = nil
	}
	if b.logs[pt.index] != nil {
		b.w.checkDrop(b, pt)
		b.w.note(noteReplicaDropped, int(b.id), pt.index)
		delete(b.logs, pt.index)
	}
}

// lead makes the replica the leader in a new epoch, or lets it adopt what is new in its own.
func (r *replica) lead(view core.View) {
	w := r.b.w
	known, err := r.core.Adopt(view, w.clock())
	if err != nil {
		return // an older entry than the one this replica has acted on
	}
	if known {
		w.note(noteAdopt, int(r.b.id), r.part.index, int(view.LeaderEpoch), int(view.PartitionEpoch), len(view.ISR))
		r.forgetSettled()
		r.moved()
		return
	}
	r.stepDown()
	r.log.startEpoch(view.LeaderEpoch)
	r.core.Lead(r.b.id, view, w.clock())
	r.witness = make([]witness, w.plan.brokers+1)
	w.note(noteLead, int(r.b.id), r.part.index, int(view.LeaderEpoch), int(r.log.EndOffset()), int(r.core.HighWatermark()))
	w.checkLead(r)
	r.moved()
}

func (r *replica) follow(epoch, unclean int32) {
	if !r.core.IsNews(epoch) {
		return
	}
	r.stepDown()
	r.log.forgetEmptyEpochs()
	r.core.Follow(epoch, unclean)
	r.b.w.note(noteFollow, int(r.b.id), r.part.index, int(epoch), int(r.log.EndOffset()), int(r.core.HighWatermark()))
}

// stepDown ends the present role.
func (r *replica) stepDown() {
	r.sent = nil
	r.settle(r.core.StepDown(false))
}

// settle tells those who waited for an ack that it will not come.
func (r *replica) settle(waiting []*pending) {
	for _, p := range waiting {
		r.b.w.note(noteNack, int(r.b.id), r.part.index, int(p.request.producer.id), int(p.request.seq))
		r.reply(&p.request, core.ErrNotLeader, -1)
	}
}

// moved does what follows when the log or the ISR has moved: the high watermark may rise, acks be due.
func (r *replica) moved() {
	old := r.core.HighWatermark()
	if r.core.Advance() {
		r.b.w.note(noteLeaderHW, int(r.b.id), r.part.index, int(old), int(r.core.HighWatermark()), int(r.core.Epoch()))
		r.b.w.checkLeaderHW(r, old)
	}
	for _, p := range r.core.TakeAcked() {
		r.acknowledge(p)
	}
}

// syncLater makes what was appended durable after a while; in mode os nobody waits for that.
func (r *replica) syncLater() {
	if !r.log.syncMode || r.log.syncing {
		return
	}
	r.log.syncing = true
	w := r.b.w
	end, cuts := r.log.EndOffset(), r.log.cuts
	w.on(r.b, w.about(4*time.Millisecond), func() {
		r.log.syncing = false
		if r.log.cuts == cuts {
			r.log.sync(end)
		}
		w.note(noteSynced, int(r.b.id), r.part.index, int(r.log.durable))
		r.moved()
		if r.log.durable < r.log.EndOffset() {
			r.syncLater()
		}
	})
}
