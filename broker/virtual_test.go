package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// virtually runs a test on three brokers in virtual time, with a topic "t" that node 1 leads.
func virtually(t *testing.T, test func(t *testing.T, c *virtualCluster), configs ...string) {
	t.Helper()
	began := time.Now()
	inBubble(t, func(t *testing.T) {
		c := startVirtual(t, 1, nil)
		c.create("t", 1, configs...)
		test(t, c)
	})
	t.Logf("took %v of real time", time.Since(began))
}

// TestVirtualCluster: three brokers form a cluster, and replicate what they acknowledge.
func TestVirtualCluster(t *testing.T) {
	virtually(t, func(t *testing.T, c *virtualCluster) {
		for i := range 100 {
			if at := c.mustProduce("t", nil, time.Second, fmt.Sprint(i)); at != int64(i) {
				t.Fatalf("record %d is at offset %d", i, at)
			}
		}
		if _, err := c.produce(2, "t", nil, time.Second, "astray"); err != errKafka(kerr.NotLeaderForPartition.Code) {
			t.Errorf("produce to a follower: %v", err)
		}
		c.settled("t", 5*time.Second)
		c.expect("t", numbers(100))
	})
}

func numbers(n int) (values []string) {
	for i := range n {
		values = append(values, fmt.Sprint(i))
	}
	return values
}

// expect fails the test unless the topic holds exactly values.
func (c *virtualCluster) expect(topic string, values []string) {
	c.t.Helper()
	if got := c.all(topic); !slices.Equal(got, values) {
		c.t.Errorf("%s holds %d records %.300v, want %d %.300v", topic, len(got), got, len(values), values)
	}
}

// TestVirtualLeaderCrash: another leader is there within the bound, with all that was acknowledged, and the
// one that crashed comes back as its follower. A killed process is noticed by its connections. A machine
// without power falls silent: that takes a session, and if it was the controller an election before it.
func TestVirtualLeaderCrash(t *testing.T) {
	for _, test := range []struct {
		name       string
		controller bool
		crash      func(*virtualNode)
		within     time.Duration
	}{
		{"killed", false, (*virtualNode).crash, 2 * time.Second},
		{"controller killed", true, (*virtualNode).crash, 2 * time.Second},
		{"power", false, (*virtualNode).losePower, 2 * time.Second},
		{"controller's power", true, (*virtualNode).losePower, 4 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtually(t, func(t *testing.T, c *virtualCluster) {
				leader := c.controller()
				if !test.controller {
					leader = leader%3 + 1
				}
				c.create("u", leader)
				for i := range 10 {
					c.mustProduce("u", nil, time.Second, fmt.Sprint(i))
				}
				test.crash(c.node(leader))
				took := c.eventually(test.within, "no other leader", func() bool {
					id := c.leader("u")
					return id > 0 && id != leader
				})
				c.mustProduce("u", nil, time.Second, "10")
				t.Logf("another leader after %v", took)
				c.expect("u", numbers(11))
				c.node(leader).start()
				c.settled("u", 30*time.Second)
				c.expect("u", numbers(11))
			})
		})
	}
}
