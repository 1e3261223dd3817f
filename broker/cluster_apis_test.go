package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

func TestElectLeadersRefusals(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 2)
	elect := func(kind int8, topic string, partition int32, tag []byte) int16 {
		t.Helper()
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType = kind
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
		if tag != nil {
			req.UnknownTags.Set(ControllerTag, tag)
		}
		resp := n.raw().ask(req, 2).(*kmsg.ElectLeadersResponse)
		if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			t.Fatalf("%+v", resp)
		}
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != 0 && p.ErrorMessage == nil {
			t.Errorf("%s-%d: code %d without a message", topic, partition, p.ErrorCode)
		}
		return p.ErrorCode
	}
	for _, c := range []struct {
		name      string
		kind      int8
		topic     string
		partition int32
		tag       []byte
		want      *kerr.Error
	}{
		{"led by the preferred one", electPreferred, "t", 0, nil, kerr.ElectionNotNeeded},
		{"led by anybody", electUnclean, "t", 1, nil, kerr.ElectionNotNeeded},
		{"no such partition", electPreferred, "t", 2, nil, kerr.UnknownTopicOrPartition},
		{"no such topic", electUnclean, "none", 0, nil, kerr.UnknownTopicOrPartition},
		{"no such partition of the metadata log", electPreferred, MetadataLog, 1, nil, kerr.UnknownTopicOrPartition},
		{"unclean controller", electUnclean, MetadataLog, 0, nil, kerr.InvalidRequest},
		{"nobody else can be controller", electPreferred, MetadataLog, 0, nil, kerr.PreferredLeaderNotAvailable},
		{"it is the controller", electPreferred, MetadataLog, 0, binary.BigEndian.AppendUint32(nil, 1), kerr.ElectionNotNeeded},
		{"an unknown controller", electPreferred, MetadataLog, 0, binary.BigEndian.AppendUint32(nil, 9), kerr.BrokerIDNotRegistered},
		{"no id", electPreferred, MetadataLog, 0, []byte{1}, kerr.InvalidRequest},
	} {
		if got := elect(c.kind, c.topic, c.partition, c.tag); got != c.want.Code {
			t.Errorf("%s: code %d, want %s", c.name, got, c.want.Message)
		}
	}
	all := kmsg.NewPtrElectLeadersRequest()
	if resp := n.raw().ask(all, 2).(*kmsg.ElectLeadersResponse); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("no partition needs an election: %+v", resp)
	}
	all.ElectionType = 2
	if resp := n.raw().ask(all, 2).(*kmsg.ElectLeadersResponse); resp.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("an unknown kind of election: %+v", resp)
	}
}

// TestElectionOfAllThatNeedOne: without a list of topics only partitions are named that another leader is
// due to, with the reason why they do not get it.
func TestElectionOfAllThatNeedOne(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 3)
	stranger := n.activeStranger()
	n.reassign(t, "t", 1, []int32{stranger}, 0) // the stranger is preferred now, and never in sync
	n.propose(&raftmeta.CreateTopic{ID: uuid.ID{1}, Name: "away", Assignments: [][]int32{{stranger}}})
	broker, _ := n.b.meta.Image().Broker(stranger)
	n.propose(&raftmeta.FenceBroker{ID: stranger, Epoch: broker.Epoch})
	elect := func(kind int8) map[string]int16 {
		t.Helper()
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType = kind
		resp := n.raw().ask(req, 2).(*kmsg.ElectLeadersResponse)
		got := map[string]int16{}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				got[fmt.Sprintf("%s-%d", topic.Topic, p.Partition)] = p.ErrorCode
			}
		}
		return got
	}
	unavailable := kerr.PreferredLeaderNotAvailable.Code
	if diff := cmp.Diff(map[string]int16{"t-1": unavailable, "away-0": unavailable}, elect(electPreferred)); diff != "" {
		t.Errorf("preferred: %s", diff)
	}
	if diff := cmp.Diff(map[string]int16{"away-0": kerr.EligibleLeadersNotAvailable.Code}, elect(electUnclean)); diff != "" {
		t.Errorf("unclean: %s", diff)
	}
}

