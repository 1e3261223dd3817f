package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire/record"
)

// TestEveryVersionOfEveryAPI sends each served version of each API a request that names real things, and
// checks that the answer is that request's, decodes in exactly its length, and carries no error.
func TestEveryVersionOfEveryAPI(t *testing.T) {
	n := startNode(t, map[string]string{"group.initial.rebalance.delay.ms": "0"})
	n.createTopic("there", 2)
	for i := range 5 {
		n.raw().produce(9, -1, "there", 0, testBatch(t, nil, fmt.Sprint("value ", i)))
	}
	served := 0
	for _, r := range n.b.registry.Ranges() {
		for v := r.Min; v <= r.Max; v++ {
			served++
			t.Run(fmt.Sprintf("%s-v%d", kmsg.NameForKey(r.Key), v), func(t *testing.T) {
				req := plausible(n, r.Key, v)
				resp := n.raw().ask(req, v)
				for _, e := range errorsIn(resp) {
					t.Errorf("the answer carries error %d: %+v", e, resp)
				}
			})
		}
	}
	t.Logf("%d versions of %d APIs", served, len(n.b.registry.Ranges()))
}

// plausible is a request that succeeds on a node with the topic "there".
func plausible(n *testNode, key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	id := n.topicID("there")
	unique := fmt.Sprintf("%d-%d", key, version)
	member := "member"
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		p := produceRequest(-1, "there", 1, testBatch(n.t, nil, "more"))
		p.Topics[0].TopicID = id
		if version < 3 {
			p.Topics[0].Partitions[0].Records = legacySet(n.t, int8(min(version/2, 1)), "more")
		}
		return p
	case *kmsg.FetchRequest:
		return fetchRequest("there", id, 0, 2)
	case *kmsg.ListOffsetsRequest:
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.MaxNumOffsets, p.CurrentLeaderEpoch = -1, 10, -1
		req.ReplicaID = -1
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "there", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	case *kmsg.MetadataRequest:
		name := "there"
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	case *kmsg.OffsetCommitRequest:
		req.Group, req.Generation, req.RetentionTimeMillis = "simple", -1, -1
		req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "there", TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Offset: 3, LeaderEpoch: -1}}}}
	case *kmsg.OffsetFetchRequest:
		req.Group = "simple"
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "there", Partitions: []int32{0, 1}}}
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "simple", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "there", TopicID: id, Partitions: []int32{0}}}}}
	case *kmsg.FindCoordinatorRequest:
		req.CoordinatorKey, req.CoordinatorKeys = "simple", []string{"simple", "other"}
	case *kmsg.JoinGroupRequest:
		req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "join-"+unique, "consumer", 30_000, 30_000
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{}}}
		if version >= 5 {
			req.InstanceID = &member // a static member joins at once
		} else if version == 4 {
			req.Group = "" // see expected
		}
	case *kmsg.ApiVersionsRequest:
		req.ClientSoftwareName, req.ClientSoftwareVersion, req.NodeID = "test", "1.0", -1
	case *kmsg.DescribeGroupsRequest:
		req.Groups = []string{"simple"}
	case *kmsg.CreateTopicsRequest:
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = "new-"+unique, 1, 1
		req.Topics, req.TimeoutMillis = []kmsg.CreateTopicsRequestTopic{t}, 10_000
	case *kmsg.DeleteTopicsRequest:
		n.createTopic("gone-"+unique, 1)
		name := "gone-" + unique
		req.TopicNames, req.Topics = []string{name}, []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
		if version >= 6 {
			req.TopicNames = nil
		} else {
			req.Topics = nil
		}
	case *kmsg.DeleteRecordsRequest:
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "there", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 1}}}}
	case *kmsg.InitProducerIDRequest:
		req.ProducerID, req.ProducerEpoch = -1, -1
	case *kmsg.OffsetForLeaderEpochRequest:
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch = -1
		req.ReplicaID = -1
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "there", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	case *kmsg.DescribeConfigsRequest:
		req.IncludeSynonyms, req.IncludeDocumentation = true, true
		req.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "there"},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
			{ResourceType: kmsg.ConfigResourceTypeBroker},
		}
	case *kmsg.AlterConfigsRequest:
		value := "3600000"
		req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "there", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}}}}
	case *kmsg.IncrementalAlterConfigsRequest:
		value := "compact"
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "there", Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "cleanup.policy", Op: kmsg.IncrementalAlterConfigOpAppend, Value: &value}}}}
	case *kmsg.DescribeLogDirsRequest:
	case *kmsg.CreatePartitionsRequest:
		n.createTopic("wider-"+unique, 1)
		req.Topics, req.TimeoutMillis = []kmsg.CreatePartitionsRequestTopic{{Topic: "wider-" + unique, Count: 3}}, 10_000
	case *kmsg.DeleteGroupsRequest:
		commit := plausible(n, int16(kmsg.OffsetCommit), 9).(*kmsg.OffsetCommitRequest)
		commit.Group = "gone-" + unique
		n.raw().ask(commit, 9)
		req.Groups = []string{commit.Group}
	case *kmsg.OffsetDeleteRequest:
		n.raw().ask(plausible(n, int16(kmsg.OffsetCommit), 9), 9)
		req.Group = "simple"
		req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "there", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
	case *kmsg.DescribeClusterRequest:
		req.EndpointType, req.IncludeClusterAuthorizedOperations = 1, true
	case *kmsg.ElectLeadersRequest:
		req.TimeoutMillis, req.Topics = 10_000, nil
		if version == 0 {
			req.Topics = []kmsg.ElectLeadersRequestTopic{}
		}
	case *kmsg.AlterPartitionAssignmentsRequest:
		p := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Replicas: []int32{1}}
		req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "there", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{p}}}
	case *kmsg.ListPartitionReassignmentsRequest:
		req.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "there", Partitions: []int32{0}}}
	case *kmsg.UnregisterBrokerRequest:
		req.BrokerID = n.strangerID()
	case *kmsg.DescribeProducersRequest:
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "there", Partitions: []int32{0}}}
	case *kmsg.DescribeTopicPartitionsRequest:
		req.ResponsePartitionLimit = 1
	}
	return req
}

// expected are the codes that a plausible request gets by protocol: groups that were never joined have
// no such member, and a dynamic member of v4 is told its id first.
var expected = map[int16]bool{25: true, 24: true, 79: true}

// errorsIn lists the error codes of an answer, wherever they stand, but for the expected ones.
func errorsIn(resp kmsg.Response) []int16 {
	var found []int16
	walkErrorCodes(resp, func(code int16) {
		if code != 0 && !expected[code] {
			found = append(found, code)
		}
	})
	return found
}

// legacySet is a message set of magic 0 or 1 with one message.
func legacySet(t *testing.T, magic int8, value string) []byte {
	t.Helper()
	batch := testBatch(t, nil, value)
	set, err := record.DownConvert(batch, magic, 0, 1<<20, record.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}
