package config

import "time"

const (
	withRetention  = "silent producers are looked for with every check of retention"
	oneCheckpoint  = "all checkpoints are written together, every replica.high.watermark.checkpoint.interval.ms"
	ownThreads     = "the Go runtime schedules connections and requests itself"
	noTransactions = "transactions are not part of this broker"
	noSecurity     = "authentication and authorization are not part of this broker"
	metadataLog    = "group offsets are kept in the metadata log, not in a topic"
	byFollower     = "followers throttle themselves, see follower.replication.throttled.rate"
	oneDirectory   = "a broker has one log directory"
	oneVersion     = "all brokers of a cluster speak one protocol version"
	bothRoles      = "every node is a broker and can be a controller"
	noNewGroups    = "the consumer group protocol of KIP-848 is not part of this broker"
)

// brokerKeys is what Kafka's tools read of a broker, what Chronik's own parts are tuned by, and the
// defaults of the topic configs. The latter take type, range and default from the topic table unless
// they are listed here.
func brokerKeys(topic *Schema) []*Key {
	keys := append(topicFamilyKeys(), logKeys()...)
	keys = append(keys, requestKeys()...)
	keys = append(keys, replicationKeys()...)
	keys = append(keys, groupCoordinatorKeys()...)
	keys = append(keys, identityKeys()...)
	keys = append(keys, absentFeatureKeys()...)
	listed := map[string]bool{}
	for _, k := range keys {
		listed[k.Name] = true
	}
	for _, t := range topic.order {
		for _, s := range t.Synonyms {
			if !listed[s.Name] {
				keys = append(keys, topicDefault(t, s.Name))
			}
		}
	}
	return keys
}

// topicDefault is the broker key that sets the default of topic config t. All of them can be altered
// while the broker runs, as in Kafka.
func topicDefault(t *Key, name string) *Key {
	k := *t
	k.Name, k.Synonyms = name, nil
	k.Doc = "Default of the topic config " + t.Name + ". " + t.Doc
	return &k
}

// topicFamilyKeys are defaults of topic configs that several keys can give, in different units.
func topicFamilyKeys() []*Key {
	// Kafka refuses 0 here, though not for a topic: all topics would lose all records at once.
	retention := accepts("[-1, 1,...]", func(v value) bool { return v.i == -1 || v.i >= 1 })
	return []*Key{
		nullable("log.retention.ms", TypeLong, "Default of retention.ms. Null: log.retention.minutes decides.",
			retention, fromUnit("log.retention.minutes", time.Minute), fromUnit("log.retention.hours", time.Hour)),
		nullable("log.retention.minutes", TypeInt, "Default of retention.ms, in minutes. Null: log.retention.hours decides.", retention, readOnly),
		key("log.retention.hours", TypeInt, "168", "Default of retention.ms, in hours, if neither log.retention.ms nor .minutes is set.", retention, readOnly),
		nullable("log.roll.ms", TypeLong, "Default of segment.ms. Null: log.roll.hours decides.",
			atLeast(1), fromUnit("log.roll.hours", time.Hour)),
		key("log.roll.hours", TypeInt, "168", "Default of segment.ms, in hours, if log.roll.ms is not set.", atLeast(1), readOnly),
		nullable("log.roll.jitter.ms", TypeLong, "Default of segment.jitter.ms. Null: log.roll.jitter.hours decides.",
			atLeast(0), fromUnit("log.roll.jitter.hours", time.Hour)),
		key("log.roll.jitter.hours", TypeInt, "0", "Default of segment.jitter.ms, in hours, if log.roll.jitter.ms is not set.", atLeast(0), readOnly),
		nullable("log.flush.interval.ms", TypeLong, "Default of flush.ms. Null: log.flush.scheduler.interval.ms decides.",
			atLeast(0), from("log.flush.scheduler.interval.ms")),
		key("log.flush.scheduler.interval.ms", TypeLong, maxLong, "Default of flush.ms if log.flush.interval.ms is not set.", atLeast(0), readOnly),
	}
}

func logKeys() []*Key {
	return []*Key{
		key("log.retention.check.interval.ms", TypeLong, "300000", "How often segments are checked against retention, in ms.", atLeast(1), readOnly),
		key("log.cleaner.enable", TypeBoolean, "true", "Whether topics with cleanup.policy=compact are compacted at all.", readOnly),
		key("log.cleaner.backoff.ms", TypeLong, "15000", "How long the cleaner rests when no log needs it, in ms.", atLeast(0), readOnly),
		key("log.flush.offset.checkpoint.interval.ms", TypeInt, "60000", "How often the recovery points are written to disk, in ms.", only(oneCheckpoint), readOnly),
		key("log.flush.start.offset.checkpoint.interval.ms", TypeInt, "60000", "How often the log start offsets are written to disk, in ms.", only(oneCheckpoint), readOnly),
		key("replica.high.watermark.checkpoint.interval.ms", TypeLong, "5000", "How often high watermarks, recovery points and log starts are written to disk, in ms.", atLeast(1), readOnly),
		key("producer.id.expiration.ms", TypeInt, "86400000", "How long a partition remembers a silent idempotent producer, in ms.", atLeast(1)),
		key("producer.id.expiration.check.interval.ms", TypeInt, "600000", "How often silent producers are looked for, in ms.", only(withRetention), readOnly),
	}
}

