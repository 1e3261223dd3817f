package broker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/raftmeta"
)

// kafka is a stock client in the bubble.
func (c *virtualCluster) kafka(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	seeds := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		seeds[i] = fmt.Sprintf("%s:%d", virtualIP(n.id), kafkaPort)
	}
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.Dialer(c.client.dial)}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// groupMember is a stock consumer in a group, and what happened to it.
type groupMember struct {
	client *kgo.Client
	ended  chan struct{}

	mu       sync.Mutex // guards the fields below
	assigned int        // how many times it was given partitions
	lost     int        // or was told that it has none
	seen     map[string]int
}

// join lets a member consume until leave.
func (c *virtualCluster) join(group, topic string) *groupMember {
	m := &groupMember{ended: make(chan struct{}), seen: map[string]int{}}
	m.client = c.kafka(
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(30*time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if len(got) > 0 {
				m.assigned++
			}
		}),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.lost++
		}),
	)
	go func() {
		defer close(m.ended)
		for {
			fetches := m.client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			m.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { m.seen[string(r.Value)]++ })
			m.mu.Unlock()
			// What cannot be committed now is with the next.
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_ = m.client.CommitUncommittedOffsets(ctx)
			cancel()
		}
	}()
	return m
}

func (m *groupMember) leave() {
	m.client.Close()
	<-m.ended
}

func (m *groupMember) state() (assigned, lost, seen int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.assigned, m.lost, len(m.seen)
}

// committed is what a node has applied of a group's offset in partition 0.
func (n *virtualNode) committed(group, topic string) int64 {
	img := n.b.meta.Image()
	found, ok := img.Topic(defaultTenant, topic)
	if !ok {
		return -1
	}
	offset, ok := img.Offset(defaultTenant, group, found.ID, 0)
	if !ok {
		return -1
	}
	return offset.Offset
}

// TestVirtualGroup: when a group's coordinator crashes, its members go on at another broker without joining
// again, and with the offsets that they committed (replication.md 18.2).
func TestVirtualGroup(t *testing.T) {
	virtually(t, func(t *testing.T, c *virtualCluster) {
		coordinator := func() int32 {
			return c.running()[0].meta.Image().Shard(raftmeta.ShardOf(defaultTenant, "g")).Owner
		}
		first := coordinator()
		c.create("u", first%3+1) // led by another
		members := []*groupMember{c.join("g", "u"), c.join("g", "u")}
		defer func() {
			for _, m := range members {
				m.leave()
			}
		}()
		seen := func(want int) func() bool {
			return func() bool {
				total := 0
				for _, m := range members {
					_, _, n := m.state()
					total += n
				}
				return total == want
			}
		}
		for i := range 20 {
			c.mustProduce("u", nil, 5*time.Second, strconv.Itoa(i))
		}
		c.eventually(20*time.Second, "the group has not read everything", seen(20))
		c.eventually(5*time.Second, "the offsets are not committed", func() bool { return c.node(first%3+1).committed("g", "u") == 20 })
		time.Sleep(15 * time.Second) // the rebalances of the beginning are over
		before := [][2]int{}
		for _, m := range members {
			assigned, lost, _ := m.state()
			before = append(before, [2]int{assigned, lost})
		}

		c.node(first).crash()
		took := c.eventually(3*time.Second, "no other coordinator", func() bool { return coordinator() != first })
		t.Logf("another coordinator after %v", took)
		for i := range 20 {
			c.mustProduce("u", nil, 5*time.Second, strconv.Itoa(20+i))
		}
		c.eventually(10*time.Second, "the group does not go on", seen(40))
		c.eventually(10*time.Second, "the offsets are not committed", func() bool { return c.node(first%3+1).committed("g", "u") == 40 })
		time.Sleep(2 * time.Minute)
		after := [][2]int{}
		for _, m := range members {
			assigned, lost, _ := m.state()
			after = append(after, [2]int{assigned, lost})
		}
		if !slices.Equal(before, after) {
			t.Errorf("times that the members were assigned and lost partitions: %v before the crash, %v after", before, after)
		}
		c.node(first).start()
		c.settled("u", 30*time.Second)
	})
}
