package raftmeta

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// TestRecoverAfterLosingTheMajority: two of three die for good. The third cannot lead, until it is told that
// it is alone; then it leads with the table that it had, and new servers join it.
func TestRecoverAfterLosingTheMajority(t *testing.T) {
	c := newCluster(t)
	for _, cmd := range []Command{&InitCluster{testID(200)}, &RegisterBroker{ID: 1, Incarnation: testID(100)}} {
		c.propose(t, cmd)
	}
	broker, _ := c.leader(t).Image().Broker(1)
	c.propose(t, &ActivateBroker{1, broker.Epoch})
	topic := c.propose(t, &CreateTopic{ID: testID(1), Name: "a", Assignments: [][]int32{{1}}}).Topic
	if err := c.leader(t).Snapshot(testContext(t)); err != nil { // the survivor may or may not have one
		t.Fatal(err)
	}
	c.propose(t, commitOf("g", topic.ID, 42))
	c.catchUp(t)

	survivor := "2-test"
	dir := c.options[survivor].Dir
	if _, err := Recover(dir, survivor, nil); err == nil {
		t.Fatal("the directory of a running server was recovered")
	}
	want, hash := describe(c.nodes[survivor].Image()), c.nodes[survivor].Image().Hash()
	for id, n := range c.nodes {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		delete(c.nodes, id)
		delete(c.transports, id)
	}

	r, err := Examine(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Members) != 3 || r.LastTerm == 0 || r.LastIndex < 5 {
		t.Errorf("what is left: %+v", r)
	}
	if _, err := Recover(dir, "9-stranger", nil); err == nil {
		t.Error("a server recovered a group that it is no member of")
	}
	for range 2 { // an interrupted recovery is repeated
		im, err := Recover(dir, survivor, nil)
		if err != nil {
			t.Fatal(err)
		}
		if im.Hash() != hash {
			t.Fatalf("the recovered table differs: %s", cmp.Diff(want, describe(im)))
		}
	}
	c.start(t, survivor)
	alone := c.leader(t)
	if got := describe(alone.Image()); !cmp.Equal(got, want) {
		t.Fatalf("the table after the start differs: %s", cmp.Diff(want, got))
	}
	c.propose(t, commitOf("g", topic.ID, 43))

	// A wiped server comes back as another one.
	o := aloneOptions(t, t.TempDir())
	o.ServerID, o.Bootstrap, o.Timeouts = "1-anew", nil, c.options[survivor].Timeouts
	c.options[o.ServerID] = o
	c.start(t, o.ServerID)
	joiner := Server{ID: o.ServerID, Address: o.ServerID}
	if err := alone.AddNonvoter(testContext(t), joiner); err != nil {
		t.Fatal(err)
	}
	c.catchUp(t)
	if err := alone.Promote(testContext(t), joiner); err != nil {
		t.Fatal(err)
	}
	c.propose(t, commitOf("g", topic.ID, 44))
	c.catchUp(t)
	if members, err := alone.Members(); err != nil || len(members) != 2 {
		t.Errorf("members %+v, %v", members, err)
	}
}

// TestRecoverNothing: an empty directory stays one.
func TestRecoverNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Recover(dir, "1-test", nil); !errors.Is(err, ErrNoState) {
		t.Errorf("recover: %v", err)
	}
	if exists, err := HasState(dir); exists || err != nil {
		t.Errorf("state afterwards: %v, %v", exists, err)
	}
}

// TestRecoverRefusesWhatItCannotRead: an entry of a newer release must not be skipped (replication.md 4.2).
func TestRecoverRefusesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	n := openReady(t, aloneOptions(t, dir))
	settle(t, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	unknown := []byte{255, 255, 255}
	if err := errors.Join(s.StoreLog(&raft.Log{Index: last + 1, Term: 1, Type: raft.LogCommand, Data: unknown}), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(dir, "1-test", nil); err == nil {
		t.Fatal("an entry that cannot be read was skipped")
	}
	if r, err := Examine(dir, nil); err != nil || r.LastIndex != last+1 {
		t.Errorf("the log has changed: %+v, %v", r, err)
	}
}
