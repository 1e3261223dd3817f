package raftmeta

import (
	"math"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/uuid"
)

// edit turns one image into the next. Commands read and write through it, so that those of one batch
// see each other; done ends it. It is used by one goroutine. Objects are replaced, never modified.
type edit struct {
	base  Image // scalars are current, trees are as of the start; the sum lacks what unsummed names
	dirty dirtySet
	// unsummed holds the topics that changed, as the state sum counts them (nil: not at all). A topic is
	// encoded with all its partitions, so that once per edit must do however many of them change.
	unsummed map[uuid.ID]*Topic

	topics       table[*Topic]
	topicIDs     table[*Topic]
	normalised   table[*Topic]
	tombstones   table[*Tombstone]
	brokers      table[*Broker]
	sequences    table[uint64]
	configs      table[map[string]string]
	groups       table[*Group]
	offsets      table[CommittedOffset]
	offsetGroups table[int]

	scratch []byte // encoded form of the object at hand
}

// table is one tree of the image, opened for writing by the first write.
type table[T any] struct {
	tree *iradix.Tree[T]
	txn  *iradix.Txn[T]
}

func (t *table[T]) root() *iradix.Node[T] {
	if t.txn != nil {
		return t.txn.Root()
	}
	return t.tree.Root()
}

func (t *table[T]) get(key []byte) (T, bool) { return t.root().Get(key) }

// set keeps key. It returns what was there before.
func (t *table[T]) set(key []byte, v T) (T, bool) { return t.write().Insert(key, v) }

func (t *table[T]) remove(key []byte) (T, bool) { return t.write().Delete(key) }

func (t *table[T]) write() *iradix.Txn[T] {
	if t.txn == nil {
		t.txn = t.tree.Txn()
	}
	return t.txn
}

func (t *table[T]) commit() *iradix.Tree[T] {
	if t.txn == nil {
		return t.tree
	}
	return t.txn.CommitOnly()
}

func newEdit(im *Image) *edit {
	return &edit{
		base:         *im,
		unsummed:     make(map[uuid.ID]*Topic),
		topics:       table[*Topic]{tree: im.topics},
		topicIDs:     table[*Topic]{tree: im.topicIDs},
		normalised:   table[*Topic]{tree: im.normalised},
		tombstones:   table[*Tombstone]{tree: im.tombstones},
		brokers:      table[*Broker]{tree: im.brokers},
		sequences:    table[uint64]{tree: im.sequences},
		configs:      table[map[string]string]{tree: im.configs},
		groups:       table[*Group]{tree: im.groups},
		offsets:      table[CommittedOffset]{tree: im.offsets},
		offsetGroups: table[int]{tree: im.offsetGroups},
	}
}

// at moves the edit to the log entry whose commands come next.
func (e *edit) at(index, term uint64) {
	invariant.Check(index > e.base.index, "entry %d applied after entry %d", index, e.base.index)
	if e.base.auditDue(index) {
		e.sumTopics()
		e.base.advanceAudit(index)
	}
	e.base.index, e.base.term = index, term
}

// done returns the new image. The edit must not be used again.
func (e *edit) done() *Image {
	e.sumTopics()
	im := e.base
	im.topics = e.topics.commit()
	im.topicIDs = e.topicIDs.commit()
	im.normalised = e.normalised.commit()
	im.tombstones = e.tombstones.commit()
	im.brokers = e.brokers.commit()
	im.sequences = e.sequences.commit()
	im.configs = e.configs.commit()
	im.groups = e.groups.commit()
	im.offsets = e.offsets.commit()
	im.offsetGroups = e.offsetGroups.commit()
	return &im
}

// encoded returns an object's form for the state sum, valid until the next call. Objects of different
// kinds never have the same: a tag goes first.
func (e *edit) encoded(tag byte, fields func(c *coder)) []byte {
	c := coder{buf: append(e.scratch[:0], tag)}
	fields(&c)
	invariant.Check(c.err == nil, "state cannot be encoded: %v", c.err) // commands are limited to what can
	e.scratch = c.buf
	return c.buf
}

func (e *edit) encodedTopic(t *Topic) []byte {
	return e.encoded(recordTopic, func(c *coder) { topicFields(c, t) })
}

func (e *edit) topic(id uuid.ID) (*Topic, bool) { return e.topicIDs.get(id[:]) }

