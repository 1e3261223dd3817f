package broker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/chronik-stream/chronik/httpapi"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// TestClusterView: a partition for each thing that can be wrong, and a healthy one.
func TestClusterView(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("healthy", 1)
	n.createTopic("moving", 1)
	if got := (httpSource{n.b}).Cluster(); got.Counts != (httpapi.ClusterCounts{}) || got.Partitions != 2 || len(got.Lag) != 0 {
		t.Errorf("a healthy node: %+v", got)
	}
	stranger := n.activeStranger()
	create := func(id byte, name string, replicas ...int32) {
		n.propose(&raftmeta.CreateTopic{ID: uuid.ID{id}, Name: name, Assignments: [][]int32{replicas}, Config: map[string]string{"min.insync.replicas": "2"}})
	}
	create(1, "lagging", 1, stranger)
	create(2, "lost", stranger)
	broker, _ := n.b.meta.Image().Broker(stranger)
	n.propose(&raftmeta.FenceBroker{ID: stranger, Epoch: broker.Epoch})
	n.reassign(t, "moving", 0, []int32{stranger}, 0)
	n.b.reconciler.catchUp()

	got := httpSource{n.b}.Cluster()
	if got.Node != 1 || got.Controller != 1 || got.ClusterID != n.b.meta.Image().ClusterID().String() || got.Topics != 4 || got.Partitions != 4 || got.Truncated {
		t.Errorf("%+v", got)
	}
	want := httpapi.ClusterCounts{UnderReplicated: 2, Offline: 1, UnderMinISR: 1, Reassignments: 1}
	if diff := cmp.Diff(want, got.Counts); diff != "" {
		t.Error(diff)
	}
	metrics := `
# HELP chronik_broker_leading_partitions Partitions that this node leads.
# TYPE chronik_broker_leading_partitions gauge
chronik_broker_leading_partitions 3
# HELP chronik_cluster_offline_partitions Partitions of the cluster without a leader: neither written nor read.
# TYPE chronik_cluster_offline_partitions gauge
chronik_cluster_offline_partitions 1
# HELP chronik_cluster_under_min_isr_partitions Partitions of the cluster that refuse acks=all: fewer in sync than min.insync.replicas.
# TYPE chronik_cluster_under_min_isr_partitions gauge
chronik_cluster_under_min_isr_partitions 1
# HELP chronik_cluster_under_replicated_partitions Partitions of the cluster with a replica that is not in sync. One more node lost may stop them.
# TYPE chronik_cluster_under_replicated_partitions gauge
chronik_cluster_under_replicated_partitions 2
`
	if err := testutil.CollectAndCompare(partitionMetrics{n.b}, strings.NewReader(metrics)); err != nil {
		t.Error(err)
	}
	names := func(list []httpapi.ClusterPartition) (names []string) {
		for _, p := range list {
			names = append(names, p.Topic)
		}
		return names
	}
	for _, c := range []struct {
		what string
		list []httpapi.ClusterPartition
		want []string
	}{
		{"under-replicated", got.UnderReplicated, []string{"lagging", "lost"}},
		{"offline", got.Offline, []string{"lost"}},
		{"under min", got.UnderMinISR, []string{"lagging"}},
		{"reassigned", got.Reassignments, []string{"moving"}},
	} {
		if diff := cmp.Diff(c.want, names(c.list)); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
	if p := got.Offline[0]; !cmp.Equal(p.ELR, []int32{stranger}) || p.Leader != raftmeta.NoLeader {
		t.Errorf("the partition that waits: %+v", p)
	}
	if diff := cmp.Diff([]httpapi.ReplicaLag{{Topic: "lagging", Replica: stranger, Lag: -1}, {Topic: "moving", Replica: stranger, Lag: -1}}, got.Lag); diff != "" {
		t.Errorf("lag: %s", diff)
	}
	if len(got.Brokers) != 2 {
		t.Fatalf("brokers: %+v", got.Brokers)
	}
	self, other := got.Brokers[0], got.Brokers[1]
	if self.State != "active" || self.Leaders != 3 || self.Replicas != 3 || self.Coordinators != raftmeta.GroupShards || self.Port == 0 {
		t.Errorf("this broker: %+v", self)
	}
	if other.State != "fenced" || other.Leaders != 0 || other.Replicas != 3 || other.Coordinators != 0 {
		t.Errorf("the other: %+v", other)
	}
	detail, ok := httpSource{n.b}.Topic("lagging")
	if p := detail.Partition[0]; !ok || !cmp.Equal(p.Lag, []httpapi.FollowerLag{{Replica: stranger, Lag: -1}}) || p.ELR == nil || p.Adding == nil {
		t.Errorf("the topic: %+v", detail)
	}
}

// TestClusterViewIsBounded: the counts go on where the lists end.
func TestClusterViewIsBounded(t *testing.T) {
	topic := &raftmeta.Topic{Name: "t", Partitions: make([]raftmeta.Partition, httpapi.MaxListed+1)}
	v := clusterView{img: startNode(t, nil).b.meta.Image(), brokers: map[int32]*httpapi.Broker{}}
	for i := range topic.Partitions {
		topic.Partitions[i] = raftmeta.Partition{Leader: raftmeta.NoLeader, Replicas: []int32{1}}
		v.add(topic, int32(i))
	}
	if len(v.out.Offline) != httpapi.MaxListed || v.out.Counts.Offline != httpapi.MaxListed+1 || !v.out.Truncated {
		t.Errorf("%d listed, %+v", len(v.out.Offline), v.out.Counts)
	}
}
