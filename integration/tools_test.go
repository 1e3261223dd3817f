package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The classes behind Kafka's shell scripts.
const (
	kafkaTopics             = "org.apache.kafka.tools.TopicCommand"
	kafkaConsoleProducer    = "org.apache.kafka.tools.ConsoleProducer"
	kafkaConsoleConsumer    = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	kafkaConsumerGroups     = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	kafkaConfigs            = "kafka.admin.ConfigCommand"
	kafkaDeleteRecords      = "org.apache.kafka.tools.DeleteRecordsCommand"
	kafkaGetOffsets         = "org.apache.kafka.tools.GetOffsetShell"
	kafkaLogDirs            = "org.apache.kafka.tools.LogDirsCommand"
	kafkaVerifiableProducer = "org.apache.kafka.tools.VerifiableProducer"
	kafkaVerifiableConsumer = "org.apache.kafka.tools.VerifiableConsumer"
	kafkaBrokerAPIVersions  = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	kafkaCluster            = "org.apache.kafka.tools.ClusterTool"
	kafkaDumpLog            = "org.apache.kafka.tools.DumpLogSegments"
)

// javaClientsRow is Kafka's own producer, consumer and admin client.
func javaClientsRow(ctx context.Context, r *row, e env, prefix string) {
	j := startJVM(r.t)
	a, err := j.run(ctx, "JavaClients", "", e.arguments(prefix)...)
	if err != nil {
		r.t.Error(err)
	}
	out := strings.ReplaceAll(a.Out, `"op":"produce","ok":true`, `"op":"produce","ok":true,"detail":"`+strings.Join(allCodecs, " ")+`"`)
	out = strings.ReplaceAll(out, `"op":"consume","ok":true`, `"op":"consume","ok":true,"detail":"`+strings.Join(allCodecs, " ")+`"`)
	applyReports(ctx, r, e, prefix, []byte(out), fidelity{})
	if r.t.Failed() {
		r.t.Log(tail(a.Err))
	}
}

// toolbox calls Kafka's tools against one broker.
type toolbox struct {
	j        *jvm
	addr     string
	replicas int    // of each topic
	dir      string // for the files that tools read
}

// call runs a tool and returns its standard output.
func (b *toolbox) call(ctx context.Context, main string, args ...string) (string, error) {
	return b.feed(ctx, main, "", args...)
}

func (b *toolbox) feed(ctx context.Context, main, stdin string, args ...string) (string, error) {
	a, err := b.j.run(ctx, main, stdin, append([]string{"--bootstrap-server", b.addr}, args...)...)
	return a.Out, err
}

// alone runs a tool in a JVM of its own: kafka-verifiable-producer waits for its acknowledgements in a hook of the JVM's
// shutdown.
func (b *toolbox) alone(ctx context.Context, main string, args ...string) (string, error) {
	cp, err := classpath()
	if err != nil {
		return "", err
	}
	java := append(javaFlags(cp), main, "--bootstrap-server", b.addr)
	out, err := exec.CommandContext(ctx, "java", append(java, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", main, err, out)
	}
	return string(out), err
}

// expect runs a tool and looks for each of the wanted texts in what it prints.
func (b *toolbox) expect(ctx context.Context, want []string, main string, args ...string) error {
	out, err := b.call(ctx, main, args...)
	if err != nil {
		return err
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			return fmt.Errorf("%s %s: no %q in\n%s", main, strings.Join(args, " "), w, out)
		}
	}
	return nil
}

func (b *toolbox) file(name, content string) (string, error) {
	path := filepath.Join(b.dir, name)
	return path, os.WriteFile(path, []byte(content), 0o666)
}

