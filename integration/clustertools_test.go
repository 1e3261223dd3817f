package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// The classes behind the shell scripts that only a cluster has use for.
const (
	kafkaReassign = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	kafkaElection = "org.apache.kafka.tools.LeaderElectionCommand"
)

// clusterTools is an operator of three nodes with Kafka's tools. moved is the topic of two partitions that they are
// tried on.
type clusterTools struct {
	*toolbox
	t     *testing.T
	fleet *fleet.Fleet
	t0    int64
}

const moved = "moved"

// TestClusterTools moves replicas and leaders of a topic with kafka-reassign-partitions and kafka-leader-election, and
// lets the other tools tell what a node that is down leaves behind.
func TestClusterTools(t *testing.T) {
	if isReference() {
		t.Skip("the reference is one broker")
	}
	f := startCluster(t, "auto.leader.rebalance.enable=false")
	defer stopCluster(t, f)
	b := &clusterTools{t: t, fleet: f, t0: time.Now().Add(-time.Hour).UnixMilli(),
		toolbox: &toolbox{j: startJVM(t), addr: f.Node(2).Kafka, replicas: 3, dir: t.TempDir()}}
	for _, step := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"fill", b.fill}, {"everybody", b.everybody}, {"reassign", b.reassign}, {"cancel", b.cancelNothing},
		{"elect", b.elect}, {"down", b.oneDown}, {"read", b.readBack},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := step.do(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
}

// fill creates the topic on nodes 1 and 2, and puts a record set into its first partition.
func (b *clusterTools) fill(ctx context.Context) error {
	if _, err := b.call(ctx, kafkaTopics, "--create", "--topic", moved, "--replica-assignment", "1:2,2:1"); err != nil {
		return err
	}
	cl, err := newFranz(b.addr)
	if err != nil {
		return err
	}
	defer cl.close()
	return cl.produce(ctx, moved, "none", recordSet(b.t0))
}

func (b *clusterTools) readBack(ctx context.Context) error {
	return verifyStored(ctx, b.addr, moved, "none", b.t0, fidelity{})
}

// everybody looks for all three nodes in what tools print of the cluster.
func (b *clusterTools) everybody(ctx context.Context) error {
	var racks, logDirs, endpoints []string
	for _, n := range b.fleet.Nodes() {
		racks = append(racks, fmt.Sprintf("%s (id: %d rack: rack-%d isFenced: false)", n.Kafka, n.ID, n.ID))
		logDirs = append(logDirs, fmt.Sprintf(`"broker":%d`, n.ID))
		endpoints = append(endpoints, fmt.Sprintf("rack-%d", n.ID))
	}
	a, err := b.j.run(ctx, kafkaCluster, "", "list-endpoints", "--bootstrap-server", b.addr)
	for _, want := range endpoints {
		if !strings.Contains(a.Out, want) {
			err = errors.Join(err, fmt.Errorf("kafka-cluster list-endpoints: no %q in\n%s", want, a.Out))
		}
	}
	return errors.Join(err,
		b.expect(ctx, racks, kafkaBrokerAPIVersions),
		b.expect(ctx, logDirs, kafkaLogDirs, "--describe"),
		b.expect(ctx, []string{"Replicas: 1,2", "Replicas: 2,1"}, kafkaTopics, "--describe", "--topic", moved),
	)
}

// plan is the file by which kafka-reassign-partitions is told where the replicas of both partitions belong.
func (b *clusterTools) plan(first, second string) (string, error) {
	return b.file("plan.json", fmt.Sprintf(`{"version":1,"partitions":[`+
		`{"topic":"%s","partition":0,"replicas":[%s]},{"topic":"%s","partition":1,"replicas":[%s]}]}`, moved, first, moved, second))
}

// reassign moves one partition to another pair of nodes, and gives the other a third replica.
func (b *clusterTools) reassign(ctx context.Context) error {
	topics, err := b.file("topics.json", `{"version":1,"topics":[{"topic":"`+moved+`"}]}`)
	if err != nil {
		return err
	}
	if err := b.expect(ctx, []string{"Proposed partition reassignment configuration"},
		kafkaReassign, "--generate", "--topics-to-move-json-file", topics, "--broker-list", "1,2,3"); err != nil {
		return err
	}
	if err := b.move(ctx, "3,2", "2,1,3"); err != nil {
		return err
	}
	return errors.Join(
		b.expect(ctx, []string{"No partition reassignments found"}, kafkaReassign, "--list"),
		b.expect(ctx, []string{"Replicas: 3,2", "Replicas: 2,1,3"}, kafkaTopics, "--describe", "--topic", moved),
		b.readBack(ctx),
	)
}

// move executes a plan and waits until --verify is content, which also takes back a throttle on every broker.
func (b *clusterTools) move(ctx context.Context, first, second string) error {
	plan, err := b.plan(first, second)
	if err != nil {
		return err
	}
	if err := b.expect(ctx, []string{"Successfully started partition reassignments for " + moved + "-0," + moved + "-1"},
		kafkaReassign, "--execute", "--reassignment-json-file", plan); err != nil {
		return err
	}
	return fleet.Eventually(ctx, func() error {
		return b.expect(ctx, []string{moved + "-0 is completed", moved + "-1 is completed"},
			kafkaReassign, "--verify", "--reassignment-json-file", plan)
	})
}

func (b *clusterTools) cancelNothing(ctx context.Context) error {
	plan, err := b.plan("3,2", "2,1,3")
	if err != nil {
		return err
	}
	return b.expect(ctx, []string{"None of the specified partition reassignments are active."},
		kafkaReassign, "--cancel", "--reassignment-json-file", plan)
}

// elect turns the order of a partition's replicas around: another one is preferred, and leads only when it is told to.
func (b *clusterTools) elect(ctx context.Context) error {
	if err := b.move(ctx, "2,3", "2,1,3"); err != nil {
		return err
	}
	one := []string{"--topic", moved, "--partition", "0"}
	return errors.Join(
		b.expect(ctx, []string{"Leader: 3"}, kafkaTopics, "--describe", "--topic", moved),
		b.expect(ctx, []string{"Successfully completed leader election (PREFERRED) for partitions " + moved + "-0"},
			kafkaElection, append(one, "--election-type", "preferred")...),
		b.expect(ctx, nil, kafkaElection, "--election-type", "preferred", "--all-topic-partitions"), // nothing to do, so nothing said
		b.expect(ctx, []string{"Valid replica already elected for partitions " + moved + "-0"},
			kafkaElection, append(one, "--election-type", "unclean")...),
	)
}

// oneDown kills node 3, which holds a replica of both partitions.
func (b *clusterTools) oneDown(ctx context.Context) error {
	lagging := func(want ...string) func() error {
		return func() error {
			out, err := b.call(ctx, kafkaTopics, "--describe", "--under-replicated-partitions")
			if strings.Count(out, "Partition: ") != len(want) {
				err = errors.Join(err, fmt.Errorf("under-replicated, want %v:\n%s", want, out))
			}
			for _, w := range want {
				if !strings.Contains(out, w) {
					err = errors.Join(err, fmt.Errorf("not under-replicated: %s:\n%s", w, out))
				}
			}
			return err
		}
	}
	if err := lagging()(); err != nil {
		return err
	}
	if err := b.fleet.Node(3).Kill(); err != nil {
		return err
	}
	if err := fleet.Eventually(ctx, lagging("Partition: 0", "Partition: 1")); err != nil {
		return err
	}
	if err := b.fleet.Node(3).Start(ctx); err != nil {
		return err
	}
	return fleet.Eventually(ctx, lagging())
}