func (n *testNode) reassign(t *testing.T, topic string, partition int32, replicas []int32, want int16, change ...func(*kmsg.AlterPartitionAssignmentsRequest)) {
	t.Helper()
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{
		Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}},
	}}
	for _, f := range change {
		f(req)
	}
	resp := n.raw().ask(req, 1).(*kmsg.AlterPartitionAssignmentsResponse)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("%+v", resp)
	}
	if p := resp.Topics[0].Partitions[0]; p.ErrorCode != want || want != 0 && p.ErrorMessage == nil {
		t.Errorf("%s-%d to %v: code %d, %s, want %d", topic, partition, replicas, p.ErrorCode, deref(p.ErrorMessage), want)
	}
}

// TestReassignments walks one through its life, as far as one broker can see it.
func TestReassignments(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 2)
	stranger := n.activeStranger()
	list := func(topics []kmsg.ListPartitionReassignmentsRequestTopic) []kmsg.ListPartitionReassignmentsResponseTopic {
		t.Helper()
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.Topics = topics
		resp := n.raw().ask(req, 0).(*kmsg.ListPartitionReassignmentsResponse)
		if resp.ErrorCode != 0 {
			t.Fatalf("%+v", resp)
		}
		return resp.Topics
	}
	n.reassign(t, "none", 0, []int32{1}, kerr.UnknownTopicOrPartition.Code)
	n.reassign(t, "t", 2, []int32{1}, kerr.UnknownTopicOrPartition.Code)
	n.reassign(t, "t", 0, []int32{}, kerr.InvalidReplicaAssignment.Code)
	n.reassign(t, "t", 0, []int32{1, 1}, kerr.InvalidReplicaAssignment.Code)
	n.reassign(t, "t", 0, []int32{1, 9}, kerr.InvalidReplicaAssignment.Code)
	n.reassign(t, "t", 0, nil, kerr.NoReassignmentInProgress.Code)
	n.reassign(t, "t", 0, []int32{1}, 0) // nothing to do
	n.reassign(t, "t", 0, []int32{1, stranger}, kerr.InvalidReplicationFactor.Code, func(req *kmsg.AlterPartitionAssignmentsRequest) {
		req.AllowReplicationFactorChange = false
	})
	if got := list(nil); len(got) != 0 {
		t.Errorf("nothing moves: %+v", got)
	}

	n.reassign(t, "t", 1, []int32{stranger}, 0)
	moving := list(nil)
	if len(moving) != 1 || moving[0].Topic != "t" || len(moving[0].Partitions) != 1 {
		t.Fatalf("%+v", moving)
	}
	p := moving[0].Partitions[0]
	if p.Partition != 1 || !cmp.Equal(p.Replicas, []int32{stranger, 1}) || !cmp.Equal(p.AddingReplicas, []int32{stranger}) || !cmp.Equal(p.RemovingReplicas, []int32{1}) {
		t.Errorf("%+v", p)
	}
	if got := list([]kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "t", Partitions: []int32{0}}, {Topic: "none", Partitions: []int32{0}}}); len(got) != 0 {
		t.Errorf("partition 0 does not move: %+v", got)
	}
	n.reassign(t, "t", 1, nil, 0)
	if got := list(nil); len(got) != 0 {
		t.Errorf("after cancelling: %+v", got)
	}
	if topic, _ := n.b.meta.Image().Topic(defaultTenant, "t"); !cmp.Equal(topic.Partitions[1].Replicas, []int32{1}) {
		t.Errorf("after cancelling: %+v", topic.Partitions[1])
	}
}