// toolsRow is what an operator types.
func toolsRow(ctx context.Context, r *row, e env, prefix string) {
	b := &toolbox{j: startJVM(r.t), addr: e.addr, replicas: e.replicas, dir: r.t.TempDir()}
	names := namesFor(prefix)
	step := func(op, detail string, do func(ctx context.Context) error) bool {
		return r.run(op, func() (string, error) {
			ctx, cancel := context.WithTimeout(ctx, stepDeadline)
			defer cancel()
			return detail, do(ctx)
		})
	}
	if !step("create", "", func(ctx context.Context) error { return b.create(ctx, prefix, names) }) {
		return
	}
	step("list", "", func(ctx context.Context) error {
		return b.expect(ctx, []string{names.plain + "\n", names.gone + "\n"}, kafkaTopics, "--list")
	})
	step("describe", "", func(ctx context.Context) error { return b.describe(ctx, names) })
	step("config", "", func(ctx context.Context) error { return b.config(ctx, names) })
	step("produce", strings.Join(allCodecs, " "), func(ctx context.Context) error { return b.produce(ctx, e, prefix, names) })
	step("consume", strings.Join(allCodecs, " "), func(ctx context.Context) error {
		for _, codec := range allCodecs {
			if err := b.consume(ctx, e, e.fixture+"-"+codec); err != nil {
				return err
			}
		}
		return nil
	})
	step("group", "", func(ctx context.Context) error { return b.group(ctx, prefix+"-g", names.group) })
	step("resume", "", func(ctx context.Context) error { return b.resume(ctx, prefix+"-r", e.fixture+"-none") })
	step("time", "", func(ctx context.Context) error { return b.times(ctx, e) })
	step("groups", "", func(ctx context.Context) error { return b.groups(ctx, prefix+"-r", e.fixture+"-none") })
	step("delete", "", func(ctx context.Context) error { return b.delete(ctx, prefix, names) })
}

func (b *toolbox) create(ctx context.Context, prefix string, names topicNames) error {
	err := b.expect(ctx, []string{"Created topic " + names.plain}, kafkaTopics, "--create", "--topic", names.plain, "--partitions", "4",
		"--replication-factor", strconv.Itoa(b.replicas), "--config", "retention.ms=3600000")
	for _, topic := range []string{names.gone, prefix + "-none", prefix + "-gzip", prefix + "-snappy", prefix + "-lz4", prefix + "-zstd"} {
		_, e := b.call(ctx, kafkaTopics, "--create", "--topic", topic, "--partitions", "1", "--replication-factor", strconv.Itoa(b.replicas))
		err = errors.Join(err, e)
	}
	_, e := b.call(ctx, kafkaTopics, "--create", "--topic", names.group, "--partitions", strconv.Itoa(groupPartitions))
	return errors.Join(err, e)
}

func (b *toolbox) describe(ctx context.Context, names topicNames) error {
	return errors.Join(
		b.expect(ctx, []string{"PartitionCount: 4", fmt.Sprintf("ReplicationFactor: %d", b.replicas), "retention.ms=3600000", "Partition: 3", "Isr: "},
			kafkaTopics, "--describe", "--topic", names.plain),
		b.expect(ctx, []string{`"partition":"` + names.plain + `-0"`, `"offsetLag":0`}, kafkaLogDirs, "--describe", "--topic-list", names.plain),
		b.expect(ctx, []string{"Produce(0): 0 to ", "Fetch(1): "}, kafkaBrokerAPIVersions),
		b.clusterID(ctx),
	)
}

func (b *toolbox) clusterID(ctx context.Context) error {
	a, err := b.j.run(ctx, kafkaCluster, "", "cluster-id", "--bootstrap-server", b.addr)
	if err == nil && !strings.Contains(a.Out, "Cluster ID: ") {
		err = fmt.Errorf("kafka-cluster cluster-id printed %q", a.Out)
	}
	return err
}

func (b *toolbox) config(ctx context.Context, names topicNames) error {
	entity := []string{"--entity-type", "topics", "--entity-name", names.plain}
	if err := b.expect(ctx, []string{"Completed updating config"}, kafkaConfigs,
		append(entity, "--alter", "--add-config", "max.message.bytes=200000")...); err != nil {
		return err
	}
	var last error
	if !eventually(ctx, 5*time.Second, func() bool {
		last = b.expect(ctx, []string{"max.message.bytes=200000", "retention.ms=3600000"}, kafkaConfigs, append(entity, "--describe")...)
		return last == nil
	}) {
		return last
	}
	if err := b.expect(ctx, []string{"Completed updating config"}, kafkaConfigs,
		append(entity, "--alter", "--delete-config", "max.message.bytes")...); err != nil {
		return err
	}
	_, err := b.call(ctx, kafkaTopics, "--alter", "--topic", names.gone, "--partitions", "2")
	return err
}

// consoleLine is a record as the console producer is told it here, and the console consumer prints it.
func consoleLine(i int) string {
	r := record(i, 0)
	text := func(b []byte) string {
		if b == nil {
			return "NULL"
		}
		return string(b)
	}
	return fmt.Sprintf("n:%s\t%s\t%s", r.header, text(r.key), text(r.value))
}

