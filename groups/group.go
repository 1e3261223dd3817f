package groups

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/raftmeta"
)

const (
	// newMemberJoinTimeout ends the wait of a first join. Such a member has no session yet, and a
	// client that gave up and asks anew would otherwise leave one dead member per attempt in the
	// round, none of which could ever be told apart from a live one.
	newMemberJoinTimeout = 5 * time.Minute
	// minRoundExtension keeps a round that waits for silent static members from spinning when every
	// member asked for a rebalance timeout of 0.
	minRoundExtension = time.Second
	// maxPending bounds the member ids of one group that were given out and not used yet.
	maxPending = 16 << 10
)

// group is the state machine of one group: what happened and the time go in by its methods, what to
// do comes out in an effects value. It must not be used by two goroutines at once.
type group struct {
	tenant, id string

	state        State
	generation   int32
	protocolType string // outlives the members; "" if there never were any
	protocol     string // chosen for the generation
	leader       string // member id
	emptySince   int64  // ms since the epoch; 0 with members, and if there never were any

	members  map[string]*member
	order    []*member            // the same, by arrival; a replaced static member keeps its place
	statics  map[string]*member   // those with an instance id, by it
	support  map[string]int       // protocol name -> how many members offer it
	pending  map[string]time.Time // member ids given out for KIP-394 -> when they lapse
	awaiting int                  // members with a join to answer

	round  round     // while PreparingRebalance
	syncBy time.Time // when members that did not sync are removed; zero if all did

	saved   int32      // generation that the Store has; -1 if it has no such group
	floor   int32      // a save of this generation may yet reach the Store; 0 for none
	retryAt time.Time  // when to save an emptied group again; zero if not needed
	op      *operation // in flight on the Store, or nil
	queued  []event    // what came while op was in flight, in order; at most maxQueued
	commits int        // offset commits in flight on the Store
}

// round is one PreparingRebalance.
type round struct {
	deadline time.Time
	// An initial round, the first of an empty group, does not end when all known members joined but
	// after a delay, and again after the same delay whenever somebody came meanwhile, until
	// remaining is used up. A fleet that starts together so ends up in one generation.
	initial   bool
	grew      bool
	delay     time.Duration
	remaining time.Duration
}

// member is one member of a group.
type member struct {
	id         string
	instanceID string // "" for a dynamic member
	clientID   string
	clientHost string
	session    time.Duration
	rebalance  time.Duration
	protocols  []raftmeta.GroupProtocol // by preference, names unique
	assignment []byte

	expires time.Time // when the session ends; see expirable
	fresh   bool      // its first join is not answered yet
	synced  bool      // asked for its assignment in this generation

	join func(JoinReply) // the join to answer, or nil
	sync func(SyncReply) // the sync to answer, or nil
}

func newGroup(tenant, id string) *group {
	return &group{
		tenant: tenant, id: id, saved: -1,
		members: map[string]*member{}, support: map[string]int{},
	}
}

// expirable reports whether the session clock of m runs. It stands while the coordinator owes m an
// answer, as the client cannot heartbeat before it has one; but see newMemberJoinTimeout.
func (m *member) expirable() bool { return m.fresh || m.join == nil && m.sync == nil }

func (m *member) renew(now time.Time) {
	if !m.fresh {
		m.expires = now.Add(m.session)
	}
}

