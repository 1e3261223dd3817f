package raftmeta

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// script applies commands and tells what became of one partition, line by line.
type script struct {
	t        *testing.T
	im       *Image
	replicas []int32 // at the start
	out      strings.Builder
}

func newScript(t *testing.T, replicas []int32, config map[string]string) *script {
	s := &script{t: t, im: NewImage(), replicas: replicas}
	for _, id := range []int32{1, 2, 3, 4, 5} {
		s.try(s.register(id, 0, false))
		s.try(s.activate(id))
	}
	s.try(&CreateTopic{ID: testID(1), Name: "a", Config: config, Assignments: [][]int32{replicas}})
	s.out.Reset()
	s.show("start")
	return s
}

func (s *script) try(cmd Command) error {
	next, _, err := Apply(s.im, s.im.Index()+1, 1, cmd)
	s.im = next
	return err
}

func (s *script) show(step string) {
	t, _ := s.im.TopicByID(testID(1))
	p := t.Partitions[0]
	fmt.Fprintf(&s.out, "%-22s leader=%d@%d isr=%v elr=%v lke=%v pe=%d", step, p.Leader, p.LeaderEpoch, p.ISR, p.ELR, p.LastKnownELR, p.PartitionEpoch)
	if p.Reassigning() || !slices.Equal(p.Replicas, s.replicas) {
		fmt.Fprintf(&s.out, " replicas=%v+%v-%v", p.Replicas, p.Adding, p.Removing)
	}
	if p.UncleanEpoch >= 0 {
		fmt.Fprintf(&s.out, " unclean@%d", p.UncleanEpoch)
	}
	if p.Recovering {
		s.out.WriteString(" recovering")
	}
	s.out.WriteByte('\n')
}

func (s *script) do(step string, cmd Command) {
	s.t.Helper()
	if err := s.try(cmd); err != nil {
		step += " !" + err.Error()
	}
	s.show(step)
}

func (s *script) epoch(id int32) int64 {
	b, _ := s.im.Broker(id)
	if b == nil {
		return 0
	}
	return b.Epoch
}

func (s *script) register(id int32, run int, suspect bool) Command {
	return &RegisterBroker{
		ID: id, Incarnation: testID(50 + 10*int(id) + run), StorageIDs: []uuid.ID{testID(150 + int(id))}, Suspect: suspect, Previous: s.epoch(id),
	}
}
func (s *script) stop(id int32) Command     { return &BeginShutdown{id, s.epoch(id)} }
func (s *script) activate(id int32) Command { return &ActivateBroker{id, s.epoch(id)} }
func (s *script) fence(id int32) Command    { return &FenceBroker{id, s.epoch(id)} }

func (s *script) alter(isr ...int32) Command {
	t, _ := s.im.TopicByID(testID(1))
	p := t.Partitions[0]
	x := &AlterPartition{
		TopicID: t.ID, Leader: p.Leader, BrokerEpoch: s.epoch(p.Leader), LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
	}
	for _, id := range isr {
		x.ISR = append(x.ISR, ISRMember{id, s.epoch(id)})
	}
	return x
}

func (s *script) want(transcript string) {
	s.t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(strings.ReplaceAll(transcript, "\t", "")), strings.TrimSpace(s.out.String())); diff != "" {
		s.t.Error(diff)
	}
}

// A single node restarts: its partitions have no leader until it is active again, and each of both
// steps is a new leader epoch.
func TestRestartOfTheOnlyReplica(t *testing.T) {
	s := newScript(t, []int32{1}, nil)
	s.do("same run again", s.register(1, 0, false))
	s.do("new run", s.register(1, 1, false))
	s.do("active", s.activate(1))
	s.do("active again", s.activate(1))
	s.want(`
	start                  leader=1@0 isr=[1] elr=[] lke=[] pe=0
	same run again         leader=1@0 isr=[1] elr=[] lke=[] pe=0
	new run                leader=-1@1 isr=[] elr=[1] lke=[] pe=1
	active                 leader=1@2 isr=[1] elr=[] lke=[] pe=2
	active again           leader=1@2 isr=[1] elr=[] lke=[] pe=2`)
}

