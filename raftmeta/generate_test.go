package raftmeta

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// A small world, so that commands meet: few names, among them colliding ones and prefixes of each other.
var (
	worldTenants = []string{"", "acme"}
	worldTopics  = []string{"a", "a.b", "a_b", "ab", "long-name", "bad name", ".."}
	worldGroups  = []string{"", "g", "gg", "g\x00g", "h"}
	worldMembers = []string{"m1", "m2"}
	worldBrokers = []int32{1, 2, 3}
)

// firstOwner is the epoch of every coordinator shard from the first activation of a broker until the next
// change of its owner.
const firstOwner = 1

func testID(n int) uuid.ID {
	var id uuid.ID
	id[0], id[15] = 0xc4, byte(n)
	return id
}

// drawCommand draws a command which often, but not always, fits the image.
func drawCommand(t *rapid.T, im *Image) Command {
	draw := commandGenerators[rapid.SampledFrom(commandOrder).Draw(t, "kind")]
	return draw(t, im)
}

// commandOrder says how often each kind is drawn, by repetition; rapid favours the front.
var commandOrder = []kind{
	kindCommitOffsets, kindAlterPartition, kindFenceBroker, kindDeleteTopic, kindElectLeader, kindConfirmDeletion,
	kindPutGroup, kindDeleteOffsets, kindSetTopicConfig, kindActivateBroker, kindRegisterBroker, kindCreateTopic,
	kindCreatePartitions, kindDeleteGroup, kindSetConfig, kindAllocateProducerIDs, kindInitCluster,
	kindAlterPartition, kindActivateBroker, kindActivateBroker, kindCommitOffsets, kindCreateTopic, kindPutGroup,
	kindElectLeader, kindFenceBroker, kindConfirmDeletion, kindRegisterBroker, kindBeginShutdown, kindMoveShard,
	kindReassign, kindRecoverLeader, kindSetDraining, kindRemoveBroker, kindReassign, kindAlterPartition, kindSetTopicConfig,
}

// firstCommands make a world in which most commands make sense.
func firstCommands() []Command {
	var commands []Command
	for i, id := range worldBrokers {
		commands = append(commands,
			&RegisterBroker{ID: id, Incarnation: testID(130 + int(id)), StorageIDs: []uuid.ID{testID(150 + int(id)*2)}},
			&ActivateBroker{id, int64(2*i + 1)})
	}
	return append(commands,
		&CreateTopic{ID: testID(1), Name: "a", Assignments: [][]int32{{1, 2, 3}, {2, 3, 1}, {3}}},
		&CreateTopic{ID: testID(2), Tenant: "acme", Name: "a", Config: map[string]string{minInSyncKey: "2"}, Assignments: [][]int32{{3, 1, 2}}},
		&PutGroup{firstOwner, Group{ID: "g", Generation: 1, Leader: "m1", Members: []GroupMember{{ID: "m1"}}}})
}

// drawLog draws a log of commands with gaps, as it is applied to im, and calls see after each.
func drawLog(t *rapid.T, im *Image, see func(index uint64, cmd Command, im *Image) *Image) *Image {
	index := uint64(0)
	for _, cmd := range firstCommands() {
		index++
		im = see(index, cmd, im)
	}
	for range 80 - rapid.IntRange(0, 79).Draw(t, "fewer") {
		index += uint64(rapid.SampledFrom([]int{1, 1, 1, 2, 700}).Draw(t, "gap"))
		im = see(index, drawCommand(t, im), im)
	}
	return im
}

