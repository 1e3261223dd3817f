package groups

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

var errClosed = errors.New("group coordinator has stopped")

// Coordinator serves the groups that this node coordinates. Its methods may be called by many goroutines at once.
//
// Join, Sync and Heartbeat never wait for anything but a lock held for microseconds, so a connection's
// reader may call them. The methods with a context may wait for the Store. Replies are called without
// a lock, from whatever goroutine brought the answer about; they must not block. A reply to a
// connection that is gone must be harmless: a member stays until its session ends, connection or not.
//
// It serves the groups of the shards that SetShards gave it, none at first. For any other group it
// answers NOT_COORDINATOR, upon which a client asks anew who coordinates it.
//
// Before Run the answers are right but nothing is saved and no time passes; after Run has ended every
// answer is COORDINATOR_NOT_AVAILABLE.
type Coordinator struct {
	opts      Options
	metrics   *metrics
	timers    *timers
	persister *persister
	closed    atomic.Bool
	gained    chan struct{} // holds a token when shards may have come that are not loaded
	shards    [raftmeta.GroupShards]shard
}

type groupKey struct{ tenant, id string }

// entry is one group in memory.
type entry struct {
	key    groupKey
	shard  *shard
	tenure *tenure // in which it was loaded; its epoch is that of every write to the Store

	due       time.Time // guarded by timers.mu
	heapIndex int       // guarded by timers.mu; -1 when not scheduled

	mu   sync.Mutex // guards the fields below
	g    *group
	gone bool // no longer in its shard: whoever finds this must look the group up again
}

// New returns a Coordinator, which serves while Run runs.
func New(opts Options) (*Coordinator, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("group coordinator options: %w", err)
	}
	opts.setDefaults()
	c := &Coordinator{
		opts:    opts,
		metrics: newMetrics(opts.Registerer),
		timers:  newTimers(),
		gained:  make(chan struct{}, 1),
	}
	c.persister = &persister{limit: opts.MaxConcurrentSaves, do: c.persist}
	for i := range c.shards {
		c.shards[i].groups = map[groupKey]*entry{}
	}
	return c, nil
}

// randomMemberID appends a random version 4 UUID in the usual hexadecimal form.
func randomMemberID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime would have crashed
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", prefix, b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (c *Coordinator) shard(key groupKey) *shard {
	return &c.shards[raftmeta.ShardOf(key.tenant, key.id)]
}

// find returns the group's entry, from memory or else from the Store. It is nil if the group is not
// coordinated here, which the code then says, or if there is no such group and create is false.
func (c *Coordinator) find(key groupKey, create bool) (*entry, Code) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if code := c.ownsLocked(s); code != 0 {
		return nil, code
	}
	if e := s.groups[key]; e != nil {
		return e, 0
	}
	// Asked under the shard's lock: were it not, an answer from before another call created, saved
	// and dropped this group could be put in the place of what the Store has now.
	g := newGroup(key.tenant, key.id)
	if saved, ok := c.opts.Store.Group(key.tenant, key.id); ok {
		g = restoreGroup(saved, c.opts.Now())
	} else if !create {
		return nil, 0
	}
	g.floor = s.floorLocked(key, g.saved)
	return c.addLocked(s, key, g), 0
}

func (c *Coordinator) addLocked(s *shard, key groupKey, g *group) *entry {
	e := &entry{key: key, shard: s, tenure: s.tenure, heapIndex: -1, g: g}
	s.groups[key] = e
	c.metrics.loaded.Inc()
	c.timers.schedule(e, g.deadline())
	return e
}

// lock finds the group and locks its entry, whose mu the caller must release: by unlock if it changed
// anything. Without an entry the results are those of find.
func (c *Coordinator) lock(key groupKey, create bool) (*entry, Code) {
	for {
		e, code := c.find(key, create)
		if e == nil {
			return nil, code
		}
		e.mu.Lock()
		if !e.gone {
			return e, 0
		}
		e.mu.Unlock()
	}
}

// unlock ends a step of a group: what the group asks for is set going, then the lock released, then
// the replies made.
func (c *Coordinator) unlock(e *entry, before State, fx *effects) {
	g := e.g
	if fx.op != nil {
		c.persister.enqueue(job{e, fx.op})
	}
	switch {
	case e.gone:
	case g.unused() && !c.closed.Load():
		c.evictLocked(e)
	default:
		c.timers.schedule(e, g.deadline())
	}
	state, generation, members := g.state, g.generation, len(g.members)
	e.mu.Unlock()

	c.metrics.rebalances.Add(float64(fx.rebalances))
	c.metrics.expiredMembers.Add(float64(fx.expired))
	if state != before {
		c.opts.Logger.Debug("group changed state", "tenant", e.key.tenant, "group", e.key.id,
			"from", before, "to", state, "generation", generation, "members", members, "expired", fx.expired)
	}
	fx.deliver()
}