// The last member to go is the first that may lead again; who left before it had to stay out.
func TestLastReplicaStanding(t *testing.T) {
	s := newScript(t, []int32{1, 2, 3}, map[string]string{minInSyncKey: "2"})
	s.do("1 dies", s.fence(1))
	s.do("2 dies", s.fence(2))
	s.do("3 dies", s.fence(3))
	s.do("1 is back", s.activate(1))
	s.do("2 is back", s.activate(2))
	s.do("2 withdraws", s.alter(2)) // the ISR as it is: copies of earlier proposals are void
	s.do("1 is caught up", s.alter(1, 2))
	s.do("preferred", &ElectLeader{TopicID: testID(1)})
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	1 dies                 leader=2@1 isr=[2 3] elr=[] lke=[] pe=1
	2 dies                 leader=3@2 isr=[3] elr=[2] lke=[] pe=2
	3 dies                 leader=-1@3 isr=[] elr=[2 3] lke=[] pe=3
	1 is back              leader=-1@3 isr=[] elr=[2 3] lke=[] pe=3
	2 is back              leader=2@4 isr=[2] elr=[3] lke=[] pe=4
	2 withdraws            leader=2@4 isr=[2] elr=[3] lke=[] pe=5
	1 is caught up         leader=2@4 isr=[1 2] elr=[] lke=[] pe=6
	preferred              leader=1@5 isr=[1 2] elr=[] lke=[] pe=7`)
}

// A replica that is active and comes first is passed over if it is not in sync.
func TestOnlyWhoIsInSyncLeads(t *testing.T) {
	s := newScript(t, []int32{1, 2, 3}, nil)
	s.do("shrink", s.alter(1, 3))
	s.do("1 dies", s.fence(1))
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	shrink                 leader=1@0 isr=[1 3] elr=[] lke=[] pe=1
	1 dies                 leader=3@1 isr=[3] elr=[] lke=[] pe=2`)
}

// A broker that may have lost data is no candidate, however it came back; only an operator can choose it.
func TestSuspectIsNoCandidate(t *testing.T) {
	s := newScript(t, []int32{1}, nil)
	s.do("suspect", s.register(1, 1, true))
	s.do("active", s.activate(1))
	s.do("preferred", &ElectLeader{TopicID: testID(1)})
	s.do("unclean", &ElectLeader{TopicID: testID(1), Unclean: true})
	s.do("recovered", s.alter(1))
	s.do("unclean", &ElectLeader{TopicID: testID(1), Unclean: true})
	disk := &RegisterBroker{ID: 1, Incarnation: testID(99), StorageIDs: []uuid.ID{testID(151), testID(99)}, Previous: s.epoch(1)}
	s.do("another disk", disk)
	s.do("active", s.activate(1))
	lost := &RegisterBroker{ID: 1, Incarnation: testID(98), StorageIDs: []uuid.ID{testID(99)}, Previous: s.epoch(1)}
	s.do("lost disk", lost)
	s.do("active", s.activate(1))
	s.want(`
	start                  leader=1@0 isr=[1] elr=[] lke=[] pe=0
	suspect                leader=-1@1 isr=[] elr=[] lke=[1] pe=1
	active                 leader=-1@1 isr=[] elr=[] lke=[1] pe=1
	preferred !no eligible leader leader=-1@1 isr=[] elr=[] lke=[1] pe=1
	unclean                leader=1@2 isr=[1] elr=[] lke=[] pe=2 unclean@2 recovering
	recovered              leader=1@2 isr=[1] elr=[] lke=[] pe=3 unclean@2
	unclean !leader election is not needed leader=1@2 isr=[1] elr=[] lke=[] pe=3 unclean@2
	another disk           leader=-1@3 isr=[] elr=[1] lke=[] pe=4 unclean@2
	active                 leader=1@4 isr=[1] elr=[] lke=[] pe=5 unclean@2
	lost disk              leader=-1@5 isr=[] elr=[] lke=[1] pe=6 unclean@2
	active                 leader=-1@5 isr=[] elr=[] lke=[1] pe=6 unclean@2`)
}