func requestKeys() []*Key {
	return []*Key{
		key("num.partitions", TypeInt, "1", "Partitions of a topic that is created without a number.", atLeast(1), readOnly),
		key("default.replication.factor", TypeInt, "1", "Replicas of a topic that is created without a number.", between(1, 32767), readOnly),
		key("auto.create.topics.enable", TypeBoolean, "true", "Whether a metadata request for a missing topic creates it.", readOnly),
		key("delete.topic.enable", TypeBoolean, "true", "Whether topics can be deleted.", readOnly),
		key("fetch.max.bytes", TypeInt, "57671680", "Most bytes one fetch response carries; a first batch larger than that is sent all the same.", atLeast(1024), readOnly),
		key("max.incremental.fetch.session.cache.slots", TypeInt, "1000", "How many incremental fetch sessions are kept.", atLeast(0), readOnly),
		key("socket.request.max.bytes", TypeInt, "104857600", "Largest request that is read, in bytes.", atLeast(1), readOnly),
		key("queued.max.requests", TypeInt, "500", "How many requests may wait before connections are no longer read.", only(ownThreads), readOnly),
		key("connections.max.idle.ms", TypeLong, "600000", "How long a silent connection stays open, in ms. -1: forever.", atLeast(-1), readOnly),
		key("max.connections", TypeInt, maxInt, "Most connections at a time.", atLeast(1), readOnly),
		key("max.connections.per.ip", TypeInt, maxInt, "Most connections from one address at a time.", atLeast(1), readOnly),
	}
}

func replicationKeys() []*Key {
	return []*Key{
		// 10 s, not Kafka's 30: replication.md 20.
		key("replica.lag.time.max.ms", TypeLong, "10000", "How long a follower may lag before it is out of sync, in ms.", atLeast(100), readOnly),
		key("replica.fetch.max.bytes", TypeInt, "1048576", "Most bytes a follower asks for of one partition; a first batch larger than that is sent all the same.", atLeast(1), readOnly),
		key("replica.fetch.response.max.bytes", TypeInt, "10485760", "Most bytes a follower asks for in one fetch.", atLeast(1024), readOnly),
		key("replica.fetch.wait.max.ms", TypeInt, "500", "How long a leader holds a follower's fetch that finds nothing, in ms.", between(1, 10_000), readOnly),
		key(Draining, TypeBoolean, "false", "Whether the broker is being emptied: its leaders, coordinators and replicas move to others, and it gets no new ones. Any broker of the cluster alters it for any other; it has to be altered alone. `chronik cluster drain` does it.", perBroker),
		key("follower.replication.throttled.rate", TypeLong, maxLong, "Bytes a second that replicas outside the ISR copy on this node, all together. Those in sync are never held back.", atLeast(1)),
		// kafka-reassign-partitions takes these two back with every --verify, whether or not it has set them.
		key("leader.replication.throttled.rate", TypeLong, maxLong, "Bytes a second that a leader sends to throttled replicas.", only(byFollower)),
		key("replica.alter.log.dirs.io.max.bytes.per.second", TypeLong, maxLong, "Bytes a second that replicas copy between the log directories of this node.", only(oneDirectory)),
		key("auto.leader.rebalance.enable", TypeBoolean, "true", "Whether leadership returns to preferred replicas by itself. The controller's setting counts.", readOnly),
		// 5 s, not Kafka's 300: a move costs a few milliseconds here.
		key("leader.imbalance.check.interval.seconds", TypeLong, "5", "How often the controller looks for leaders and coordinators to move back, in s.", between(1, 86_400), readOnly),
		nullable("replica.selector.class", TypeString, "Which replica a consumer is sent to. Null: the leader. "+rackSelector+": one in its client.rack.", oneOf(rackSelector), readOnly),
	}
}

// Draining is the broker key that empties a broker. It is Chronik's own: Kafka has no API for it.
const Draining = "chronik.draining"

// rackSelector is Kafka's name for reading from the closest replica (KIP-392).
const rackSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

func groupCoordinatorKeys() []*Key {
	return []*Key{
		key("group.initial.rebalance.delay.ms", TypeInt, "3000", "How long the first rebalance of an empty group waits for more members, in ms.", atLeast(0), readOnly),
		key("group.min.session.timeout.ms", TypeInt, "6000", "Shortest session timeout a member may ask for, in ms.", atLeast(1), readOnly),
		key("group.max.session.timeout.ms", TypeInt, "1800000", "Longest session timeout a member may ask for, in ms.", atLeast(1), readOnly),
		key("group.max.size", TypeInt, maxInt, "Most members of one group.", atLeast(1), readOnly),
		key("offset.metadata.max.bytes", TypeInt, "4096", "Longest text a committed offset may carry, in bytes.", atLeast(0), readOnly),
		key("offsets.retention.minutes", TypeInt, "10080", "How long the offsets of an empty group are kept, in minutes.", atLeast(1), readOnly),
		key("offsets.retention.check.interval.ms", TypeLong, "600000", "How often expired offsets are looked for, in ms.", atLeast(1), readOnly),
	}
}

