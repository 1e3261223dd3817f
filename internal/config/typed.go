package config

import (
	"slices"
	"time"
)

// The flush modes: what an acknowledged record has been through (replication.md 14.2). FlushInterval with
// FlushMs and FlushMessages at their defaults is FlushOS.
const (
	FlushSync     = "sync"
	FlushInterval = "interval"
	FlushOS       = "os"
)

// TopicConfig is a topic's configuration, parsed. Durations beyond 292 years are cut to that: it is how
// Kafka's "never" arrives here.
type TopicConfig struct {
	CleanupDelete, CleanupCompact bool // at least one

	Retention      time.Duration // NoLimit: forever
	RetentionBytes int64         // per partition; negative: no limit

	SegmentBytes int64
	//lint:ignore ST1011 the key is segment.ms; SegmentBytes stands beside it
	SegmentMs          time.Duration
	SegmentJitter      time.Duration
	SegmentIndexBytes  int64
	IndexIntervalBytes int64
	Preallocate        bool
	FileDeleteDelay    time.Duration

	MaxMessageBytes       int64 // whole batch as stored
	MinInsyncReplicas     int
	CompressionType       string // "producer", "uncompressed" or a codec's name
	GzipLevel             int    // -1: the codec's default
	LZ4Level              int
	ZstdLevel             int
	LogAppendTime         bool // else CreateTime
	TimestampBeforeMax    time.Duration
	TimestampAfterMax     time.Duration
	MessageDownconversion bool

	DeleteRetention        time.Duration
	MinCompactionLag       time.Duration
	MaxCompactionLag       time.Duration
	MinCleanableDirtyRatio float64

	FlushMode     string // FlushSync, FlushInterval or FlushOS
	FlushMessages int64
	//lint:ignore ST1011 the key is flush.ms; FlushMessages stands beside it
	FlushMs time.Duration

	UncleanLeaderElection bool
}

// Topic parses a result of ResolveTopic; on another it panics.
func (r *Resolved) Topic() TopicConfig {
	policy := r.value("cleanup.policy").list
	return TopicConfig{
		CleanupDelete:          slices.Contains(policy, "delete"),
		CleanupCompact:         slices.Contains(policy, "compact"),
		Retention:              r.millis("retention.ms"),
		RetentionBytes:         r.value("retention.bytes").i,
		SegmentBytes:           r.value("segment.bytes").i,
		SegmentMs:              r.millis("segment.ms"),
		SegmentJitter:          r.millis("segment.jitter.ms"),
		SegmentIndexBytes:      r.value("segment.index.bytes").i,
		IndexIntervalBytes:     r.value("index.interval.bytes").i,
		Preallocate:            r.value("preallocate").b,
		FileDeleteDelay:        r.millis("file.delete.delay.ms"),
		MaxMessageBytes:        r.value("max.message.bytes").i,
		MinInsyncReplicas:      r.int("min.insync.replicas"),
		CompressionType:        r.value("compression.type").text,
		GzipLevel:              r.int("compression.gzip.level"),
		LZ4Level:               r.int("compression.lz4.level"),
		ZstdLevel:              r.int("compression.zstd.level"),
		LogAppendTime:          r.value("message.timestamp.type").text == "LogAppendTime",
		TimestampBeforeMax:     r.millis("message.timestamp.before.max.ms"),
		TimestampAfterMax:      r.millis("message.timestamp.after.max.ms"),
		MessageDownconversion:  r.value("message.downconversion.enable").b,
		DeleteRetention:        r.millis("delete.retention.ms"),
		MinCompactionLag:       r.millis("min.compaction.lag.ms"),
		MaxCompactionLag:       r.millis("max.compaction.lag.ms"),
		MinCleanableDirtyRatio: r.value("min.cleanable.dirty.ratio").f,
		FlushMode:              r.value("flush.mode").text,
		FlushMessages:          r.value("flush.messages").i,
		FlushMs:                r.millis("flush.ms"),
		UncleanLeaderElection:  r.value("unclean.leader.election.enable").b,
	}
}

// CompressionLevel is the level to compress with when the broker chooses the codec. Codecs without
// levels have 0.
func (c TopicConfig) CompressionLevel() int {
	switch c.CompressionType {
	case "gzip":
		return c.GzipLevel
	case "lz4":
		return c.LZ4Level
	case "zstd":
		return c.ZstdLevel
	}
	return 0
}

