package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Crash returns the file system as it may look after a power loss now. All durable bytes and names are
// there. Of what was not synced, chance decides: each write is kept, lost or torn (at a sector of 512
// bytes or anywhere), in any combination; a file may have grown without its data, and then reads zeroes;
// each change of a name is kept or lost, but never without an earlier one of the same name. The result
// depends only on the state and on rng. It is a file system of its own: all it holds is durable, and it
// has the capacity of m but no locks, no handles and no hook. m is unaffected and stays usable.
func (m *Mem) Crash(rng *rand.Rand) *Mem { return m.powerLoss(&chance{rng: rng, bias: rng.Float64()}) }

// CrashLoseAll is the unluckiest Crash: nothing survives that was not synced.
func (m *Mem) CrashLoseAll() *Mem { return m.powerLoss(nil) }

// CrashKeepAll returns the file system as a killed process leaves it: the page cache survives, so
// everything written and every name is there, but what was not durable still is not, and a Crash of the
// result can lose it. Locks, handles, the hook and removed files that were open are gone.
func (m *Mem) CrashKeepAll() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := NewMem()
	out.capacity = m.capacity
	copies := copier{}
	out.root = copies.inode(m.root)
	for _, change := range m.changes {
		edits := slices.Clone(change.edits)
		for i, e := range edits {
			edits[i] = nameEdit{copies.inode(e.dir), e.name, copies.inode(e.to)}
		}
		out.changes = append(out.changes, &nameChange{edits: edits})
	}
	for _, node := range copies {
		if node.alive() {
			out.used += node.now.space()
		}
	}
	return out
}

// copier holds the copy of each inode, so that one with several names is copied once.
type copier map[*inode]*inode

func (c copier) inode(n *inode) *inode {
	if n == nil {
		return nil
	}
	if done := c[n]; done != nil {
		return done
	}
	out := &inode{isDir: n.isDir, modTime: n.modTime, links: n.links, now: n.now.clone(), disk: n.disk.clone()}
	c[n] = out
	out.log = slices.Clone(n.log) // the data of an operation never changes, so it may be shared
	if n.isDir {
		out.names, out.durable = c.names(n.names), c.names(n.durable)
	}
	return out
}

func (c copier) names(names map[string]*inode) map[string]*inode {
	out := make(map[string]*inode, len(names))
	for name, node := range names {
		out[name] = c.inode(node)
	}
	return out
}

// powerLoss builds what a crash leaves; dice nil loses all that can be lost.
func (m *Mem) powerLoss(dice *chance) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := NewMem()
	out.capacity = m.capacity
	loss := powerLoss{out: out, dice: dice, names: m.namesAfterLocked(dice), done: map[*inode]*inode{m.root: out.root}}
	loss.fill(out.root, m.root)
	return out
}

// namesAfterLocked decides which names survive, by directory; directories it lacks have just the durable
// ones. A lost change takes with it every later one that touches one of its names, or that happened in
// the directory it made: a disk may forget, but it never creates the new "log" without having renamed
// the old one away, nor moves a file into a directory that it lost.
func (m *Mem) namesAfterLocked(dice *chance) map[*inode]map[string]*inode {
	type place struct {
		dir  *inode
		name string // "" for the directory itself
	}
	after, lost := map[*inode]map[string]*inode{}, map[place]bool{}
	for _, change := range m.changes {
		blocked := slices.ContainsFunc(change.edits, func(e nameEdit) bool {
			return lost[place{e.dir, e.name}] || lost[place{e.dir, ""}]
		})
		keep := dice.keep() && !blocked
		for _, e := range change.edits {
			if !keep {
				lost[place{e.dir, e.name}] = true
				lost[place{e.to, ""}] = true
				continue
			}
			if after[e.dir] == nil {
				after[e.dir] = maps.Clone(e.dir.durable)
			}
			setName(after[e.dir], e.name, e.to)
		}
	}
	return after
}

// powerLoss is a crash under way: it walks the surviving names in order, so that one seed has one result.
type powerLoss struct {
	out   *Mem
	dice  *chance
	names map[*inode]map[string]*inode
	done  map[*inode]*inode // old inode to its copy in out
}

// fill gives dir what survives of old. A directory that a half-durable rename left under two names keeps
// the first, as a check of the disk would have it; a file keeps both.
func (p *powerLoss) fill(dir, old *inode) {
	names, changed := p.names[old]
	if !changed {
		names = old.durable
	}
	for _, name := range sortedNames(names) {
		child := names[name]
		node, seen := p.done[child]
		switch {
		case seen && child.isDir:
			continue
		case seen:
		case child.isDir:
			node = newDir()
			p.done[child] = node
			p.fill(node, child)
		default:
			node = newFile()
			p.done[child] = node
			node.disk = child.contentAfter(p.dice)
			node.now = node.disk.clone()
			p.out.used += node.now.space()
		}
		node.modTime = child.modTime
		node.links++
		dir.names[name], dir.durable[name] = node, node
	}
}

// contentAfter is what a crash leaves of a file.
func (n *inode) contentAfter(dice *chance) content {
	c := n.disk.clone()
	dice = dice.forFile()
	for _, op := range n.log {
		switch {
		case op.state == opSynced || dice.keep():
			c.apply(op)
		case op.kind == fileWrite && dice.coin():
			dice.tear(&c, op)
		}
	}
	return c
}

// chance decides what survives. A nil one keeps nothing.
type chance struct {
	rng *rand.Rand
	// bias is how likely an operation is kept. It is drawn for the names and for each file, so that
	// nearly all and nearly nothing both occur.
	bias float64
}

func (c *chance) keep() bool { return c != nil && c.rng.Float64() < c.bias }
func (c *chance) coin() bool { return c != nil && c.rng.IntN(2) == 0 }

func (c *chance) forFile() *chance {
	if c == nil {
		return nil
	}
	return &chance{rng: c.rng, bias: c.rng.Float64()}
}

// sector is what a disk writes at once.
const sector = 512

// tear applies a part of a write: its head, its tail, or any of its sectors; and perhaps a length that
// goes further than the data.
func (c *chance) tear(to *content, op fileOp) {
	size := int64(len(op.data))
	piece := func(from, end int64) {
		if from < end {
			to.apply(fileOp{kind: fileWrite, off: op.off + from, data: op.data[from:end]})
		}
	}
	switch c.rng.IntN(3) {
	case 0:
		piece(0, c.cut(op))
	case 1:
		piece(c.cut(op), size)
	default:
		for from := int64(0); from < size; {
			end := min(size, from+sector-(op.off+from)%sector)
			if c.coin() {
				piece(from, end)
			}
			from = end
		}
	}
	if c.coin() {
		to.extend(op.off + c.rng.Int64N(size+1))
	}
}

// cut chooses where in a write it tears: anywhere, or at a sector of the file.
func (c *chance) cut(op fileOp) int64 {
	at := c.rng.Int64N(int64(len(op.data)) + 1)
	if c.coin() {
		at = max(0, at-(op.off+at)%sector)
	}
	return at
}
