package groups

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// shard is one part of the groups, a raftmeta.ShardOf. At most one broker coordinates it at a time; in
// memory are only groups of shards that this one does.
type shard struct {
	mu     sync.Mutex // guards the fields below
	tenure *tenure    // nil while the shard is not owned
	groups map[groupKey]*entry

	epoch  int32              // of the newest tenure
	fenced bool               // epoch is known to be over; it does not come back
	floors map[groupKey]int32 // generations that may still reach the Store in this epoch; see doubt
}

// tenure is the ownership of a shard in one epoch.
type tenure struct {
	epoch int32
	ctx   context.Context // ends with the tenure, and with it the waits for the Store
	end   context.CancelFunc
}

func (t *tenure) over() bool { return t.ctx.Err() != nil }

// SetShards tells which shards this broker owns, and in which epoch, by an image that it has applied
// (replication.md 18.1). Calls come one after another, from images that only get newer.
//
// A shard that is lost, or owned in another epoch than before, is dropped from memory: everybody who
// waits in its groups hears NOT_COORDINATOR before SetShards returns, and writes in flight come to
// nothing, as the Store refuses their epoch. A shard that is gained starts from what the Store has.
// Nothing is waited for.
func (c *Coordinator) SetShards(owned map[int32]int32) {
	changed, groups := 0, 0
	for i := range c.shards {
		s := &c.shards[i]
		epoch, mine := owned[int32(i)]
		s.mu.Lock()
		before := s.tenure
		dropped := s.changeLocked(epoch, mine)
		if s.tenure != before {
			changed++
		}
		s.mu.Unlock()
		c.dropAll(dropped)
		groups += len(dropped)
	}
	if changed == 0 {
		return
	}
	c.opts.Logger.Info("group shards changed hands", "changed", changed, "owned", len(owned), "dropped_groups", groups)
	c.metrics.shards.Set(float64(len(owned)))
	select {
	case c.gained <- struct{}{}:
	default: // the loader has yet to look at what was gained before
	}
}

// changeLocked begins another tenure, or none, and returns the groups that were in memory if that ended
// one.
func (s *shard) changeLocked(epoch int32, mine bool) (dropped map[groupKey]*entry) {
	if s.fenced && epoch == s.epoch {
		mine = false // the image is older than what the Store said
	}
	if t := s.tenure; t != nil {
		if mine && t.epoch == epoch {
			return nil
		}
		t.end()
		dropped = s.groups
		s.tenure, s.groups = nil, map[groupKey]*entry{}
	}
	if !mine {
		return dropped
	}
	if epoch != s.epoch {
		s.epoch, s.fenced, s.floors = epoch, false, nil
	}
	s.tenure = &tenure{epoch: epoch}
	s.tenure.ctx, s.tenure.end = context.WithCancel(context.Background())
	return dropped
}

// fence ends a tenure that the Store says is over, ahead of the image that will say so.
func (c *Coordinator) fence(s *shard, t *tenure) {
	s.mu.Lock()
	var dropped map[groupKey]*entry
	if s.tenure == t {
		s.fenced = true
		dropped = s.changeLocked(t.epoch, false)
	}
	s.mu.Unlock()
	c.dropAll(dropped)
}

func (c *Coordinator) dropAll(groups map[groupKey]*entry) {
	for _, e := range groups {
		c.drop(e, raftmeta.ErrStaleCoordinator)
	}
}

// drop takes a group out of memory in whatever state it is, and answers everybody who waits in it with
// the code of err. What the Store has of it, it keeps.
func (c *Coordinator) drop(e *entry, err error) {
	var fx effects
	e.mu.Lock()
	if !e.gone {
		e.shard.doubt(e, e.g.inDoubt())
		c.evictLocked(e)
		e.g.close(c.opts.Now(), err, &fx)
	}
	e.mu.Unlock()
	fx.deliver()
}

// doubt notes that a save of this generation, unless 0, may still reach the Store while its epoch lasts.
// The group, once restored, saves nothing of that generation or an older one: the Store keeps the higher
// generation, so a latecomer then comes to nothing, and a generation has one assignment (I44).
func (s *shard) doubt(e *entry, generation int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation == 0 || s.epoch != e.tenure.epoch {
		return
	}
	if s.floors == nil {
		s.floors = map[groupKey]int32{}
	}
	s.floors[e.key] = max(s.floors[e.key], generation)
}

// floorLocked is the generation in doubt of a group of which the Store has saved; 0 for none.
func (s *shard) floorLocked(key groupKey, saved int32) int32 {
	floor := s.floors[key]
	if floor != 0 && saved > floor {
		delete(s.floors, key)
		return 0
	}
	return floor
}

// owns tells whether the group is coordinated here: 0, NOT_COORDINATOR, or after the end
// COORDINATOR_NOT_AVAILABLE.
func (c *Coordinator) owns(key groupKey) Code {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.ownsLocked(s)
}

func (c *Coordinator) ownsLocked(s *shard) Code {
	switch {
	case c.closed.Load():
		return kerr.CoordinatorNotAvailable.Code
	case s.tenure == nil:
		return kerr.NotCoordinator.Code
	}
	return 0
}

// loadLoop loads the groups of gained shards until ctx ends.
func (c *Coordinator) loadLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.gained:
			c.load(ctx)
		}
	}
}

// load takes into memory the groups that have members, so that their sessions run although nobody asks
// for them. All others can wait until somebody does.
func (c *Coordinator) load(ctx context.Context) {
	for g := range c.opts.Store.AllGroups() {
		if ctx.Err() != nil {
			return
		}
		if len(g.Members) > 0 {
			c.find(groupKey{g.Tenant, g.ID}, false)
		}
	}
}
