package config

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

var schemas = []*Schema{Topic, Broker, Group}

// TestKeysGolden shows every change of a key, its default or its range as a diff of one line.
func TestKeysGolden(t *testing.T) {
	var b strings.Builder
	for _, s := range schemas {
		for _, k := range s.Keys() {
			fmt.Fprintf(&b, "%s %s\n", s.kind, describe(k))
		}
	}
	name := filepath.Join("testdata", "keys.golden")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("the keys changed (-golden +now); if that is meant, run with -update:\n%s", diff)
	}
}

func describe(k *Key) string {
	def := fmt.Sprintf("%q", k.Default)
	if !k.HasDefault {
		def = "null"
	}
	line := fmt.Sprintf("%s %s = %s", k.Name, k.Type, def)
	if k.Valid != "" {
		line += " " + k.Valid
	}
	for _, s := range k.Synonyms {
		line += " < " + s.Name
		if s.Unit != 0 {
			line += fmt.Sprintf(" (%s)", s.Unit)
		}
	}
	if k.ReadOnly {
		line += " read-only"
	}
	if k.unsupported != "" {
		line += " fixed"
	}
	if k.Flag != "" {
		line += " " + k.Flag
	}
	return line
}

func TestTablesAreConsistent(t *testing.T) {
	for _, s := range schemas {
		for _, k := range s.Keys() {
			if got, ok := s.Lookup(k.Name); !ok || got != k {
				t.Errorf("%s %s is not found by its name", s.kind, k.Name)
			}
			if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("%s %s: documentation %q is no sentence", s.kind, k.Name, k.Doc)
			}
			if k.HasDefault {
				v, err := k.parse(k.Default)
				if err != nil {
					t.Errorf("%s: default: %v", s.kind, err)
				}
				if v.text != k.Default {
					t.Errorf("%s %s: default %q is not canonical, %q is", s.kind, k.Name, k.Default, v.text)
				}
			}
			if s != Broker && k.ReadOnly {
				t.Errorf("%s %s is read-only", s.kind, k.Name)
			}
			for _, syn := range k.Synonyms {
				if _, ok := Broker.Lookup(syn.Name); !ok {
					t.Errorf("%s %s: synonym %s is no broker key", s.kind, k.Name, syn.Name)
				}
			}
		}
		if err := s.ValidateAll(nil); err != nil {
			t.Errorf("%s: the defaults contradict each other: %v", s.kind, err)
		}
	}
}

// A topic's default is what its broker synonyms say when nobody set anything, or the two tables would
// tell different stories.
func TestTopicAndBrokerDefaultsAgree(t *testing.T) {
	for _, r := range []*Resolved{ResolveTopic(nil, Layers{}), ResolveGroup(nil, Layers{})} {
		for _, e := range r.Values() {
			if e.Null || e.Value != e.Default || e.Source != SourceDefault {
				t.Errorf("%s resolves to %q (source %d), its default is %q", e.Name, e.Value, e.Source, e.Default)
			}
		}
	}
}

// What clients are known to read must be there: a missing key is a null in their hands.
func TestBrokerHasWhatClientsRead(t *testing.T) {
	for _, name := range strings.Fields(`
		default.replication.factor num.partitions auto.create.topics.enable delete.topic.enable
		min.insync.replicas unclean.leader.election.enable message.max.bytes fetch.max.bytes
		socket.request.max.bytes compression.type log.message.timestamp.type log.retention.hours
		log.retention.minutes log.retention.ms log.retention.bytes log.segment.bytes log.roll.hours
		log.cleanup.policy log.message.format.version inter.broker.protocol.version broker.id node.id
		broker.rack process.roles listeners advertised.listeners listener.security.protocol.map log.dirs
		log.dir offsets.topic.replication.factor offsets.topic.num.partitions offsets.retention.minutes
		transaction.state.log.replication.factor transaction.state.log.min.isr
		transaction.state.log.num.partitions transaction.max.timeout.ms transactional.id.expiration.ms
		producer.id.expiration.ms group.initial.rebalance.delay.ms group.min.session.timeout.ms
		group.max.session.timeout.ms group.max.size connections.max.idle.ms connections.max.reauth.ms
		max.connections.per.ip sasl.enabled.mechanisms authorizer.class.name super.users
		replica.lag.time.max.ms num.network.threads num.io.threads auto.leader.rebalance.enable`) {
		if _, ok := ResolveBroker(Layers{}).Get(name); !ok {
			t.Errorf("no broker config %s", name)
		}
	}
	for _, gone := range []string{"message.format.version", "message.timestamp.difference.max.ms"} {
		if err := Topic.Validate(gone, "1"); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%s: %v, want it unknown as in 4.0", gone, err)
		}
	}
}

