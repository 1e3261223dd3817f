package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/uuid"
)

func TestEntryBytes(t *testing.T) {
	command, err := appendCommand(nil, &SetDraining{1, true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "entries.golden", fmt.Sprintf("plain %x\nstamped %x\n",
		appendToEntry(beginEntry(stamp{}), command), appendToEntry(beginEntry(stamp{3, 300, 70_000}), command)))
	for _, bad := range [][]byte{{entryStamped}, {entryStamped, 2, 2}, {entryStamped, 2, 2, 0}, {entryStamped, 2, 2, 0x81, 0}} {
		if _, _, err := decodeEntry(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	if _, _, err := decodeEntry([]byte{entryStamped + 1}); !errors.Is(err, ErrUnsupportedCommand) {
		t.Errorf("newer format: %v", err)
	}
}

// TestAdmission has for each rule one entry that breaks only that.
func TestAdmission(t *testing.T) {
	im := exampleImage(t) // broker 1, of epoch 1, is at 7
	for _, test := range []struct {
		name  string
		stamp stamp
		want  bool
	}{
		{"plain", stamp{}, true},
		{"next", stamp{1, 1, 8}, true},
		{"after ones that never came", stamp{1, 1, 20}, true},
		{"repeated", stamp{1, 1, 7}, false},
		{"late", stamp{1, 1, 6}, false},
		{"first of another", stamp{2, 3, 1}, true},
		{"of an earlier run", stamp{2, 2, 1}, false},
		{"of a run to come", stamp{2, 4, 1}, false},
		{"of nobody", stamp{9, 1, 1}, false},
	} {
		e := newEdit(im)
		before := e.sequence(test.stamp.broker)
		if got := e.admit(test.stamp); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
		if after := e.sequence(test.stamp.broker); test.want && after != test.stamp.sequence || !test.want && after != before {
			t.Errorf("%s: from %d to %d", test.name, before, after)
		}
	}
	next := applyAll(t, im, &FenceBroker{1, 1}, &RegisterBroker{ID: 1, Incarnation: testID(99), Previous: 1})
	b, _ := next.Broker(1)
	e := newEdit(next)
	if next.sequence(1) != 0 || e.admit(stamp{1, 1, 8}) || !e.admit(stamp{1, b.Epoch, 1}) {
		t.Error("a new run does not count anew")
	}
	removed := applyAll(t, im, &FenceBroker{1, 1}, &DeleteTopic{testID(1)}, &DeleteTopic{testID(2)}, &RemoveBroker{1, 1})
	if removed.sequence(1) != 0 || newEdit(removed).admit(stamp{1, 1, 8}) {
		t.Error("a removed broker goes on")
	}
}

// TestLateRegistration: a registration that an earlier run proposed changes nothing once a later one is there.
func TestLateRegistration(t *testing.T) {
	im := worldForFuzzing()
	disk := []uuid.ID{testID(152)} // that of broker 1: its lock proves that the earlier run is dead
	run := func(n int, previous int64) *RegisterBroker {
		return &RegisterBroker{ID: 1, Incarnation: testID(50 + n), StorageIDs: disk, Previous: previous}
	}
	im = applyAll(t, im, run(2, 1))
	b, _ := im.Broker(1)
	for _, late := range []*RegisterBroker{run(1, 1), run(1, 0)} {
		if err := rejection(t, im, late); err != ErrStaleBrokerEpoch {
			t.Errorf("registration behind %d: %v", late.Previous, err)
		}
	}
	if _, result, err := Apply(im, im.Index()+1, 1, run(2, 1)); err != nil || result.BrokerEpoch != b.Epoch {
		t.Errorf("the same run again: %+v, %v", result, err)
	}
	if err := rejection(t, im, run(3, b.Epoch)); err != nil {
		t.Errorf("the run that looked again: %v", err)
	}
	if err := rejection(t, im, &RegisterBroker{ID: 9, Incarnation: testID(50), Previous: 1}); err != ErrStaleBrokerEpoch {
		t.Errorf("a broker that was removed meanwhile: %v", err)
	}
}

// TestLateEntriesChangeNothing delivers the entries of several runs in any order, some twice or never.
func TestLateEntriesChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newTestFSM(t)
		index := uint64(0)
		apply := func(s stamp, cmd Command) outcome {
			index++
			b, err := appendCommand(nil, cmd)
			if err != nil {
				t.Fatal(err)
			}
			return f.Apply(&raft.Log{Index: index, Term: 1, Data: appendToEntry(beginEntry(s), b)}).([]outcome)[0]
		}
		for _, cmd := range firstCommands() {
			apply(stamp{}, cmd)
		}
		type run struct{ epoch, newest int64 }
		latest := map[int32]run{1: {1, 0}, 2: {3, 0}, 3: {5, 0}}
		var ever []stamp
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := drawFrom(t, worldBrokers)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				old := latest[id]
				apply(stamp{}, &FenceBroker{id, old.epoch})
				o := apply(stamp{}, &RegisterBroker{ID: id, Incarnation: testID(int(index % 250)), Previous: old.epoch})
				if o.err == nil && o.result.BrokerEpoch > old.epoch {
					latest[id] = run{epoch: o.result.BrokerEpoch}
				}
				continue
			}
			s := stamp{id, latest[id].epoch, uint64(rapid.IntRange(1, 20).Draw(t, "sequence"))}
			if len(ever) > 0 && rapid.Bool().Draw(t, "again") {
				s = drawFrom(t, ever)
			}
			ever = append(ever, s)
			before := f.feed.image.Load()
			late := latest[s.broker].epoch != s.epoch || int64(s.sequence) <= latest[s.broker].newest
			o := apply(s, &SetConfig{BrokerResource, "", ConfigChange{Ops: []ConfigOp{{Key: "x", Value: fmt.Sprint(index)}}}})
			after := f.feed.image.Load()
			if late {
				want := *before
				want.index = after.index
				if o.err != ErrSuperseded || o.result.Index != index || after.Hash() != want.Hash() {
					t.Fatalf("late entry %v: %v, %s", s, o.err, cmp.Diff(describe(&want), describe(after)))
				}
				continue
			}
			if o.err != nil || after.sequence(s.broker) != s.sequence {
				t.Fatalf("entry %v: %v", s, o.err)
			}
			latest[s.broker] = run{s.epoch, int64(s.sequence)}
		}
	})
}

