package groups

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// Commit handles an OffsetCommit; it returns when the offsets are durable. If ctx ends before the
// Store answers, whether they are is unknown. The empty group id is allowed, as in Kafka.
func (c *Coordinator) Commit(ctx context.Context, req CommitRequest) CommitReply {
	reply := CommitReply{Codes: make([]Code, len(req.Offsets))}
	e, code := c.beginCommit(ctx, req)
	if code != 0 {
		fill(reply.Codes, code)
		return reply
	}
	stored := c.storeOffsets(ctx, req, reply.Codes)
	e.mu.Lock()
	var fx effects
	before := e.g.state
	e.g.endCommit(stored > 0)
	c.unlock(e, before, &fx)
	c.metrics.commits.Add(float64(stored))
	return reply
}

func fill(codes []Code, code Code) {
	for i := range codes {
		codes[i] = code
	}
}

// beginCommit asks the group for permission. With code 0 the caller must end the commit.
func (c *Coordinator) beginCommit(ctx context.Context, req CommitRequest) (*entry, Code) {
	e := c.lock(groupKey{req.Tenant, req.Group}, req.Generation < 0)
	switch {
	case e == nil && c.closed.Load():
		return nil, kerr.CoordinatorNotAvailable.Code
	case e == nil && req.Version >= 9:
		return nil, kerr.GroupIDNotFound.Code
	case e == nil:
		return nil, kerr.IllegalGeneration.Code
	}
	ev := &commitEvent{memberID: req.MemberID, instanceID: req.InstanceID, generation: req.Generation}
	var fx effects
	before := e.g.state
	if !e.g.commitWaits() {
		code := e.g.beginCommit(c.opts.Now(), ev)
		c.unlock(e, before, &fx)
		return e, code
	}
	done := make(chan Code, 1)
	ev.reply = func(code Code) { done <- code }
	e.g.handle(c.opts.Now(), ev, &fx)
	c.unlock(e, before, &fx)
	select {
	case code := <-done:
		return e, code
	case <-ctx.Done():
		c.abandonCommit(e, ev)
		return nil, kerr.CoordinatorNotAvailable.Code
	}
}

// abandonCommit gives up on a commit that waits for its turn, or returns a grant that came too late.
func (c *Coordinator) abandonCommit(e *entry, ev *commitEvent) {
	e.mu.Lock()
	var fx effects
	before := e.g.state
	ev.abandoned = true
	if ev.granted {
		e.g.endCommit(false)
	}
	c.unlock(e, before, &fx)
}

// storeOffsets stores what may be stored, sets the codes of all, and returns how many were.
func (c *Coordinator) storeOffsets(ctx context.Context, req CommitRequest, codes []Code) (stored int) {
	now, maxMetadata := c.opts.Now().UnixMilli(), c.opts.Config().OffsetMetadataMaxBytes
	commit := CommitOffsets{Tenant: req.Tenant, Group: req.Group, MemberID: req.MemberID, Generation: req.Generation}
	if req.Generation < 0 {
		commit.MemberID, commit.Generation = "", -1
	}
	at := make([]int, 0, len(req.Offsets)) // commit.Offsets[i] is req.Offsets[at[i]]
	for i, o := range req.Offsets {
		if len(o.Metadata) > maxMetadata {
			codes[i] = kerr.OffsetMetadataTooLarge.Code
			continue
		}
		o.CommittedAt, o.ExpiresAt = now, 0
		if req.Retention >= 0 {
			o.ExpiresAt = now + req.Retention
		}
		commit.Offsets, at = append(commit.Offsets, o), append(at, i)
	}
	if len(commit.Offsets) == 0 {
		return 0
	}
	errs, err := c.opts.Store.CommitOffsets(ctx, commit)
	if err != nil {
		c.metrics.commitFailures.Inc()
		code := c.refusal(req, err)
		for _, i := range at {
			codes[i] = code
		}
		return 0
	}
	for n, i := range at {
		if n < len(errs) {
			codes[i] = codeOf(errs[n])
		}
		if codes[i] == 0 {
			stored++
		}
	}
	return stored
}

// refusal is the code for a commit that the Store did not take. If the group changed since the commit
// was admitted, the group says best how: a replaced static member hears that it is fenced.
func (c *Coordinator) refusal(req CommitRequest, err error) Code {
	code := codeOf(err)
	if code != kerr.UnknownMemberID.Code && code != kerr.IllegalGeneration.Code {
		c.opts.Logger.Warn("cannot commit offsets", "tenant", req.Tenant, "group", req.Group, "err", err)
		return code
	}
	if e := c.lock(groupKey{req.Tenant, req.Group}, false); e != nil {
		defer e.mu.Unlock()
		if now := e.g.checkCommit(c.opts.Now(), req.MemberID, req.InstanceID, req.Generation); now != 0 {
			return now
		}
	}
	return code
}

// Fetch handles one group of an OffsetFetch. There is no difference between a group that committed
// nothing and one that does not exist.
func (c *Coordinator) Fetch(req FetchRequest) FetchReply {
	if c.closed.Load() {
		return FetchReply{Err: kerr.CoordinatorNotAvailable.Code}
	}
	var reply FetchReply
	if req.All {
		for o := range c.opts.Store.Offsets(req.Tenant, req.Group) {
			reply.Offsets = append(reply.Offsets, o)
		}
		return reply
	}
	reply.Offsets = make([]raftmeta.CommittedOffset, 0, len(req.Keys))
	for _, k := range req.Keys {
		o, ok := c.opts.Store.Offset(req.Tenant, req.Group, k.TopicID, k.Partition)
		if !ok {
			o = raftmeta.CommittedOffset{TopicID: k.TopicID, Partition: k.Partition, Offset: -1, LeaderEpoch: -1}
		}
		reply.Offsets = append(reply.Offsets, o)
	}
	return reply
}

// DeleteOffsets handles an OffsetDelete. The codes are aligned with offsets, and nil if the first
// result, for the whole request, is not 0. If ctx ends early the offsets may still go.
func (c *Coordinator) DeleteOffsets(ctx context.Context, tenant, group string, offsets []DeleteOffset) (Code, []Code) {
	type result struct {
		code  Code
		codes []Code
	}
	done := make(chan result, 1)
	ev := &deleteOffsetsEvent{offsets: offsets, reply: func(code Code, codes []Code) { done <- result{code, codes} }}
	if !c.submit(groupKey{tenant, group}, false, ev) {
		return kerr.GroupIDNotFound.Code, nil
	}
	select {
	case r := <-done:
		return r.code, r.codes
	case <-ctx.Done():
		return kerr.CoordinatorNotAvailable.Code, nil
	}
}
