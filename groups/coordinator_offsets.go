package groups

import (
	"cmp"
	"context"
	"errors"

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
	stored := c.storeOffsets(ctx, e, req, reply.Codes)
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
	e, code := c.lock(groupKey{req.Tenant, req.Group}, req.Generation < 0)
	switch {
	case e == nil && code != 0:
		return nil, code
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
func (c *Coordinator) storeOffsets(ctx context.Context, e *entry, req CommitRequest, codes []Code) (stored int) {
	now, maxMetadata := c.opts.Now().UnixMilli(), c.opts.Config().OffsetMetadataMaxBytes
	commit := raftmeta.CommitOffsets{
		CoordEpoch: e.tenure.epoch, Tenant: req.Tenant, Group: req.Group, MemberID: req.MemberID, Generation: req.Generation,
	}
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.tenure.ctx, cancel)() // who loses the shard does not keep its clients
	errs, err := c.opts.Store.CommitOffsets(ctx, commit)
	if err != nil {
		c.metrics.commitFailures.Inc()
		code := c.refusal(e, req, err)
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
func (c *Coordinator) refusal(e *entry, req CommitRequest, err error) Code {
	switch {
	case deposed(err):
		c.fence(e.shard, e.tenure)
		return kerr.NotCoordinator.Code
	case e.tenure.over():
		return kerr.NotCoordinator.Code
	case !errors.Is(err, raftmeta.ErrUnknownMember) && !errors.Is(err, raftmeta.ErrIllegalGeneration):
		c.opts.Logger.Warn("cannot commit offsets", "tenant", req.Tenant, "group", req.Group, "err", err)
		return codeOf(err)
	}
	e, code := c.lock(groupKey{req.Tenant, req.Group}, false)
	if e == nil {
		return cmp.Or(code, codeOf(err))
	}
	code = e.g.checkCommit(c.opts.Now(), req.MemberID, req.InstanceID, req.Generation)
	behind := code == 0 && e.g.op == nil && e.g.retryAt.IsZero()
	e.mu.Unlock()
	if behind { // a save of unknown outcome came late
		c.drop(e, errUnsettled)
	}
	return cmp.Or(code, codeOf(err))
}

// Fetch handles one group of an OffsetFetch. There is no difference between a group that committed
// nothing and one that does not exist. Only the owner can tell that an offset was never committed, as
// what it has applied holds everything that earlier owners acknowledged (replication.md 18.4).
//
// A broker that was cut off or paused may own a shard by what it has applied, while another one already
// acknowledges commits to it. So without a lease it answers NOT_COORDINATOR, upon which every client asks
// around who else is; to COORDINATOR_NOT_AVAILABLE, which says it better, the Java consumer does not listen
// here. All else that a group is asked for either changes it, which Apply fences, or says nothing that a
// later answer could contradict.
func (c *Coordinator) Fetch(req FetchRequest) FetchReply {
	if code := c.owns(groupKey{req.Tenant, req.Group}); code != 0 {
		return FetchReply{Err: code}
	}
	if !c.opts.Leased() { // asked before anything is read: what is read then is as of now or later
		c.metrics.unleased.Inc()
		return FetchReply{Err: kerr.NotCoordinator.Code}
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
