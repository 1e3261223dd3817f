package raftmeta

import (
	"iter"
	"maps"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Image is the table at one point of the log. It never changes: reading takes no lock, and holding on
// to an old one costs only what has changed since. Everything it hands out is shared and must not be
// modified. Iteration follows the order of the keys, the same on every node.
type Image struct {
	index, term    uint64 // of the last entry of commands applied
	clusterID      uuid.ID
	featureLevel   uint16
	nextProducerID int64
	shards         [GroupShards]Shard
	audit          Audit
	sum            stateSum // of every object below; kept up to date with each change

	topics     *iradix.Tree[*Topic]            // nameKey
	topicIDs   *iradix.Tree[*Topic]            // id: the same topics
	normalised *iradix.Tree[*Topic]            // nameKey with '.' as '_': the same topics
	tombstones *iradix.Tree[*Tombstone]        // id
	brokers    *iradix.Tree[*Broker]           // brokerKey
	sequences  *iradix.Tree[uint64]            // brokerKey: of the last stamped entry of the registered run, if any
	configs    *iradix.Tree[map[string]string] // configKey; no empty maps
	groups     *iradix.Tree[*Group]            // nameKey
	offsets    *iradix.Tree[CommittedOffset]   // offsetKey
	// offsetGroups counts, per topicGroupKey, the partitions of a topic for which a group has an offset:
	// it finds the offsets that vanish with a topic without a walk over those of all groups.
	offsetGroups *iradix.Tree[int]
}

// newImage returns the state before the first entry of the log.
func newImage() *Image {
	return &Image{
		shards:       noShards(),
		topics:       iradix.New[*Topic](),
		topicIDs:     iradix.New[*Topic](),
		normalised:   iradix.New[*Topic](),
		tombstones:   iradix.New[*Tombstone](),
		brokers:      iradix.New[*Broker](),
		sequences:    iradix.New[uint64](),
		configs:      iradix.New[map[string]string](),
		groups:       iradix.New[*Group](),
		offsets:      iradix.New[CommittedOffset](),
		offsetGroups: iradix.New[int](),
	}
}

// Index is the log index of the last entry of commands that the image holds, 0 for none.
func (im *Image) Index() uint64 { return im.index }

// Term is the Raft term of the entry at Index.
func (im *Image) Term() uint64 { return im.term }

// ClusterID is zero until InitCluster was applied.
func (im *Image) ClusterID() uuid.ID { return im.clusterID }

// FeatureLevel says which meaning of commands the cluster has agreed on; 0 before InitCluster.
func (im *Image) FeatureLevel() uint16 { return im.featureLevel }

// NextProducerID is the first producer id that was never handed out.
func (im *Image) NextProducerID() int64 { return im.nextProducerID }

// Topic finds a topic by its name.
func (im *Image) Topic(tenant, name string) (*Topic, bool) {
	var buf [keyBuffer]byte
	return im.topics.Root().Get(appendNameKey(buf[:0], tenant, name))
}

// TopicByID finds a topic that is not deleted.
func (im *Image) TopicByID(id uuid.ID) (*Topic, bool) {
	return im.topicIDs.Root().Get(id[:])
}

// Topics iterates over a tenant's topics by name.
func (im *Image) Topics(tenant string) iter.Seq[*Topic] {
	return values(im.topics.Root(), appendNameKey(nil, tenant, ""))
}

// AllTopics iterates over the topics of all tenants, by tenant and name.
func (im *Image) AllTopics() iter.Seq[*Topic] { return values(im.topics.Root(), nil) }

// TopicCount is the number of topics of all tenants.
func (im *Image) TopicCount() int { return im.topics.Len() }

// CollidingTopic finds a topic whose name is the same as name or differs from it only in '.' and '_',
// which Kafka does not allow side by side because metric names merge them.
func (im *Image) CollidingTopic(tenant, name string) (*Topic, bool) {
	var buf [keyBuffer]byte
	return im.normalised.Root().Get(appendNormalisedKey(buf[:0], tenant, name))
}

// Tombstone finds a deleted topic that some broker has not confirmed to have removed.
func (im *Image) Tombstone(id uuid.ID) (*Tombstone, bool) {
	return im.tombstones.Root().Get(id[:])
}

// Tombstones iterates over all deleted topics not yet confirmed, by id.
func (im *Image) Tombstones() iter.Seq[*Tombstone] { return values(im.tombstones.Root(), nil) }

// Broker finds a registered broker, in whatever state.
func (im *Image) Broker(id int32) (*Broker, bool) {
	var buf [keyBuffer]byte
	return im.brokers.Root().Get(appendBrokerKey(buf[:0], id))
}

// sequence is that of the last stamped entry of a broker's registered run, 0 if there was none.
func (im *Image) sequence(broker int32) uint64 {
	var buf [keyBuffer]byte
	sequence, _ := im.sequences.Root().Get(appendBrokerKey(buf[:0], broker))
	return sequence
}

// Brokers iterates over the registered brokers by id.
func (im *Image) Brokers() iter.Seq[*Broker] { return values(im.brokers.Root(), nil) }

// Shard tells who coordinates the groups of shard i, a ShardOf.
func (im *Image) Shard(i int32) Shard { return im.shards[i] }

// Config is the dynamic config of a resource, nil if it has none.
func (im *Image) Config(t ResourceType, name string) map[string]string {
	var buf [keyBuffer]byte
	config, _ := im.configs.Root().Get(appendConfigKey(buf[:0], t, name))
	return config
}

// ConfigNames lists the resources of a type that have dynamic configs, by name.
func (im *Image) ConfigNames(t ResourceType) []string {
	var names []string
	im.configs.Root().WalkPrefix(appendConfigKey(nil, t, ""), func(key []byte, _ map[string]string) bool {
		names = append(names, string(key[1:]))
		return false
	})
	return names
}

// Group finds the durable part of a group.
func (im *Image) Group(tenant, id string) (*Group, bool) {
	var buf [keyBuffer]byte
	return im.groups.Root().Get(appendNameKey(buf[:0], tenant, id))
}

// Groups iterates over a tenant's groups by id. Every group that has committed offsets is among them.
func (im *Image) Groups(tenant string) iter.Seq[*Group] {
	return values(im.groups.Root(), appendNameKey(nil, tenant, ""))
}

// AllGroups iterates over the groups of all tenants, by tenant and id.
func (im *Image) AllGroups() iter.Seq[*Group] { return values(im.groups.Root(), nil) }

// Offset finds a group's committed offset.
func (im *Image) Offset(tenant, group string, topic uuid.ID, partition int32) (CommittedOffset, bool) {
	var buf [keyBuffer]byte
	return im.offsets.Root().Get(appendOffsetKey(buf[:0], tenant, group, topic, partition))
}

// Offsets iterates over a group's committed offsets by topic id and partition.
func (im *Image) Offsets(tenant, group string) iter.Seq[CommittedOffset] {
	return values(im.offsets.Root(), appendOffsetPrefix(nil, tenant, group))
}

// values iterates over what lies under a prefix, by key.
func values[T any](root *iradix.Node[T], prefix []byte) iter.Seq[T] {
	return func(yield func(T) bool) {
		it := root.Iterator()
		it.SeekPrefix(prefix)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if !yield(v) {
				return
			}
		}
	}
}

// MinInSync is min(min.insync.replicas, replication factor) of a partition: the topic's override, else
// the cluster-wide dynamic default, else 1. A value that is no number counts as 1; the front refuses those.
func (im *Image) MinInSync(t *Topic, replicas int) int {
	return minInSync(t.Config, im.Config(BrokerResource, ""), replicas)
}

// cloneStrings copies a map; an empty one becomes nil, as it is decoded.
func cloneStrings(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
