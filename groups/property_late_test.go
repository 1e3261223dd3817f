package groups

import (
	"slices"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/raftmeta"
)

// doubts is what the world knows of saves whose outcome the group does not learn.
type doubts struct {
	history []*raftmeta.Group // everything that ever was saved
	late    []lateSave        // may yet arrive
	floor   int32             // what the shell remembers for a group out of memory
	behind  bool              // one has arrived of which the group in memory knows nothing
}

type lateSave struct {
	group *raftmeta.Group
	after *raftmeta.Group // what was saved when it was sent
}

// durable reports whether a member's assignment was saved at some time.
func (d *doubts) durable(generation int32, id, assignment string) bool {
	return slices.ContainsFunc(d.history, func(g *raftmeta.Group) bool {
		return g.Generation == generation && slices.ContainsFunc(g.Members, func(m raftmeta.GroupMember) bool {
			return m.ID == id && string(m.Assignment) == assignment
		})
	})
}

// keep saves what the group hears to be saved.
func (w *world) keep(g *raftmeta.Group) {
	if w.saved != nil && g.Generation < w.saved.Generation {
		w.t.Fatalf("saved generation %d after %d", g.Generation, w.saved.Generation)
	}
	w.saved, w.doubts.behind = g, false
	w.doubts.history = append(w.doubts.history, g)
}

// lose ends the save in flight with an unknown outcome: it has arrived, or will, or never does.
func (w *world) lose(t *rapid.T) {
	op := w.g.op
	if op == nil || op.kind != opSave {
		return
	}
	w.part(t, op)
	if !op.unsettled(raftmeta.ErrOutcomeUnknown) {
		w.step(func(fx *effects) { w.g.settled(w.now, raftmeta.ErrOutcomeUnknown, fx) })
		w.reborn()
		return
	}
	w.putDown()
}

// part decides about a save that nobody waits for any more.
func (w *world) part(t *rapid.T, op *operation) {
	if rapid.Bool().Draw(t, "arrived") {
		w.keep(op.group)
	} else {
		w.doubts.late = append(w.doubts.late, lateSave{op.group, w.saved})
	}
}

// putDown takes the group out of memory within its epoch, and back.
func (w *world) putDown() {
	w.doubts.floor = max(w.doubts.floor, w.g.inDoubt())
	w.closeGroup()
	w.reload()
}

// regain puts the shard down and takes it up again.
func (w *world) regain(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
		return
	}
	if op := w.g.op; op != nil && op.kind == opSave {
		w.part(t, op)
	}
	w.putDown()
}

// reload makes the group of what is saved.
func (w *world) reload() {
	w.commits, w.top, w.doubts.behind = 0, 0, false
	w.g = newGroup("", "g")
	if w.saved != nil {
		w.g, w.top = restoreGroup(w.saved, w.now), w.saved.Generation
	}
	w.g.floor = w.doubts.floor
}

// arrive lets a late save reach the store, which takes it unless it has a higher generation. It must not
// undo anything that was acknowledged since it was sent.
func (w *world) arrive(*rapid.T) {
	if len(w.doubts.late) == 0 {
		return
	}
	s := w.doubts.late[0]
	w.doubts.late = w.doubts.late[1:]
	if w.saved != nil && s.group.Generation < w.saved.Generation {
		return
	}
	if w.saved != s.after && !cmp.Equal(w.saved, s.group) {
		w.t.Fatalf("a late save undoes another\nsaved: %+v\nlate:  %+v", w.saved, s.group)
	}
	w.keep(s.group)
	w.doubts.behind = true
}
