package integration

import (
	"context"
	"fmt"
	"testing"
	"time"
)

const (
	manyTopics      = 4
	manyPartitions  = 2500
	manyOpenFiles   = 2500             // the broker's cache of segment files, and what else a process has open
	manyReadyBudget = 15 * time.Second // what a start may take here; the measured times are reported
	manyKiB         = int64(512 << 10) // resident memory
)

// TestManyPartitions gives one node ten thousand partitions: its file handles and memory stay bounded, and it starts
// quickly, after a clean stop and after a kill -9.
func TestManyPartitions(t *testing.T) {
	if testing.Short() {
		t.Log("short: a tenth of the partitions")
	}
	partitions := manyPartitions
	if testing.Short() {
		partitions /= 10
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	b := startBroker(t)
	adm, err := newFranz(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.close()
	began := time.Now()
	for i := range manyTopics {
		if err := adm.create(ctx, fmt.Sprintf("many-%d", i), partitions, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d partitions created in %v", manyTopics*partitions, time.Since(began).Round(time.Millisecond))
	check := func(when string) {
		t.Helper()
		files, rss := b.openFiles(t), b.procStatus(t, "VmRSS")
		t.Logf("%s: ready after %v, %d open files, %d MiB resident", when, b.readyIn.Round(time.Millisecond), files, rss>>10)
		if files > manyOpenFiles || rss > manyKiB {
			t.Errorf("%s: %d open files, %d KiB resident", when, files, rss)
		}
		if b.readyIn > manyReadyBudget {
			t.Errorf("%s: ready only after %v", when, b.readyIn)
		}
	}
	check("after creation")
	b.stop(t)
	b.start(t)
	check("after a clean stop")
	reportReady(t, fmt.Sprintf("clean stop, %d partitions", manyTopics*partitions), []time.Duration{b.readyIn})
	b.kill9(t)
	b.start(t)
	check("after kill -9")
	reportReady(t, fmt.Sprintf("kill -9, %d partitions", manyTopics*partitions), []time.Duration{b.readyIn})
}