// A broker that stops hands over what another can lead, and keeps the rest until it is gone (replication.md 5.6).
func TestShutdownHandsOver(t *testing.T) {
	s := newScript(t, []int32{1, 2, 3}, map[string]string{minInSyncKey: "2"})
	s.do("1 stops", s.stop(1))
	s.do("1 stops again", s.stop(1))
	s.do("1 is active", s.activate(1))
	s.do("1 is caught up", s.alter(2, 1, 3))
	s.do("1 is gone", s.fence(1))
	s.do("1 is back", s.activate(1))
	s.do("3 stops", s.stop(3))
	s.do("2 stops as the last", s.stop(2))
	s.do("1 is caught up", s.alter(1, 2))
	s.do("2 is gone", s.fence(2))
	s.do("1 stops as the last", s.stop(1))
	s.do("1 is gone", s.fence(1))
	s.do("new run of 3", s.register(3, 1, false))
	s.do("3 is active", s.activate(3))
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	1 stops                leader=2@1 isr=[2 3] elr=[] lke=[] pe=1
	1 stops again          leader=2@1 isr=[2 3] elr=[] lke=[] pe=1
	1 is active !broker cannot take this on leader=2@1 isr=[2 3] elr=[] lke=[] pe=1
	1 is caught up !a proposed in-sync replica is not eligible leader=2@1 isr=[2 3] elr=[] lke=[] pe=1
	1 is gone              leader=2@1 isr=[2 3] elr=[] lke=[] pe=1
	1 is back              leader=2@1 isr=[2 3] elr=[] lke=[] pe=1
	3 stops                leader=2@1 isr=[2] elr=[3] lke=[] pe=2
	2 stops as the last    leader=2@1 isr=[2] elr=[3] lke=[] pe=2
	1 is caught up         leader=1@2 isr=[1] elr=[2] lke=[] pe=3
	2 is gone              leader=1@2 isr=[1] elr=[2] lke=[] pe=3
	1 stops as the last    leader=1@2 isr=[1] elr=[2] lke=[] pe=3
	1 is gone              leader=-1@3 isr=[] elr=[1 2] lke=[] pe=4
	new run of 3           leader=-1@3 isr=[] elr=[1 2] lke=[] pe=4
	3 is active            leader=-1@3 isr=[] elr=[1 2] lke=[] pe=4`)
}

// Recovery lists the partitions of which it had to cut off what may have been acknowledged (14.4).
func TestSuspectPartition(t *testing.T) {
	s := newScript(t, []int32{1, 2}, map[string]string{minInSyncKey: "2"})
	s.do("2 dies", s.fence(2))
	s.do("1 dies", s.fence(1))
	again := s.register(2, 1, false).(*RegisterBroker)
	again.SuspectPartitions = []TopicPartition{{testID(1), 1}}
	s.do("suspect elsewhere", again)
	again = s.register(2, 2, false).(*RegisterBroker)
	again.SuspectPartitions = []TopicPartition{{testID(1), 0}}
	s.do("suspect here", again)
	s.do("2 is active", s.activate(2))
	s.do("1 is back", s.activate(1))
	s.want(`
	start                  leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	2 dies                 leader=1@0 isr=[1] elr=[2] lke=[] pe=1
	1 dies                 leader=-1@1 isr=[] elr=[1 2] lke=[] pe=2
	suspect elsewhere      leader=-1@1 isr=[] elr=[1 2] lke=[] pe=2
	suspect here           leader=-1@1 isr=[] elr=[1] lke=[2] pe=3
	2 is active            leader=-1@1 isr=[] elr=[1] lke=[2] pe=3
	1 is back              leader=1@2 isr=[1] elr=[] lke=[2] pe=4`)
}

// Where the topic allows it, anybody leads rather than nobody, and it shows.
func TestUncleanElection(t *testing.T) {
	unclean := func(v string) ConfigChange { return ConfigChange{Ops: []ConfigOp{{Key: uncleanKey, Value: v}}} }
	s := newScript(t, []int32{1, 2, 3}, nil)
	s.do("shrink", s.alter(1))
	s.do("1 dies", s.fence(1))
	s.do("2 drains", &SetDraining{2, true})
	s.do("unclean by default", &SetConfig{BrokerResource, "", unclean("true")})
	early := s.alter(3, 2).(*AlterPartition)
	early.Recovering = true
	s.do("ISR grows too early", early)
	s.do("recovered", s.alter(3))
	s.do("1 is back", s.activate(1))
	s.do("not for this topic", &SetTopicConfig{testID(1), unclean("false")})
	s.do("3 dies", s.fence(3))
	s.do("for this topic", &SetTopicConfig{testID(1), unclean("TRUE")})
	s.do("1 dies", s.fence(1))
	s.do("2 dies", s.fence(2))
	s.do("3 is back", s.activate(3))
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	shrink                 leader=1@0 isr=[1] elr=[] lke=[] pe=1
	1 dies                 leader=-1@1 isr=[] elr=[1] lke=[] pe=2
	2 drains               leader=-1@1 isr=[] elr=[1] lke=[] pe=2
	unclean by default     leader=3@2 isr=[3] elr=[] lke=[] pe=3 unclean@2 recovering
	ISR grows too early !in-sync replicas are not valid leader=3@2 isr=[3] elr=[] lke=[] pe=3 unclean@2 recovering
	recovered              leader=3@2 isr=[3] elr=[] lke=[] pe=4 unclean@2
	1 is back              leader=3@2 isr=[3] elr=[] lke=[] pe=4 unclean@2
	not for this topic     leader=3@2 isr=[3] elr=[] lke=[] pe=4 unclean@2
	3 dies                 leader=-1@3 isr=[] elr=[3] lke=[] pe=5 unclean@2
	for this topic         leader=1@4 isr=[1] elr=[] lke=[] pe=6 unclean@4 recovering
	1 dies                 leader=2@5 isr=[2] elr=[] lke=[] pe=7 unclean@5 recovering
	2 dies                 leader=-1@6 isr=[] elr=[2] lke=[] pe=8 unclean@5 recovering
	3 is back              leader=3@7 isr=[3] elr=[] lke=[] pe=9 unclean@7 recovering`)
}

