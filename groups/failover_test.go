package groups

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/raftmeta"
)

// TestFailover moves a group between three brokers that learn of it late, while writes are slow, get lost,
// arrive late or fail, and consumers crash, restart, and commit all along. It checks I42 and I43 after every
// entry of the log, I44 whenever somebody is told an assignment, and that all is well soon after it ends.
func TestFailover(t *testing.T) {
	fewerChecks(t, 15)
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(drawStep), 5, 40).Draw(rt, "plan")
		var failed error
		synctest.Test(t, func(t *testing.T) {
			w := newMovingWorld(t)
			for _, s := range plan {
				w.step(s)
			}
			w.heal()
			failed = w.failure()
		})
		if failed != nil {
			rt.Fatal(failed)
		}
	})
}

// fewerChecks divides the number of checks of a property whose checks take long.
func fewerChecks(t *testing.T, by int) {
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	n, err := strconv.Atoi(before)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Value.Set(strconv.Itoa(max(n/by, 1))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(before) })
}

// planStep is one thing that happens from outside.
type planStep struct {
	What string
	Who  int // a broker or a consumer
	Ms   int
}

func drawStep(t *rapid.T) planStep {
	return planStep{
		What: rapid.SampledFrom([]string{
			"time", "time", "move", "move", "notice", "notice", "notice", "kill", "consume",
			"slow", "writes fail", "writes get lost", "answers get lost", "saves come late", "writes work", "put down",
		}).Draw(t, "what"),
		Who: rapid.IntRange(0, 3).Draw(t, "who"),
		Ms:  rapid.SampledFrom([]int{1, 300, 3000, 7000, 12_000, 40_000}).Draw(t, "ms"),
	}
}

func (s planStep) broker() int { return s.Who % testBrokers }

// movingWorld is a cluster with consumers of group "g".
type movingWorld struct {
	*cluster
	t         *testing.T
	consumers [4]*consumer

	mu       sync.Mutex // guards the fields below; after table.mu
	modes    [testBrokers]string
	slow     [testBrokers]time.Duration
	acked    map[int32]int64           // highest acknowledged offset, by partition
	owner    map[ownedPartition]string // who was told to own it
	told     map[string]string         // generation/consumer -> assignment
	last     *raftmeta.Group
	failures []string
	arrivals sync.WaitGroup
}

type ownedPartition struct{ generation, partition int32 }

func newMovingWorld(t *testing.T) *movingWorld {
	w := &movingWorld{
		t: t, cluster: &cluster{table: newTable()},
		acked: map[int32]int64{}, owner: map[ownedPartition]string{}, told: map[string]string{},
	}
	w.applied = w.entry
	for i := range testBrokers {
		store := &memStore{table: w.table, behind: new(atomic.Pointer[raftmeta.Image])}
		store.fail = func(cmd raftmeta.Command) error { return w.write(i, cmd) }
		store.catchUp()
		w.brokers = append(w.brokers, newBroker(t, store, int32(i+1)))
	}
	w.front = &rig{t: t, route: w.route}
	t.Cleanup(w.arrivals.Wait)
	for i := range w.consumers {
		w.consume(i)
	}
	time.Sleep(10 * time.Second)
	return w
}

// route asks the brokers in turn who coordinates the group, each for some time. They may be behind.
func (w *movingWorld) route() *Coordinator {
	opinion := w.brokers[time.Now().Unix()/5%testBrokers].store.view()
	return w.brokers[opinion.Shard(raftmeta.ShardOf("", "g")).Owner-1].c
}

func (w *movingWorld) failf(format string, args ...any) {
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
}

func (w *movingWorld) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failures) > 0 {
		return errors.New(w.failures[0])
	}
	return nil
}

