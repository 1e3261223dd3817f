package raftmeta

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkPropose is what concurrent callers pay for an offset commit, on a synced store.
func BenchmarkPropose(b *testing.B) {
	for _, inFlight := range []int{1, 2, 4} {
		for _, callers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("inflight=%d/callers=%d", inFlight, callers), func(b *testing.B) {
				o := aloneOptions(b, b.TempDir())
				o.inFlight = inFlight
				n := openReady(b, o)
				topic := settle(b, n)
				ctx := b.Context()
				before := n.raft.LastIndex()
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var group sync.WaitGroup
				for g := range callers {
					group.Go(func() {
						cmd := commitOf(fmt.Sprint("group-", g), topic.ID, 1)
						for next.Add(1) <= int64(b.N) {
							if _, err := n.Propose(ctx, cmd); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(n.raft.LastIndex()-before)/float64(b.N), "entries/op")
			})
		}
	}
}

// manyTopics is an image of 1000 topics with 10 partitions, all led by broker 1.
func manyTopics(b *testing.B) *Image {
	im := NewImage()
	e := newEdit(im)
	e.at(1, 1)
	commands := []Command{&RegisterBroker{ID: 1, Incarnation: testID(1)}, &ActivateBroker{1, 1}}
	for i := range 1000 {
		id := testID(0)
		id[1], id[2] = byte(i>>8), byte(i)
		commands = append(commands, &CreateTopic{ID: id, Name: fmt.Sprint("topic-", i), Assignments: [][]int32{
			{1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}, {1},
		}})
	}
	for _, cmd := range commands {
		if _, err := e.applyCommand(cmd); err != nil {
			b.Fatal(err)
		}
	}
	return e.done()
}

func BenchmarkImage(b *testing.B) {
	im := manyTopics(b)
	id := testID(0)
	id[2] = 77
	im, _, err := Apply(im, 2, 1, commitOf("group", id, 1))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Topic", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := im.Topic("", "topic-77"); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("TopicByID", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := im.TopicByID(id); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("Offset", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := im.Offset("", "group", id, 0); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("AllTopics", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range im.AllTopics() {
			}
		}
	})
}

// BenchmarkFence takes the leader of 10,000 partitions away and brings it back.
func BenchmarkFence(b *testing.B) {
	im := manyTopics(b)
	for b.Loop() {
		for _, cmd := range []Command{&FenceBroker{1, 1}, &ActivateBroker{1, 1}} {
			next, _, err := Apply(im, im.Index()+1, 1, cmd)
			if err != nil {
				b.Fatal(err)
			}
			im = next
		}
	}
}

// largeTopics is an image of three brokers and three topics with 1000 partitions on all of them.
func largeTopics(b *testing.B) *Image {
	commands := []Command{}
	for i, id := range worldBrokers {
		commands = append(commands, &RegisterBroker{ID: id, Incarnation: testID(i + 1)}, &ActivateBroker{id, int64(2*i + 1)})
	}
	for i := range 3 {
		assignments := make([][]int32, 1000)
		for n := range assignments {
			assignments[n] = []int32{int32(1 + n%3), int32(1 + (n+1)%3), int32(1 + (n+2)%3)}
		}
		commands = append(commands, &CreateTopic{
			ID: testID(10 + i), Name: fmt.Sprint("topic-", i), Config: map[string]string{minInSyncKey: "2"}, Assignments: assignments,
		})
	}
	im := NewImage()
	for _, cmd := range commands {
		next, _, err := Apply(im, im.Index()+1, 1, cmd)
		if err != nil {
			b.Fatal(err)
		}
		im = next
	}
	return im
}

// BenchmarkFenceOneOfThree is how long 3000 partitions wait for each other when one of three brokers dies.
func BenchmarkFenceOneOfThree(b *testing.B) {
	im := largeTopics(b)
	for b.Loop() {
		if _, _, err := Apply(im, im.Index()+1, 1, &FenceBroker{1, 1}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShrinkAll is an entry in which the leaders of all partitions of a topic drop a member at once.
func BenchmarkShrinkAll(b *testing.B) {
	im := largeTopics(b)
	topic, _ := im.TopicByID(testID(10))
	var commands []Command
	for i := range topic.Partitions {
		p := &topic.Partitions[i]
		x := &AlterPartition{TopicID: topic.ID, Partition: int32(i), Leader: p.Leader, BrokerEpoch: int64(2*p.Leader - 1)}
		for _, id := range p.ISR[:2] {
			x.ISR = append(x.ISR, ISRMember{id, int64(2*id - 1)})
		}
		commands = append(commands, x)
	}
	for b.Loop() {
		e := newEdit(im)
		e.at(im.Index()+1, 1)
		for _, cmd := range commands {
			if _, err := e.applyCommand(cmd); err != nil {
				b.Fatal(err)
			}
		}
		e.done()
	}
}

func BenchmarkApplyOffsetCommit(b *testing.B) {
	im := manyTopics(b)
	e := newEdit(im)
	id := testID(0)
	cmd := commitOf("group", id, 1)
	b.ReportAllocs()
	for b.Loop() {
		cmd.Offsets[0].Offset++
		if _, err := e.applyCommand(cmd); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	im := manyTopics(b)
	for b.Loop() {
		if err := writeSnapshot(io.Discard, im); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is from nothing to the first answered proposal.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		n, err := Open(aloneOptions(b, b.TempDir()))
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
		mustPropose(b, n, &InitCluster{testID(200)})
		b.StopTimer()
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