// putTopic creates a topic or replaces the one with its id; name and tenant never change.
func (e *edit) putTopic(t *Topic) {
	old, ok := e.topics.set(appendNameKey(nil, t.Tenant, t.Name), t)
	invariant.Check(!ok || old.ID == t.ID, "topic %q replaced by another of its name", t.Name)
	id := t.ID
	e.topicIDs.set(id[:], t)
	e.normalised.set(appendNormalisedKey(nil, t.Tenant, t.Name), t)
	e.sumLater(t.ID, old)
	e.dirty.topic(t.ID)
}

func (e *edit) removeTopic(t *Topic) {
	id := t.ID
	e.topics.remove(appendNameKey(nil, t.Tenant, t.Name))
	e.topicIDs.remove(id[:])
	e.normalised.remove(appendNormalisedKey(nil, t.Tenant, t.Name))
	e.sumLater(t.ID, t)
	e.dirty.topic(t.ID)
}

// sumLater notes that a topic was replaced: old is what was there before, nil if nothing.
func (e *edit) sumLater(id uuid.ID, old *Topic) {
	if _, noted := e.unsummed[id]; !noted {
		e.unsummed[id] = old
	}
}

// sumTopics brings the state sum up to date. It is a sum, so the order of the map does not matter.
func (e *edit) sumTopics() {
	for id, old := range e.unsummed {
		if old != nil {
			e.base.sum.subtract(e.encodedTopic(old))
		}
		if t, ok := e.topic(id); ok {
			e.base.sum.add(e.encodedTopic(t))
		}
	}
	clear(e.unsummed)
}

func (e *edit) encodedTombstone(t *Tombstone) []byte {
	return e.encoded(recordTombstone, func(c *coder) { tombstoneFields(c, t) })
}

func (e *edit) putTombstone(t *Tombstone) {
	id := t.ID
	if old, ok := e.tombstones.set(id[:], t); ok {
		e.base.sum.subtract(e.encodedTombstone(old))
	}
	e.base.sum.add(e.encodedTombstone(t))
	e.dirty.topic(t.ID)
}

func (e *edit) removeTombstone(t *Tombstone) {
	id := t.ID
	e.tombstones.remove(id[:])
	e.base.sum.subtract(e.encodedTombstone(t))
	e.dirty.topic(t.ID)
}

func (e *edit) broker(id int32) (*Broker, bool) {
	var buf [keyBuffer]byte
	return e.brokers.get(appendBrokerKey(buf[:0], id))
}

func (e *edit) encodedBroker(b *Broker) []byte {
	return e.encoded(recordBroker, func(c *coder) { brokerFields(c, b) })
}

func (e *edit) putBroker(b *Broker) {
	if old, ok := e.brokers.set(appendBrokerKey(nil, b.ID), b); ok {
		e.base.sum.subtract(e.encodedBroker(old))
	}
	e.base.sum.add(e.encodedBroker(b))
	e.dirty.brokers = true
}

func (e *edit) removeBroker(b *Broker) {
	e.brokers.remove(appendBrokerKey(nil, b.ID))
	e.base.sum.subtract(e.encodedBroker(b))
	e.removeSequence(b.ID)
	e.dirty.brokers = true
}

func (e *edit) sequence(broker int32) uint64 {
	var buf [keyBuffer]byte
	sequence, _ := e.sequences.get(appendBrokerKey(buf[:0], broker))
	return sequence
}

func (e *edit) encodedSequence(broker int32, sequence uint64) []byte {
	r := sequenceRecord{broker, sequence}
	return e.encoded(recordSequence, r.fields)
}

// putSequence is no news to anybody who reconciles.
func (e *edit) putSequence(broker int32, sequence uint64) {
	if old, ok := e.sequences.set(appendBrokerKey(nil, broker), sequence); ok {
		e.base.sum.subtract(e.encodedSequence(broker, old))
	}
	e.base.sum.add(e.encodedSequence(broker, sequence))
}

// removeSequence forgets what another run of the broker proposed: its epoch fences that.
func (e *edit) removeSequence(broker int32) {
	if old := e.sequence(broker); old != 0 {
		e.sequences.remove(appendBrokerKey(nil, broker))
		e.base.sum.subtract(e.encodedSequence(broker, old))
	}
}

func (e *edit) config(key ConfigKey) map[string]string {
	var buf [keyBuffer]byte
	config, _ := e.configs.get(appendConfigKey(buf[:0], key.Type, key.Name))
	return config
}

func (e *edit) encodedConfig(key ConfigKey, values map[string]string) []byte {
	return e.encoded(recordConfig, func(c *coder) { configFields(c, &key, &values) })
}