// If all candidates are suspect, the one that the controller names leads again (replication.md 11.4).
func TestRecoveryElection(t *testing.T) {
	s := newScript(t, []int32{1, 2}, map[string]string{minInSyncKey: "2"})
	recoverBy := func(id, stale int32) Command {
		topic, _ := s.im.TopicByID(testID(1))
		return &RecoverLeader{testID(1), 0, topic.Partitions[0].PartitionEpoch - stale, id}
	}
	s.do("has a leader", recoverBy(1, 0))
	s.do("1 is suspect", s.register(1, 1, true))
	s.do("2 dies", s.fence(2))
	s.do("2 is eligible", recoverBy(1, 0))
	s.do("2 is suspect", s.register(2, 1, true))
	s.do("1 is not active", recoverBy(1, 0))
	s.do("1 is active", s.activate(1))
	s.do("stranger", recoverBy(3, 0))
	s.do("stale", recoverBy(1, 1))
	s.do("1 recovers", recoverBy(1, 0))
	s.do("1 again", recoverBy(1, 0))
	s.want(`
	start                  leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	has a leader !leader election is not needed leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	1 is suspect           leader=2@1 isr=[2] elr=[] lke=[1] pe=1
	2 dies                 leader=-1@2 isr=[] elr=[2] lke=[1] pe=2
	2 is eligible !leader election is not needed leader=-1@2 isr=[] elr=[2] lke=[1] pe=2
	2 is suspect           leader=-1@2 isr=[] elr=[] lke=[1 2] pe=3
	1 is not active !no eligible leader leader=-1@2 isr=[] elr=[] lke=[1 2] pe=3
	1 is active            leader=-1@2 isr=[] elr=[] lke=[1 2] pe=3
	stranger !no eligible leader leader=-1@2 isr=[] elr=[] lke=[1 2] pe=3
	stale !partition epoch differs leader=-1@2 isr=[] elr=[] lke=[1 2] pe=3
	1 recovers             leader=1@3 isr=[1] elr=[] lke=[] pe=4 unclean@3 recovering
	1 again !leader election is not needed leader=1@3 isr=[1] elr=[] lke=[] pe=4 unclean@3 recovering`)
}

