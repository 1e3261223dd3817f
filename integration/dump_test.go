package integration

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDumpLog lets kafka-dump-log judge the files: every batch of every codec valid, every index entry pointing at what it
// says, after a controlled shutdown and after a kill.
func TestDumpLog(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a JVM")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b := startBroker(t)
	tools := &toolbox{j: startJVM(t), addr: b.kafka, dir: t.TempDir()}
	cl, err := newFranz(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	// The smallest segments that Kafka 4 allows, and an index entry for every batch.
	config := map[string]string{"segment.bytes": "1048576", "index.interval.bytes": "0"}
	if err := cl.create(ctx, "dumped", 1, 1, config); err != nil {
		t.Fatal(err)
	}
	want := fillForDump(ctx, t, b.kafka)
	dir := b.partitionDir("dumped", 0)

	b.stop(t)
	if got := dumpAll(ctx, t, tools, dir); got != want {
		t.Errorf("after a controlled shutdown kafka-dump-log counts %d records, want %d", got, want)
	}
	b.start(t)
	want += fillForDump(ctx, t, b.kafka)
	b.kill9(t)
	b.start(t)
	b.stop(t)
	if got := dumpAll(ctx, t, tools, dir); got != want {
		t.Errorf("after a kill and a recovery kafka-dump-log counts %d records, want %d", got, want)
	}
}

// fillForDump writes about 2 MB in batches of every codec, idempotent and not, and returns the number of records.
func fillForDump(ctx context.Context, t *testing.T, addr string) (records int) {
	t.Helper()
	rng := rand.New(rand.NewSource(1))
	for i, codec := range allCodecs {
		opts := []kgo.Opt{
			kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("dumped"), kgo.ProducerBatchCompression(franzCodecs[codec]),
			kgo.ProducerBatchMaxBytes(16 << 10), kgo.MaxProduceRequestsInflightPerBroker(1),
		}
		if i%2 == 1 {
			opts = append(opts, kgo.DisableIdempotentWrite())
		}
		cl, err := kgo.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		var batch []*kgo.Record
		for n := range 800 {
			value := make([]byte, 600)
			rng.Read(value[:450]) // so that it compresses, but not away
			batch = append(batch, &kgo.Record{Key: fmt.Append(nil, n), Value: value})
		}
		err = cl.ProduceSync(ctx, batch...).FirstErr()
		cl.Close()
		if err != nil {
			t.Fatal(err)
		}
		records += len(batch)
	}
	return records
}

// dumpFaults are what kafka-dump-log says when it finds something wrong.
var dumpFaults = regexp.MustCompile(
	`(?i)isvalid: false|mismatch|corrupt|non-monotonic|non-consecutive|out of order|not found|invalid bytes|exception`)

// withoutFalseAlarms drops what kafka-dump-log 4.3 says of every segment that does not begin at offset 0: that its first
// offset does not follow -1.
func withoutFalseAlarms(out string) string {
	var kept []string
	header := ""
	for line := range strings.Lines(out) {
		switch {
		case strings.HasPrefix(line, "Non-consecutive offsets in "):
			header = line // kept only if an offset follows that is no false alarm
			continue
		case strings.HasPrefix(strings.TrimSpace(line), "-1 is followed by "):
			continue
		case strings.Contains(line, " is followed by "):
			kept = append(kept, header)
			header = ""
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

var batchCounts = regexp.MustCompile(`(?m)^baseOffset: .* count: (\d+) `)

// dumpAll runs kafka-dump-log over every file of a partition that it can read, fails the test for every fault it finds,
// and returns the number of records in the batches.
func dumpAll(ctx context.Context, t *testing.T, tools *toolbox, dir string) (records int) {
	t.Helper()
	var files []string
	kinds := map[string]int{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch ext := filepath.Ext(e.Name()); ext {
		case ".log", ".index", ".timeindex", ".txnindex", ".snapshot":
			kinds[ext]++
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if kinds[".log"] < 2 || kinds[".index"] < kinds[".log"] || kinds[".timeindex"] < kinds[".log"] || kinds[".snapshot"] == 0 {
		t.Errorf("%s holds %v: want several segments with their indexes, and a producer snapshot", dir, kinds)
	}
	a, err := tools.j.run(ctx, kafkaDumpLog, "", "--files", strings.Join(files, ","), "--deep-iteration")
	if err != nil {
		t.Fatal(err)
	}
	out := withoutFalseAlarms(a.Out + "\n" + a.Err)
	if fault := dumpFaults.FindString(out); fault != "" {
		t.Errorf("kafka-dump-log finds %q:\n%s", fault, faultLines(out))
	}
	for _, m := range batchCounts.FindAllStringSubmatch(a.Out, -1) {
		var n int
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			t.Fatal(err)
		}
		records += n
	}
	if codecs := regexp.MustCompile(`compresscodec: (\w+)`).FindAllString(a.Out, -1); len(codecs) == 0 {
		t.Errorf("kafka-dump-log printed no batch:\n%s", tail(a.Out))
	}
	return records
}

// faultLines are the faults, with what follows each.
func faultLines(out string) string {
	var lines []string
	around := 0
	for line := range strings.Lines(out) {
		if dumpFaults.MatchString(line) {
			around = 4
		}
		if around--; around >= 0 && len(lines) < 40 {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