// putConfig replaces the config of a resource; an empty map removes it.
func (e *edit) putConfig(key ConfigKey, values map[string]string) {
	k := appendConfigKey(nil, key.Type, key.Name)
	var old map[string]string
	if len(values) == 0 {
		old, _ = e.configs.remove(k)
	} else {
		old, _ = e.configs.set(k, values)
		e.base.sum.add(e.encodedConfig(key, values))
	}
	if old != nil {
		e.base.sum.subtract(e.encodedConfig(key, old))
	}
	e.dirty.config(key)
}

func (e *edit) group(tenant, id string) (*Group, bool) {
	var buf [keyBuffer]byte
	return e.groups.get(appendNameKey(buf[:0], tenant, id))
}

func (e *edit) encodedGroup(g *Group) []byte {
	return e.encoded(recordGroup, func(c *coder) { groupFields(c, g) })
}

func (e *edit) putGroup(g *Group) {
	if old, ok := e.groups.set(appendNameKey(nil, g.Tenant, g.ID), g); ok {
		e.base.sum.subtract(e.encodedGroup(old))
	}
	e.base.sum.add(e.encodedGroup(g))
	e.dirty.group(GroupKey{g.Tenant, g.ID})
}

func (e *edit) removeGroup(g *Group) {
	e.groups.remove(appendNameKey(nil, g.Tenant, g.ID))
	e.base.sum.subtract(e.encodedGroup(g))
	e.dirty.group(GroupKey{g.Tenant, g.ID})
}

func (e *edit) encodedOffset(tenant, group string, o *CommittedOffset) []byte {
	return e.encoded(recordOffsets, func(c *coder) {
		c.string(&tenant, maxTenant)
		c.name(&group)
		offsetFields(c, o)
	})
}

func (e *edit) offset(tenant, group string, topic uuid.ID, partition int32) (CommittedOffset, bool) {
	var buf [keyBuffer]byte
	return e.offsets.get(appendOffsetKey(buf[:0], tenant, group, topic, partition))
}

func (e *edit) putOffset(tenant, group string, o CommittedOffset) {
	old, had := e.offsets.set(appendOffsetKey(nil, tenant, group, o.TopicID, o.Partition), o)
	if had {
		e.base.sum.subtract(e.encodedOffset(tenant, group, &old))
	} else {
		e.countOffset(tenant, group, o.TopicID, 1)
	}
	e.base.sum.add(e.encodedOffset(tenant, group, &o))
}

func (e *edit) removeOffset(tenant, group string, o CommittedOffset) {
	e.offsets.remove(appendOffsetKey(nil, tenant, group, o.TopicID, o.Partition))
	e.base.sum.subtract(e.encodedOffset(tenant, group, &o))
	e.countOffset(tenant, group, o.TopicID, -1)
}

func (e *edit) countOffset(tenant, group string, topic uuid.ID, delta int) {
	key := appendTopicGroupKey(nil, topic, tenant, group)
	count, _ := e.offsetGroups.get(key)
	if count += delta; count == 0 {
		e.offsetGroups.remove(key)
		return
	}
	e.offsetGroups.set(key, count)
}

// removeOffsets drops those offsets of a group that begin with the topic id, all if it is zero. The
// tree must not change under an iterator, so they are collected first.
func (e *edit) removeOffsets(tenant, group string, topic uuid.ID) {
	prefix := appendOffsetPrefix(nil, tenant, group)
	if !topic.IsZero() {
		prefix = append(prefix, topic[:]...)
	}
	var doomed []CommittedOffset
	for o := range values(e.offsets.root(), prefix) {
		doomed = append(doomed, o)
	}
	for _, o := range doomed {
		e.removeOffset(tenant, group, o)
	}
}

// removeTopicOffsets drops the committed offsets of a topic in all groups (I26).
func (e *edit) removeTopicOffsets(topic uuid.ID) {
	var groups []GroupKey
	it := e.offsetGroups.root().Iterator()
	it.SeekPrefix(topic[:])
	for key, _, ok := it.Next(); ok; key, _, ok = it.Next() {
		tenant, group := splitTopicGroupKey(key)
		groups = append(groups, GroupKey{tenant, group})
	}
	for _, g := range groups {
		e.removeOffsets(g.Tenant, g.ID, topic)
	}
}

// takeProducerIDs reserves count ids that were never handed out and never will be again.
func (e *edit) takeProducerIDs(count int32) (ProducerIDBlock, bool) {
	first := e.base.nextProducerID
	if first > math.MaxInt64-int64(count) {
		return ProducerIDBlock{}, false
	}
	e.base.nextProducerID = first + int64(count)
	return ProducerIDBlock{First: first, Count: count}, true
}
