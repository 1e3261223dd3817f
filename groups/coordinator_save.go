package groups

import (
	"context"
	"errors"

	"github.com/chronik-stream/chronik/raftmeta"
)

// errUnsettled answers those who wait in a group of which it is not known what the Store has, or will.
var errUnsettled = errors.New("the state of the group is to be read again")

// persist carries out one operation on the Store and tells its group.
func (c *Coordinator) persist(ctx context.Context, j job) {
	e := j.entry
	if e.tenure.over() {
		return // the group has gone with its shard
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.SaveTimeout)
	defer cancel()
	defer context.AfterFunc(e.tenure.ctx, cancel)()
	err := c.write(ctx, e, j.op)
	if e.tenure.over() {
		return
	}
	if err != nil {
		c.metrics.saveFailures.Inc()
		c.opts.Logger.Warn("cannot save group", "tenant", e.key.tenant, "group", e.key.id, "err", err)
	}
	switch {
	case deposed(err):
		c.fence(e.shard, e.tenure)
	case j.op.unsettled(err):
		c.drop(e, errUnsettled)
	default:
		c.settle(e, err)
	}
}

// deposed tells whether the Store says that the tenure is over: the shard has another owner, or the broker
// another run.
func deposed(err error) bool {
	return errors.Is(err, raftmeta.ErrStaleCoordinator) || errors.Is(err, raftmeta.ErrSuperseded)
}

func (c *Coordinator) write(ctx context.Context, e *entry, op *operation) error {
	key, epoch := e.key, e.tenure.epoch
	switch op.kind {
	case opSave:
		return c.opts.Store.SaveGroup(ctx, raftmeta.PutGroup{CoordEpoch: epoch, Group: *op.group})
	case opDeleteGroup:
		err := c.opts.Store.DeleteGroup(ctx, raftmeta.DeleteGroup{
			CoordEpoch: epoch, Tenant: key.tenant, ID: key.id, IfNoOffsets: op.ifNoOffsets,
		})
		if errors.Is(err, raftmeta.ErrUnknownGroup) {
			return nil
		}
		return err
	default:
		return c.opts.Store.DeleteOffsets(ctx, raftmeta.DeleteOffsets{
			CoordEpoch: epoch, Tenant: key.tenant, Group: key.id, Offsets: op.keys,
		})
	}
}

// settle ends an operation whose outcome is known, unless its group has gone meanwhile.
func (c *Coordinator) settle(e *entry, err error) {
	e.mu.Lock()
	if e.gone {
		e.mu.Unlock()
		return
	}
	var fx effects
	before := e.g.state
	e.g.settled(c.opts.Now(), err, &fx)
	c.unlock(e, before, &fx)
}