func TestEntriesAreNumberedInTheOrderOfSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newFakeProposals(maxInFlight)
		defer closeProposals(p)
		next := func() stamp {
			done := proposeAsync(t.Context(), p, &DeleteTopic{})
			entry := <-log.entries
			entry.commit(nil)
			<-done
			return entry.stamp
		}
		if s := next(); s != (stamp{}) {
			t.Errorf("before the registration: %v", s)
		}
		var got []stamp
		for _, epoch := range []int64{7, 7, 9} { // said twice is said once
			p.setProposer(3, epoch)
			got = append(got, next(), next())
		}
		if diff := cmp.Diff(fmt.Sprint([]stamp{{3, 7, 1}, {3, 7, 2}, {3, 7, 3}, {3, 7, 4}, {3, 9, 1}, {3, 9, 2}}), fmt.Sprint(got)); diff != "" {
			t.Error(diff)
		}
	})
}

// badRoad forwards entries to the leader, and holds back those that it is told to: their sender hears that
// the connection broke.
type badRoad struct {
	c *cluster

	mu   sync.Mutex // guards the fields below
	hold bool
	held [][]byte
}

var errBroken = errors.New("connection broke")

func (r *badRoad) forward(ctx context.Context, leader Server, entry []byte) (uint64, error) {
	r.mu.Lock()
	if r.hold {
		r.held = append(r.held, entry)
		r.mu.Unlock()
		return 0, errBroken
	}
	to := r.c.nodes[leader.ID]
	r.mu.Unlock()
	return to.ApplyEntry(ctx, entry)
}

func (r *badRoad) set(hold bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = hold
}

// TestLateCommitsDoNotTakeOffsetsBack (I42): two commits are lost on the way to the leader, a third one is
// acknowledged, and then they arrive, the newer one first.
func TestLateCommitsDoNotTakeOffsetsBack(t *testing.T) {
	for _, numbered := range []bool{true, false} {
		t.Run(fmt.Sprintf("numbered=%v", numbered), func(t *testing.T) {
			road := &badRoad{}
			c := newClusterWith(t, func(o *Options) { o.Forward = road.forward })
			road.c = c
			ctx := testContext(t)
			topic, err := settleWith(ctx, c.leader(t))
			if err != nil {
				t.Fatal(err)
			}
			leader := c.leader(t)
			var n *Node
			for _, other := range c.nodes {
				if other != leader {
					n = other
				}
			}
			if numbered {
				b, _ := leader.Image().Broker(1)
				n.SetProposer(1, b.Epoch)
			}
			road.set(true)
			for _, offset := range []int64{10, 15} {
				if _, err := n.Propose(ctx, commitOf("g", topic.ID, offset)); !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, errBroken) {
					t.Fatalf("commit of %d: %v", offset, err)
				}
			}
			road.set(false)
			if _, err := n.Propose(ctx, commitOf("g", topic.ID, 20)); err != nil {
				t.Fatal(err)
			}
			want := int64(20)
			for _, i := range []int{1, 0} {
				if _, err := c.leader(t).ApplyEntry(ctx, road.held[i]); err != nil {
					t.Fatal(err)
				}
				if !numbered { // which shows that the entries do arrive, and what they would do
					want = []int64{10, 15}[i]
				}
				c.catchUp(t)
				for id, n := range c.nodes {
					if o, _ := n.Image().Offset("", "g", topic.ID, 0); o.Offset != want {
						t.Errorf("node %s has offset %d, want %d", id, o.Offset, want)
					}
				}
			}
		})
	}
}