// BrokerConfig is what the broker's own parts are tuned by, parsed. What only sets defaults of topics is
// not in it: ResolveTopic reads that.
type BrokerConfig struct {
	NumPartitions            int32
	DefaultReplicationFactor int16
	AutoCreateTopics         bool
	DeleteTopics             bool

	FetchMaxBytes         int
	FetchSessionSlots     int // max.incremental.fetch.session.cache.slots
	SocketRequestMaxBytes int
	ConnectionsMaxIdle    time.Duration // NoLimit: forever
	MaxConnections        int
	MaxConnectionsPerIP   int

	ReplicaLagTimeMax            time.Duration
	ReplicaFetchMaxBytes         int32
	ReplicaFetchResponseMaxBytes int32
	ReplicaFetchWait             time.Duration
	FollowerThrottle             int64 // bytes a second of replicas that catch up
	RackAwareFetch               bool  // replica.selector.class
	LeaderRebalance              bool
	LeaderRebalanceInterval      time.Duration

	RetentionCheckInterval time.Duration
	CleanerEnable          bool
	CleanerBackoff         time.Duration
	CheckpointInterval     time.Duration
	ProducerIDExpiration   time.Duration

	GroupInitialRebalanceDelay    time.Duration
	GroupMinSessionTimeout        time.Duration
	GroupMaxSessionTimeout        time.Duration
	GroupMaxSize                  int
	OffsetMetadataMaxBytes        int
	OffsetsRetention              time.Duration
	OffsetsRetentionCheckInterval time.Duration
}

// Broker parses a result of ResolveBroker; on another it panics.
func (r *Resolved) Broker() BrokerConfig {
	return BrokerConfig{
		NumPartitions:                 int32(r.value("num.partitions").i),
		DefaultReplicationFactor:      int16(r.value("default.replication.factor").i),
		AutoCreateTopics:              r.value("auto.create.topics.enable").b,
		DeleteTopics:                  r.value("delete.topic.enable").b,
		FetchMaxBytes:                 r.int("fetch.max.bytes"),
		FetchSessionSlots:             r.int("max.incremental.fetch.session.cache.slots"),
		SocketRequestMaxBytes:         r.int("socket.request.max.bytes"),
		ConnectionsMaxIdle:            r.millis("connections.max.idle.ms"),
		MaxConnections:                r.int("max.connections"),
		MaxConnectionsPerIP:           r.int("max.connections.per.ip"),
		ReplicaLagTimeMax:             r.millis("replica.lag.time.max.ms"),
		ReplicaFetchMaxBytes:          int32(r.value("replica.fetch.max.bytes").i),
		ReplicaFetchResponseMaxBytes:  int32(r.value("replica.fetch.response.max.bytes").i),
		ReplicaFetchWait:              r.millis("replica.fetch.wait.max.ms"),
		FollowerThrottle:              r.value("follower.replication.throttled.rate").i,
		LeaderRebalance:               r.value("auto.leader.rebalance.enable").b,
		LeaderRebalanceInterval:       time.Duration(r.value("leader.imbalance.check.interval.seconds").i) * time.Second,
		RackAwareFetch:                r.value("replica.selector.class").text == rackSelector,
		RetentionCheckInterval:        r.millis("log.retention.check.interval.ms"),
		CleanerEnable:                 r.value("log.cleaner.enable").b,
		CleanerBackoff:                r.millis("log.cleaner.backoff.ms"),
		CheckpointInterval:            r.millis("replica.high.watermark.checkpoint.interval.ms"),
		ProducerIDExpiration:          r.millis("producer.id.expiration.ms"),
		GroupInitialRebalanceDelay:    r.millis("group.initial.rebalance.delay.ms"),
		GroupMinSessionTimeout:        r.millis("group.min.session.timeout.ms"),
		GroupMaxSessionTimeout:        r.millis("group.max.session.timeout.ms"),
		GroupMaxSize:                  r.int("group.max.size"),
		OffsetMetadataMaxBytes:        r.int("offset.metadata.max.bytes"),
		OffsetsRetention:              millis(r.value("offsets.retention.minutes").i * time.Minute.Milliseconds()),
		OffsetsRetentionCheckInterval: r.millis("offsets.retention.check.interval.ms"),
	}
}

func (r *Resolved) value(name string) value {
	i, ok := r.index[name]
	if !ok {
		panic("config: a " + r.schema.kind + " has no config " + name)
	}
	return r.values[i].parsed
}

func (r *Resolved) int(name string) int { return int(r.value(name).i) }

func (r *Resolved) millis(name string) time.Duration { return millis(r.value(name).i) }
