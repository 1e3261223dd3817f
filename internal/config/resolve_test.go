package config

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type settings = map[string]string

func at(name, value string, source Source) Setting {
	return Setting{Name: name, Value: value, Source: source}
}

// bySetting compares settings, unexported fields included.
var bySetting = cmp.AllowUnexported(Setting{})

func TestResolveTopicOrder(t *testing.T) {
	for _, c := range []struct {
		name      string
		key       string
		overrides settings
		layers    Layers
		want      []Setting
	}{
		{"default of a family", "retention.ms", nil, Layers{},
			[]Setting{at("log.retention.hours", "604800000", SourceDefault)}},
		{"ms before minutes before hours", "retention.ms", nil,
			Layers{Static: settings{"log.retention.hours": "1", "log.retention.minutes": "2", "log.retention.ms": "3"}},
			[]Setting{
				at("log.retention.ms", "3", SourceStaticBroker), at("log.retention.minutes", "120000", SourceStaticBroker),
				at("log.retention.hours", "3600000", SourceStaticBroker), at("log.retention.hours", "604800000", SourceDefault),
			}},
		{"no limit stays no limit", "retention.ms", nil, Layers{Static: settings{"log.retention.hours": "-1"}},
			[]Setting{at("log.retention.hours", "-1", SourceStaticBroker), at("log.retention.hours", "604800000", SourceDefault)}},
		{"all layers", "retention.ms", settings{"retention.ms": "1"},
			Layers{
				Dynamic: settings{"log.retention.ms": "2"}, DynamicDefault: settings{"log.retention.ms": "3"},
				Static: settings{"log.retention.ms": "4"},
			},
			[]Setting{
				at("retention.ms", "1", SourceTopic), at("log.retention.ms", "2", SourceDynamicBroker),
				at("log.retention.ms", "3", SourceDynamicDefault), at("log.retention.ms", "4", SourceStaticBroker),
				at("log.retention.hours", "604800000", SourceDefault),
			}},
		{"the broker's name differs", "max.message.bytes", nil, Layers{DynamicDefault: settings{"message.max.bytes": "7", "max.message.bytes": "8"}},
			[]Setting{at("message.max.bytes", "7", SourceDynamicDefault), at("message.max.bytes", "1048588", SourceDefault)}},
		{"the layer counts before the name", "flush.ms", nil,
			Layers{Dynamic: settings{"log.flush.interval.ms": "5"}, Static: settings{"log.flush.scheduler.interval.ms": "6"}},
			[]Setting{
				at("log.flush.interval.ms", "5", SourceDynamicBroker), at("log.flush.scheduler.interval.ms", "6", SourceStaticBroker),
				at("log.flush.scheduler.interval.ms", maxLong, SourceDefault),
			}},
		{"what does not validate is not there", "segment.bytes", settings{"segment.bytes": "13"}, Layers{Static: settings{"log.segment.bytes": "big"}},
			[]Setting{at("log.segment.bytes", "1073741824", SourceDefault)}},
		{"values are canonical", "cleanup.policy", settings{"cleanup.policy": " compact , delete"}, Layers{},
			[]Setting{at("cleanup.policy", "compact,delete", SourceTopic), at("log.cleanup.policy", "delete", SourceDefault)}},
		{"no broker synonym", "remote.storage.enable", settings{"remote.storage.enable": "FALSE"}, Layers{},
			[]Setting{at("remote.storage.enable", "false", SourceTopic), at("remote.storage.enable", "false", SourceDefault)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, ok := ResolveTopic(c.overrides, c.layers).Get(c.key)
			if !ok {
				t.Fatal("not found")
			}
			if diff := cmp.Diff(c.want, e.Synonyms, bySetting); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if e.Value != c.want[0].Value || e.Source != c.want[0].Source {
				t.Errorf("effective %q from %d, want the first synonym", e.Value, e.Source)
			}
		})
	}
}