// evictLocked takes the group out of memory. Nothing that the Store does not have may be lost with it,
// unless its shard is.
func (c *Coordinator) evictLocked(e *entry) {
	e.gone = true
	s := e.shard
	s.mu.Lock()
	if s.groups[e.key] == e { // else it is another tenure's
		delete(s.groups, e.key)
	}
	s.mu.Unlock()
	c.timers.drop(e)
	c.metrics.loaded.Dec()
}

// submit gives an event to its group. It returns false, and the event is unused, if there is no such
// group and create is false.
func (c *Coordinator) submit(key groupKey, create bool, ev event) bool {
	var fx effects
	e, code := c.lock(key, create)
	switch {
	case e != nil:
		before := e.g.state
		e.g.handle(c.opts.Now(), ev, &fx)
		c.unlock(e, before, &fx)
		return true
	case code != 0:
		ev.refuse(code, &fx)
		fx.deliver()
		return true
	}
	return false
}

// Join handles a JoinGroup. Reply is called exactly once: now, when the round ends, or when the
// member is removed or replaced.
func (c *Coordinator) Join(req JoinRequest, reply func(JoinReply)) {
	cfg := c.opts.Config()
	session := time.Duration(req.SessionTimeout) * time.Millisecond
	switch {
	case req.Group == "":
		reply(joinError(kerr.InvalidGroupID.Code, req.MemberID))
		return
	case session < cfg.MinSessionTimeout || session > cfg.MaxSessionTimeout:
		reply(joinError(kerr.InvalidSessionTimeout.Code, req.MemberID))
		return
	}
	ev := &joinEvent{JoinRequest: req, maxSize: cfg.MaxSize, initialDelay: cfg.InitialRebalanceDelay, reply: reply}
	ev.Protocols = cloneProtocols(req.Protocols)
	isNew := req.MemberID == ""
	if isNew {
		prefix := req.ClientID
		if req.InstanceID != "" {
			prefix = req.InstanceID
		}
		ev.newID = c.opts.NewMemberID(prefix)
	}
	if !c.submit(groupKey{req.Tenant, req.Group}, isNew, ev) {
		reply(joinError(kerr.UnknownMemberID.Code, req.MemberID))
	}
}

// cloneProtocols copies what came with a request, whose buffer will be used again. Of protocols named
// twice only the first counts, or a member could outvote itself.
func cloneProtocols(in []raftmeta.GroupProtocol) []raftmeta.GroupProtocol {
	seen := make(map[string]struct{}, len(in))
	out := make([]raftmeta.GroupProtocol, 0, len(in))
	for _, p := range in {
		if _, dup := seen[p.Name]; dup {
			continue
		}
		seen[p.Name] = struct{}{}
		out = append(out, raftmeta.GroupProtocol{Name: p.Name, Metadata: append([]byte{}, p.Metadata...)})
	}
	return out
}

// Sync handles a SyncGroup. Reply is called exactly once: now, when the generation's assignment is
// durable, or when the generation failed.
func (c *Coordinator) Sync(req SyncRequest, reply func(SyncReply)) {
	if req.Group == "" {
		reply(SyncReply{Err: kerr.InvalidGroupID.Code})
		return
	}
	ev := &syncEvent{SyncRequest: req, reply: reply}
	ev.Assignments = make([]MemberAssignment, 0, len(req.Assignments))
	for _, a := range req.Assignments {
		a.Assignment = append([]byte{}, a.Assignment...)
		ev.Assignments = append(ev.Assignments, a)
	}
	if !c.submit(groupKey{req.Tenant, req.Group}, false, ev) {
		reply(SyncReply{Err: kerr.UnknownMemberID.Code})
	}
}

// Heartbeat renews a member's session. It allocates nothing.
func (c *Coordinator) Heartbeat(req HeartbeatRequest) Code {
	if req.Group == "" {
		return kerr.InvalidGroupID.Code
	}
	e, code := c.lock(groupKey{req.Tenant, req.Group}, false)
	switch {
	case e != nil:
		defer e.mu.Unlock()
		return e.g.heartbeat(c.opts.Now(), req.MemberID, req.InstanceID, req.Generation)
	case code != 0:
		return code
	}
	return kerr.UnknownMemberID.Code
}

// Leave handles a LeaveGroup. It waits only while a change of the group is being saved; if ctx ends
// then, the members may still leave.
func (c *Coordinator) Leave(ctx context.Context, req LeaveRequest) LeaveReply {
	if req.Group == "" {
		return LeaveReply{Err: kerr.InvalidGroupID.Code}
	}
	done := make(chan LeaveReply, 1)
	ev := &leaveEvent{LeaveRequest: req, reply: func(r LeaveReply) { done <- r }}
	if !c.submit(groupKey{req.Tenant, req.Group}, false, ev) {
		return leaveReply(req, func(LeaveMember) Code { return kerr.UnknownMemberID.Code })
	}
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
		return LeaveReply{Err: kerr.CoordinatorNotAvailable.Code}
	}
}
