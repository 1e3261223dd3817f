package integration

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// TestRestart stops the broker in order and starts it again: topics, configs, records and offsets are there, and the
// clients that were connected go on by themselves.
func TestRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b := startBroker(t)
	t0 := time.Now().Add(-10*time.Minute).UnixMilli() / 1000 * 1000
	cl, err := newFranz(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(cl.create(ctx, "kept", 3, 1, map[string]string{"retention.ms": "7200000"}))
	must(cl.produce(ctx, "kept", "lz4", recordSet(t0)))
	must(cl.consumeAndCommit(ctx, "kept-group", "kept", resumeAt))
	old, err := newSarama(b.kafka, sarama.V2_5_0_0)
	must(err)
	defer old.close()

	b.stop(t)
	b.start(t)
	t.Logf("ready %v after the start", b.readyIn.Round(time.Millisecond))

	partitions, config, err := cl.describe(ctx, "kept")
	must(err)
	if partitions != 3 || config["retention.ms"] != "7200000" {
		t.Errorf("after the restart: %d partitions, retention.ms %q", partitions, config["retention.ms"])
	}
	must(verifyStored(ctx, b.kafka, "kept", "lz4", t0, fidelity{}))
	at, err := cl.resume(ctx, "kept-group", "kept")
	must(err)
	if at != resumeAt {
		t.Errorf("resumed at %d, committed %d", at, resumeAt)
	}
	// The same connectionless face of a client that has lost its connection.
	got, err := old.read(ctx, "kept", 0, recordCount)
	must(err)
	must(checkRecords(got, 0, t0, fidelity{}))
	if !isReference() {
		if status, body := b.get(t, "/readyz"); status != 200 {
			t.Errorf("/readyz says %d %s", status, body)
		}
	}
}
