package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/bench/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buildBroker builds the binary under test.
func buildBroker(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "chronik")
	build := exec.Command("go", "build", "-o", bin, "../cmd/chronik")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the broker: %v\n%s", err, out)
	}
	return bin
}

// The whole program against the real broker, with windows too short for figures: every quick
// experiment is verified and reported.
func TestSmoke(t *testing.T) {
	bin := buildBroker(t)
	t.Run("bench", func(t *testing.T) { smokeBench(t, bin) })
	t.Run("verification has teeth", func(t *testing.T) { smokeVerify(t, bin) })
}

func smokeBench(t *testing.T, bin string) {
	jsonFile := filepath.Join(t.TempDir(), "report.json")
	args := []string{"--bin", bin, "--dir", t.TempDir(), "--quick", "--window", "150ms", "--warmup", "50ms",
		"--fill-gb", "0.02", "--recover-gb", "0.02", "--json", jsonFile}
	if testing.Short() {
		args = append(args, "--only", "L1")
	}
	var table, progress bytes.Buffer
	if err := bench(t.Context(), args, &table, &progress); err != nil {
		t.Fatalf("%v\n%s\n%s", err, progress.String(), table.String())
	}
	raw, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) == 0 || r.Machine.Cores == 0 || r.Machine.Filesystem == "" || r.Machine.Go == "" {
		t.Errorf("%d rows on %+v", len(r.Rows), r.Machine)
	}
	for _, row := range r.Rows {
		if row.Messages == 0 && len(row.Facts) == 0 || row.Messages > 0 && row.RSSMB == 0 {
			t.Errorf("%s %s has no figures", row.Workload, row.Case)
		}
		if !strings.Contains(table.String(), "| "+row.Workload+": "+row.Case+" | "+string(row.Flush)+" |") {
			t.Errorf("%s %s is not in the table:\n%s", row.Workload, row.Case, table.String())
		}
	}
}

// A topic that holds something else than what was sent does not pass.
func smokeVerify(t *testing.T, bin string) {
	target, err := newChronik(bin, t.TempDir(), false, "log.flush.mode=os")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := t.Context()
	if _, err := target.Start(ctx); err != nil {
		t.Fatal(err)
	}
	l := &lab{o: options{Window: time.Second}, log: io.Discard}
	o, err := produceCase{valueBytes: 100, batchBytes: 1000, acks: -1, partitions: 3, connections: 2, inFlight: 5}.options(l, target)
	if err != nil {
		t.Fatal(err)
	}
	if err := createTopic(ctx, target, o); err != nil {
		t.Fatal(err)
	}
	ends, err := fill(ctx, o, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := load.Sample(ctx, o, ends, 4); err != nil {
		t.Errorf("what was sent is there, but: %v", err)
	}
	longer := append([]int64(nil), ends...)
	longer[1] += int64(o.Batches[0].Records)
	if err := load.Sample(ctx, o, longer, 4); !errors.Is(err, load.ErrVerify) {
		t.Errorf("a batch is missing, and Sample says %v", err)
	}
	o.Batches[0], o.Batches[1] = o.Batches[1], o.Batches[0]
	if err := load.Sample(ctx, o, ends, 4); !errors.Is(err, load.ErrVerify) {
		t.Errorf("two partitions are mixed up, and Sample says %v", err)
	}
	if _, err := fill(ctx, o, 1); !errors.Is(err, load.ErrLedger) {
		t.Errorf("the topic was not empty, and the ledger says %v", err)
	}
	killedProducer(t, ctx, target, o)
}

// killedProducer sees a producer through the death of its broker: it ends by itself, with an error.
func killedProducer(t *testing.T, ctx context.Context, target Target, o load.ProduceOptions) {
	producer, err := load.StartProducer(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Kill(); err != nil {
		t.Error(err)
	}
	<-producer.Failed()
	if _, err := producer.Stop(); err == nil {
		t.Error("the broker was killed, and the producer has no error")
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // in the error
	}{
		{"--broker 127.0.0.1:1", "--pid"},
		{"--broker 127.0.0.1:1 --pid 1 --pin", "--pin"},
		{"--modes os,async", "async"},
		{"--window 1ms", "--window"},
		{"--only X9", "X9"},
		{"extra", "extra"},
	} {
		if err := bench(t.Context(), append(strings.Fields(c.args), "--list"), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a word on %s", c.args, err, c.want)
		}
	}
	var help bytes.Buffer
	if err := bench(t.Context(), []string{"--help"}, io.Discard, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-quick") {
		t.Errorf("--help: %v\n%s", err, help.String())
	}
}

func TestChosenExperiments(t *testing.T) {
	list := func(args ...string) []string {
		var out bytes.Buffer
		if err := bench(t.Context(), append(args, "--list"), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
	all, quick := list(), list("--quick")
	if len(quick) == 0 || len(quick) >= len(all) {
		t.Errorf("%d quick experiments of %d", len(quick), len(all))
	}
	for _, line := range list("--only", "P1", "--modes", "sync") {
		if !strings.HasPrefix(line, "P1 ") || !strings.HasSuffix(line, "=sync") {
			t.Errorf("--only P1 --modes sync lists %q", line)
		}
	}
	seen := map[string]bool{}
	for _, line := range list("--broker", "127.0.0.1:1", "--pid", "1") {
		if strings.HasPrefix(line, "R1 ") || seen[line] || !strings.HasSuffix(line, "=as is") {
			t.Errorf("a foreign broker gets %q", line)
		}
		seen[line] = true
	}
}