func TestValidate(t *testing.T) {
	good := map[string][]string{
		"cleanup.policy":                        {"delete", "compact", "compact,delete", " delete , compact "},
		"retention.ms":                          {"-1", "0", "+5", " 7 ", "9223372036854775807"},
		"retention.bytes":                       {"-1", "0", "-5"},
		"segment.bytes":                         {"14", "2147483647"},
		"compression.type":                      {"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"},
		"compression.gzip.level":                {"-1", "1", "9"},
		"compression.lz4.level":                 {"1", "17"},
		"compression.zstd.level":                {"-131072", "22"},
		"min.cleanable.dirty.ratio":             {"0", "1", "0.25", "1e-3"},
		"preallocate":                           {"true", "False", " TRUE "},
		"remote.storage.enable":                 {"false", "FALSE"},
		"local.retention.ms":                    {"-2"},
		"flush.mode":                            {"sync", "interval", "os"},
		"leader.replication.throttled.replicas": {"", " "},
	}
	bad := map[string][]string{
		"cleanup.policy":                        {"", "none", "delete,delete", "delete,", "Compact"},
		"retention.ms":                          {"", "-2", "9223372036854775808", "1.5", "1_000", "0x10", "week"},
		"segment.bytes":                         {"13", "2147483648"},
		"compression.type":                      {"GZIP", "none", ""},
		"compression.gzip.level":                {"0", "-2", "10"},
		"compression.lz4.level":                 {"0", "18"},
		"compression.zstd.level":                {"-131073", "23"},
		"min.cleanable.dirty.ratio":             {"NaN", "-0.1", "1.01", "inf", ""},
		"preallocate":                           {"yes", "1", ""},
		"remote.storage.enable":                 {"true"},
		"local.retention.ms":                    {"-1", "1000"},
		"local.retention.bytes":                 {"0"},
		"flush.messages":                        {"0"},
		"max.compaction.lag.ms":                 {"0"},
		"leader.replication.throttled.replicas": {"*", "0:1"},
	}
	for name, values := range good {
		for _, v := range values {
			if err := Topic.Validate(name, v); err != nil {
				t.Error(err)
			}
		}
	}
	for name, values := range bad {
		for _, v := range values {
			var invalid *InvalidError
			if err := Topic.Validate(name, v); !errors.As(err, &invalid) || invalid.Key.Name != name || invalid.Value != v {
				t.Errorf("%s=%q: %v, want an InvalidError", name, v, err)
			}
		}
	}
	for name, values := range map[string][]string{
		"log.retention.hours": {"0", "-2"}, "log.retention.ms": {"0"}, "num.io.threads": {"16"}, "group.max.size": {"0"},
		"default.replication.factor": {"0", "32768"}, "offsets.topic.replication.factor": {"3"}, "log.segment.bytes": {"13"},
	} {
		for _, v := range values {
			if Broker.Validate(name, v) == nil {
				t.Errorf("broker accepts %s=%s", name, v)
			}
		}
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	secret := &Key{Name: "ssl.key.password", Type: TypePassword, Sensitive: true, Valid: "[long]", accept: func(value) bool { return false }}
	for _, c := range []struct {
		err  error
		want string
	}{
		{Topic.Validate("retention.ms", "-5"), `config retention.ms: invalid value "-5": want a long in [-1,...]`},
		{Topic.Validate("preallocate", "maybe"), `config preallocate: invalid value "maybe": want a boolean`},
		{Topic.Validate("flush.mode", "async"), `config flush.mode: invalid value "async": want a string in [sync, interval, os]`},
		{Topic.Validate("remote.storage.enable", "true"),
			`config remote.storage.enable: value "true" is not supported, only "false": tiered storage is not part of this broker`},
		{Topic.Validate("retention.ns", "1"), `unknown config for a topic: "retention.ns"`},
		{Topic.ValidateAll(map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"}),
			"config min.compaction.lag.ms: value 10 must not exceed the value 9 of max.compaction.lag.ms"},
		{Topic.ValidateAll(map[string]string{"zzz": "", "retention.ms": "x", "min.compaction.lag.ms": "-1"}),
			"config min.compaction.lag.ms: invalid value \"-1\": want a long in [0,...]\n" +
				"config retention.ms: invalid value \"x\": want a long in [-1,...]\nunknown config for a topic: \"zzz\""},
		{Broker.ValidateStatic(map[string]string{"node.id": "3"}), "config node.id: cannot be set by name, use --node-id"},
		{secret.Validate("hunter2"), "config ssl.key.password: invalid value (hidden): want a password in [long]"},
		{Topic.Validate("flush.ms", strings.Repeat("9", 1000)),
			`config flush.ms: invalid value "` + strings.Repeat("9", 100) + `": want a long in [0,...]`},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("error is\n%v\nwant\n%s", c.err, c.want)
		}
	}
}

func TestCrossRules(t *testing.T) {
	for _, c := range []struct {
		schema *Schema
		values map[string]string
		ok     bool
	}{
		{Topic, map[string]string{"max.compaction.lag.ms": "5", "min.compaction.lag.ms": "5"}, true},
		{Topic, map[string]string{"min.compaction.lag.ms": "5"}, true},
		{Broker, map[string]string{"log.cleaner.max.compaction.lag.ms": "5", "log.cleaner.min.compaction.lag.ms": "6"}, false},
		{Broker, map[string]string{"group.min.session.timeout.ms": "1800001"}, false},
		{Broker, map[string]string{"group.min.session.timeout.ms": "100", "group.max.session.timeout.ms": "100"}, true},
		{Broker, map[string]string{"node.id": "1", "broker.id": "2"}, false},
		{Broker, map[string]string{"node.id": "1", "broker.id": "1"}, true},
		{Broker, map[string]string{"node.id": "1"}, true},
	} {
		err := c.schema.ValidateAll(c.values)
		var conflict *ConflictError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &conflict) {
			t.Errorf("%v: %v", c.values, err)
		}
	}
}

