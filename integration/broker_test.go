package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

const (
	readyDeadline = 60 * time.Second
	stopDeadline  = 30 * time.Second
	logTailLines  = 60
)

// broker is one broker under test: a process, its data directory and its addresses, which outlive the process so that a
// restart is the same broker at the same place. Its methods are called from one goroutine, the test's.
type broker struct {
	dir  string   // holds data/ and a log file per start
	args []string // what every start adds to the addresses

	kafka, peer, gossip, http string // host:port; port 0 until the first start has chosen

	proc    *fleet.Process
	starts  int
	readyIn time.Duration // from exec to the ready line, of the latest start
}

// startBroker starts a broker with an empty data directory and ends it when the test does. Each setting is a Kafka
// broker config, "key=value".
func startBroker(t testing.TB, settings ...string) *broker {
	t.Helper()
	b := &broker{dir: t.TempDir(), kafka: "127.0.0.1:0", peer: "127.0.0.1:0", gossip: "127.0.0.1:0", http: "127.0.0.1:0"}
	for _, s := range append([]string{"group.initial.rebalance.delay.ms=0"}, settings...) {
		b.args = append(b.args, "--set", s)
	}
	t.Cleanup(func() { b.end(t) })
	b.start(t)
	return b
}

// start runs the binary and returns when it has said that it is ready.
func (b *broker) start(t testing.TB) {
	t.Helper()
	began := time.Now()
	fields, err := b.launch(t.Context(), brokerBinary(t))
	if err != nil {
		t.Fatalf("start %d of the broker: %v\n%s", b.starts, err, b.logTail())
	}
	b.readyIn = time.Since(began)
	for name, address := range map[string]*string{"kafka": &b.kafka, "peer": &b.peer, "gossip": &b.gossip, "http": &b.http} {
		if said, ok := fields[name]; ok {
			*address = said
		}
	}
}

// launch starts the process and waits for its ready line, whose fields it returns.
func (b *broker) launch(ctx context.Context, bin string) (map[string]string, error) {
	b.starts++
	args := []string{"serve", "--data-dir", b.dataDir(), "--kafka-listen", b.kafka}
	if !isReference() {
		args = append(args, "--peer-listen", b.peer, "--gossip-listen", b.gossip, "--http-listen", b.http)
	}
	var err error
	b.proc, err = fleet.Launch(exec.Command(bin, append(args, b.args...)...), filepath.Join(b.dir, fmt.Sprintf("broker-%03d.log", b.starts)))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyDeadline)
	defer cancel()
	return b.proc.AwaitReady(ctx)
}

func (b *broker) dataDir() string { return filepath.Join(b.dir, "data") }

// partitionDir is where the segments of a partition lie.
func (b *broker) partitionDir(topic string, partition int) string {
	return filepath.Join(b.dataDir(), "log", fmt.Sprintf("%s-%d", topic, partition))
}

// kill9 ends the process at once, as a power cut would end it for everything but the page cache.
func (b *broker) kill9(t testing.TB) {
	t.Helper()
	if err := b.proc.Kill(); err != nil {
		t.Fatalf("kill -9: %v\n%s", err, b.logTail())
	}
}

// stop asks for a controlled shutdown and insists that it is one: in time, and with exit code 0.
func (b *broker) stop(t testing.TB) {
	t.Helper()
	if err := b.terminate(); err != nil {
		t.Errorf("controlled shutdown: %v\n%s", err, b.logTail())
	}
}

func (b *broker) terminate() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopDeadline) // the test's has ended by its cleanups
	defer cancel()
	err := b.proc.Terminate(ctx)
	var exit *exec.ExitError
	if isReference() && errors.As(err, &exit) && exit.ExitCode() == 128+int(syscall.SIGTERM) {
		return nil // what every JVM says after a SIGTERM
	}
	return err
}

// end runs after the test: nothing stays behind, and a broker that died by itself is a failure of its own.
func (b *broker) end(t testing.TB) {
	if b.proc == nil {
		return
	}
	select {
	case <-b.proc.Done():
		var exit *exec.ExitError
		if errors.As(b.proc.Err(), &exit) && exit.ExitCode() > 0 && exit.ExitCode() != 128+int(syscall.SIGTERM) {
			t.Errorf("the broker had died: %v", b.proc.Err())
		}
	default:
		if t.Failed() {
			t.Log(b.logTail()) // before the shutdown adds to it
		}
		b.stop(t)
	}
}

// alive fails the test if the process has ended.
func (b *broker) alive(t testing.TB) {
	t.Helper()
	select {
	case <-b.proc.Done():
		t.Fatalf("the broker died: %v\n%s", b.proc.Err(), b.logTail())
	default:
	}
}

// logTail is the end of the latest log, for a failure's message.
func (b *broker) logTail() string {
	if b.proc == nil {
		return ""
	}
	return "the broker's log ends:\n" + b.proc.LogTail(logTailLines)
}

// get asks the HTTP port for a path.
func (b *broker) get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return resp.StatusCode, string(text)
}

// procStatus reads a number (kB for memory) from the process's /proc/PID/status, such as VmHWM.
func (b *broker) procStatus(t testing.TB, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.proc.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("/proc/PID/status has no %s", field)
	return 0
}

// openFiles counts the process's descriptors.
func (b *broker) openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.proc.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// eventually asks again and again, until cond holds or the time is up. It reports whether it held.
func eventually(ctx context.Context, within time.Duration, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return cond()
		case <-tick.C:
		}
	}
	return true
}
