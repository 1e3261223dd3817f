package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestVirtualPartition: a leader that is cut off acknowledges nothing to acks=all, is replaced by one of the
// others, and refuses its clients when its grace is over; healed, it gives up what nobody else has.
func TestVirtualPartition(t *testing.T) {
	for _, test := range []struct {
		name     string
		from, to bool // which ways are cut
	}{{"both ways", true, true}, {"only hears", true, false}, {"only speaks", false, true}} {
		for _, controller := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, controller %v", test.name, controller), func(t *testing.T) {
				virtually(t, func(t *testing.T, c *virtualCluster) {
					leader := c.controller()
					if !controller {
						leader = leader%3 + 1
					}
					c.create("u", leader)
					c.mustProduce("u", nil, time.Second, "0")
					c.cutOff(c.node(leader), test.from, test.to)
					cut := time.Now()
					if at, err := c.produce(leader, "u", nil, 500*time.Millisecond, "alone"); err != errKafka(kerr.RequestTimedOut.Code) {
						t.Errorf("a leader that is cut off answers acks=all with %d, %v", at, err)
					}
					took := c.eventually(5*time.Second, "no other leader", func() bool { return c.leader("u") != leader })
					t.Logf("another leader after %v", took+500*time.Millisecond)
					c.mustProduce("u", nil, 5*time.Second, "1")
					time.Sleep(time.Until(cut.Add(11 * time.Second)))
					if _, _, err := c.fetch(leader, "u", 0); err != errKafka(kerr.NotLeaderForPartition.Code) {
						t.Errorf("after 11 s alone it answers a fetch with: %v", err)
					}
					if _, err := c.produce(leader, "u", nil, time.Second, "late"); err != errKafka(kerr.NotLeaderForPartition.Code) {
						t.Errorf("after 11 s alone it answers a produce with: %v", err)
					}
					c.net.heal()
					c.settled("u", 30*time.Second)
					c.mustProduce("u", nil, time.Second, "2")
					c.expect("u", numbers(3))
				})
			})
		}
	}
}

// TestVirtualReturn: a leader that was cut off hears from the controller before Raft has told it that it leads no
// more. It sends no consumer back that has read on at its successor (I18), and shows nothing as new that is not.
func TestVirtualReturn(t *testing.T) {
	for _, away := range []time.Duration{3 * time.Second, 30 * time.Second} {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			virtually(t, func(t *testing.T, c *virtualCluster) {
				leader := c.controller()
				c.create("u", leader)
				c.mustProduce("u", nil, time.Second, "0")
				c.cutOff(c.node(leader), true, true)
				c.eventually(5*time.Second, "no other leader", func() bool { return c.leader("u") != leader })
				for i := range 20 {
					c.mustProduce("u", nil, 5*time.Second, fmt.Sprint(i+1))
				}
				time.Sleep(away)
				c.net.heal()
				for healed := time.Now(); time.Since(healed) < 3*time.Second; {
					if _, _, err := c.fetch(leader, "u", 20); err == errKafka(kerr.OffsetOutOfRange.Code) {
						t.Fatalf("%v after it is back, a consumer that has read on elsewhere is sent back", time.Since(healed))
					}
					for epoch := range c.node(c.leader("u")).partition("u", 0).LeaderEpoch + 1 {
						if end, err := c.epochEnd(leader, "u", epoch); err == nil && end != map[bool]int64{true: 1, false: 21}[epoch == 0] {
							t.Fatalf("%v after it is back, it says that epoch %d ends at %d", time.Since(healed), epoch, end)
						}
					}
				}
				c.settled("u", 30*time.Second)
				c.expect("u", numbers(21))
			})
		})
	}
}

// TestVirtualLag: a follower that its leader does not hear from is out of the ISR after
// replica.lag.time.max.ms; until then acknowledgements wait for it, and after it they do not. It comes back
// by itself.
func TestVirtualLag(t *testing.T) {
	virtually(t, func(t *testing.T, c *virtualCluster) {
		controller := c.controller()
		leader, follower := controller%3+1, (controller+1)%3+1
		c.create("u", leader)
		c.mustProduce("u", nil, time.Second, "0")
		c.between(c.node(leader), c.node(follower), false, false)
		if _, err := c.produce(leader, "u", nil, time.Second, "1"); err != errKafka(kerr.RequestTimedOut.Code) {
			t.Errorf("with a silent follower in the ISR, a produce is answered with: %v", err)
		}
		took := c.eventually(13*time.Second, "the ISR has not shrunk", func() bool {
			return !slices.Contains(c.node(leader).partition("u", 0).ISR, follower)
		})
		if took < 8*time.Second {
			t.Errorf("the ISR has shrunk after %v already", took+time.Second)
		}
		c.mustProduce("u", nil, time.Second, "2")
		c.net.heal()
		c.settled("u", 20*time.Second)
		if got := c.leader("u"); got != leader {
			t.Errorf("node %d leads, the leader was never gone", got)
		}
		c.expect("u", numbers(3))
	})
}

// TestVirtualStall: who was paused for longer than a session finds another leader when it wakes, and follows.
func TestVirtualStall(t *testing.T) {
	virtually(t, func(t *testing.T, c *virtualCluster) {
		c.mustProduce("t", nil, time.Second, "0")
		for i := range 3 {
			paused := c.leader("t")
			c.stall(c.node(paused), true)
			c.eventually(5*time.Second, "no other leader", func() bool { return c.leader("t") != paused })
			c.mustProduce("t", nil, 5*time.Second, fmt.Sprint(i+1))
			time.Sleep(time.Minute)
			c.stall(c.node(paused), false)
			c.settled("t", 30*time.Second)
		}
		c.expect("t", numbers(4))
	})
}
