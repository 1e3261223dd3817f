package config

import "time"

const (
	maxLong  = "9223372036854775807"
	maxInt   = "2147483647"
	weekInMs = "604800000"

	noTiering    = "tiered storage is not part of this broker"
	noThrottling = "replication is not throttled by replica"
)

// topicKeys is Kafka 4's table of topic configs, and Chronik's flush.mode. What 4.0 removed
// (message.format.version, message.timestamp.difference.max.ms) is unknown here too. segment.bytes keeps
// the limit of 14 that Kafka had before KIP-1030: Chronik sees no harm in small segments.
func topicKeys() []*Key {
	return append(append(retentionKeys(), messageKeys()...), storageKeys()...)
}

func retentionKeys() []*Key {
	return []*Key{
		key("cleanup.policy", TypeList, "delete",
			"What becomes of old segments: delete drops them by the retention limits, compact keeps the last record of each key. Both may be given.",
			someOf("delete", "compact"), from("log.cleanup.policy")),
		key("retention.ms", TypeLong, weekInMs,
			"How long records are kept under the delete policy, in ms. -1 keeps them forever.",
			atLeast(-1), from("log.retention.ms"),
			fromUnit("log.retention.minutes", time.Minute), fromUnit("log.retention.hours", time.Hour)),
		key("retention.bytes", TypeLong, "-1",
			"How large a partition may grow before old segments are dropped under the delete policy, in bytes. Negative: no limit.",
			from("log.retention.bytes")),
		key("delete.retention.ms", TypeLong, "86400000",
			"How long compaction keeps a tombstone, in ms: the time a consumer has to read from the start and still see the deletion.",
			atLeast(0), from("log.cleaner.delete.retention.ms")),
		key("min.compaction.lag.ms", TypeLong, "0",
			"How long a record stays out of reach of compaction, in ms.",
			atLeast(0), from("log.cleaner.min.compaction.lag.ms")),
		key("max.compaction.lag.ms", TypeLong, maxLong,
			"How long a record may stay out of compaction, in ms, however clean the log is.",
			atLeast(1), from("log.cleaner.max.compaction.lag.ms")),
		key("min.cleanable.dirty.ratio", TypeDouble, "0.5",
			"Share of the log that must be uncompacted before compaction is worth its cost.",
			zeroToOne(), from("log.cleaner.min.cleanable.ratio")),
		key("file.delete.delay.ms", TypeLong, "60000",
			"How long the files of a deleted segment stay on disk, in ms, for readers that still use them.",
			atLeast(0), from("log.segment.delete.delay.ms")),
		key("local.retention.ms", TypeLong, "-2",
			"Retention of the local part of a tiered log, in ms. -2 follows retention.ms.",
			only(noTiering), from("log.local.retention.ms")),
		key("local.retention.bytes", TypeLong, "-2",
			"Size limit of the local part of a tiered log, in bytes. -2 follows retention.bytes.",
			only(noTiering), from("log.local.retention.bytes")),
		key("remote.storage.enable", TypeBoolean, "false", "Whether old segments move to remote storage.", only(noTiering)),
		key("remote.log.copy.disable", TypeBoolean, "false", "Whether copying to remote storage is stopped.", only(noTiering)),
		key("remote.log.delete.on.disable", TypeBoolean, "false", "Whether turning remote storage off deletes what is there.", only(noTiering)),
	}
}