var commandGenerators = map[kind]func(t *rapid.T, im *Image) Command{
	kindInitCluster: func(t *rapid.T, _ *Image) Command {
		return &InitCluster{ClusterID: testID(rapid.IntRange(200, 201).Draw(t, "cluster"))}
	},
	kindRegisterBroker: func(t *rapid.T, im *Image) Command {
		id, previous := drawBroker(t, im)
		return &RegisterBroker{
			ID: id, Incarnation: testID(rapid.IntRange(100, 120).Draw(t, "incarnation")),
			StorageIDs: []uuid.ID{testID(150 + int(id)*2 + rapid.IntRange(0, 1).Draw(t, "disk"))},
			KafkaHost:  "localhost", KafkaPort: 9092, PeerAddress: "localhost:9093", Rack: rapid.SampledFrom([]string{"", "r"}).Draw(t, "rack"),
			Suspect: rapid.IntRange(0, 9).Draw(t, "suspect") == 0,
			SuspectPartitions: nilIfEmpty(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) TopicPartition {
				return TopicPartition{drawTopicID(t), drawPartition(t)}
			}), 0, 2).Draw(t, "suspects")),
			Previous: previous,
		}
	},
	kindActivateBroker: func(t *rapid.T, im *Image) Command {
		id, epoch := drawBroker(t, im)
		return &ActivateBroker{id, epoch}
	},
	kindFenceBroker: func(t *rapid.T, im *Image) Command {
		id, epoch := drawBroker(t, im)
		return &FenceBroker{id, epoch}
	},
	kindCreateTopic: func(t *rapid.T, _ *Image) Command {
		return &CreateTopic{
			ID: drawTopicID(t), Tenant: drawFrom(t, worldTenants), Name: drawFrom(t, worldTopics),
			Config: drawConfig(t), Assignments: drawAssignments(t),
		}
	},
	kindDeleteTopic: func(t *rapid.T, _ *Image) Command { return &DeleteTopic{drawTopicID(t)} },
	kindConfirmDeletion: func(t *rapid.T, _ *Image) Command {
		return &ConfirmDeletion{drawTopicID(t), drawFrom(t, worldBrokers)}
	},
	kindCreatePartitions: func(t *rapid.T, _ *Image) Command {
		return &CreatePartitions{drawTopicID(t), int32(rapid.IntRange(1, 3).Draw(t, "count")), drawAssignments(t)}
	},
	kindSetTopicConfig: func(t *rapid.T, _ *Image) Command {
		return &SetTopicConfig{drawTopicID(t), drawConfigChange(t)}
	},
	kindSetConfig: func(t *rapid.T, _ *Image) Command {
		return &SetConfig{
			drawFrom(t, []ResourceType{BrokerResource, GroupResource, 2}), drawFrom(t, []string{"", "1"}), drawConfigChange(t),
		}
	},
	kindAllocateProducerIDs: func(t *rapid.T, im *Image) Command {
		id, epoch := drawBroker(t, im)
		return &AllocateProducerIDs{id, epoch, int32(rapid.IntRange(0, 2000).Draw(t, "count"))}
	},
	kindAlterPartition: drawAlterPartition,
	kindElectLeader: func(t *rapid.T, _ *Image) Command {
		return &ElectLeader{drawTopicID(t), drawPartition(t), rapid.Bool().Draw(t, "unclean")}
	},
	kindReassign: func(t *rapid.T, _ *Image) Command {
		target := rapid.Permutation(append([]int32{9}, worldBrokers...)).Draw(t, "order")[:rapid.IntRange(0, 3).Draw(t, "replicas")]
		if rapid.IntRange(0, 9).Draw(t, "known") > 0 {
			target = minus(target, []int32{9})
		}
		return &Reassign{drawTopicID(t), drawPartition(t), nilIfEmpty(target)}
	},
	kindRecoverLeader: func(t *rapid.T, im *Image) Command {
		x := &RecoverLeader{TopicID: drawTopicID(t), Partition: drawPartition(t), Leader: drawFrom(t, worldBrokers)}
		if topic, ok := im.TopicByID(x.TopicID); ok && x.Partition >= 0 && int(x.Partition) < len(topic.Partitions) {
			x.PartitionEpoch = topic.Partitions[x.Partition].PartitionEpoch - int32(rapid.IntRange(0, 9).Draw(t, "stale")/9)
		}
		return x
	},
	kindSetDraining: func(t *rapid.T, _ *Image) Command {
		return &SetDraining{drawFrom(t, worldBrokers), rapid.Bool().Draw(t, "draining")}
	},
	kindRemoveBroker: func(t *rapid.T, im *Image) Command {
		id, epoch := drawBroker(t, im)
		return &RemoveBroker{id, epoch}
	},
	kindPutGroup: func(t *rapid.T, im *Image) Command {
		g := drawGroup(t)
		return &PutGroup{drawCoordEpoch(t, im, GroupKey{g.Tenant, g.ID}), g}
	},
	kindDeleteGroup: func(t *rapid.T, im *Image) Command {
		g := drawGroupKey(t)
		return &DeleteGroup{drawCoordEpoch(t, im, g), g.Tenant, g.ID, rapid.Bool().Draw(t, "ifNoOffsets")}
	},
	kindCommitOffsets: func(t *rapid.T, im *Image) Command {
		g := drawGroupKey(t)
		return &CommitOffsets{
			drawCoordEpoch(t, im, g), g.Tenant, g.ID, drawFrom(t, worldMembers),
			int32(rapid.IntRange(-1, 3).Draw(t, "generation")),
			rapid.SliceOfN(rapid.Custom(drawOffset), 0, 4).Draw(t, "offsets"),
		}
	},
	kindDeleteOffsets: func(t *rapid.T, im *Image) Command {
		keys := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) OffsetKey {
			return OffsetKey{drawTopicID(t), drawPartition(t), rapid.Int64Range(0, 100).Draw(t, "at")}
		}), 0, 4).Draw(t, "keys")
		g := drawGroupKey(t)
		return &DeleteOffsets{drawCoordEpoch(t, im, g), g.Tenant, g.ID, rapid.Bool().Draw(t, "ifEmpty"), keys}
	},
	kindBeginShutdown: func(t *rapid.T, im *Image) Command {
		id, epoch := drawBroker(t, im)
		return &BeginShutdown{id, epoch}
	},
	kindMoveShard: func(t *rapid.T, im *Image) Command {
		shard := drawFrom(t, []int32{-1, 0, 1, ShardOf("", "g"), GroupShards})
		x := &MoveShard{Shard: shard, To: drawFrom(t, worldBrokers)}
		if shard >= 0 && shard < GroupShards {
			x.Epoch = im.Shard(shard).Epoch - int32(rapid.IntRange(0, 9).Draw(t, "stale")/9)
		}
		return x
	},
}