func TestUnregisterBroker(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("t", 1)
	remove := func(id int32, want int16) {
		t.Helper()
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = id
		resp := n.raw().ask(req, 0).(*kmsg.UnregisterBrokerResponse)
		if resp.ErrorCode != want || want != 0 && resp.ErrorMessage == nil {
			t.Errorf("broker %d: code %d, %s, want %d", id, resp.ErrorCode, deref(resp.ErrorMessage), want)
		}
	}
	remove(9, kerr.BrokerIDNotRegistered.Code)
	remove(1, kerr.InvalidRequest.Code)
	fenced := n.strangerID()
	n.reassign(t, "t", 0, []int32{1, fenced}, 0)
	remove(fenced, kerr.InvalidRequest.Code)
	n.reassign(t, "t", 0, nil, 0)
	remove(fenced, 0)
	remove(fenced, kerr.BrokerIDNotRegistered.Code)
	remove(n.activeStranger(), kerr.InvalidRequest.Code)
}

// TestDraining: the config stands for the state of the broker, and placement heeds it.
func TestDraining(t *testing.T) {
	n := startNode(t, nil)
	stranger := "77"
	n.activeStranger()
	value := func(s string) *string { return &s }
	alter := func(broker string, want int16, changes ...kmsg.IncrementalAlterConfigsRequestResourceConfig) {
		t.Helper()
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: broker, Configs: changes}}
		if r := n.raw().ask(req, 1).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]; r.ErrorCode != want {
			t.Errorf("broker %q: code %d, %s, want %d", broker, r.ErrorCode, deref(r.ErrorMessage), want)
		}
	}
	set := func(to string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
		return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: config.Draining, Value: value(to)}
	}
	alter("", kerr.InvalidRequest.Code, set("true"))
	alter("9", kerr.InvalidRequest.Code, set("true"))
	alter(stranger, kerr.InvalidConfig.Code, set("perhaps"))
	alter(stranger, kerr.InvalidRequest.Code, set("true"), kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "log.retention.ms", Value: value("1")})
	alter(stranger, 0, set("true"))
	if broker, _ := n.b.meta.Image().Broker(77); !broker.Draining {
		t.Error("the broker does not drain")
	}
	n.createTopic("t", 6)
	topic, _ := n.b.meta.Image().Topic(defaultTenant, "t")
	for i, p := range topic.Partitions {
		if p.Replicas[0] != 1 {
			t.Errorf("partition %d is on %v", i, p.Replicas)
		}
	}
	alter(stranger, 0, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: config.Draining, Op: kmsg.IncrementalAlterConfigOpDelete})
	if broker, _ := n.b.meta.Image().Broker(77); broker.Draining {
		t.Error("the broker still drains")
	}

	alter("1", 0, set("true"))
	describe := kmsg.NewPtrDescribeConfigsRequest()
	describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1", ConfigNames: []string{config.Draining}}}
	got := n.raw().ask(describe, 4).(*kmsg.DescribeConfigsResponse).Resources[0].Configs
	if len(got) != 1 || deref(got[0].Value) != "true" || got[0].Source != kmsg.ConfigSourceDynamicBrokerConfig || got[0].ReadOnly {
		t.Errorf("%+v", got)
	}
}

// strangerID registers a broker that is not there, fenced, and returns its id.
func (n *testNode) strangerID() int32 {
	n.t.Helper()
	const id = 77
	n.propose(&raftmeta.RegisterBroker{ID: id, Incarnation: uuid.ID{id}, StorageIDs: []uuid.ID{{id}}})
	return id
}

// activeStranger is strangerID for a broker that is taken for alive.
func (n *testNode) activeStranger() int32 {
	n.t.Helper()
	id := n.strangerID()
	broker, _ := n.b.meta.Image().Broker(id)
	n.propose(&raftmeta.ActivateBroker{ID: id, Epoch: broker.Epoch})
	return id
}

func (n *testNode) propose(cmd raftmeta.Command) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), defaultWait)
	defer cancel()
	if _, err := n.b.meta.Propose(ctx, cmd); err != nil {
		n.t.Fatalf("%T: %v", cmd, err)
	}
}