func TestListOperations(t *testing.T) {
	for _, c := range []struct{ current, raw, appended, subtracted string }{
		{"", "", "", ""},
		{"delete", "compact", "delete,compact", "delete"},
		{"delete, compact", "compact ", "delete,compact", "delete"},
		{"a", "b,b,a", "a,b", ""},
		{"", "a", "a", ""},
	} {
		if got := AppendList(c.current, c.raw); got != c.appended {
			t.Errorf("AppendList(%q, %q) = %q, want %q", c.current, c.raw, got, c.appended)
		}
		if got := SubtractList(c.current, c.raw); got != c.subtracted {
			t.Errorf("SubtractList(%q, %q) = %q, want %q", c.current, c.raw, got, c.subtracted)
		}
	}
}

func TestDurationsSaturate(t *testing.T) {
	for ms, want := range map[int64]int64{
		-1: -1, math.MinInt64: -1, 0: 0, 1: 1e6, 9223372036854: 9223372036854e6, 9223372036855: math.MaxInt64, math.MaxInt64: math.MaxInt64,
	} {
		if got := millis(ms); int64(got) != want {
			t.Errorf("millis(%d) = %d, want %d", ms, got, want)
		}
	}
}

// drawValues gives a map of mostly real keys with values from sensible to garbage.
func drawValues(t *rapid.T, s *Schema, label string) map[string]string {
	names := []string{"", "no.such.key"}
	for _, k := range s.Keys() {
		names = append(names, k.Name)
	}
	value := rapid.OneOf(
		rapid.SampledFrom([]string{"-1", "0", "1", "60000", maxLong, maxInt, "true", "false", "delete", "compact,delete", "gzip", "0.5", "os", "NaN", "-2", ""}),
		rapid.String(),
		rapid.Map(rapid.Int64(), func(i int64) string { return fmt.Sprint(i) }),
	)
	return rapid.MapOfN(rapid.SampledFrom(names), value, 0, 8).Draw(t, label)
}

