package cluster

import (
	"cmp"
	"slices"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// What follows is what the controller wishes beyond what must be: pure functions of the table, looked at
// again every BalanceInterval. Each lists a bounded number of commands; the rest is found the next time.
const (
	maxElections = 50 // leaders moved per round: each makes its clients look for the new one
	maxMoves     = 8  // coordinator shards moved per round: each makes its groups look for theirs
	// maxDraining is how many partitions move off draining brokers at a time. More would be done sooner,
	// and leave less of the network to everybody else.
	maxDraining = 5
)

// move is a command, and the thing that it moves.
type move struct {
	about   any
	command raftmeta.Command
}

// partitionKey names a partition in a move.
type partitionKey struct {
	topic     uuid.ID
	partition int32
}

// balance proposes the wishes of one round.
func (t *term) balance(im *raftmeta.Image) {
	if t.over() {
		return
	}
	moves := slices.Concat(drain(im), evenShards(im))
	if !t.c.n.o.KeepLeaders {
		moves = append(moves, preferredLeaders(im)...)
	}
	for _, m := range moves {
		t.propose(m.about, m.command, nil)
	}
}

// takesOn tells whether a broker may get something to lead.
func takesOn(im *raftmeta.Image, id int32) bool {
	b, ok := im.Broker(id)
	return ok && b.State == raftmeta.Active && !b.Draining
}

// preferredLeaders lists the partitions whose first replica could lead and does not.
func preferredLeaders(im *raftmeta.Image) []move {
	var moves []move
	for t := range im.AllTopics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			preferred := p.Replicas[0]
			if p.Leader == raftmeta.NoLeader || p.Leader == preferred || p.Recovering ||
				!slices.Contains(p.ISR, preferred) || !takesOn(im, preferred) {
				continue
			}
			moves = append(moves, move{
				partitionKey{t.ID, int32(i)},
				&raftmeta.ElectLeader{TopicID: t.ID, Partition: int32(i)},
			})
			if len(moves) == maxElections {
				return moves
			}
		}
	}
	return moves
}

// evenShards moves coordinator shards until no broker that takes them on has two more than another, and
// those that do not have none.
func evenShards(im *raftmeta.Image) []move {
	owned := map[int32][]int32{}
	var able []int32
	for b := range im.Brokers() {
		if takesOn(im, b.ID) {
			able = append(able, b.ID)
		}
	}
	if len(able) == 0 {
		return nil
	}
	for i := range int32(raftmeta.GroupShards) {
		owner := im.Shard(i).Owner
		owned[owner] = append(owned[owner], i)
	}
	var moves []move
	for len(moves) < maxMoves {
		to := slices.MinFunc(able, func(a, b int32) int {
			return cmp.Or(cmp.Compare(len(owned[a]), len(owned[b])), cmp.Compare(a, b))
		})
		from, found := overloaded(im, owned, len(owned[to]))
		if !found {
			break
		}
		last := len(owned[from]) - 1
		shard := owned[from][last]
		owned[from], owned[to] = owned[from][:last], append(owned[to], shard)
		moves = append(moves, move{
			shardKey(shard),
			&raftmeta.MoveShard{Shard: shard, Epoch: im.Shard(shard).Epoch, To: to},
		})
	}
	return moves
}

type shardKey int32

// overloaded finds who should give a shard away: a broker that takes none on before one that has two more
// than least. A shard without an owner is for the table to settle.
func overloaded(im *raftmeta.Image, owned map[int32][]int32, least int) (from int32, found bool) {
	for b := range im.Brokers() {
		switch have := len(owned[b.ID]); {
		case have == 0:
		case !takesOn(im, b.ID):
			return b.ID, true
		case have > least+1 && (!found || have > len(owned[from])):
			from, found = b.ID, true
		}
	}
	return from, found
}

// drain moves replicas off brokers that are to be emptied.
func drain(im *raftmeta.Image) []move {
	draining, held := map[int32]bool{}, map[int32]int{}
	for b := range im.Brokers() {
		if b.Draining {
			draining[b.ID] = true
		}
	}
	if len(draining) == 0 {
		return nil
	}
	onTheWay := 0
	for t := range im.AllTopics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			for _, id := range p.Replicas {
				held[id]++
			}
			if slices.ContainsFunc(p.Removing, func(id int32) bool { return draining[id] }) {
				onTheWay++
			}
		}
	}
	var moves []move
	for t := range im.AllTopics() {
		for i := range t.Partitions {
			if onTheWay >= maxDraining {
				return moves
			}
			target, ok := drained(im, &t.Partitions[i], draining, held)
			if !ok {
				continue
			}
			onTheWay++
			moves = append(moves, move{
				partitionKey{t.ID, int32(i)},
				&raftmeta.Reassign{TopicID: t.ID, Partition: int32(i), Replicas: target},
			})
		}
	}
	return moves
}

// drained is where a partition should go: whoever is to be emptied is replaced, one at a time and at the end
// of the list, so that the lead goes to a replica that has the records already. Without anybody to take the
// place it goes to the end itself, which is enough to lead no more. held is kept up to date.
func drained(im *raftmeta.Image, p *raftmeta.Partition, draining map[int32]bool, held map[int32]int) ([]int32, bool) {
	at := slices.IndexFunc(p.Replicas, func(id int32) bool { return draining[id] })
	if at < 0 || p.Reassigning() || p.Leader == raftmeta.NoLeader {
		return nil, false
	}
	leaving := p.Replicas[at]
	rest := slices.Delete(slices.Clone(p.Replicas), at, at+1)
	if heir, ok := leastLoaded(im, p.Replicas, held); ok {
		held[heir]++
		held[leaving]--
		return append(rest, heir), true
	}
	staysFirst := at == 0 && len(rest) > 0 && !draining[rest[0]]
	return append(rest, leaving), staysFirst
}

// leastLoaded is the broker with the fewest replicas that takes things on and has none of this partition; one
// in a rack of its own goes before all others.
func leastLoaded(im *raftmeta.Image, replicas []int32, held map[int32]int) (heir int32, ok bool) {
	racks := map[string]bool{"": true}
	for _, id := range replicas {
		if b, known := im.Broker(id); known && !b.Draining {
			racks[b.Rack] = true
		}
	}
	best := false // the heir so far has a rack of its own
	for b := range im.Brokers() {
		if !takesOn(im, b.ID) || slices.Contains(replicas, b.ID) {
			continue
		}
		own := !racks[b.Rack]
		if !ok || own && !best || own == best && held[b.ID] < held[heir] {
			heir, best, ok = b.ID, own, true
		}
	}
	return heir, ok
}
