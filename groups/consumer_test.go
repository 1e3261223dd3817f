package groups

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// rig is the coordinator of one broker on a store, inside a synctest bubble.
type rig struct {
	t      *testing.T
	broker int32
	store  *memStore
	config Config
	route  func() *Coordinator // where requests go, instead of c, if set

	mu     sync.Mutex
	c      *Coordinator
	stop   context.CancelFunc
	served chan struct{}
}

// newRig starts a coordinator; the test's end stops it.
func newRig(t *testing.T, store *memStore, change ...func(*Config)) *rig {
	return newBroker(t, store, 1, change...)
}

// newBroker is newRig for one of several brokers.
func newBroker(t *testing.T, store *memStore, id int32, change ...func(*Config)) *rig {
	r := &rig{t: t, broker: id, store: store, config: DefaultConfig()}
	for _, f := range change {
		f(&r.config)
	}
	r.start()
	t.Cleanup(r.halt)
	return r
}

func (r *rig) start() {
	c, err := New(Options{Store: r.store, TopicName: topicName, Config: func() Config { return r.config }})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := c.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}()
	r.mu.Lock()
	r.c, r.stop, r.served = c, cancel, served
	r.mu.Unlock() // before the wait: a consumer blocked on a mutex would hold up the bubble
	r.catchUp()
	synctest.Wait()
}

// catchUp tells the coordinator which shards its broker owns in what it has applied.
func (r *rig) catchUp() { r.c.SetShards(ownedBy(r.store.view(), r.broker)) }

func (r *rig) halt() {
	r.stop()
	<-r.served
}

func (r *rig) coordinator() *Coordinator {
	if r.route != nil {
		return r.route()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.c
}

func (r *rig) join(req JoinRequest) JoinReply {
	done := make(chan JoinReply, 1)
	r.coordinator().Join(req, func(reply JoinReply) { done <- reply })
	return <-done
}

func (r *rig) sync(req SyncRequest) SyncReply {
	done := make(chan SyncReply, 1)
	r.coordinator().Sync(req, func(reply SyncReply) { done <- reply })
	return <-done
}

const (
	testPartitions = 12
	testSession    = 10 * time.Second
	testHeartbeat  = 3 * time.Second
)

// consumer behaves as clients do: it joins, assigns if it leads, heartbeats, and joins again when told.
type consumer struct {
	r        *rig
	name     string
	instance string
	cancel   context.CancelFunc
	done     chan struct{}

	mu         sync.Mutex // for other goroutines; c's own reads what it wrote
	id         string
	generation int32
	partitions []int32 // assigned; nil while it has no assignment
	rounds     int     // assignments it got

	work func(*consumer) bool // after each heartbeat, if set; false to join again
}

func (r *rig) consume(name, instance string) *consumer { return r.consumeAnd(name, instance, nil) }

// consumeAnd is consume with something to do while the consumer has an assignment.
func (r *rig) consumeAnd(name, instance string, work func(*consumer) bool) *consumer {
	ctx, cancel := context.WithCancel(r.t.Context())
	c := &consumer{r: r, name: name, instance: instance, cancel: cancel, done: make(chan struct{}), generation: -1, work: work}
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			c.session(ctx)
		}
	}()
	r.t.Cleanup(c.kill)
	return c
}

// kill ends the consumer without a word to its group.
func (c *consumer) kill() {
	c.cancel()
	<-c.done
}

// session joins once and heartbeats until the group says otherwise.
func (c *consumer) session(ctx context.Context) {
	if !c.rejoin() {
		time.Sleep(100 * time.Millisecond)
		return
	}
	ticker := time.NewTicker(testHeartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		code := c.r.coordinator().Heartbeat(HeartbeatRequest{Group: "g", MemberID: c.id, InstanceID: c.instance, Generation: c.generation})
		if code == kerr.CoordinatorNotAvailable.Code || code == kerr.NotCoordinator.Code {
			continue // the next heartbeat goes to whoever coordinates then
		}
		if code != 0 {
			c.failed(code)
			return
		}
		if c.work != nil && !c.work(c) {
			return
		}
	}
}

func (c *consumer) rejoin() bool {
	j := c.r.join(JoinRequest{
		Group: "g", Version: 9, MemberID: c.id, InstanceID: c.instance, ClientID: c.name,
		SessionTimeout: int32(testSession.Milliseconds()), RebalanceTimeout: 60_000,
		ProtocolType: "consumer", Protocols: []raftmeta.GroupProtocol{{Name: "range", Metadata: subscriptionOf("logs")}},
	})
	if j.Err == kerr.MemberIDRequired.Code {
		c.become(j.MemberID, -1)
		return c.rejoin()
	}
	if j.Err != 0 {
		c.failed(j.Err)
		return false
	}
	c.become(j.MemberID, j.Generation)
	req := SyncRequest{
		Group: "g", Version: 5, MemberID: c.id, InstanceID: c.instance, Generation: j.Generation,
		ProtocolType: j.ProtocolType, Protocol: j.Protocol,
	}
	if j.Leader == c.id && !j.SkipAssignment {
		req.Assignments = share(j.Members)
	}
	s := c.r.sync(req)
	if s.Err != 0 {
		c.failed(s.Err)
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	c.partitions = nil
	return json.Unmarshal(s.Assignment, &c.partitions) == nil
}

func (c *consumer) become(id string, generation int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.generation = id, generation
}

// member is what the consumer would commit as.
func (c *consumer) member() (id string, generation int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id, c.generation
}

func (c *consumer) failed(code Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if code == kerr.UnknownMemberID.Code || code == kerr.IllegalGeneration.Code {
		c.id, c.generation, c.partitions = "", -1, nil
	}
}

// share deals the partitions out to the members.
func share(members []JoinMember) []MemberAssignment {
	parts := make([][]int32, len(members))
	for p := range int32(testPartitions) {
		parts[int(p)%len(members)] = append(parts[int(p)%len(members)], p)
	}
	var list []MemberAssignment
	for i, m := range members {
		raw, _ := json.Marshal(parts[i])
		list = append(list, MemberAssignment{m.MemberID, raw})
	}
	return list
}

func (c *consumer) assigned() []int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.partitions)
}

// owners checks that the consumers own each partition once, and returns how many each has.
func owners(t *testing.T, consumers ...*consumer) []int {
	t.Helper()
	var all []int32
	var counts []int
	for _, c := range consumers {
		all = append(all, c.assigned()...)
		counts = append(counts, len(c.assigned()))
	}
	slices.Sort(all)
	if len(all) != testPartitions || len(slices.Compact(all)) != testPartitions {
		t.Errorf("partitions owned: %v, want each of %d once", counts, testPartitions)
	}
	return counts
}
