package integration

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

const rowDeadline = 100 * time.Second

// clientRow is one client of the matrix.
type clientRow struct {
	name string
	inGo bool // needs nothing from setup.sh, so that a short run has it too
	run  func(ctx context.Context, r *row, e env, prefix string)
}

// scenarioRow is a row whose client is driven from Go.
func scenarioRow(name string, tr traits, open func(e env) (client, error)) clientRow {
	return clientRow{name: name, inGo: !strings.HasPrefix(name, "kcat"), run: func(ctx context.Context, r *row, e env, prefix string) {
		cl, err := open(e)
		if err != nil {
			r.t.Fatal(err)
		}
		defer cl.close()
		admin, err := newFranz(e.addr)
		if err != nil {
			r.t.Fatal(err)
		}
		defer admin.close()
		runScenario(ctx, r, e, prefix, cl, admin, tr)
	}}
}

// rows is the matrix, in the order of its table.
func rows(t *testing.T) []clientRow {
	everything := traits{writes: allCodecs, reads: allCodecs}
	// A client of the 0.10 era reads and writes magic 1: no headers, and no zstd, which cannot be converted down to it.
	old := fidelity{noHeaders: true, legacy: true}
	era010 := traits{writes: allCodecs[:4], reads: allCodecs[:4], fidelity: old, readFidelity: old}
	kcatTraits := traits{writes: allCodecs, reads: allCodecs, fidelity: fidelity{constHeader: true, ownTime: true}}
	// librdkafka asks a broker for its versions unless it is told that the broker is older than 0.10, when it writes
	// magic 0, which has no times either.
	kcat09 := era010
	kcat09.fidelity.ownTime, kcat09.readFidelity.ownTime = true, true

	sarama010 := func(e env) (client, error) { return newSarama(e.addr, sarama.V0_10_2_0) }
	return []clientRow{
		scenarioRow("franz-go "+moduleVersion(t, "github.com/twmb/franz-go"), everything,
			func(e env) (client, error) { return newFranz(e.addr) }),
		scenarioRow("sarama "+moduleVersion(t, "github.com/IBM/sarama"), everything,
			func(e env) (client, error) { return newSarama(e.addr, sarama.MaxVersion) }),
		scenarioRow("sarama as kafkactl uses it (V2_5_0_0)", everything,
			func(e env) (client, error) { return newSarama(e.addr, sarama.V2_5_0_0) }),
		scenarioRow("sarama pinned to V0_10_2_0", era010, sarama010),
		scenarioRow("segmentio/kafka-go "+moduleVersion(t, "github.com/segmentio/kafka-go"), everything,
			func(e env) (client, error) { return newSegmentio(e.addr), nil }),
		scenarioRow(kcatName(), kcatTraits, func(e env) (client, error) { return newKcat(e.addr) }),
		scenarioRow("kcat pinned to 0.9.0", kcat09,
			func(e env) (client, error) {
				return newKcat(e.addr, "api.version.request=false", "broker.version.fallback=0.9.0.1")
			}),
		{name: "kafka-python 2.0.2", run: pythonRow("venv-legacy", "row_kafka_python.py")},
		{name: "kafka-python 2.0.2 pinned to 0.10", run: pythonRow("venv-legacy", "row_kafka_python.py", "--api-version=0.10")},
		{name: pythonName(t, "kafka-python"), run: pythonRow("venv", "row_kafka_python.py")},
		{name: pythonName(t, "confluent-kafka"), run: pythonRow("venv", "row_confluent.py")},
		{name: pythonName(t, "aiokafka"), run: pythonRow("venv", "row_aiokafka.py")},
		{name: "kafkajs " + nodeVersion(t, "kafkajs"), run: nodeRow("row_kafkajs.js")},
		{name: "Kafka's Java clients " + kafkaVersion(t), run: javaClientsRow},
		{name: "Kafka's command line tools " + kafkaVersion(t), run: toolsRow},
		{name: "raw requests of the 0.8 era", inGo: true, run: rawRow},
	}
}

// TestClients is the matrix against one broker.
func TestClients(t *testing.T) {
	addr := os.Getenv("CHRONIK_TEST_BROKER")
	var b *broker
	if addr == "" {
		b = startBroker(t)
		addr = b.kafka
	}
	m := runMatrix(t, []string{addr}, 1)
	if b != nil {
		b.alive(t)
	}
	m.publish(t, "matrix", b != nil && !isReference())
}

// runMatrix lets every client do everything it can, at once, with topics of so many replicas. Each is told of one address;
// they take turns.
func runMatrix(t *testing.T, addrs []string, replicas int) *matrix {
	run := strconv.FormatInt(time.Now().UnixMilli()%1e9, 36) // a broker that already ran may hold another run's topics
	e := env{addr: addrs[0], replicas: replicas, t0: time.Now().Add(-10*time.Minute).UnixMilli() / 1000 * 1000, fixture: "fixture-" + run}
	writeFixtures(t, e)

	m := &matrix{}
	t.Run("rows", func(t *testing.T) {
		for i, c := range rows(t) {
			r := m.row(c.name, fmt.Sprintf("row-%s-%d", run, i))
			if testing.Short() && !c.inGo {
				continue
			}
			e := e
			e.addr = addrs[i%len(addrs)]
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				r.t = t
				began := time.Now()
				defer r.close(began)
				ctx, cancel := context.WithTimeout(t.Context(), rowDeadline)
				defer cancel()
				c.run(ctx, r, e, r.prefix)
			})
		}
	})
	return m
}