func (b *toolbox) produce(ctx context.Context, e env, prefix string, names topicNames) error {
	var lines strings.Builder
	for i := range recordCount {
		lines.WriteString(consoleLine(i) + "\n")
	}
	for _, codec := range allCodecs {
		topic := prefix + "-" + codec
		if _, err := b.feed(ctx, kafkaConsoleProducer, lines.String(), "--topic", topic, "--compression-codec", codec, "--reader-property",
			"parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "null.marker=NULL"); err != nil {
			return err
		}
		if err := verifyStored(ctx, e.addr, topic, codec, e.t0, fidelity{ownTime: true}); err != nil {
			return err
		}
	}
	out, err := b.alone(ctx, kafkaVerifiableProducer, "--topic", names.group, "--max-messages", "100", "--acks", "-1")
	if err == nil && (strings.Count(out, `"name":"producer_send_success"`) != 100 || !strings.Contains(out, `"acked":100`)) {
		err = fmt.Errorf("kafka-verifiable-producer printed\n%s", out)
	}
	return err
}

// consume checks what the console consumer prints of a fixture, field by field.
func (b *toolbox) consume(ctx context.Context, e env, topic string) error {
	out, err := b.call(ctx, kafkaConsoleConsumer, "--topic", topic, "--from-beginning", "--max-messages", strconv.Itoa(recordCount),
		"--timeout-ms", "15000", "--formatter-property", "print.timestamp=true", "--formatter-property", "print.partition=true",
		"--formatter-property", "print.offset=true", "--formatter-property", "print.headers=true",
		"--formatter-property", "print.key=true", "--formatter-property", "null.literal=NULL")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != recordCount {
		return fmt.Errorf("%s: %d lines of %d", topic, len(lines), recordCount)
	}
	for i, line := range lines {
		want := fmt.Sprintf("CreateTime:%d\tPartition:0\tOffset:%d\t%s", e.t0+int64(i)*1000, i, consoleLine(i))
		if line != want {
			return fmt.Errorf("%s: line %d is %q, want %q", topic, i, line, want)
		}
	}
	return nil
}

// group lets two verifiable consumers share a topic and one of them leave.
func (b *toolbox) group(ctx context.Context, group, topic string) (err error) {
	config, err := b.file("consumer.properties", "heartbeat.interval.ms=300\nfetch.max.wait.ms=250\n")
	if err != nil {
		return err
	}
	first, err := b.verifiableConsumer(group, topic, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, first.leave(ctx)) }()
	second, err := b.verifiableConsumer(group, topic, config)
	if err != nil {
		return err
	}
	half := groupPartitions / 2
	shared := eventually(ctx, 20*time.Second, func() bool { return first.assigned() == half && second.assigned() == half })
	holdFirst, holdSecond := first.assigned(), second.assigned()
	if err := second.leave(ctx); err != nil {
		return err
	}
	if !shared {
		return fmt.Errorf("two verifiable consumers hold %d and %d partitions, want %d each", holdFirst, holdSecond, half)
	}
	if !eventually(ctx, 20*time.Second, func() bool { return first.assigned() == groupPartitions }) {
		return fmt.Errorf("after the other left, a verifiable consumer holds %d partitions of %d", first.assigned(), groupPartitions)
	}
	return nil
}

// verifiableMember is a kafka-verifiable-consumer, in a JVM of its own.
type verifiableMember struct {
	cmd  *exec.Cmd
	done chan struct{}
	held atomic.Int32
}

func (b *toolbox) verifiableConsumer(group, topic, config string) (*verifiableMember, error) {
	cp, err := classpath()
	if err != nil {
		return nil, err
	}
	m := &verifiableMember{done: make(chan struct{})}
	m.cmd = exec.Command("java", append(javaFlags(cp), kafkaVerifiableConsumer, "--bootstrap-server", b.addr, "--topic", topic,
		"--group-id", group, "--session-timeout", "6000", "--reset-policy", "earliest", "--command-config", config)...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		defer close(m.done)
		for in := bufio.NewScanner(out); in.Scan(); {
			switch line := in.Text(); {
			case strings.Contains(line, `"name":"partitions_assigned"`):
				m.held.Store(int32(strings.Count(line, `"partition":`)))
			case strings.Contains(line, `"name":"partitions_revoked"`):
				m.held.Store(0)
			}
		}
		_ = m.cmd.Wait() // ended by a signal, so never with 0
	}()
	return m, nil
}

