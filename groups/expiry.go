package groups

import (
	"context"
	"iter"
	"time"

	"github.com/chronik-stream/chronik/raftmeta"
)

// sweepLoop looks for expired offsets every OffsetsRetentionCheckInterval until ctx ends.
func (c *Coordinator) sweepLoop(ctx context.Context) {
	for {
		timer := time.NewTimer(max(c.opts.Config().OffsetsRetentionCheckInterval, time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			c.sweep(ctx)
		}
	}
}

// sweep removes expired offsets, groups that are empty and have none, and from memory the groups that
// nobody used lately; all that only in shards that this broker owns. One group at a time: nothing waits for
// this, and the Store has better to do.
func (c *Coordinator) sweep(ctx context.Context) {
	var keys []groupKey
	for g := range c.opts.Store.AllGroups() {
		keys = append(keys, groupKey{g.Tenant, g.ID})
	}
	for _, key := range keys {
		if ctx.Err() != nil {
			return
		}
		c.sweepGroup(ctx, key)
	}
}

func (c *Coordinator) sweepGroup(ctx context.Context, key groupKey) {
	done := make(chan Code, 1)
	reply := func(code Code) { done <- code }
	ev, removed := c.proposeExpiry(key, reply)
	if ev == nil {
		return
	}
	select {
	case code := <-done:
		if code == 0 {
			c.metrics.expiredOffsets.Add(float64(removed))
		}
	case <-ctx.Done():
	}
}

// proposeExpiry sets going what there is to expire in a group, if anything. It looks and acts under
// one lock, and not at all while a commit is in flight, so that no commit comes in between whose
// offset would be taken for an old one.
func (c *Coordinator) proposeExpiry(key groupKey, reply func(Code)) (ev event, removed int) {
	e, _ := c.lock(key, false)
	if e == nil {
		return nil, 0
	}
	now, g := c.opts.Now(), e.g
	if g.op == nil && g.commits == 0 {
		ev, removed = c.expiry(g, now, reply)
	}
	var fx effects
	before := g.state
	if ev != nil {
		g.handle(now, ev, &fx)
	} else if g.idle() && g.saved == g.generation {
		c.evictLocked(e) // still the same in the Store
		e.mu.Unlock()
		return nil, 0
	}
	c.unlock(e, before, &fx)
	return ev, removed
}

// expiry returns what to do about a group: nil for nothing.
func (c *Coordinator) expiry(g *group, now time.Time, reply func(Code)) (event, int) {
	retention := c.opts.Config().OffsetsRetention
	subscribed := func(topics map[string]struct{}, o raftmeta.CommittedOffset) bool {
		name, ok := c.opts.TopicName(g.tenant, o.TopicID)
		_, in := topics[name]
		return ok && in
	}
	keys, kept := expiredOffsets(g, c.opts.Store.Offsets(g.tenant, g.id), now, retention, subscribed)
	switch {
	case len(keys) > 0:
		return &expireEvent{keys, reply}, len(keys)
	case kept == 0 && g.idle():
		return &deleteEvent{ifNoOffsets: true, reply: reply}, 0
	}
	return nil, 0
}

// expiredOffsets returns which of the group's offsets have expired, and how many are left. Offsets
// expire retention after their last use, which is
//
//   - in an Empty group, the end of its last member, or the commit if that came later: an
//     administrator's reset of a group long idle must not vanish at the next sweep, as it would if
//     only the group's age counted;
//   - in a Stable consumer group, for topics that nobody there subscribes to, the commit;
//   - in a group that never had members, the commit.
//
// A group that rebalances loses none, and neither does one whose subscription cannot be read. An
// offset that came with a retention of its own expires by that, in the same groups.
func expiredOffsets(
	g *group, offsets iter.Seq[raftmeta.CommittedOffset], now time.Time, retention time.Duration,
	subscribed func(topics map[string]struct{}, o raftmeta.CommittedOffset) bool,
) (expired []raftmeta.OffsetKey, kept int) {
	topics, known := g.subscription()
	eligible := known && (g.state == Empty || g.state == Stable)
	nowMs := now.UnixMilli()
	for o := range offsets {
		at := o.ExpiresAt
		if at == 0 {
			at = max(g.emptySince, o.CommittedAt) + retention.Milliseconds()
		}
		if !eligible || nowMs < at || len(topics) > 0 && subscribed(topics, o) {
			kept++
			continue
		}
		expired = append(expired, raftmeta.OffsetKey{TopicID: o.TopicID, Partition: o.Partition, CommittedAt: o.CommittedAt})
	}
	return expired, kept
}