// identityKeys are reported, so that tools find them, but decided by flags.
func identityKeys() []*Key {
	return []*Key{
		key("node.id", TypeInt, "-1", "Id of this node.", atLeast(-1), byFlag("--node-id")),
		key("broker.id", TypeInt, "-1", "Id of this node, by its older name.", atLeast(-1), byFlag("--node-id")),
		nullable("broker.rack", TypeString, "Rack of this node, for placement and for fetching from the closest replica.", byFlag("--rack")),
		key("listeners", TypeList, "PLAINTEXT://:9092", "Where this node listens for clients.", byFlag("--kafka-listen")),
		nullable("advertised.listeners", TypeString, "Where clients are told to find this node.", byFlag("--kafka-advertise")),
		nullable("log.dir", TypeString, "Directory of the partitions.", byFlag("--data-dir")),
		nullable("log.dirs", TypeString, "Directories of the partitions.", byFlag("--data-dir")),
	}
}

// absentFeatureKeys are read by clients and tools, which take a missing key for null and may fail on it.
// Their features are not here, so they have one value. Where Kafka's default would claim a feature
// (GSSAPI, three replicas of an internal topic) Chronik's tells the truth.
func absentFeatureKeys() []*Key {
	return []*Key{
		key("process.roles", TypeList, "broker,controller", "Roles of this node.", only(bothRoles), readOnly),
		key("listener.security.protocol.map", TypeString, "PLAINTEXT:PLAINTEXT", "Security protocol by listener name.", only(noSecurity), readOnly),
		key("inter.broker.protocol.version", TypeString, "4.0-IV3", "Kafka version whose behaviour this broker follows.", only(oneVersion), readOnly),
		key("log.message.format.version", TypeString, "3.0-IV1", "Kafka version whose record format is written.", only(oneVersion), readOnly),
		key("offsets.topic.replication.factor", TypeShort, "1", "Replicas of the offsets topic.", only(metadataLog), readOnly),
		key("offsets.topic.num.partitions", TypeInt, "50", "Partitions of the offsets topic.", only(metadataLog), readOnly),
		key("transaction.state.log.replication.factor", TypeShort, "1", "Replicas of the transaction topic.", only(noTransactions), readOnly),
		key("transaction.state.log.min.isr", TypeInt, "1", "In-sync replicas the transaction topic needs.", only(noTransactions), readOnly),
		key("transaction.state.log.num.partitions", TypeInt, "50", "Partitions of the transaction topic.", only(noTransactions), readOnly),
		key("transaction.max.timeout.ms", TypeInt, "900000", "Longest transaction timeout a producer may ask for, in ms.", only(noTransactions), readOnly),
		key("transactional.id.expiration.ms", TypeInt, weekInMs, "How long a silent transactional id is remembered, in ms.", only(noTransactions), readOnly),
		key("connections.max.reauth.ms", TypeLong, "0", "Longest life of an authenticated session, in ms. 0: no limit.", only(noSecurity), readOnly),
		key("sasl.enabled.mechanisms", TypeList, "", "SASL mechanisms that clients may use.", only(noSecurity), readOnly),
		key("authorizer.class.name", TypeString, "", "What decides over access.", only(noSecurity), readOnly),
		key("super.users", TypeString, "", "Principals that may do everything.", only(noSecurity), readOnly),
		key("num.network.threads", TypeInt, "3", "Threads that read and write connections.", only(ownThreads), readOnly),
		key("num.io.threads", TypeInt, "8", "Threads that serve requests.", only(ownThreads), readOnly),
		key("group.consumer.session.timeout.ms", TypeInt, "45000", "Default of the group config consumer.session.timeout.ms.", only(noNewGroups), readOnly),
		key("group.consumer.heartbeat.interval.ms", TypeInt, "5000", "Default of the group config consumer.heartbeat.interval.ms.", only(noNewGroups), readOnly),
	}
}

// groupKeys are the configs of a group; Kafka has them for groups of the KIP-848 protocol only.
func groupKeys() []*Key {
	return []*Key{
		key("consumer.session.timeout.ms", TypeInt, "45000", "How long a silent member stays in the group, in ms.",
			only(noNewGroups), from("group.consumer.session.timeout.ms")),
		key("consumer.heartbeat.interval.ms", TypeInt, "5000", "How often members call, in ms.",
			only(noNewGroups), from("group.consumer.heartbeat.interval.ms")),
	}
}
