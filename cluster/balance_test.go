package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// topic creates one with the assignments of its partitions.
func (x *table) topic(name string, assignments ...[]int32) uuid.ID {
	x.t.Helper()
	id := newID(x.t)
	x.do(&raftmeta.CreateTopic{ID: id, Name: name, Assignments: assignments})
	return id
}

func (x *table) partition(topic uuid.ID, number int) raftmeta.Partition {
	x.t.Helper()
	found, ok := x.image().TopicByID(topic)
	if !ok {
		x.t.Fatal("no such topic")
	}
	return found.Partitions[number]
}

// join puts replicas into the ISR, as their leader would.
func (x *table) join(topic uuid.ID, number int, isr ...int32) {
	x.t.Helper()
	p := x.partition(topic, number)
	var members []raftmeta.ISRMember
	for _, id := range isr {
		members = append(members, raftmeta.ISRMember{ID: id, BrokerEpoch: x.epoch(id)})
	}
	x.do(&raftmeta.AlterPartition{
		TopicID: topic, Partition: int32(number), Leader: p.Leader, BrokerEpoch: x.epoch(p.Leader),
		LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, ISR: members,
	})
}

func (x *table) moves(list []move) string {
	var texts []string
	for _, m := range list {
		x.do(m.command)
		switch c := m.command.(type) {
		case *raftmeta.ElectLeader:
			texts = append(texts, fmt.Sprintf("elect %d", c.Partition))
		case *raftmeta.MoveShard:
			texts = append(texts, fmt.Sprintf("shard to %d", c.To))
		case *raftmeta.Reassign:
			texts = append(texts, fmt.Sprintf("reassign %d %v", c.Partition, c.Replicas))
		}
	}
	return strings.Join(texts, ", ")
}

func TestLeadersGoBackToWherePeopleWantThem(t *testing.T) {
	x := newTable(t)
	x.active(1, 2)
	topic := x.topic("a", []int32{1, 2}, []int32{2, 1})
	x.do(&raftmeta.FenceBroker{ID: 1, Epoch: x.epoch(1)})
	x.do(&raftmeta.ActivateBroker{ID: 1, Epoch: x.epoch(1)})
	if got := x.moves(preferredLeaders(x.image())); got != "" {
		t.Errorf("with the preferred replica out of sync: %s", got)
	}
	x.join(topic, 0, 1, 2)
	x.do(&raftmeta.SetDraining{ID: 1, Draining: true})
	if got := x.moves(preferredLeaders(x.image())); got != "" {
		t.Errorf("to a broker that is being emptied: %s", got)
	}
	x.do(&raftmeta.SetDraining{ID: 1})
	if got := x.moves(preferredLeaders(x.image())); got != "elect 0" || x.partition(topic, 0).Leader != 1 {
		t.Errorf("moves %q, leader %d", got, x.partition(topic, 0).Leader)
	}
	if got := x.moves(preferredLeaders(x.image())); got != "" {
		t.Errorf("again: %s", got)
	}
}

func TestLeadersMoveInBoundedRounds(t *testing.T) {
	x := newTable(t)
	x.active(1, 2)
	topic := x.topic("a", slices.Repeat([][]int32{{1, 2}}, maxElections+10)...)
	x.do(&raftmeta.FenceBroker{ID: 1, Epoch: x.epoch(1)})
	x.do(&raftmeta.ActivateBroker{ID: 1, Epoch: x.epoch(1)})
	for i := range maxElections + 10 {
		x.join(topic, i, 1, 2)
	}
	for _, want := range []int{maxElections, 10, 0} {
		list := preferredLeaders(x.image())
		if len(list) != want {
			t.Errorf("%d moves, want %d", len(list), want)
		}
		x.moves(list)
	}
}

func TestShardsAreEven(t *testing.T) {
	x := newTable(t)
	x.active(1)
	x.active(2, 3)
	counts := func() string {
		owned := map[int32]int{}
		for i := range int32(raftmeta.GroupShards) {
			owned[x.image().Shard(i).Owner]++
		}
		return fmt.Sprint(owned[1], owned[2], owned[3])
	}
	settle := func() {
		for range 2 * raftmeta.GroupShards {
			list := evenShards(x.image())
			if len(list) > maxMoves {
				t.Fatalf("%d moves in one round", len(list))
			}
			if len(list) == 0 {
				return
			}
			x.moves(list)
		}
		t.Fatal("it never comes to rest")
	}
	if got := counts(); got != "64 0 0" {
		t.Fatalf("shards %s", got)
	}
	settle()
	if got := counts(); got != "22 21 21" {
		t.Errorf("shards %s", got)
	}
	x.do(&raftmeta.SetDraining{ID: 2, Draining: true})
	settle()
	if got := counts(); got != "32 0 32" {
		t.Errorf("shards with broker 2 draining %s", got)
	}
	for id := range int32(3) {
		x.do(&raftmeta.SetDraining{ID: id + 1, Draining: true})
	}
	if list := evenShards(x.image()); len(list) != 0 {
		t.Errorf("%d moves with nobody to take any", len(list))
	}
}

