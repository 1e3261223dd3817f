package groups

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

// Describe handles one group of a DescribeGroups. An unknown group is Dead, from version 6 on with
// GROUP_ID_NOT_FOUND (KIP-1043).
func (c *Coordinator) Describe(req DescribeRequest) Description {
	key := groupKey{req.Tenant, req.Group}
	if code := c.owns(key); code != 0 {
		return Description{Err: code, State: Dead}
	}
	if e := c.inMemory(key); e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.g.state != Dead {
			return e.g.describe()
		}
	}
	if saved, ok := c.opts.Store.Group(key.tenant, key.id); ok {
		return restoreGroup(saved, c.opts.Now()).describe() // only looked at, so not kept
	}
	d := Description{State: Dead}
	if req.Version >= 6 {
		d.Err = kerr.GroupIDNotFound.Code
		d.Message = fmt.Sprintf("Group %s not found.", req.Group)
	}
	return d
}

// DescribeSaved is what any broker can tell of a group from what the Store has: its last completed
// generation. Its coordinator knows better.
func DescribeSaved(g *raftmeta.Group) Description { return restoreGroup(g, time.Time{}).describe() }

func (c *Coordinator) inMemory(key groupKey) *entry {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups[key]
}

// List returns the groups of a tenant that are coordinated here and pass the filter, ordered by id: a
// client asks every broker and merges. It is nil after Run ended.
func (c *Coordinator) List(tenant string, filter ListFilter) []Listing {
	if c.closed.Load() || !selects(filter.Types, ClassicType) {
		return nil
	}
	var list []Listing
	seen := map[string]struct{}{}
	add := func(id, protocolType string, state State) {
		if state != Dead && selects(filter.States, state.String()) {
			list = append(list, Listing{Group: id, ProtocolType: protocolType, State: state, Type: ClassicType})
		}
	}
	// What is in memory is newer than what is saved.
	for _, e := range c.loaded() {
		if e.key.tenant == tenant {
			e.mu.Lock()
			add(e.g.id, e.g.protocolType, e.g.state)
			e.mu.Unlock()
			seen[e.key.id] = struct{}{}
		}
	}
	for saved := range c.opts.Store.Groups(tenant) {
		if _, ok := seen[saved.ID]; !ok && c.owns(groupKey{tenant, saved.ID}) == 0 {
			add(saved.ID, saved.ProtocolType, restoredState(saved))
		}
	}
	slices.SortFunc(list, func(a, b Listing) int { return cmp.Compare(a.Group, b.Group) })
	return list
}

// selects reports whether the names, of which none means all, include name.
func selects(names []string, name string) bool {
	return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool {
		return strings.EqualFold(strings.TrimSpace(n), name)
	})
}

// Delete handles one group of a DeleteGroups: it removes a group without members, and its offsets. If
// ctx ends early the group may still go.
func (c *Coordinator) Delete(ctx context.Context, tenant, group string) Code {
	return c.await(ctx, groupKey{tenant, group}, func(reply func(Code)) event { return &deleteEvent{reply: reply} })
}

// await submits an event that is answered with a code and waits for that.
func (c *Coordinator) await(ctx context.Context, key groupKey, ev func(reply func(Code)) event) Code {
	done := make(chan Code, 1)
	if !c.submit(key, false, ev(func(code Code) { done <- code })) {
		return kerr.GroupIDNotFound.Code
	}
	select {
	case code := <-done:
		return code
	case <-ctx.Done():
		return kerr.CoordinatorNotAvailable.Code
	}
}
