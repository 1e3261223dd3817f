package broker

import (
	"cmp"
	"slices"

	"github.com/chronik-stream/chronik/raftmeta"
)

// placer chooses the replicas of new partitions: on distinct brokers in as many racks as there are, and
// so that leaders and replicas spread evenly, counting those that exist. It is a pure function of the
// image it was made from and of what it has placed since, so that the topics of one request, which are
// committed side by side, do not all land in the same place.
type placer struct {
	sites []*site // brokers that are active or fenced, by id
	// together counts how often the placer has put two brokers into one partition. The fewer, the more
	// brokers share what a failed one has led.
	together map[[2]int32]int
}

// site is a broker as a place for replicas.
type site struct {
	id       int32
	rack     *rack
	fenced   bool // taken only where no active broker is left: the replica is in sync once its broker is back
	draining bool // taken only where nobody else is left
	// leaders are the partitions that prefer this broker, not those that it happens to lead: after a
	// restart it leads none, and should not be given all new ones for that.
	leaders  int
	replicas int
}

// rack is a failure domain. Brokers that name none are together in one.
type rack struct {
	sites    int
	replicas int // on all its sites
}

func newPlacer(img *raftmeta.Image) *placer {
	p := &placer{together: map[[2]int32]int{}}
	racks, sites := map[string]*rack{}, map[int32]*site{}
	for broker := range img.Brokers() {
		if broker.State == raftmeta.ShuttingDown {
			continue
		}
		if racks[broker.Rack] == nil {
			racks[broker.Rack] = &rack{}
		}
		s := &site{id: broker.ID, rack: racks[broker.Rack], fenced: broker.State == raftmeta.Fenced, draining: broker.Draining}
		s.rack.sites++
		p.sites, sites[s.id] = append(p.sites, s), s
	}
	for t := range img.AllTopics() {
		for i := range t.Partitions {
			for k, id := range t.Partitions[i].Replicas {
				if s := sites[id]; s != nil {
					s.take(k == 0)
				}
			}
		}
	}
	return p
}

func (s *site) take(leads bool) {
	s.replicas++
	s.rack.replicas++
	if leads {
		s.leaders++
	}
}

// brokers are those that can be given replicas.
func (p *placer) brokers() []int32 {
	ids := make([]int32, len(p.sites))
	for i, s := range p.sites {
		ids[i] = s.id
	}
	return ids
}

// place gives each of some new partitions factor replicas, at most one for each broker. The first of each
// is its preferred leader.
func (p *placer) place(partitions, factor int) [][]int32 {
	chosen := make([][]*site, partitions)
	for i := range chosen {
		chosen[i] = p.choose(factor)
	}
	p.evenLeaders(chosen)
	assignments := make([][]int32, partitions)
	for i, sites := range chosen {
		for _, s := range sites {
			assignments[i] = append(assignments[i], s.id)
		}
	}
	return assignments
}

// choose takes the sites of one partition one after the other, and lets that lead which leads least.
func (p *placer) choose(factor int) []*site {
	var members []*site
	for range factor {
		var best *site
		for _, s := range p.sites {
			if !slices.Contains(members, s) && (best == nil || p.compare(s, best, members) < 0) {
				best = s
			}
		}
		for _, m := range members {
			p.together[pairOf(m, best)]++
		}
		best.take(false)
		members = append(members, best)
	}
	least := slices.MinFunc(members, func(a, b *site) int {
		return cmp.Or(order(a.fenced, b.fenced), order(a.draining, b.draining), cmp.Compare(a.leaders, b.leaders))
	})
	lead(members, least)
	least.leaders++
	return members
}

// compare orders sites for the next member of a partition. A rack is taken by its load for each of its
// sites, and only in it the site: choosing the idlest site of all could leave it alone in its rack, and
// its rack behind.
//
//	racks a b c of two, factor 2   by site: a1 b1, a2 b2, c1 a1   by rack: a1 b1, c1 a2, b2 c2
func (p *placer) compare(a, b *site, members []*site) int {
	return cmp.Or(
		order(a.fenced, b.fenced),
		order(a.draining, b.draining),
		cmp.Compare(inRack(members, a.rack), inRack(members, b.rack)),
		cmp.Compare(a.rack.replicas*b.rack.sites, b.rack.replicas*a.rack.sites),
		cmp.Compare(a.replicas, b.replicas),
		cmp.Compare(p.met(a, members), p.met(b, members)),
		cmp.Compare(a.leaders, b.leaders),
		cmp.Compare(a.id, b.id),
	)
}

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func inRack(members []*site, r *rack) (n int) {
	for _, m := range members {
		if m.rack == r {
			n++
		}
	}
	return n
}

func (p *placer) met(s *site, members []*site) (n int) {
	for _, m := range members {
		n += p.together[pairOf(s, m)]
	}
	return n
}

func pairOf(a, b *site) [2]int32 { return [2]int32{min(a.id, b.id), max(a.id, b.id)} }

// lead moves a member to the front, where the preferred leader stands.
func lead(members []*site, leader *site) {
	at := slices.Index(members, leader)
	members[0], members[at] = members[at], members[0]
}

// evenLeaders hands leaderships on until no broker prefers two more than another could take over from it,
// directly or through others. With replicas that differ by one at most between brokers, leaders then do
// too: if every replica were a share of its partition's leader, every broker would have as good as the
// same, and shares can be made whole along such chains.
func (p *placer) evenLeaders(partitions [][]*site) {
	for {
		slices.SortStableFunc(p.sites, func(a, b *site) int { return cmp.Compare(b.leaders, a.leaders) })
		if !slices.ContainsFunc(p.sites, func(s *site) bool { return p.relieve(s, partitions) }) {
			break
		}
	}
	slices.SortFunc(p.sites, func(a, b *site) int { return cmp.Compare(a.id, b.id) })
}

// relieve finds the shortest chain of partitions along which a site can give one leadership away, and
// does so. It reports whether there was one.
func (p *placer) relieve(from *site, partitions [][]*site) bool {
	if from.leaders-p.sites[len(p.sites)-1].leaders < 2 {
		return false // nobody has so much less
	}
	led := map[*site][][]*site{}
	for _, members := range partitions {
		led[members[0]] = append(led[members[0]], members)
	}
	via := map[*site][]*site{from: nil} // the partition through which a site was reached
	for queue := []*site{from}; len(queue) > 0; queue = queue[1:] {
		for _, members := range led[queue[0]] {
			for _, s := range members[1:] {
				if _, seen := via[s]; seen {
					continue
				}
				via[s] = members
				if s.leaders <= from.leaders-2 && !s.draining && !s.fenced {
					handOn(via, s)
					from.leaders--
					s.leaders++
					return true
				}
				queue = append(queue, s)
			}
		}
	}
	return false
}

// handOn lets each site of a chain that ends in s take over from the one before.
func handOn(via map[*site][]*site, s *site) {
	for via[s] != nil {
		before := via[s][0]
		lead(via[s], s)
		s = before
	}
}