func TestDrainingBrokerIsReplaced(t *testing.T) {
	x := newTable(t)
	x.active(1, 2, 3)
	topic := x.topic("a", []int32{1, 2}, []int32{2, 3}, []int32{2, 1})
	if list := drain(x.image()); len(list) != 0 {
		t.Errorf("nobody drains: %d moves", len(list))
	}
	x.do(&raftmeta.SetDraining{ID: 1, Draining: true})
	if got := x.moves(drain(x.image())); got != "reassign 0 [2 3], reassign 2 [2 3]" {
		t.Errorf("moves %s", got)
	}
	if got := x.moves(drain(x.image())); got != "" {
		t.Errorf("while they move: %s", got)
	}
	if got := x.moves(preferredLeaders(x.image())); got != "elect 0" {
		t.Errorf("leaders: %s", got)
	}
	x.join(topic, 0, 2, 3)
	x.join(topic, 2, 2, 3)
	for i := range 3 {
		if p := x.partition(topic, i); slices.Contains(p.Replicas, 1) || p.Reassigning() {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
}

func TestDrainingBrokerWithoutAnHeirGoesToTheEnd(t *testing.T) {
	x := newTable(t)
	x.active(1, 2)
	topic := x.topic("a", []int32{1, 2}, []int32{2, 1}, []int32{1})
	x.do(&raftmeta.SetDraining{ID: 1, Draining: true})
	if got := x.moves(drain(x.image())); got != "reassign 0 [2 1], reassign 2 [2]" {
		t.Errorf("moves %s", got)
	}
	x.moves(preferredLeaders(x.image()))
	if p := x.partition(topic, 0); p.Leader != 2 {
		t.Errorf("partition %+v", p)
	}
	if got := x.moves(drain(x.image())); got != "" {
		t.Errorf("again: %s", got)
	}
}

func TestDrainingIsBounded(t *testing.T) {
	x := newTable(t)
	x.active(1, 2, 3)
	x.topic("a", slices.Repeat([][]int32{{1, 2}}, 3*maxDraining)...)
	x.do(&raftmeta.SetDraining{ID: 1, Draining: true})
	list := drain(x.image())
	if len(list) != maxDraining {
		t.Errorf("%d at a time", len(list))
	}
	x.moves(list[:2])
	if list := drain(x.image()); len(list) != maxDraining-2 {
		t.Errorf("%d more with 2 on their way", len(list))
	}
}

func TestHeirIsInARackOfItsOwn(t *testing.T) {
	x := newTable(t)
	for id, rack := range map[int32]string{1: "a", 2: "b", 3: "b", 4: "a"} {
		epoch := x.do(&raftmeta.RegisterBroker{
			ID: id, Incarnation: newID(t), KafkaHost: "h", KafkaPort: 1, PeerAddress: "h:2", Rack: rack,
		}).BrokerEpoch
		x.do(&raftmeta.ActivateBroker{ID: id, Epoch: epoch})
	}
	x.topic("busy", []int32{4}, []int32{4}, []int32{4})
	x.topic("t", []int32{1, 2})
	x.do(&raftmeta.SetDraining{ID: 1, Draining: true})
	if got := x.moves(drain(x.image())); got != "reassign 0 [2 4]" {
		t.Errorf("moves %s", got)
	}
}

func TestFurthestLog(t *testing.T) {
	replicas := []int32{3, 1, 2}
	for _, c := range []struct {
		ends []logEnd
		want int32
	}{
		{nil, raftmeta.NoLeader},
		{[]logEnd{{1, 4, 9}, {2, 5, 1}}, 2},
		{[]logEnd{{1, 5, 9}, {2, 5, 8}}, 1},
		{[]logEnd{{1, 5, 9}, {2, 5, 9}, {3, 5, 9}}, 3},
		{[]logEnd{{1, -1, 0}, {2, 0, 0}}, 2},
	} {
		if got, ok := furthest(replicas, c.ends); got != c.want || ok != (c.ends != nil) {
			t.Errorf("%v: %d %v, want %d", c.ends, got, ok, c.want)
		}
	}
}
