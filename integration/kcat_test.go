package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// kcat is Debian's kcat, so librdkafka. Each call is a process.
type kcat struct {
	addr string
	opts []string // librdkafka properties
	old  bool     // pinned to an old release
}

func newKcat(addr string, opts ...string) (*kcat, error) {
	if _, err := exec.LookPath("kcat"); err != nil {
		return nil, fmt.Errorf("%w: run integration/setup.sh", err)
	}
	return &kcat{addr: addr, opts: opts, old: len(opts) > 0}, nil
}

// kcatName is the row's name with the versions of kcat and of its library.
func kcatName() string {
	out, err := exec.Command("kcat", "-V").Output()
	versions := regexp.MustCompile(`Version ([0-9.]+).*librdkafka ([0-9.]+)`).FindSubmatch(out)
	if err != nil || versions == nil {
		return "kcat"
	}
	return fmt.Sprintf("kcat %s (librdkafka %s)", versions[1], versions[2])
}

func (k *kcat) close() {}

func (k *kcat) command(ctx context.Context, args ...string) *exec.Cmd {
	all := []string{"-b", k.addr, "-m", "20"}
	for _, o := range k.opts {
		all = append(all, "-X", o)
	}
	return exec.CommandContext(ctx, "kcat", append(all, args...)...)
}

// run runs kcat to its end and returns what it printed.
func (k *kcat) run(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := k.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kcat %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

func (k *kcat) create(context.Context, string, int, int, map[string]string) error {
	return lacksError("kcat has no admin requests; its topics are created by another client")
}

// kcatMetadata is what -L -J prints.
type kcatMetadata struct {
	Topics []struct {
		Topic      string
		Error      string
		Partitions []struct{ Leader int }
	}
}

func (k *kcat) metadata(ctx context.Context, args ...string) (kcatMetadata, error) {
	var m kcatMetadata
	out, err := k.run(ctx, "", append([]string{"-L", "-J"}, args...)...)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(out, &m)
}

func (k *kcat) list(ctx context.Context) ([]string, error) {
	m, err := k.metadata(ctx)
	var names []string
	for _, t := range m.Topics {
		names = append(names, t.Topic)
	}
	return names, err
}

func (k *kcat) describe(ctx context.Context, topic string) (int, map[string]string, error) {
	m, err := k.metadata(ctx, "-t", topic)
	if err != nil {
		return 0, nil, err
	}
	if m.Topics[0].Error != "" {
		return 0, nil, errors.New(m.Topics[0].Error)
	}
	return len(m.Topics[0].Partitions), nil, nil
}

func (k *kcat) alter(context.Context, string, string, string) error {
	return lacksError("kcat has no admin requests")
}

func (k *kcat) produce(ctx context.Context, topic, codec string, recs []rec) error {
	var lines strings.Builder
	for _, r := range recs {
		fmt.Fprintf(&lines, "%s\t%s\n", r.key, r.value) // -Z makes null of what is empty
	}
	args := []string{"-P", "-t", topic, "-p", "0", "-z", codec, "-K", "\t", "-Z", "-X", "acks=all", "-X", "linger.ms=20"}
	if !k.old {
		args = append(args, "-H", "n=all")
	}
	_, err := k.run(ctx, lines.String(), args...)
	return err
}

// kcatRecord is what -J prints of a record.
type kcatRecord struct {
	Offset       int64
	TS           int64
	Headers      []string // name, value, name, value
	Key, Payload *string
}

func parseKcat(line []byte) (rec, error) {
	var in kcatRecord
	if err := json.Unmarshal(line, &in); err != nil {
		return rec{}, fmt.Errorf("kcat printed %q: %w", line, err)
	}
	out := rec{offset: in.Offset, ts: in.TS}
	if in.Key != nil {
		out.key = []byte(*in.Key)
	}
	if in.Payload != nil {
		out.value = []byte(*in.Payload)
	}
	if len(in.Headers) == 2 && in.Headers[0] == "n" {
		out.header = in.Headers[1]
	}
	return out, nil
}

func parseKcatLines(out []byte) (got []rec, err error) {
	for line := range bytes.Lines(out) {
		r, err := parseKcat(line)
		if err != nil {
			return nil, err
		}
		got = append(got, r)
	}
	return got, nil
}

func (k *kcat) read(ctx context.Context, topic string, from int64, n int) ([]rec, error) {
	out, err := k.run(ctx, "", "-C", "-t", topic, "-p", "0", "-o", strconv.FormatInt(from, 10), "-c", strconv.Itoa(n), "-J", "-q")
	if err != nil {
		return nil, err
	}
	return parseKcatLines(out)
}

// kcatMember is a kcat that consumes in a group until it is told to end.
type kcatMember struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex // guards held and log
	held int
	log  []string
}