func (w *movingWorld) step(s planStep) {
	b := w.brokers[s.broker()]
	switch s.What {
	case "time":
		time.Sleep(time.Duration(s.Ms) * time.Millisecond)
	case "move":
		w.move("g", int32(s.broker()+1))
	case "notice":
		b.store.catchUp()
		b.catchUp()
	case "put down": // as a broker does that has lost contact, and then finds that nothing has changed
		b.c.SetShards(nil)
		b.catchUp()
	case "kill":
		w.kill(s.Who)
	case "consume":
		w.kill(s.Who)
		w.consume(s.Who)
	case "slow":
		w.mu.Lock()
		w.slow[s.broker()] = time.Duration(s.Ms) * time.Millisecond
		w.mu.Unlock()
	default:
		w.mu.Lock()
		w.modes[s.broker()] = s.What
		w.mu.Unlock()
	}
	synctest.Wait()
}

func (w *movingWorld) kill(i int) {
	if w.consumers[i] != nil {
		w.consumers[i].kill()
		w.consumers[i] = nil
	}
}

func (w *movingWorld) consume(i int) {
	instance := ""
	if i%2 == 0 {
		instance = fmt.Sprintf("static-%d", i)
	}
	generation := int32(-1)
	var positions map[int32]int64
	w.consumers[i] = w.front.consumeAnd(fmt.Sprintf("c%d", i), instance, func(c *consumer) bool {
		if c.generation != generation {
			generation, positions = c.generation, nil
			w.assigned(c)
		}
		if positions == nil {
			positions = w.fetch(c)
		}
		return positions == nil || w.commit(c, positions)
	})
}

// write decides what becomes of a write of broker i.
func (w *movingWorld) write(i int, cmd raftmeta.Command) error {
	w.mu.Lock()
	mode, slow := w.modes[i], w.slow[i]
	w.mu.Unlock()
	time.Sleep(slow) // it does not heed the context, as a proposal in a Raft entry does not
	switch mode {
	case "writes fail":
		return errors.New("no leader")
	case "writes get lost":
		return raftmeta.ErrOutcomeUnknown
	case "answers get lost":
		return errLost
	case "saves come late":
		put, ok := cmd.(*raftmeta.PutGroup)
		if !ok {
			return nil
		}
		w.arrivals.Go(func() {
			time.Sleep(7 * time.Second)
			_, _ = w.apply(put)
		})
		return raftmeta.ErrOutcomeUnknown
	}
	return nil
}

// entry sees every entry of the log, in order.
func (w *movingWorld) entry(cmd raftmeta.Command, img *raftmeta.Image, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if put, ok := cmd.(*raftmeta.PutGroup); ok && err == nil {
		w.checkSave(&put.Group)
	}
	for p, acked := range w.acked {
		if o, ok := img.Offset("", "g", logsTopic, p); !ok || o.Offset < acked {
			w.failf("partition %d: offset %d was acknowledged, stored is %+v after %T", p, acked, o, cmd)
		}
	}
}

// checkSave holds a save against the one before: of the same generation only a static member may be new.
func (w *movingWorld) checkSave(g *raftmeta.Group) {
	last := w.last
	w.last = g
	if last == nil || last.Generation < g.Generation {
		return
	}
	same := slices.EqualFunc(last.Members, g.Members, func(a, b raftmeta.GroupMember) bool {
		return (a.ID == b.ID || a.InstanceID != "" && a.InstanceID == b.InstanceID) && string(a.Assignment) == string(b.Assignment)
	})
	if last.Generation > g.Generation || !same {
		w.failf("saved\n%+v\nafter\n%+v", g, last)
	}
}

// assigned holds what a consumer was told against what others were (I44).
func (w *movingWorld) assigned(c *consumer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key, list := fmt.Sprintf("%d/%s", c.generation, c.name), fmt.Sprint(c.partitions)
	if before, ok := w.told[key]; ok && before != list {
		w.failf("%s: assigned %s, then %s", key, before, list)
	}
	w.told[key] = list
	for _, p := range c.partitions {
		at := ownedPartition{c.generation, p}
		if other, ok := w.owner[at]; ok && other != c.name {
			w.failf("%+v belongs to %s and %s", at, other, c.name)
		}
		w.owner[at] = c.name
	}
}

