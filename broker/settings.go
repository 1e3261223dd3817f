package broker

import (
	"maps"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire/record"
)

// openLimits bounds what opening stored or produced records may expand to: the package's defaults.
var openLimits record.Limits

// layers are the broker's configs from the least to the most specific, as committed now.
func (b *Broker) layers() config.Layers {
	img := b.meta.Image()
	layers := config.Layers{
		Static:         b.static,
		DynamicDefault: img.Config(raftmeta.BrokerResource, ""),
		Dynamic:        img.Config(raftmeta.BrokerResource, strconv.Itoa(int(b.nodeID))),
	}
	if self, ok := img.Broker(b.nodeID); ok && self.Draining {
		dynamic := map[string]string{config.Draining: "true"} // shown as the config by which it was set
		maps.Copy(dynamic, layers.Dynamic)
		layers.Dynamic = dynamic
	}
	return layers
}

// staticConfig is what was set at start by name, and what flags decide, under the names that Kafka's
// tools look for.
func (b *Broker) staticConfig() map[string]string {
	id := strconv.Itoa(int(b.nodeID))
	host, port := b.advertised()
	static := map[string]string{
		"node.id": id, "broker.id": id, "log.dir": b.logDirPath, "log.dirs": b.logDirPath,
		"listeners":            "PLAINTEXT://" + b.options.Kafka.Addr().String(),
		"advertised.listeners": "PLAINTEXT://" + net.JoinHostPort(host, strconv.Itoa(int(port))),
	}
	if b.options.Rack != "" {
		static["broker.rack"] = b.options.Rack
	}
	maps.Copy(static, b.options.Config)
	return static
}

// config is the broker's effective config. It is resolved anew when a dynamic config changes.
func (b *Broker) config() *config.BrokerConfig { return b.settings.Load() }

func (b *Broker) reloadConfig() {
	resolved := config.ResolveBroker(b.layers()).Broker()
	b.settings.Store(&resolved)
}

// topicConfig is a topic's effective config.
func (b *Broker) topicConfig(t *raftmeta.Topic) *config.TopicConfig {
	resolved := config.ResolveTopic(t.Config, b.layers()).Topic()
	return &resolved
}

// dirOptions configures the log directory. What they take from the config cannot be altered while the
// broker runs, so it is known before the metadata is.
func (b *Broker) dirOptions() log.DirOptions {
	c := config.ResolveBroker(config.Layers{Static: b.static}).Broker()
	return log.DirOptions{
		Path: b.logDirPath, FS: b.options.FS, Now: b.now, Logger: b.logger, Registerer: b.options.Registry, BootID: b.options.bootID,
		CheckpointInterval: c.CheckpointInterval, RetentionCheckInterval: c.RetentionCheckInterval, CleanerInterval: c.CleanerBackoff,
	}
}

// logConfig is the part of a topic's config that its logs act on.
func (b *Broker) logConfig(c *config.TopicConfig) log.Config {
	mode, flushMessages, flushInterval := flushing(c)
	return log.Config{
		SegmentBytes: c.SegmentBytes, SegmentMs: c.SegmentMs, SegmentJitter: c.SegmentJitter,
		IndexIntervalBytes: c.IndexIntervalBytes, SegmentIndexBytes: c.SegmentIndexBytes,
		Retention: c.Retention, RetentionBytes: c.RetentionBytes, Delete: c.CleanupDelete, Compact: c.CleanupCompact && b.config().CleanerEnable,
		MinCompactionLag: c.MinCompactionLag, MaxCompactionLag: c.MaxCompactionLag, DeleteRetention: c.DeleteRetention,
		MinCleanableRatio: c.MinCleanableDirtyRatio,
		FlushMode:         mode, FlushMessages: flushMessages, FlushInterval: flushInterval,
		Preallocate: c.Preallocate, FileDeleteDelay: c.FileDeleteDelay,
		ProducerExpiration: b.config().ProducerIDExpiration,
	}
}

// defaultFlushInterval is flush.ms in mode interval where neither it nor flush.messages is set.
const defaultFlushInterval = time.Second

// flushing translates flush.mode, flush.messages and flush.ms, which keep Kafka's meaning: with mode os,
// Kafka's own, either of the two makes the log sync in the background, and flush.messages=1 before it
// acknowledges.
func flushing(c *config.TopicConfig) (mode log.FlushMode, messages int64, interval time.Duration) {
	messages, interval = c.FlushMessages, c.FlushMs
	byMessages, byTime := messages < math.MaxInt64, interval < math.MaxInt64
	if !byMessages {
		messages = 0 // never for that reason
	}
	switch {
	case c.FlushMode == config.FlushSync || messages == 1:
		return log.Sync, messages, interval
	case c.FlushMode == config.FlushInterval && !byMessages && !byTime:
		return log.Interval, messages, defaultFlushInterval
	case byMessages || byTime:
		return log.Interval, messages, interval
	}
	return log.OS, messages, interval
}

// codecOf reads compression.type; forced is false for "producer", which keeps what was sent.
func codecOf(compressionType string) (codec record.Codec, forced bool) {
	switch compressionType {
	case "uncompressed":
		return record.None, true
	case "gzip":
		return record.Gzip, true
	case "snappy":
		return record.Snappy, true
	case "lz4":
		return record.LZ4, true
	case "zstd":
		return record.Zstd, true
	}
	return record.None, false
}

// groupConfig is what the group coordinator acts on.
func (b *Broker) groupConfig() groups.Config {
	c := b.config()
	return groups.Config{
		MinSessionTimeout: c.GroupMinSessionTimeout, MaxSessionTimeout: c.GroupMaxSessionTimeout,
		InitialRebalanceDelay: c.GroupInitialRebalanceDelay, MaxSize: c.GroupMaxSize,
		OffsetsRetention: c.OffsetsRetention, OffsetsRetentionCheckInterval: c.OffsetsRetentionCheckInterval,
		OffsetMetadataMaxBytes: c.OffsetMetadataMaxBytes,
	}
}