func TestResolveBroker(t *testing.T) {
	r := ResolveBroker(Layers{
		Static:  settings{"log.retention.hours": "48", "log.roll.ms": "9", "log.roll.hours": "1", "num.partitions": " 3 "},
		Dynamic: settings{"max.connections": "7"},
	})
	for name, want := range map[string][]Setting{
		"log.retention.hours": {at("log.retention.hours", "48", SourceStaticBroker), at("log.retention.hours", "168", SourceDefault)},
		"log.retention.ms":    nil,
		"log.roll.ms": {
			at("log.roll.ms", "9", SourceStaticBroker), at("log.roll.hours", "3600000", SourceStaticBroker),
			at("log.roll.hours", "604800000", SourceDefault),
		},
		"num.partitions":  {at("num.partitions", "3", SourceStaticBroker), at("num.partitions", "1", SourceDefault)},
		"max.connections": {at("max.connections", "7", SourceDynamicBroker), at("max.connections", maxInt, SourceDefault)},
	} {
		v, _ := r.Get(name)
		if diff := cmp.Diff(want, v.Synonyms, bySetting, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if shown := v.Shown(); (shown == nil) != (want == nil) || shown != nil && *shown != want[0].Value {
			t.Errorf("%s is shown as %v", name, shown)
		}
	}
}

func TestDynamicDefaults(t *testing.T) {
	got := DynamicDefaults(settings{"log.retention.ms": "5", "max.connections": "-3", "no.such": "1", "log.cleanup.policy": "compact"})
	want := [][]Setting{{at("log.cleanup.policy", "compact", SourceDynamicDefault)}, {at("log.retention.ms", "5", SourceDynamicDefault)}}
	list := [][]Setting{}
	for _, v := range got {
		list = append(list, v.Synonyms)
	}
	if diff := cmp.Diff(want, list, bySetting); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSensitiveValuesAreNotShown(t *testing.T) {
	k := &Key{Name: "ssl.key.password", Type: TypePassword, Sensitive: true}
	settings := k.settingIn(settings{k.Name: " secret "}, SourceTopic, k, Synonym{Name: k.Name}, nil)
	v := Value{Key: k, Value: settings[0].Value, Synonyms: settings}
	if v.Value != " secret " || v.Shown() != nil || settings[0].Shown() != nil {
		t.Errorf("%+v: a password keeps its blanks and is hidden", v)
	}
}

func TestTopicConfigDefaults(t *testing.T) {
	week := 7 * 24 * time.Hour
	want := TopicConfig{
		CleanupDelete: true, Retention: week, RetentionBytes: -1,
		SegmentBytes: 1 << 30, SegmentMs: week, SegmentIndexBytes: 10 << 20, IndexIntervalBytes: 4096, FileDeleteDelay: time.Minute,
		MaxMessageBytes: 1048588, MinInsyncReplicas: 1, CompressionType: "producer", GzipLevel: -1, LZ4Level: 9, ZstdLevel: 3,
		TimestampBeforeMax: math.MaxInt64, TimestampAfterMax: time.Hour, MessageDownconversion: true,
		DeleteRetention: 24 * time.Hour, MaxCompactionLag: math.MaxInt64, MinCleanableDirtyRatio: 0.5,
		FlushMode: FlushSync, FlushMessages: math.MaxInt64, FlushMs: math.MaxInt64,
	}
	if diff := cmp.Diff(want, ResolveTopic(nil, Layers{}).Topic()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Every field of a TopicConfig follows its key.
func TestTopicConfigFields(t *testing.T) {
	overrides := settings{
		"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "1", "segment.bytes": "14", "segment.ms": "3",
		"segment.jitter.ms": "4", "segment.index.bytes": "5", "index.interval.bytes": "6", "preallocate": "true",
		"file.delete.delay.ms": "7", "max.message.bytes": "8", "min.insync.replicas": "9", "compression.type": "lz4",
		"compression.gzip.level": "2", "compression.lz4.level": "3", "compression.zstd.level": "4",
		"message.timestamp.type": "LogAppendTime", "message.timestamp.before.max.ms": "10", "message.timestamp.after.max.ms": "11",
		"message.downconversion.enable": "false", "delete.retention.ms": "12", "min.compaction.lag.ms": "13",
		"max.compaction.lag.ms": "14", "min.cleanable.dirty.ratio": "0.25", "flush.mode": "interval", "flush.messages": "15",
		"flush.ms": "16", "unclean.leader.election.enable": "true",
	}
	if err := Topic.ValidateAll(overrides); err != nil {
		t.Fatal(err)
	}
	ms := time.Millisecond
	want := TopicConfig{
		CleanupCompact: true, Retention: NoLimit, RetentionBytes: 1, SegmentBytes: 14, SegmentMs: 3 * ms, SegmentJitter: 4 * ms,
		SegmentIndexBytes: 5, IndexIntervalBytes: 6, Preallocate: true, FileDeleteDelay: 7 * ms, MaxMessageBytes: 8,
		MinInsyncReplicas: 9, CompressionType: "lz4", GzipLevel: 2, LZ4Level: 3, ZstdLevel: 4, LogAppendTime: true,
		TimestampBeforeMax: 10 * ms, TimestampAfterMax: 11 * ms, DeleteRetention: 12 * ms, MinCompactionLag: 13 * ms,
		MaxCompactionLag: 14 * ms, MinCleanableDirtyRatio: 0.25, FlushMode: FlushInterval, FlushMessages: 15, FlushMs: 16 * ms,
		UncleanLeaderElection: true,
	}
	if diff := cmp.Diff(want, ResolveTopic(overrides, Layers{}).Topic()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for compression, level := range map[string]int{"gzip": 2, "lz4": 3, "zstd": 4, "snappy": 0, "producer": 0} {
		want.CompressionType = compression
		if got := want.CompressionLevel(); got != level {
			t.Errorf("level of %s = %d, want %d", compression, got, level)
		}
	}
	for _, k := range Topic.Keys() {
		if _, set := overrides[k.Name]; !set && k.unsupported == "" {
			t.Errorf("topic config %s is accepted but has no field: nothing can act on it", k.Name)
		}
	}
}

func TestBrokerConfig(t *testing.T) {
	want := BrokerConfig{
		NumPartitions: 1, DefaultReplicationFactor: 1, AutoCreateTopics: true, DeleteTopics: true,
		FetchMaxBytes: 57671680, FetchSessionSlots: 1000, SocketRequestMaxBytes: 104857600,
		ConnectionsMaxIdle: 10 * time.Minute, MaxConnections: math.MaxInt32, MaxConnectionsPerIP: math.MaxInt32,
		ReplicaLagTimeMax: 10 * time.Second, ReplicaFetchMaxBytes: 1 << 20, ReplicaFetchResponseMaxBytes: 10 << 20, ReplicaFetchWait: 500 * time.Millisecond, FollowerThrottle: math.MaxInt64,
		LeaderRebalance: true, LeaderRebalanceInterval: 5 * time.Second,
		RetentionCheckInterval: 5 * time.Minute, CleanerEnable: true, CleanerBackoff: 15 * time.Second,

		CheckpointInterval: 5 * time.Second, ProducerIDExpiration: 24 * time.Hour,
		GroupInitialRebalanceDelay: 3 * time.Second, GroupMinSessionTimeout: 6 * time.Second, GroupMaxSessionTimeout: 30 * time.Minute,
		GroupMaxSize: math.MaxInt32, OffsetMetadataMaxBytes: 4096, OffsetsRetention: 7 * 24 * time.Hour, OffsetsRetentionCheckInterval: 10 * time.Minute,
	}
	if diff := cmp.Diff(want, ResolveBroker(Layers{}).Broker()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got := ResolveBroker(Layers{Static: settings{"num.partitions": "3", "connections.max.idle.ms": "-1", "offsets.retention.minutes": maxInt}}).Broker()
	want.NumPartitions, want.ConnectionsMaxIdle, want.OffsetsRetention = 3, NoLimit, time.Duration(math.MaxInt64)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
