package cluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/raftmeta"
)

// seats decides who votes in the Raft group (replication.md 4.7). It has no clock and no goroutine.
//
// hashicorp's raft-autopilot is not used for this: it has no bound for the number of voters, removes a
// server the moment it looks dead, wants the raft.Raft that raftmeta keeps to itself, and keeps goroutines
// that outlive a term. Its hook for another policy is all of what is here.
//
//   - The number of voters aimed at is odd: 1, 3 or 5, as many as there are servers that keep up. A second
//     or fourth vote would make the majority larger and survive no more failures.
//   - A server gets a vote after it has kept up for some time, for the vote counts at once.
//   - A dead voter keeps its vote for three days: it may be a machine in repair, and each removal takes the
//     group closer to losing its majority. An operator can remove it any time. It goes earlier when its node
//     is back on another directory, for then it never comes back (its node id is taken), or its broker was
//     removed, and its vote only makes majorities harder.
//   - Nobody is removed unless most of the remaining voters keep up.
//
// One change at a time: what follows is decided on what the group has become.
type seats struct {
	self         string
	voters       int
	promoteAfter time.Duration
	now          time.Time
	members      []raftmeta.Member
	servers      map[string]*serverRecord
	// registered tells whether the table knows a broker; nil takes all for registered.
	registered func(broker int32) bool
}

type serverRecord struct {
	well  bool
	since time.Time // when well became what it is, as far as this leader has seen
}

// deadAfter is how long a server must have been away before it is removed without being asked.
const deadAfter = 72 * time.Hour

// removedAfter is how long a server without a registered broker must have been away: one that joins is in
// the group a moment before it registers.
const removedAfter = 30 * time.Second

type seatChange struct {
	server raftmeta.Server
	remove bool // else promote
	reason string
}

func newSeats(self string, voters int, promoteAfter time.Duration) *seats {
	return &seats{self: self, voters: voters, promoteAfter: promoteAfter, servers: map[string]*serverRecord{}}
}

// observe takes one round of questions.
func (s *seats) observe(members []raftmeta.Member, well map[string]bool, now time.Time) {
	s.now, s.members = now, members
	for _, m := range members {
		if r := s.servers[m.ID]; r == nil || r.well != well[m.ID] {
			s.servers[m.ID] = &serverRecord{well[m.ID], now}
		}
	}
	for id := range s.servers {
		if !slices.ContainsFunc(members, func(m raftmeta.Member) bool { return m.ID == id }) {
			delete(s.servers, id)
		}
	}
}

// next is the one change that is due, if any.
func (s *seats) next() (seatChange, bool) {
	for _, m := range s.members {
		if reason := s.superfluous(m); reason != "" && s.mayRemove(m) {
			return seatChange{m.Server, true, reason}, true
		}
	}
	voters, well := 0, 0
	for _, m := range s.members {
		if m.Voter {
			voters++
		}
		if s.servers[m.ID].well && (m.Voter || s.stable(m)) {
			well++
		}
	}
	if voters >= odd(min(s.voters, well)) {
		return seatChange{}, false
	}
	var candidates []raftmeta.Member
	for _, m := range s.members {
		if !m.Voter && s.stable(m) {
			candidates = append(candidates, m)
		}
	}
	if len(candidates) == 0 {
		return seatChange{}, false
	}
	first := slices.MinFunc(candidates, func(a, b raftmeta.Member) int { return cmp.Compare(brokerOf(a.ID), brokerOf(b.ID)) })
	return seatChange{first.Server, false, "it keeps up"}, true
}

// odd is the largest odd number up to n, at least 1.
func odd(n int) int { return max(1, n-1+n%2) }

func (s *seats) stable(m raftmeta.Member) bool {
	r := s.servers[m.ID]
	return r.well && s.now.Sub(r.since) >= s.promoteAfter
}

// superfluous says why a server should go, "" if it should not.
func (s *seats) superfluous(m raftmeta.Member) string {
	r := s.servers[m.ID]
	if r.well || m.ID == s.self {
		return ""
	}
	if s.now.Sub(r.since) >= deadAfter {
		return "it has been away for days"
	}
	if s.registered != nil && !s.registered(brokerOf(m.ID)) && s.now.Sub(r.since) >= removedAfter {
		return "its broker was removed"
	}
	for _, other := range s.members {
		if other.ID != m.ID && brokerOf(other.ID) == brokerOf(m.ID) && brokerOf(m.ID) >= 0 && s.stable(other) {
			return "its node is back on another directory"
		}
	}
	return ""
}

func (s *seats) mayRemove(m raftmeta.Member) bool {
	well := map[string]bool{}
	for id, r := range s.servers {
		well[id] = r.well
	}
	return !m.Voter || safeWithout(s.members, well, m.ID)
}

// safeWithout tells whether most of the voters that remain without one keep up.
func safeWithout(members []raftmeta.Member, well map[string]bool, gone string) bool {
	voters, reachable := 0, 0
	for _, m := range members {
		if !m.Voter || m.ID == gone {
			continue
		}
		voters++
		if well[m.ID] {
			reachable++
		}
	}
	return voters > 0 && 2*reachable > voters
}
