package integration

import (
	"bufio"
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

	proc    *process
	starts  int
	readyIn time.Duration // from exec to the ready line, of the latest start
}

// process is one life of the broker.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process has been reaped
	err  error         // of Wait; read after done
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
	line, err := b.launch(brokerBinary(t))
	if err != nil {
		t.Fatalf("start %d of the broker: %v\n%s", b.starts, err, b.logTail())
	}
	b.readyIn = time.Since(began)
	for _, field := range strings.Fields(line) {
		switch name, value, _ := strings.Cut(field, "="); name {
		case "kafka":
			b.kafka = value
		case "peer":
			b.peer = value
		case "gossip":
			b.gossip = value
		case "http":
			b.http = value
		}
	}
}

// launch starts the process and waits for its ready line.
func (b *broker) launch(bin string) (ready string, err error) {
	b.starts++
	logFile, err := os.Create(filepath.Join(b.dir, fmt.Sprintf("broker-%03d.log", b.starts)))
	if err != nil {
		return "", err
	}
	defer logFile.Close() // the child has its own descriptor

	args := []string{"serve", "--data-dir", b.dataDir(), "--kafka-listen", b.kafka}
	if !isReference() {
		args = append(args, "--peer-listen", b.peer, "--gossip-listen", b.gossip, "--http-listen", b.http)
	}
	cmd := exec.Command(bin, append(args, b.args...)...)
	cmd.Stderr = logFile
	// Should the test binary die without its cleanups, the broker dies with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	p := &process{cmd: cmd, log: logFile.Name(), done: make(chan struct{})}
	b.proc = p
	lines := make(chan string, 1)
	go func() { // ends with the process, which closes its stdout
		defer close(p.done)
		defer close(lines)
		in := bufio.NewScanner(stdout)
		for said := false; in.Scan(); {
			if !said && strings.HasPrefix(in.Text(), "chronik ready ") {
				said = true
				lines <- in.Text()
			}
		}
		p.err = cmd.Wait()
	}()
	select {
	case line, ok := <-lines:
		if !ok {
			<-p.done
			return "", fmt.Errorf("it ended before it was ready: %v", p.err)
		}
		return line, nil
	case <-time.After(readyDeadline):
		return "", fmt.Errorf("no ready line within %v", readyDeadline)
	}
}

func (b *broker) dataDir() string { return filepath.Join(b.dir, "data") }

// partitionDir is where the segments of a partition lie.
func (b *broker) partitionDir(topic string, partition int) string {
	return filepath.Join(b.dataDir(), "log", fmt.Sprintf("%s-%d", topic, partition))
}

// kill9 ends the process at once, as a power cut would end it for everything but the page cache.
func (b *broker) kill9(t testing.TB) {
	t.Helper()
	if err := b.proc.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill -9: %v\n%s", err, b.logTail())
	}
	<-b.proc.done
}

// stop asks for a controlled shutdown and insists that it is one: in time, and with exit code 0.
func (b *broker) stop(t testing.TB) {
	t.Helper()
	if err := b.terminate(); err != nil {
		t.Errorf("controlled shutdown: %v\n%s", err, b.logTail())
	}
}

func (b *broker) terminate() error {
	if err := b.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.proc.done:
	case <-time.After(stopDeadline):
		err := b.proc.cmd.Process.Kill()
		<-b.proc.done
		return errors.Join(fmt.Errorf("still running %v after SIGTERM", stopDeadline), err)
	}
	var exit *exec.ExitError
	if isReference() && errors.As(b.proc.err, &exit) && exit.ExitCode() == 128+int(syscall.SIGTERM) {
		return nil // what every JVM says after a SIGTERM
	}
	return b.proc.err
}

// end runs after the test: nothing stays behind, and a broker that died by itself is a failure of its own.
func (b *broker) end(t testing.TB) {
	if b.proc == nil {
		return
	}
	select {
	case <-b.proc.done:
		var exit *exec.ExitError
		if errors.As(b.proc.err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() != 128+int(syscall.SIGTERM) {
			t.Errorf("the broker had died: %v", b.proc.err)
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
	case <-b.proc.done:
		t.Fatalf("the broker died: %v\n%s", b.proc.err, b.logTail())
	default:
	}
}

// logTail is the end of the latest log, for a failure's message.
func (b *broker) logTail() string {
	if b.proc == nil {
		return ""
	}
	text, err := os.ReadFile(b.proc.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "the broker's log ends:\n" + strings.Join(lines[max(0, len(lines)-logTailLines):], "\n")
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
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.proc.cmd.Process.Pid))
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
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.proc.cmd.Process.Pid))
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
