package broker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/httpapi"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// TestLostGroupsAreNotAnsweredFor: a broker that does not coordinate a group says so in every version, and
// never that it has committed nothing, upon which a client would start at one end of the log.
func TestLostGroupsAreNotAnsweredFor(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("logs", 1)
	found := func() kmsg.FindCoordinatorResponse {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey = "g"
		return *n.raw().ask(req, 3).(*kmsg.FindCoordinatorResponse)
	}
	if c := found(); c.ErrorCode != 0 || c.NodeID != n.b.NodeID() {
		t.Fatalf("coordinator: %+v", c)
	}
	n.b.groups.SetShards(nil)
	for version := int16(1); version <= 10; version++ {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = "g"
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "logs", Partitions: []int32{0}}}
		group := kmsg.NewOffsetFetchRequestGroup()
		group.Group = "g"
		group.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "logs", TopicID: n.topicID("logs"), Partitions: []int32{0}}}
		req.Groups = append(req.Groups, group)
		resp := n.raw().ask(req, version).(*kmsg.OffsetFetchResponse)
		code := resp.ErrorCode
		switch {
		case version < 2:
			code = resp.Topics[0].Partitions[0].ErrorCode
		case version >= 8:
			code = resp.Groups[0].ErrorCode
		}
		if code != kerr.NotCoordinator.Code {
			t.Errorf("OffsetFetch v%d: code %d", version, code)
		}
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID = "g", "m"
	if code := n.raw().ask(beat, 4).(*kmsg.HeartbeatResponse).ErrorCode; code != kerr.NotCoordinator.Code {
		t.Errorf("Heartbeat: code %d", code)
	}

	// With no broker active, and this one not to be again, the group has no coordinator at all.
	if _, err := n.b.meta.Propose(t.Context(), &raftmeta.BeginShutdown{ID: n.b.NodeID(), Epoch: n.b.brokerEpoch.Load()}); err != nil {
		t.Fatal(err)
	}
	if c := found(); c.ErrorCode != kerr.CoordinatorNotAvailable.Code || c.NodeID != -1 || c.Port != -1 {
		t.Errorf("coordinator without an active broker: %+v", c)
	}
}

// TestGroupsMoveWhileLogsAreOpened: a reconcile that is under way keeps nobody from hearing that his group
// has moved.
func TestGroupsMoveWhileLogsAreOpened(t *testing.T) {
	n := startNode(t, map[string]string{"group.initial.rebalance.delay.ms": "60000"})
	stranger := n.activeStranger()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "consumer", 60_000, 60_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 1, 0, 0, 0, 0}}}
	conn := n.raw()
	sent := conn.send(join, 2)
	until(t, "the member does not wait", func() bool { return len(n.b.groups.List(defaultTenant, groups.ListFilter{})) == 1 })

	n.b.reconciler.mu.Lock()
	defer n.b.reconciler.mu.Unlock()
	shard := raftmeta.ShardOf(defaultTenant, "g")
	n.propose(&raftmeta.MoveShard{Shard: shard, Epoch: n.b.meta.Image().Shard(shard).Epoch, To: stranger})
	if code := conn.receive(join, sent).(*kmsg.JoinGroupResponse).ErrorCode; code != kerr.NotCoordinator.Code {
		t.Errorf("join of a group that moved away: code %d", code)
	}
	// The stranger falls silent, so the group comes back.
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID = "g", "m"
	until(t, "the group does not come back", func() bool {
		return n.raw().ask(beat, 3).(*kmsg.HeartbeatResponse).ErrorCode == kerr.UnknownMemberID.Code
	})
}

// TestGroupsOfOthersAreShownAsSaved: by HTTP every node tells of every group.
func TestGroupsOfOthersAreShownAsSaved(t *testing.T) {
	n := startNode(t, nil)
	n.createTopic("logs", 1)
	epoch := n.b.meta.Image().Shard(raftmeta.ShardOf(defaultTenant, "g")).Epoch
	n.propose(&raftmeta.PutGroup{CoordEpoch: epoch, Group: raftmeta.Group{
		ID: "g", Generation: 1, ProtocolType: "consumer", Protocol: "range", Leader: "m",
		Members: []raftmeta.GroupMember{{ID: "m", ClientID: "c", ClientHost: "/h", SessionTimeout: 60_000, Protocols: []raftmeta.GroupProtocol{{Name: "range"}}}},
	}})
	n.propose(&raftmeta.CommitOffsets{CoordEpoch: epoch, Group: "g", MemberID: "m", Generation: 1, Offsets: []raftmeta.CommittedOffset{{TopicID: uuid.ID(n.topicID("logs")), Offset: 7}}})
	line := httpapi.Group{Name: "g", State: "Stable", Type: "classic", ProtocolType: "consumer", Coordinator: 1}
	want := httpapi.GroupDetail{
		Group: line, Protocol: "range", Members: []httpapi.GroupMember{{ID: "m", ClientID: "c", ClientHost: "/h"}},
		Offsets: []httpapi.GroupOffset{{Topic: "logs", Offset: 7}},
	}
	for _, where := range []string{"here", "elsewhere"} {
		if where == "elsewhere" {
			n.b.groups.SetShards(nil)
		}
		if diff := cmp.Diff([]httpapi.Group{line}, httpSource{n.b}.Groups()); diff != "" {
			t.Errorf("%s: %s", where, diff)
		}
		got, ok := httpSource{n.b}.Group("g")
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %v %s", where, ok, diff)
		}
		if _, ok := (httpSource{n.b}).Group("none"); ok {
			t.Errorf("%s: a group that is not there", where)
		}
	}
}