func drawFrom[T any](t *rapid.T, all []T) T { return rapid.SampledFrom(all).Draw(t, "pick") }

func drawTopicID(t *rapid.T) uuid.ID { return testID(1 + rapid.IntRange(0, 4).Draw(t, "topic")) }

func drawPartition(t *rapid.T) int32 {
	return int32(rapid.SampledFrom([]int{0, 1, 2, 3, -1}).Draw(t, "partition"))
}

func drawGroupKey(t *rapid.T) GroupKey {
	return GroupKey{drawFrom(t, worldTenants), drawFrom(t, worldGroups)}
}

func drawCoordEpoch(t *rapid.T, im *Image, g GroupKey) int32 {
	return im.Shard(ShardOf(g.Tenant, g.ID)).Epoch + int32(max(rapid.IntRange(-12, 1).Draw(t, "coordEpoch"), 0))
}

func drawBroker(t *rapid.T, im *Image) (id int32, epoch int64) {
	id = drawFrom(t, worldBrokers)
	if b, ok := im.Broker(id); ok {
		epoch = b.Epoch
	}
	return id, epoch - int64(rapid.IntRange(0, 9).Draw(t, "stale")/9)
}

// drawStamp draws one that often is the next of its broker.
func drawStamp(t *rapid.T, im *Image) stamp {
	id, epoch := drawBroker(t, im)
	if epoch <= 0 || rapid.Bool().Draw(t, "plain") {
		return stamp{}
	}
	return stamp{id, epoch, max(im.sequence(id)+uint64(rapid.IntRange(0, 2).Draw(t, "step")), 1)}
}

func drawAssignments(t *rapid.T) [][]int32 {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []int32 {
		n := rapid.IntRange(0, 3).Draw(t, "replicas")
		return nilIfEmpty(rapid.Permutation(worldBrokers).Draw(t, "order")[:n])
	}), 0, 3).Draw(t, "assignments")
}

func drawConfig(t *rapid.T) map[string]string {
	m := rapid.MapOfN(rapid.SampledFrom([]string{minInSyncKey, uncleanKey, "cleanup.policy", "x"}),
		rapid.SampledFrom([]string{"1", "2", "3", "true", "compact", "compact,delete", ""}), 0, 3).Draw(t, "config")
	return cloneStrings(m)
}

func drawConfigChange(t *rapid.T) ConfigChange {
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ConfigOp {
		return ConfigOp{
			Kind:  ConfigOpKind(rapid.IntRange(0, 3).Draw(t, "op")),
			Key:   drawFrom(t, []string{minInSyncKey, uncleanKey, "cleanup.policy"}),
			Value: drawFrom(t, []string{"1", "2", "true", "False", "delete", "compact,delete", ""}),
			Base:  drawFrom(t, []string{"", "delete"}),
		}
	}), 0, 3).Draw(t, "ops")
	return ConfigChange{Replace: rapid.Bool().Draw(t, "replace"), Ops: nilIfEmpty(ops)}
}

