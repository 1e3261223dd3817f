package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/broker"
)

// result is what a command line came to.
type result struct {
	code           int
	stdout, stderr string
}

func command(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	code := run(ctx, args, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// ok runs a command that must succeed and returns what it printed.
func ok(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := command(t, stdin, args...)
	if r.code != 0 {
		t.Fatalf("chronik %s: exit %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// node runs a broker in this process; flags are those that make a command talk to it.
func node(t *testing.T) (dataDir string, flags []string) {
	t.Helper()
	dataDir = t.TempDir()
	flags, _ = nodeOn(t, dataDir)
	return dataDir, flags
}

// nodeOn is node on a data directory, until stop or the end of the test.
func nodeOn(t *testing.T, dataDir string) (flags []string, stop func()) {
	t.Helper()
	kafka, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- broker.Run(ctx, broker.Options{
			DataDir: dataDir, Kafka: kafka, Peer: peer, HTTP: web, Config: map[string]string{"group.initial.rebalance.delay.ms": "0"},
		}, func(*broker.Broker) { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	t.Setenv("CHRONIK_HTTP", "http://"+web.Addr().String())
	return []string{"--bootstrap-server", kafka.Addr().String()}, stop
}

func TestTheToolWorksWithANode(t *testing.T) {
	dataDir, flags := node(t)
	with := func(args ...string) []string { return append(args, flags...) }

	if got := ok(t, "", with("topic", "create", "orders", "--partitions", "2", "--config", "retention.ms=5000000")...); got != "Created topic orders with 2 partitions.\n" {
		t.Errorf("create: %q", got)
	}
	if r := command(t, "", with("topic", "create", "orders")...); r.code != 1 || !strings.Contains(r.stderr, "already exists") {
		t.Errorf("create again: %+v", r)
	}
	if r := command(t, "", with("topic", "create", "bad", "--config", "no.such=1")...); r.code != 1 || !strings.Contains(r.stderr, "no.such") {
		t.Errorf("create with an unknown config: %+v", r)
	}
	ok(t, "k1:one\nk2:two\nk1:three\n", with("produce", "orders", "--key-separator", ":", "-H", "from=test", "--compression", "zstd")...)
	lines := strings.Fields(ok(t, "", with("consume", "orders")...))
	if len(lines) != 3 {
		t.Errorf("consumed %q", lines)
	}
	var record printedRecord
	first, _, _ := strings.Cut(ok(t, "", with("consume", "orders", "-n", "1", "--json")...), "\n")
	if err := json.Unmarshal([]byte(first), &record); err != nil || record.Headers["from"] != "test" || record.Key == nil {
		t.Errorf("a record in JSON: %q, %v", first, err)
	}
	if got := ok(t, "", with("consume", "orders", "-n", "2", "--group", "readers")...); len(strings.Fields(got)) != 2 {
		t.Errorf("two records as a group: %q", got)
	}
	if got := ok(t, "", with("group", "describe", "readers", "--json")...); !strings.Contains(got, `"lag": 1`) && strings.Count(got, `"lag": 0`) == 2 {
		t.Errorf("the group has committed what it did not print: %s", got)
	}
	if got := ok(t, "", with("group", "reset", "readers", "--topic", "orders", "--to", "earliest")...); !strings.Contains(got, "NEW OFFSET") {
		t.Errorf("reset: %q", got)
	}
	if got := ok(t, "", with("group", "list")...); !regexp.MustCompile(`readers\s+Empty`).MatchString(got) {
		t.Errorf("groups: %q", got)
	}
	ok(t, "", with("topic", "alter", "orders", "--partitions", "3", "--set", "retention.ms=6000000", "--delete", "segment.ms")...)
	if got := ok(t, "", with("topic", "describe", "orders")...); !strings.Contains(got, "retention.ms=6000000") || strings.Count(got, "\n") < 8 {
		t.Errorf("describe: %q", got)
	}
	if got := ok(t, "", with("status")...); !strings.Contains(got, "Partitions:  3, 0 without a leader") {
		t.Errorf("status: %q", got)
	}
	segments, err := filepath.Glob(filepath.Join(dataDir, "log", "orders-*", "*.log"))
	if err != nil || len(segments) != 3 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	records := 0
	for _, segment := range segments {
		got := ok(t, "", "log", "dump", segment, "--records")
		if !strings.Contains(got, "no fault found") {
			t.Errorf("dump: %q", got)
		}
		records += strings.Count(got, "\n  ")
	}
	if records != 3 {
		t.Errorf("the segments hold %d records", records)
	}
	ok(t, "", with("group", "delete", "readers")...)
	ok(t, "", with("topic", "delete", "orders")...)
	if got := ok(t, "", with("topic", "list", "--json")...); strings.TrimSpace(got) != "[]" {
		t.Errorf("topics after the deletion: %q", got)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nonsense"}, 2, "--help"},
		{[]string{"topic", "create"}, 2, "<name>"},
		{[]string{"topic", "alter", "t"}, 1, "nothing to change"},
		{[]string{"consume", "t", "--from", "yesterday"}, 1, "none of earliest"},
		{[]string{"topic", "list", "--bootstrap-server", "127.0.0.1:1"}, 1, "chronik serve"},
		{[]string{"serve", "--bootstrap-expect", "3"}, 1, "--join"},
		{[]string{"serve", "--bootstrap-expect", "2", "--join", "127.0.0.1:1"}, 1, "1, 3 or 5"},
		{[]string{"serve", "--gossip-key", "?"}, 1, "base64"},
		{[]string{"serve", "--peer-tls-cert", "cert.pem"}, 1, "go together"},
		{[]string{"serve", "--http-listen", "127.0.0.1:0", "--kafka-listen", "0.0.0.0:0"}, 1, "--kafka-advertise"},
		{[]string{"cluster", "reassign"}, 1, "--replicas, --file, --cancel and --list"},
		{[]string{"cluster", "reassign", "--replicas", "1"}, 1, "TOPIC:PARTITION"},
		{[]string{"cluster", "reassign", "t", "--file", "main.go"}, 1, "names the partitions itself"},
		{[]string{"cluster", "elect", "--unclean"}, 1, "loses records"},
		{[]string{"cluster", "recover", "--data-dir", "no/such/dir"}, 1, "not the data directory of a node"},
		{[]string{"cluster", "brokers", "--http", "http://127.0.0.1:1"}, 1, "chronik serve"},
		{[]string{"serve", "--config", "/no/such/file"}, 2, "no such file"},
		{[]string{"log", "dump", "main.go"}, 1, "does not end in .log"},
	} {
		if r := command(t, "", c.args...); r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("chronik %s: %+v, want exit %d and %q", strings.Join(c.args, " "), r, c.code, c.says)
		}
	}
	if got := ok(t, "", "--help"); !strings.Contains(got, "serve") {
		t.Errorf("help: %q", got)
	}
	if got := ok(t, "", "version", "--json"); !strings.Contains(got, `"version"`) {
		t.Errorf("version: %q", got)
	}
}

// TestConfigFile checks who wins: the command line over the environment over the file, and that a key
// which is no flag is refused.
func TestConfigFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chronik.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data-dir: " + t.TempDir() + "\nhttp-listen: 127.0.0.1:0\nkafka-listen: 300.0.0.1:0\nset:\n  num.partitions: 3\n")
	if r := command(t, "", "serve", "--config", file); r.code != 1 || !strings.Contains(r.stderr, "300.0.0.1") {
		t.Errorf("the file says where to listen: %+v", r)
	}
	t.Setenv("CHRONIK_KAFKA_LISTEN", "301.0.0.1:0")
	if r := command(t, "", "serve", "--config", file); !strings.Contains(r.stderr, "301.0.0.1") {
		t.Errorf("the environment wins over the file: %+v", r)
	}
	if r := command(t, "", "serve", "--config", file, "--kafka-listen", "302.0.0.1:0"); !strings.Contains(r.stderr, "302.0.0.1") {
		t.Errorf("the command line wins over both: %+v", r)
	}
	write("data_dir: /tmp\n")
	if r := command(t, "", "serve", "--config", file); r.code != 2 || !strings.Contains(r.stderr, "data_dir") {
		t.Errorf("an unknown key: %+v", r)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := ok(t, "", "completion", shell); !strings.Contains(got, "topic") || !strings.Contains(got, "--partitions") {
			t.Errorf("%s: %q", shell, got)
		}
	}
}