// fetch returns where a consumer goes on; nil if that cannot be said now.
func (w *movingWorld) fetch(c *consumer) map[int32]int64 {
	at := w.front.coordinator()
	var req FetchRequest
	req.Group = "g"
	for _, p := range c.partitions {
		req.Keys = append(req.Keys, OffsetKey{logsTopic, p})
	}
	reply := at.Fetch(req)
	if reply.Err != 0 || w.outdated(at) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	positions := map[int32]int64{}
	for _, o := range reply.Offsets {
		if acked, ok := w.acked[o.Partition]; ok && o.Offset < acked {
			w.failf("%s fetches %d of partition %d, acknowledged was %d", c.name, o.Offset, o.Partition, acked)
		}
		positions[o.Partition] = max(o.Offset, 0)
	}
	return positions
}

// outdated reports whether a coordinator has not yet applied that the group is another's. What it then
// says of offsets may be old: not it but the broker bounds that, by refusing clients once it has lost
// contact with the controller (replication.md 5.5).
func (w *movingWorld) outdated(c *Coordinator) bool {
	shard := raftmeta.ShardOf("", "g")
	for _, r := range w.brokers {
		if r.c == c {
			return r.store.view().Shard(shard) != w.latest().Shard(shard)
		}
	}
	return true
}

// commit moves a consumer on by one in each of its partitions. It reports false if the consumer must join.
func (w *movingWorld) commit(c *consumer, positions map[int32]int64) bool {
	req := CommitRequest{Group: "g", Version: 8, MemberID: c.id, InstanceID: c.instance, Generation: c.generation, Retention: -1}
	for _, p := range c.partitions {
		req.Offsets = append(req.Offsets, raftmeta.CommittedOffset{TopicID: logsTopic, Partition: p, Offset: positions[p] + 1})
	}
	reply := w.front.coordinator().Commit(context.Background(), req)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, code := range reply.Codes {
		switch code {
		case 0:
			p := req.Offsets[i].Partition
			positions[p]++
			w.acked[p] = max(w.acked[p], positions[p])
		case kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
		case kerr.UnknownMemberID.Code, kerr.IllegalGeneration.Code, kerr.RebalanceInProgress.Code, kerr.FencedInstanceID.Code:
			c.failed(code)
			return false
		default:
			w.failf("%s: commit %s", c.name, codeName(code))
		}
	}
	return true
}

// heal ends all trouble. Soon every partition must have one owner, and commits must get on, in few rounds.
func (w *movingWorld) heal() {
	w.mu.Lock()
	w.modes, w.slow = [testBrokers]string{}, [testBrokers]time.Duration{}
	w.mu.Unlock()
	time.Sleep(time.Minute) // what is still slow or late
	for i := range w.brokers {
		w.step(planStep{What: "notice", Who: i})
	}
	for i := range w.consumers {
		if w.consumers[i] == nil {
			w.consume(i)
		}
	}
	before := w.saved("g")
	time.Sleep(time.Minute)
	w.mu.Lock()
	acked := map[int32]int64{}
	for p, o := range w.acked {
		acked[p] = o
	}
	w.mu.Unlock()
	time.Sleep(30 * time.Second)
	synctest.Wait()
	rounds := w.saved("g") - before
	w.mu.Lock()
	defer w.mu.Unlock()
	if rounds > 4 {
		w.failf("%d rounds after the trouble ended", rounds)
	}
	seen := map[int32]string{}
	for _, c := range w.consumers {
		for _, p := range c.assigned() {
			if other, ok := seen[p]; ok {
				w.failf("partition %d belongs to %s and %s", p, other, c.name)
			}
			seen[p] = c.name
		}
	}
	for p := range int32(testPartitions) {
		if w.acked[p] <= acked[p] {
			w.failf("partition %d of %q does not get on at %d", p, seen[p], w.acked[p])
		}
	}
}
