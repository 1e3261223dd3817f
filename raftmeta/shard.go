package raftmeta

// GroupShards is how many coordinator shards the groups are spread over. It never changes: the shard of a
// group would, and two coordinators could serve it.
const GroupShards = 64

// Shard says which broker coordinates the groups of one shard.
type Shard struct {
	Owner int32 // NoLeader if none
	Epoch int32 // +1 with every change of the owner, also to none; never falls
}

// ShardOf is the shard of a group: 32-bit FNV-1a over the tenant, a NUL and the group id, modulo
// GroupShards. Like GroupShards it must never change.
func ShardOf(tenant, group string) int32 {
	hash := fnv1a(fnvOffset, tenant)
	hash *= fnvPrime // the NUL
	return int32(fnv1a(hash, group) % GroupShards)
}

const (
	fnvOffset uint32 = 2166136261
	fnvPrime  uint32 = 16777619
)

func fnv1a(hash uint32, s string) uint32 {
	for i := range len(s) {
		hash = (hash ^ uint32(s[i])) * fnvPrime
	}
	return hash
}

// noShards is the state before any broker was active.
func noShards() (shards [GroupShards]Shard) {
	for i := range shards {
		shards[i].Owner = NoLeader
	}
	return shards
}

func shardFields(c *coder, s *Shard) {
	c.int32(&s.Owner)
	c.int32(&s.Epoch)
}

// settleShards takes every shard whose owner is not active to the active broker that has the fewest, the
// lowest id among equals; one that drains gets shards only if all do. Shards of active owners stay:
// moving them for balance is the controller's wish (MoveShard), for each move costs its groups a new
// coordinator.
func (e *edit) settleShards() {
	owned := make(map[int32]int)
	for _, s := range e.base.shards {
		owned[s.Owner]++
	}
	for i, s := range e.base.shards {
		if s.Owner != NoLeader && e.isActive(s.Owner) {
			continue
		}
		owner := e.leastOwner(owned)
		owned[owner]++
		e.setShardOwner(int32(i), owner)
	}
}

func (e *edit) leastOwner(owned map[int32]int) int32 {
	least, draining := NoLeader, true
	for b := range values(e.brokers.root(), nil) { // by id
		switch {
		case b.State != Active, b.Draining && !draining:
		case least == NoLeader, draining && !b.Draining, owned[b.ID] < owned[least]:
			least, draining = b.ID, b.Draining
		}
	}
	return least
}

func (e *edit) setShardOwner(shard, owner int32) {
	s := &e.base.shards[shard]
	if s.Owner == owner {
		return
	}
	s.Owner = owner
	s.Epoch++
	e.dirty.shards = true
}

// MoveShard hands a shard to another broker, for balance. Epoch makes it a compare-and-set
// (ErrStaleCoordinator); the new owner must be active and not draining (ErrBrokerUnavailable).
type MoveShard struct {
	Shard int32
	Epoch int32 // that the sender saw
	To    int32
}

func (*MoveShard) kind() kind { return kindMoveShard }

func (x *MoveShard) fields(c *coder) {
	c.int32(&x.Shard)
	c.int32(&x.Epoch)
	c.int32(&x.To)
}

func (x *MoveShard) apply(e *edit) (Result, error) {
	if x.Shard < 0 || x.Shard >= GroupShards {
		return Result{}, ErrInvalidRequest
	}
	if e.base.shards[x.Shard].Epoch != x.Epoch {
		return Result{}, ErrStaleCoordinator
	}
	b, ok := e.broker(x.To)
	switch {
	case !ok:
		return Result{}, ErrUnknownBroker
	case b.State != Active || b.Draining:
		return Result{}, ErrBrokerUnavailable
	}
	e.setShardOwner(x.Shard, x.To)
	return Result{}, nil
}
