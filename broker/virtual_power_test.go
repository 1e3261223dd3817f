package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/partition/log"
)

// ledger is what was acknowledged, by offset.
type ledger struct {
	mu    sync.Mutex // guards acked
	acked map[int64]string
}

func newLedger() *ledger { return &ledger{acked: map[int64]string{}} }

func (l *ledger) add(at int64, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[at] = value
}

// check compares with what a topic holds. Each acknowledged record is at its offset.
func (l *ledger) check(t *testing.T, values []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, value := range l.acked {
		if at >= int64(len(values)) || values[at] != value {
			t.Errorf("record %s was acknowledged at offset %d of %d, and is not there", value, at, len(values))
		}
	}
}

// write produces on several connections at once, one record after the other on each, until stop is closed.
func (c *virtualCluster) write(topic string, writers int, book *ledger, stop <-chan struct{}) (wait func()) {
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				value := fmt.Sprintf("%d-%d", w, i)
				if at, err := c.produce(c.leader(topic), topic, nil, time.Second, value); err == nil {
					book.add(at, value)
				}
			}
		})
	}
	return running.Wait
}

// TestVirtualBlackout: all three machines lose power at once, amid writes, and in mode sync every acknowledged
// record is there again (I29).
func TestVirtualBlackout(t *testing.T) {
	seeds := uint64(4)
	if testing.Short() || raceEnabled {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := startVirtual(t, seed, nil)
				c.create("t", 1)
				book := newLedger()
				for range 3 {
					stop := make(chan struct{})
					wait := c.write("t", 4, book, stop)
					time.Sleep(time.Duration(200+c.rng.IntN(1000)) * time.Millisecond)
					c.blackout()
					close(stop)
					wait()
					c.settled("t", time.Minute)
					book.check(t, c.all("t"))
				}
				if len(book.acked) < 100 {
					t.Errorf("only %d records were acknowledged", len(book.acked))
				}
			})
		})
	}
}

// blackout takes the power of all machines in one instant, in the midst of a sync if there is one soon, and
// brings them back.
func (c *virtualCluster) blackout() {
	c.t.Helper()
	c.cutPower(c.nodes...)
	for _, n := range c.nodes {
		n.launch()
	}
	for _, n := range c.nodes {
		n.await()
	}
}

// cutPower takes the power of some machines in one instant: when the first is about to sync what it wrote, or
// if that does not happen soon, while all goroutines rest.
func (c *virtualCluster) cutPower(victims ...*virtualNode) {
	c.t.Helper()
	rng := rand.New(rand.NewPCG(c.rng.Uint64(), 0))
	left := 1 + c.rng.IntN(5)
	survived := make(chan []*vfs.Mem, 1)
	var disks []*vfs.Mem
	var machines []*virtualMachine
	for _, n := range victims {
		disks, machines = append(disks, n.disk), append(machines, n.machine)
	}
	var mu sync.Mutex // guards left
	disks[0].OnOp(func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind != vfs.OpSync {
			return nil
		}
		if left--; left != 0 {
			return nil
		}
		for _, m := range machines { // first: what is written from now on is acknowledged by nobody
			m.die(powerLost)
		}
		var after []*vfs.Mem
		for _, d := range disks {
			after = append(after, d.Crash(rng))
		}
		survived <- after
		return nil
	})
	var after []*vfs.Mem
	select {
	case after = <-survived:
	case <-time.After(time.Second):
		disks[0].OnOp(nil)
	}
	for i, n := range victims {
		n.boots++
		n.endRun(powerLost, func(m *vfs.Mem) *vfs.Mem {
			if after != nil {
				return after[i]
			}
			return m.Crash(c.rng)
		})
	}
}

// TestVirtualPowerModeOS: where nothing is synced before it is acknowledged, the loss of one machine's power
// still loses nothing: its replica is suspect and stays out until it caught up, whoever led. Of a blackout
// survives a common prefix, from which the replicas go on together (replication.md 11.4, 14.2).
func TestVirtualPowerModeOS(t *testing.T) {
	virtually(t, func(t *testing.T, c *virtualCluster) {
		c.create("u", 1, "flush.mode", "os")
		written, p := 0, &producer{id: 1000}
		write := func(n int) {
			for range n {
				c.mustProduce("u", p, 10*time.Second, strconv.Itoa(written))
				written++
			}
		}
		write(20)
		for _, victim := range []int32{1, 2, 3} {
			n := c.node(victim)
			n.losePower()
			c.eventually(5*time.Second, "no other leader", func() bool { return c.leader("u") > 0 && c.leader("u") != victim })
			write(20)
			n.start()
			if stop := n.b.logs.PreviousStop(); stop != (log.Stop{Suspect: true}) {
				t.Errorf("after a loss of power the previous stop is %+v", stop)
			}
			c.settled("u", 30*time.Second)
			write(1)
			c.expect("u", numbers(written))
		}
		c.blackout()
		c.settled("u", time.Minute)
		left := c.all("u")
		if !slices.Equal(left, numbers(len(left))) || len(left) > written {
			t.Errorf("what is left after a blackout is no prefix: %v", left)
		}
		t.Logf("%d of %d records survived the blackout", len(left), written)
		if at := c.mustProduce("u", nil, 5*time.Second, strconv.Itoa(len(left))); at != int64(len(left)) {
			t.Errorf("the next record is at %d, want %d", at, len(left))
		}
		c.settled("u", 10*time.Second)
	})
}

// TestVirtualRestarts: each node is stopped and started in order under load, several times round. Nothing that was
// acknowledged is lost, no write waits long, and every stop is clean.
func TestVirtualRestarts(t *testing.T) {
	virtually(t, func(t *testing.T, c *virtualCluster) {
		book := newLedger()
		stop := make(chan struct{})
		wait := c.write("t", 3, book, stop)
		for range 2 {
			for _, n := range c.nodes {
				time.Sleep(300 * time.Millisecond)
				n.shutDown()
				time.Sleep(300 * time.Millisecond)
				n.start()
				if stop := n.b.logs.PreviousStop(); !stop.Clean {
					t.Errorf("after a stop in order the previous stop is %+v", stop)
				}
				c.eventually(20*time.Second, "the ISR is not full again", func() bool {
					return len(n.partition("t", 0).ISR) == 3
				})
			}
		}
		close(stop)
		wait()
		c.settled("t", 20*time.Second)
		book.check(t, c.all("t"))
		t.Logf("%d records acknowledged", len(book.acked))
	})
}
