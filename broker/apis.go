package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire"
)

// APIs lists what this broker serves, and from it alone the answer to ApiVersions and the table in the
// README are made: what is not here is not advertised.
//
// Every API is served from version 0 on, also where Kafka 4 dropped the old ones: clients of the 0.8
// days send them, and libraries that never look at a minimum (kafka-go, kafkajs, kafka-python 2.0) too.
func (b *Broker) APIs() []wire.API {
	newest := func(key int16) int16 { return kmsg.RequestForKey(key).MaxVersion() }
	api := func(key kmsg.Key, handle func(*wire.Request)) wire.API {
		return wire.API{Key: int16(key), Max: newest(int16(key)), Handle: handle}
	}
	// waits is for handlers that return only when a change is on disk. The connection sends what it owes
	// before it calls them.
	waits := func(key kmsg.Key, handle func(*wire.Request)) wire.API {
		a := api(key, handle)
		a.Waits = true
		return a
	}
	return []wire.API{
		api(kmsg.Produce, b.produce),
		api(kmsg.Fetch, b.fetch),
		api(kmsg.ListOffsets, b.listOffsets),
		waits(kmsg.Metadata, b.metadata), // it may create topics
		waits(kmsg.OffsetCommit, b.offsetCommit),
		api(kmsg.OffsetFetch, b.offsetFetch),
		api(kmsg.FindCoordinator, b.findCoordinator),
		api(kmsg.JoinGroup, b.joinGroup),
		api(kmsg.Heartbeat, b.heartbeat),
		waits(kmsg.LeaveGroup, b.leaveGroup),
		api(kmsg.SyncGroup, b.syncGroup),
		api(kmsg.DescribeGroups, b.describeGroups),
		api(kmsg.ListGroups, b.listGroups),
		api(kmsg.ApiVersions, b.apiVersions),
		waits(kmsg.CreateTopics, b.createTopics),
		waits(kmsg.DeleteTopics, b.deleteTopics),
		waits(kmsg.DeleteRecords, b.deleteRecords),
		waits(kmsg.InitProducerID, b.initProducerID),
		api(kmsg.OffsetForLeaderEpoch, b.offsetForLeaderEpoch),
		api(kmsg.DescribeConfigs, b.describeConfigs),
		waits(kmsg.AlterConfigs, b.alterConfigs),
		api(kmsg.DescribeLogDirs, b.describeLogDirs),
		waits(kmsg.CreatePartitions, b.createPartitions),
		waits(kmsg.DeleteGroups, b.deleteGroups),
		waits(kmsg.ElectLeaders, b.electLeaders),
		waits(kmsg.IncrementalAlterConfigs, b.incrementalAlterConfigs),
		waits(kmsg.AlterPartitionAssignments, b.alterPartitionAssignments),
		api(kmsg.ListPartitionReassignments, b.listPartitionReassignments),
		waits(kmsg.OffsetDelete, b.offsetDelete),
		api(kmsg.DescribeCluster, b.describeCluster),
		api(kmsg.DescribeProducers, b.describeProducers),
		waits(kmsg.UnregisterBroker, b.unregisterBroker),
		api(kmsg.ListConfigResources, b.listConfigResources),
		api(kmsg.DescribeTopicPartitions, b.describeTopicPartitions),
	}
}