var kcatGroupOpts = []string{"-X", "heartbeat.interval.ms=300", "-X", "session.timeout.ms=6000", "-X", "auto.offset.reset=earliest",
	"-X", "partition.assignment.strategy=range", "-X", "fetch.wait.max.ms=250"}

func (k *kcat) join(ctx context.Context, group, topic string) (member, error) {
	args := append(append([]string{"-G", group}, kcatGroupOpts...), topic)
	m := &kcatMember{cmd: k.command(context.WithoutCancel(ctx), args...), done: make(chan struct{})}
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := m.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go m.watch(stderr) // ends with the process
	return m, nil
}

// watch follows "% Group g rebalanced (memberid m): assigned: t [0], t [1]" and "…: revoked: …".
func (m *kcatMember) watch(stderr io.Reader) {
	defer close(m.done)
	for in := bufio.NewScanner(stderr); in.Scan(); {
		line := in.Text()
		m.mu.Lock()
		m.log = append(m.log, line)
		switch {
		case strings.Contains(line, "assigned:"):
			m.held = strings.Count(line[strings.Index(line, "assigned:"):], "[")
		case strings.Contains(line, "revoked"):
			m.held = 0
		}
		m.mu.Unlock()
	}
	_ = m.cmd.Wait() // its exit is judged by what the group saw
}

func (m *kcatMember) assigned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

func (m *kcatMember) leave(ctx context.Context) error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.done:
		return nil
	case <-time.After(10 * time.Second):
		return errors.Join(errors.New("kcat ignored SIGTERM"), m.kill9())
	}
}

// kill9 ends the member without a word to the group.
func (m *kcatMember) kill9() error {
	err := m.cmd.Process.Kill()
	<-m.done
	return err
}

// groupRead reads n records as a member; at its end kcat commits what it has printed.
func (k *kcat) groupRead(ctx context.Context, group, topic string, n int64) ([]rec, error) {
	args := append(append([]string{"-G", group}, kcatGroupOpts...), "-c", strconv.FormatInt(n, 10), "-J", "-q", topic)
	out, err := k.run(ctx, "", args...)
	if err != nil {
		return nil, err
	}
	return parseKcatLines(out)
}

func (k *kcat) consumeAndCommit(ctx context.Context, group, topic string, n int64) error {
	_, err := k.groupRead(ctx, group, topic, n)
	return err
}

func (k *kcat) resume(ctx context.Context, group, topic string) (int64, error) {
	got, err := k.groupRead(ctx, group, topic, 1)
	if err != nil {
		return 0, err
	}
	return got[0].offset, nil
}

func (k *kcat) offsetAt(ctx context.Context, topic string, ts int64) (int64, error) {
	if k.old {
		return 0, lacksError("the protocol of 0.9 has no look-up by time")
	}
	out, err := k.run(ctx, "", "-Q", "-t", fmt.Sprintf("%s:0:%d", topic, ts))
	if err != nil {
		return 0, err
	}
	_, number, ok := strings.Cut(string(out), "offset ")
	if !ok {
		return 0, fmt.Errorf("kcat -Q printed %q", out)
	}
	return strconv.ParseInt(strings.TrimSpace(number), 10, 64)
}

func (k *kcat) committed(context.Context, string, string) (int64, error) {
	return 0, lacksError("kcat does not describe groups")
}

func (k *kcat) remove(context.Context, string) error { return lacksError("kcat has no admin requests") }
