package groups

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/chronik-stream/chronik/raftmeta"
)

// stableStore has n Stable groups of two members, as a coordinator finds them when it starts.
func stableStore(n int) *memStore {
	s := newMemStore()
	for i := range n {
		id := fmt.Sprintf("group-%d", i)
		g := raftmeta.Group{ID: id, Generation: 1, ProtocolType: "consumer", Protocol: "range", Leader: "m0"}
		for m := range 2 {
			g.Members = append(g.Members, raftmeta.GroupMember{
				ID: fmt.Sprintf("m%d", m), ClientID: "c", SessionTimeout: 600_000, RebalanceTimeout: 60_000,
				Protocols:  []raftmeta.GroupProtocol{{Name: "range", Metadata: subscriptionOf("logs")}},
				Assignment: []byte("assignment"),
			})
		}
		s.put(g)
	}
	return s
}

// serve runs a coordinator for the length of a test or benchmark.
func serve(tb testing.TB, s *memStore) *Coordinator {
	c, err := New(Options{Store: s, TopicName: topicName})
	if err != nil {
		tb.Fatal(err)
	}
	c.SetShards(ownedBy(s.latest(), 1))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return c
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	c := serve(t, stableStore(1))
	req := HeartbeatRequest{Group: "group-0", MemberID: "m0", Generation: 1}
	if code := c.Heartbeat(req); code != 0 {
		t.Fatalf("heartbeat: %v", code)
	}
	if n := testing.AllocsPerRun(1000, func() { c.Heartbeat(req) }); n != 0 {
		t.Errorf("a heartbeat allocates %v times", n)
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	const groups = 1000
	c := serve(b, stableStore(groups))
	var reqs []HeartbeatRequest
	for i := range groups {
		reqs = append(reqs, HeartbeatRequest{Group: fmt.Sprintf("group-%d", i), MemberID: "m1", Generation: 1})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if code := c.Heartbeat(reqs[i%groups]); code != 0 {
				b.Fatal(code)
			}
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	const groups = 1000
	c := serve(b, stableStore(groups))
	var reqs []CommitRequest
	for i := range groups {
		reqs = append(reqs, CommitRequest{
			Group: fmt.Sprintf("group-%d", i), MemberID: "m1", Generation: 1, Retention: -1,
			Offsets: slices.Repeat([]raftmeta.CommittedOffset{{TopicID: logsTopic}}, 10),
		})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if r := c.Commit(context.Background(), reqs[i%groups]); r.Codes[0] != 0 {
				b.Fatal(r.Codes)
			}
		}
	})
}

// BenchmarkIdleGroups reports what a Stable group of two members costs while nothing happens.
func BenchmarkIdleGroups(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			store := stableStore(n)
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				goroutines := runtime.NumGoroutine()
				c, err := New(Options{Store: store, TopicName: topicName})
				if err != nil {
					b.Fatal(err)
				}
				c.SetShards(ownedBy(store.latest(), 1))
				c.load(b.Context())
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/group")
				b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
				runtime.KeepAlive(c)
			}
		})
	}
}
