package broker

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
)

// TestVirtualControllerCrash: without a controller, reading and writing go on wherever the leader lives, and
// there is soon another one.
func TestVirtualControllerCrash(t *testing.T) {
	virtually(t, func(t *testing.T, c *virtualCluster) {
		p := &producer{id: 1000}
		for i := range 3 {
			controller := c.controller()
			topic := fmt.Sprint("u", i)
			c.create(topic, controller%3+1)
			p.sequence = 0
			c.mustProduce(topic, p, time.Second, "0")
			c.node(controller).crash()
			// The crashed broker is in the ISR until somebody decides that it is not.
			c.mustProduce(topic, p, 3*time.Second, "1")
			if c.leader(topic) != controller%3+1 {
				t.Errorf("the leader has changed, and was well")
			}
			took := c.eventually(2*time.Second, "no other controller", func() bool { return c.controller() != controller })
			t.Logf("another controller after %v more", took)
			c.node(controller).start()
			c.settled(topic, 20*time.Second)
			c.expect(topic, numbers(2))
		}
	})
}

// TestVirtualReady: a node that says it is ready is active, and stays so, at its first start and at others.
func TestVirtualReady(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := startVirtual(t, 1, nil)
		stays := func(n *virtualNode) {
			t.Helper()
			for began := time.Now(); time.Since(began) < 100*time.Millisecond; time.Sleep(virtualLatency / 4) {
				if self, ok := n.b.meta.Image().Broker(n.id); !ok || self.State != raftmeta.Active {
					t.Fatalf("%v after it was ready, node %d is %v", time.Since(began), n.id, self.State)
				}
			}
		}
		for range 10 {
			for _, n := range c.nodes {
				n.crash()
				n.start()
				stays(n)
			}
		}
	})
}

// TestVirtualRetention: old segments go on every replica, and nothing that is younger.
func TestVirtualRetention(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := startVirtual(t, 1, map[string]string{"log.retention.check.interval.ms": "10000"})
		c.create("u", 1, "retention.ms", "120000", "segment.ms", "30000", "segment.jitter.ms", "0")
		p := &producer{id: 1000}
		for i := range 60 { // for five minutes
			c.mustProduce("u", p, 5*time.Second, strconv.Itoa(i))
			time.Sleep(5 * time.Second)
		}
		c.eventually(time.Minute, "the replicas do not begin at the same offset", func() bool {
			first := c.node(1).hosted("u").replica.Offsets().Start
			return first > 0 && c.node(2).hosted("u").replica.Offsets().Start == first && c.node(3).hosted("u").replica.Offsets().Start == first
		})
		start := c.node(1).hosted("u").replica.Offsets().Start
		const young = (300 + 60 - 120) / 5 // written less than retention.ms ago, however long that took
		if start > young {
			t.Errorf("the log begins at %d, records from %d on are younger than retention.ms", start, young)
		}
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Timestamp = -2
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "u", Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
		resp, err := c.ask(1, req, 7, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset; got != start {
			t.Errorf("the earliest offset is said to be %d, it is %d", got, start)
		}
	})
}