// A broker that drains leads only what nobody else can.
func TestDrainingLeadsLast(t *testing.T) {
	s := newScript(t, []int32{1, 2, 3}, nil)
	s.do("2 drains", &SetDraining{2, true})
	s.do("1 dies", s.fence(1))
	s.do("3 dies", s.fence(3))
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	2 drains               leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	1 dies                 leader=3@1 isr=[2 3] elr=[] lke=[] pe=1
	3 dies                 leader=2@2 isr=[2] elr=[] lke=[] pe=2`)
}

// Lowering min.insync.replicas makes the ISR sufficient, so nobody outside it needs to be remembered.
func TestLoweredMinClearsEligible(t *testing.T) {
	set := func(v string) ConfigChange { return ConfigChange{Ops: []ConfigOp{{Key: minInSyncKey, Value: v}}} }
	s := newScript(t, []int32{1, 2, 3}, nil)
	s.do("default 3", &SetConfig{BrokerResource, "", set("3")})
	s.do("shrink", s.alter(1))
	s.do("default 2", &SetConfig{BrokerResource, "", set("2")})
	s.do("topic 1", &SetTopicConfig{testID(1), set("1")})
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	default 3              leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	shrink                 leader=1@0 isr=[1] elr=[2 3] lke=[] pe=1
	default 2              leader=1@0 isr=[1] elr=[2 3] lke=[] pe=1
	topic 1                leader=1@0 isr=[1] elr=[] lke=[] pe=2`)
}

func TestAlterPartitionIsFenced(t *testing.T) {
	s := newScript(t, []int32{1, 2, 3}, nil)
	stale := func(change func(x *AlterPartition)) Command {
		x := s.alter(1, 2).(*AlterPartition)
		change(x)
		return x
	}
	old := s.alter(1, 3)
	s.do("shrink", s.alter(1, 2))
	s.do("repeated", old)
	s.do("stranger", s.alter(1, 9))
	s.do("twice", s.alter(1, 2, 2))
	s.do("without leader", s.alter(2))
	s.do("other leader", stale(func(x *AlterPartition) { x.Leader, x.BrokerEpoch = 2, s.epoch(2) }))
	s.do("old broker", stale(func(x *AlterPartition) { x.BrokerEpoch-- }))
	s.do("old member", stale(func(x *AlterPartition) { x.ISR[1].BrokerEpoch-- }))
	s.do("newer leader", stale(func(x *AlterPartition) { x.LeaderEpoch++ }))
	s.do("newer partition", stale(func(x *AlterPartition) { x.PartitionEpoch++ }))
	zombie := s.alter(1)
	s.do("1 dies", s.fence(1))
	s.do("zombie", zombie)
	s.do("fenced member", s.alter(1, 2))
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	shrink                 leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	repeated !partition epoch differs leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	stranger !in-sync replicas are not valid leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	twice !in-sync replicas are not valid leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	without leader !in-sync replicas are not valid leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	other leader !sender does not lead the partition leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	old broker !broker epoch is stale leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	old member !a proposed in-sync replica is not eligible leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	newer leader !epoch is newer than the committed one leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	newer partition !epoch is newer than the committed one leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	1 dies                 leader=2@1 isr=[2] elr=[] lke=[] pe=2
	zombie !leader epoch is fenced leader=2@1 isr=[2] elr=[] lke=[] pe=2
	fenced member !a proposed in-sync replica is not eligible leader=2@1 isr=[2] elr=[] lke=[] pe=2`)
}

func TestBrokerRegistration(t *testing.T) {
	s := newScript(t, []int32{1}, nil)
	foreign := &RegisterBroker{ID: 1, Incarnation: testID(97), StorageIDs: []uuid.ID{testID(98)}, Previous: s.epoch(1)}
	if err := s.try(foreign); err != ErrDuplicateBroker {
		t.Errorf("another machine with an active broker's id: %v", err)
	}
	if err := s.try(&FenceBroker{1, s.epoch(1) + 1}); err != ErrStaleBrokerEpoch {
		t.Errorf("fence by another epoch: %v", err)
	}
	if err := s.try(&ActivateBroker{9, 1}); err != ErrUnknownBroker {
		t.Errorf("activate nobody: %v", err)
	}
	// Two runs within one entry would share an epoch, so the second has to come again.
	e := newEdit(s.im)
	e.at(s.im.Index()+1, 1)
	if _, err := e.applyCommand(s.register(1, 1, false)); err != nil {
		t.Error(err)
	}
	second := s.register(1, 2, false).(*RegisterBroker)
	second.Previous = int64(s.im.Index() + 1)
	if _, err := e.applyCommand(second); err != ErrDuplicateBroker {
		t.Errorf("second run in one entry: %v", err)
	}
}