func messageKeys() []*Key {
	return []*Key{
		key("max.message.bytes", TypeInt, "1048588",
			"Largest record batch as stored, header included and after compression, in bytes.",
			atLeast(0), from("message.max.bytes")),
		key("min.insync.replicas", TypeInt, "1",
			"How many replicas must be in sync for a produce request with acks=all to be accepted.",
			atLeast(1), from("min.insync.replicas")),
		key("compression.type", TypeString, "producer",
			"How batches are stored: as the producer compressed them, not compressed, or by a codec of the broker's choice.",
			oneOf("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"), from("compression.type")),
		key("compression.gzip.level", TypeInt, "-1",
			"Level used when compression.type is gzip. -1 is the codec's own default.",
			accepts("[-1, 1,...,9]", func(v value) bool { return v.i == -1 || v.i >= 1 && v.i <= 9 }),
			from("compression.gzip.level")),
		key("compression.lz4.level", TypeInt, "9", "Level used when compression.type is lz4.",
			between(1, 17), from("compression.lz4.level")),
		key("compression.zstd.level", TypeInt, "3", "Level used when compression.type is zstd.",
			between(-131072, 22), from("compression.zstd.level")),
		key("message.timestamp.type", TypeString, "CreateTime",
			"Whether a record carries the time its producer gave it or the time it was appended.",
			oneOf("CreateTime", "LogAppendTime"), from("log.message.timestamp.type")),
		key("message.timestamp.before.max.ms", TypeLong, maxLong,
			"How far in the past a record's own time may lie, in ms. It has no meaning for LogAppendTime.",
			atLeast(0), from("log.message.timestamp.before.max.ms")),
		key("message.timestamp.after.max.ms", TypeLong, "3600000",
			"How far in the future a record's own time may lie, in ms. It has no meaning for LogAppendTime.",
			atLeast(0), from("log.message.timestamp.after.max.ms")),
		key("message.downconversion.enable", TypeBoolean, "true",
			"Whether batches are converted for consumers that know only older record formats.",
			from("log.message.downconversion.enable")),
		key("unclean.leader.election.enable", TypeBoolean, "false",
			"Whether a replica that is not in sync may lead when no other can. Acknowledged records may be lost with that.",
			from("unclean.leader.election.enable")),
		key("leader.replication.throttled.replicas", TypeList, "",
			"Replicas whose leader throttles replication.", only(noThrottling)),
		key("follower.replication.throttled.replicas", TypeList, "",
			"Replicas whose follower throttles replication.", only(noThrottling)),
	}
}

func storageKeys() []*Key {
	return []*Key{
		key("segment.bytes", TypeInt, "1073741824",
			"Size at which a segment is closed, in bytes. Retention and compaction work on closed segments.",
			atLeast(14), from("log.segment.bytes")),
		key("segment.ms", TypeLong, weekInMs,
			"Age at which a segment is closed even if it is not full, in ms.",
			atLeast(1), from("log.roll.ms"), fromUnit("log.roll.hours", time.Hour)),
		key("segment.jitter.ms", TypeLong, "0",
			"Largest random time taken off segment.ms, in ms, so that not all partitions roll at once.",
			atLeast(0), from("log.roll.jitter.ms"), fromUnit("log.roll.jitter.hours", time.Hour)),
		key("segment.index.bytes", TypeInt, "10485760",
			"Largest size of a segment's offset index and of its time index, in bytes. A full index closes the segment.",
			atLeast(4), from("log.index.size.max.bytes")),
		key("index.interval.bytes", TypeInt, "4096",
			"How many bytes of log lie between two entries of the offset index.",
			atLeast(0), from("log.index.interval.bytes")),
		key("flush.mode", TypeString, "sync",
			"What an acknowledged record has been through. sync: fsync, shared by concurrent writers. interval: fsync in the background by flush.ms and flush.messages. os: the operating system decides when.",
			oneOf("sync", "interval", "os"), from("log.flush.mode")),
		key("flush.messages", TypeLong, maxLong,
			"How many records may be written before they are fsynced.",
			atLeast(1), from("log.flush.interval.messages")),
		key("flush.ms", TypeLong, maxLong,
			"How long a record may wait for its fsync, in ms.",
			atLeast(0), from("log.flush.interval.ms"), from("log.flush.scheduler.interval.ms")),
		key("preallocate", TypeBoolean, "false",
			"Whether a new segment reserves its full size on disk.",
			from("log.preallocate")),
	}
}