func (m *verifiableMember) assigned() int { return int(m.held.Load()) }

func (m *verifiableMember) leave(context.Context) error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.done:
		return nil
	case <-time.After(10 * time.Second):
		err := m.cmd.Process.Kill()
		<-m.done
		return errors.Join(errors.New("kafka-verifiable-consumer ignored SIGTERM"), err)
	}
}

func (b *toolbox) consumeAs(ctx context.Context, group, topic string, count int) (string, error) {
	return b.call(ctx, kafkaConsoleConsumer, "--topic", topic, "--group", group, "--from-beginning", "--max-messages", strconv.Itoa(count),
		"--timeout-ms", "15000", "--formatter-property", "print.offset=true", "--formatter-property", "print.value=false")
}

func (b *toolbox) resume(ctx context.Context, group, topic string) error {
	if _, err := b.consumeAs(ctx, group, topic, resumeAt); err != nil {
		return err
	}
	out, err := b.consumeAs(ctx, group, topic, 1)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("Offset:%d", resumeAt); strings.TrimSpace(out) != want {
		return fmt.Errorf("resumed at %q, want %s", out, want)
	}
	return b.expect(ctx, []string{strconv.Itoa(resumeAt)}, kafkaConsumerGroups, "--reset-offsets", "--group", group, "--topic", topic+":0",
		"--to-offset", strconv.Itoa(resumeAt), "--execute")
}

func (b *toolbox) times(ctx context.Context, e env) error {
	topic := e.fixture + "-none"
	for time, want := range map[string]int{
		strconv.FormatInt(e.t0+49_500, 10): 50, "earliest": 0, "latest": recordCount, "max-timestamp": recordCount - 1,
	} {
		err := b.expect(ctx, []string{fmt.Sprintf("%s:0:%d\n", topic, want)}, kafkaGetOffsets, "--topic", topic, "--time", time)
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *toolbox) groups(ctx context.Context, group, topic string) error {
	if err := errors.Join(
		b.expect(ctx, []string{group + "\n"}, kafkaConsumerGroups, "--list"),
		b.expect(ctx, []string{topic, fmt.Sprint(resumeAt), fmt.Sprint(recordCount)}, kafkaConsumerGroups, "--describe", "--group", group),
		b.expect(ctx, []string{group, "Empty"}, kafkaConsumerGroups, "--describe", "--group", group, "--state"),
	); err != nil {
		return err
	}
	// A second group, because one without members and offsets is gone by itself.
	other := group + "-2"
	return errors.Join(
		b.expect(ctx, []string{topic}, kafkaConsumerGroups, "--reset-offsets", "--group", other, "--topic", topic, "--to-earliest", "--execute"),
		b.expect(ctx, []string{"Successful"}, kafkaConsumerGroups, "--delete-offsets", "--group", other, "--topic", topic),
		b.expect(ctx, []string{"was successful"}, kafkaConsumerGroups, "--delete", "--group", group),
	)
}

func (b *toolbox) delete(ctx context.Context, prefix string, names topicNames) error {
	offsets, err := b.file("offsets.json", fmt.Sprintf(
		`{"version":1,"partitions":[{"topic":"%s-gzip","partition":0,"offset":30}]}`, prefix))
	if err != nil {
		return err
	}
	if err := errors.Join(
		b.expect(ctx, []string{"low_watermark: 30"}, kafkaDeleteRecords, "--offset-json-file", offsets),
		b.expect(ctx, []string{prefix + "-gzip:0:30\n"}, kafkaGetOffsets, "--topic", prefix+"-gzip", "--time", "earliest"),
	); err != nil {
		return err
	}
	if _, err := b.call(ctx, kafkaTopics, "--delete", "--topic", names.gone); err != nil {
		return err
	}
	var out string
	if !eventually(ctx, 10*time.Second, func() bool {
		out, err = b.call(ctx, kafkaTopics, "--list")
		return err == nil && !strings.Contains(out, names.gone+"\n")
	}) {
		return fmt.Errorf("%s is still listed (%v)", names.gone, err)
	}
	return nil
}