// Whatever is stored, resolving never fails, each effective value is one the schema accepts, it is the
// first synonym, and sources only get less specific down the list.
func TestResolveHoldsForAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers := Layers{drawValues(t, Broker, "static"), drawValues(t, Broker, "default"), drawValues(t, Broker, "dynamic")}
		topic := ResolveTopic(drawValues(t, Topic, "topic"), layers)
		broker := ResolveBroker(layers)
		for _, r := range []*Resolved{topic, broker, ResolveGroup(drawValues(t, Group, "group"), layers)} {
			for _, e := range r.Values() {
				checkValue(t, e)
			}
		}
		if c := topic.Topic(); !c.CleanupDelete && !c.CleanupCompact || c.SegmentBytes < 14 || c.Retention < NoLimit {
			t.Fatalf("TopicConfig %+v", c)
		}
		if c := broker.Broker(); c.NumPartitions < 1 || c.FetchMaxBytes < 1024 || c.GroupMaxSize < 1 {
			t.Fatalf("BrokerConfig %+v", c)
		}
	})
}

func checkValue(t *rapid.T, e Value) {
	if e.Null {
		if e.Key.HasDefault || len(e.Synonyms) > 0 || e.Value != "" {
			t.Fatalf("%s is null: %+v", e.Name, e)
		}
		return
	}
	if err := e.Key.Validate(e.Value); err != nil {
		t.Fatal(err)
	}
	if len(e.Synonyms) == 0 || e.Synonyms[0].Value != e.Value || e.Synonyms[0].Source != e.Source {
		t.Fatalf("%s: the first synonym is not the effective value: %+v", e.Name, e)
	}
	rank := func(s Setting) int {
		return slices.Index([]Source{SourceTopic, SourceGroup, SourceDynamicBroker, SourceDynamicDefault, SourceStaticBroker, SourceDefault}, s.Source)
	}
	if !slices.IsSortedFunc(e.Synonyms, func(a, b Setting) int { return rank(a) - rank(b) }) {
		t.Fatalf("%s: synonyms out of order: %+v", e.Name, e.Synonyms)
	}
}

func FuzzValidate(f *testing.F) {
	for _, s := range schemas {
		for _, k := range s.Keys() {
			f.Add(k.Name, k.Default)
		}
	}
	f.Add("retention.ms", "-9223372036854775809")
	f.Add("min.cleanable.dirty.ratio", "0x1p-2")
	f.Add("cleanup.policy", ",,\x00,delete")
	f.Fuzz(func(t *testing.T, name, raw string) {
		for _, s := range schemas {
			k, ok := s.Lookup(name)
			if !ok || s.Validate(name, raw) != nil {
				continue
			}
			v, err := k.parse(raw)
			if err != nil {
				t.Fatalf("accepted, but not parsed: %v", err)
			}
			again, err := k.parse(v.text)
			if err != nil || again.text != v.text {
				t.Fatalf("canonical %q of %q is not accepted as it is: %q, %v", v.text, raw, again.text, err)
			}
		}
	})
}