func drawAlterPartition(t *rapid.T, im *Image) Command {
	x := &AlterPartition{TopicID: drawTopicID(t), Partition: drawPartition(t), Leader: 1}
	topic, ok := im.TopicByID(x.TopicID)
	if !ok || x.Partition < 0 || int(x.Partition) >= len(topic.Partitions) {
		return x
	}
	p := topic.Partitions[x.Partition]
	x.Leader, x.LeaderEpoch, x.PartitionEpoch, x.Recovering = p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Recovering
	if b, ok := im.Broker(p.Leader); ok {
		x.BrokerEpoch = b.Epoch
	}
	for _, id := range rapid.Permutation(worldBrokers).Draw(t, "order") {
		if b, ok := im.Broker(id); ok && (id == p.Leader || rapid.Bool().Draw(t, "member")) {
			x.ISR = append(x.ISR, ISRMember{id, b.Epoch})
		}
	}
	switch rapid.IntRange(0, 9).Draw(t, "mistake") {
	case 0:
		x.LeaderEpoch--
	case 1:
		x.PartitionEpoch--
	case 2:
		x.LeaderEpoch++
	case 3:
		x.Recovering = !x.Recovering
	case 4:
		x.BrokerEpoch--
	}
	return x
}

func drawGroup(t *rapid.T) Group {
	g := Group{
		Tenant: drawFrom(t, worldTenants), ID: drawFrom(t, worldGroups),
		Generation: int32(rapid.IntRange(0, 3).Draw(t, "generation")),
	}
	for _, id := range worldMembers[:rapid.IntRange(0, 2).Draw(t, "members")] {
		g.Members = append(g.Members, GroupMember{
			ID: id, ClientID: "c", ClientHost: "/127.0.0.1", SessionTimeout: 45000, RebalanceTimeout: 60000,
			Protocols:  []GroupProtocol{{Name: "range", Metadata: []byte{0, 1}}, {Name: "empty"}},
			Assignment: nilIfEmpty(rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "assignment")),
		})
	}
	if len(g.Members) > 0 {
		g.ProtocolType, g.Protocol, g.Leader = "consumer", "range", g.Members[0].ID
	} else {
		g.EmptySince = rapid.Int64Range(1, 100).Draw(t, "emptySince")
	}
	return g
}

func drawOffset(t *rapid.T) CommittedOffset {
	return CommittedOffset{
		TopicID: drawTopicID(t), Partition: drawPartition(t), Offset: rapid.Int64Range(0, 1<<40).Draw(t, "offset"),
		LeaderEpoch: int32(rapid.IntRange(-1, 3).Draw(t, "leaderEpoch")), Metadata: drawFrom(t, []string{"", "m"}),
		CommittedAt: rapid.Int64Range(0, 100).Draw(t, "committedAt"), ExpiresAt: rapid.Int64Range(0, 1).Draw(t, "expiresAt"),
	}
}

func nilIfEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// describe writes an image as text, by its reads alone: the yardstick of equality in tests.
func describe(im *Image) string {
	var b []byte
	line := func(format string, args ...any) { b = fmt.Appendf(b, format+"\n", args...) }
	line("index=%d term=%d cluster=%s level=%d nextpid=%d audit=%d/%x", im.Index(), im.Term(), im.ClusterID(),
		im.FeatureLevel(), im.NextProducerID(), im.Audit().Index, im.Audit().Hash)
	for x := range im.Brokers() {
		line("broker %+v", *x)
		if sequence := im.sequence(x.ID); sequence != 0 {
			line("  entries up to %d", sequence)
		}
	}
	for i := range int32(GroupShards) {
		line("shard %d %+v", i, im.Shard(i))
	}
	for x := range im.AllTopics() {
		line("topic %s %q/%q %v %+v", x.ID, x.Tenant, x.Name, x.Config, x.Partitions) // fmt sorts maps
	}
	for x := range im.Tombstones() {
		line("tombstone %+v", *x)
	}
	for _, resource := range []ResourceType{BrokerResource, GroupResource} {
		for _, name := range []string{"", "1"} {
			if c := im.Config(resource, name); c != nil {
				line("config %d %q %v", resource, name, c)
			}
		}
	}
	for x := range im.AllGroups() {
		line("group %+v", *x)
		for o := range im.Offsets(x.Tenant, x.ID) {
			line("  offset %+v", o)
		}
	}
	return string(b)
}

func mapsOrEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}
