package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/chronik-stream/chronik/integration/chaos"
	"github.com/chronik-stream/chronik/integration/fleet"
)

const syncDeadline = 30 * time.Second // for the last replica to catch up

// startCluster starts three nodes with empty data directories and ends them when the test does. Each setting is a Kafka
// broker config, "key=value".
func startCluster(t testing.TB, settings ...string) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Options{Binary: brokerBinary(t), Dir: t.TempDir(), Direct: true,
		Settings: append([]string{"group.initial.rebalance.delay.ms=0"}, settings...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range f.Nodes() {
			if t.Failed() {
				t.Log(n.LogTail(logTailLines))
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), readyDeadline)
	defer cancel()
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return f
}

// stopCluster asks every node for a controlled shutdown and insists that it is one.
func stopCluster(t testing.TB, f *fleet.Fleet) {
	t.Helper()
	for _, n := range f.Nodes() {
		if !n.Running() {
			t.Errorf("node %d died: %v", n.ID, n.Process().Err())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), stopDeadline)
	defer cancel()
	if err := f.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// TestClientsOnThreeNodes is the matrix against a cluster that keeps three replicas of everything. A client is told of one
// node, another one from row to row, and finds the leaders by what the nodes say. Afterwards every replica holds what the
// clients wrote, byte for byte.
func TestClientsOnThreeNodes(t *testing.T) {
	if isReference() {
		t.Skip("the reference is one broker")
	}
	f := startCluster(t, "default.replication.factor=3", "min.insync.replicas=2")
	m := runMatrix(t, f.Bootstrap(), len(f.Nodes()))
	topics := awaitInSync(t, f)
	checkSpread(t, f, topics)
	stopCluster(t, f)
	for _, r := range m.Rows {
		if len(r.Cells) > 0 {
			checkStoredEverywhere(t, f, topics, r.prefix)
		}
	}
	m.publish(t, "matrix-three-nodes", true)
}

// awaitInSync returns all topics when every node tells of the same ones, and of every partition that all nodes hold a
// replica in sync.
func awaitInSync(t *testing.T, f *fleet.Fleet) kadm.TopicDetails {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), syncDeadline)
	defer cancel()
	var admins []*franz
	for _, addr := range f.Bootstrap() {
		admin, err := newFranz(addr)
		if err != nil {
			t.Fatal(err)
		}
		defer admin.close()
		admins = append(admins, admin)
	}
	var topics kadm.TopicDetails
	if err := fleet.Eventually(ctx, func() error {
		topics = nil
		for _, admin := range admins {
			seen, err := admin.adm.ListTopics(ctx)
			if err := errors.Join(err, allInSync(seen, len(f.Nodes()))); err != nil {
				return fmt.Errorf("asked at %s: %w", admin.addr, err)
			}
			if topics != nil && !slices.Equal(seen.Names(), topics.Names()) {
				return fmt.Errorf("%s tells of topics %v, others of %v", admin.addr, seen.Names(), topics.Names())
			}
			topics = seen
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return topics
}

func allInSync(topics kadm.TopicDetails, nodes int) error {
	var errs []error
	topics.EachPartition(func(p kadm.PartitionDetail) {
		if len(p.Replicas) != nodes || len(p.ISR) != nodes || p.Err != nil {
			errs = append(errs, fmt.Errorf("%s-%d: replicas %v, in sync %v, error %v", p.Topic, p.Partition, p.Replicas, p.ISR, p.Err))
		}
	})
	return errors.Join(errs...)
}

// checkSpread wants every node to lead its share of the partitions, or most of it.
func checkSpread(t *testing.T, f *fleet.Fleet, topics kadm.TopicDetails) {
	t.Helper()
	led, total := map[int32]int{}, 0
	topics.EachPartition(func(p kadm.PartitionDetail) {
		led[p.Leader]++
		total++
	})
	t.Logf("%d partitions, led by %v", total, led)
	for _, n := range f.Nodes() {
		if led[n.ID] < total/len(f.Nodes())/2 {
			t.Errorf("node %d leads %d of %d partitions: %v", n.ID, led[n.ID], total, led)
		}
	}
}

// checkStoredEverywhere reads a row's partitions off the disks of nodes that no longer run. What the client produced is
// there, and the same on all.
func checkStoredEverywhere(t *testing.T, f *fleet.Fleet, topics kadm.TopicDetails, prefix string) {
	t.Helper()
	produced := 0
	topics.EachPartition(func(p kadm.PartitionDetail) {
		rest, mine := strings.CutPrefix(p.Topic, prefix)
		if !mine || rest != "" && rest[0] != '-' {
			return
		}
		replicas, err := readReplicas(f, chaos.Partition{Topic: p.Topic, Index: p.Partition})
		if err != nil {
			t.Error(err)
			return
		}
		for _, r := range replicas[1:] {
			if !slices.Equal(r.Batches, replicas[0].Batches) {
				t.Errorf("%s-%d: node %d holds %d records and node %d %d, or others", p.Topic, p.Partition, r.Node, r.End(), replicas[0].Node, replicas[0].End())
			}
		}
		if slices.Contains(allCodecs, strings.TrimPrefix(rest, "-")) {
			produced++
			if end := replicas[0].End(); end < recordCount {
				t.Errorf("%s holds %d records of %d", p.Topic, end, recordCount)
			}
		}
	})
	if produced == 0 {
		t.Errorf("no topic of %s holds what its client produced", prefix)
	}
}

func readReplicas(f *fleet.Fleet, p chaos.Partition) (replicas []chaos.Replica, err error) {
	for _, n := range f.Nodes() {
		r, err := chaos.ReadReplica(n.ID, n.DataDir, p)
		if err != nil {
			return nil, err
		}
		replicas = append(replicas, r)
	}
	return replicas, nil
}