func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// offers reports whether m would say nothing new with these protocols.
func (m *member) offers(protocols []raftmeta.GroupProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b raftmeta.GroupProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// check tells whether the member may speak: 0, UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID if another
// member has taken its instance id (KIP-345).
func (g *group) check(memberID, instanceID string) Code {
	if instanceID != "" {
		owner := g.statics[instanceID]
		if owner == nil {
			return kerr.UnknownMemberID.Code
		}
		if owner.id != memberID {
			return kerr.FencedInstanceID.Code
		}
	}
	if g.members[memberID] == nil {
		return kerr.UnknownMemberID.Code
	}
	return 0
}

// checkGeneration is check, then ILLEGAL_GENERATION unless the member is in the current one.
func (g *group) checkGeneration(memberID, instanceID string, generation int32) Code {
	if g.state == Dead {
		return kerr.CoordinatorNotAvailable.Code
	}
	if code := g.check(memberID, instanceID); code != 0 {
		return code
	}
	if generation != g.generation {
		return kerr.IllegalGeneration.Code
	}
	return 0
}

// heartbeat renews a session. REBALANCE_IN_PROGRESS renews it as well: the member is alive, and has
// until the round's end to join.
func (g *group) heartbeat(now time.Time, memberID, instanceID string, generation int32) Code {
	if code := g.checkGeneration(memberID, instanceID, generation); code != 0 {
		return code
	}
	g.members[memberID].renew(now)
	if g.state == PreparingRebalance {
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

// supports reports whether a member with these protocols can be in the group: the type is the
// group's, and some protocol is offered by everybody. Whoever comes first sets both.
func (g *group) supports(protocolType string, protocols []raftmeta.GroupProtocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p raftmeta.GroupProtocol) bool {
		return g.support[p.Name] == len(g.members)
	})
}

// vote chooses the protocol of the next generation: each member votes for its first that all offer.
// A tie goes to the preference of the member that came first. There is a candidate, as supports was
// asked about every change.
func (g *group) vote() string {
	votes := make(map[string]int, 1)
	for _, m := range g.order {
		for _, p := range m.protocols {
			if g.support[p.Name] == len(g.members) {
				votes[p.Name]++
				break
			}
		}
	}
	best := ""
	for _, p := range g.order[0].protocols {
		if votes[p.Name] > votes[best] {
			best = p.Name
		}
	}
	return best
}

func (g *group) setProtocols(m *member, protocols []raftmeta.GroupProtocol) {
	for _, p := range m.protocols {
		if g.support[p.Name]--; g.support[p.Name] == 0 {
			delete(g.support, p.Name)
		}
	}
	for _, p := range protocols {
		g.support[p.Name]++
	}
	m.protocols = protocols
}

// insert adds m, which must not be there.
func (g *group) insert(m *member) {
	protocols := m.protocols
	m.protocols = nil
	g.members[m.id] = m
	g.order = append(g.order, m)
	if m.instanceID != "" {
		if g.statics == nil {
			g.statics = map[string]*member{}
		}
		g.statics[m.instanceID] = m
	}
	if m.join != nil {
		g.awaiting++
	}
	g.setProtocols(m, protocols)
}

// forget takes m out of every table. Its waiters must have been answered.
func (g *group) forget(m *member) {
	g.setProtocols(m, nil)
	delete(g.members, m.id)
	g.order = slices.DeleteFunc(g.order, func(o *member) bool { return o == m })
	if m.instanceID != "" {
		delete(g.statics, m.instanceID)
	}
	if g.leader == m.id {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
}

// remove lets m go, and the others learn of it. What m waits for is answered with UNKNOWN_MEMBER_ID,
// upon which a client that is still there joins anew.
func (g *group) remove(now time.Time, m *member, fx *effects) {
	g.answerJoin(now, m, joinError(kerr.UnknownMemberID.Code, ""), fx)
	g.answerSync(now, m, SyncReply{Err: kerr.UnknownMemberID.Code}, fx)
	g.forget(m)
	switch g.state {
	case Stable, CompletingRebalance:
		g.prepareRebalance(now, 0, fx)
	case PreparingRebalance:
		g.advanceRound(now, fx)
	}
}

// rebalanceTimeout is the largest of the members'.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.order {
		longest = max(longest, m.rebalance)
	}
	return longest
}

// setJoin makes reply what m waits for. A join that it replaces, whose connection is most likely
// gone, is told to join again.
func (g *group) setJoin(now time.Time, m *member, reply func(JoinReply), fx *effects) {
	g.answerJoin(now, m, joinError(kerr.RebalanceInProgress.Code, m.id), fx)
	m.join = reply
	g.awaiting++
}

// answerJoin answers the join that m waits for, if there is one. From then on the session clock runs
// again, for a full session.
func (g *group) answerJoin(now time.Time, m *member, r JoinReply, fx *effects) {
	if m.join == nil {
		return
	}
	fx.join(m.join, r)
	m.join = nil
	g.awaiting--
	m.renew(now)
}

// answerSync does the same for a sync.
func (g *group) answerSync(now time.Time, m *member, r SyncReply, fx *effects) {
	if m.sync == nil {
		return
	}
	fx.sync(m.sync, r)
	m.sync = nil
	m.renew(now)
}

func joinError(code Code, memberID string) JoinReply {
	return JoinReply{Err: code, Generation: -1, MemberID: memberID}
}

// joined is the reply that lets m into the current generation.
func (g *group) joined(m *member) JoinReply {
	r := JoinReply{
		Generation:   g.generation,
		ProtocolType: g.protocolType,
		Protocol:     g.protocol,
		Leader:       g.leader,
		MemberID:     m.id,
	}
	if m.id == g.leader {
		r.Members = g.joinMembers()
	}
	return r
}

func (g *group) joinMembers() []JoinMember {
	list := make([]JoinMember, 0, len(g.order))
	for _, m := range g.order {
		list = append(list, JoinMember{MemberID: m.id, InstanceID: m.instanceID, Metadata: m.metadata(g.protocol)})
	}
	return list
}

// describe shows the group as DescribeGroups does: what only makes sense together, protocol,
// metadata and assignments, is there only in Stable.
func (g *group) describe() Description {
	d := Description{State: g.state, ProtocolType: g.protocolType, Members: make([]MemberDescription, 0, len(g.order))}
	if g.state == Stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.order {
		md := MemberDescription{MemberID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost}
		if g.state == Stable {
			md.Metadata, md.Assignment = m.metadata(g.protocol), m.assignment
		}
		d.Members = append(d.Members, md)
	}
	return d
}
