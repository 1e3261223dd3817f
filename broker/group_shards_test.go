package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

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
