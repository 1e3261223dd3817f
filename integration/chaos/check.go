package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// maxViolations of one kind and partition are reported: a log that diverged does so at every offset.
const maxViolations = 5

// Check returns what the history breaks.
func (h *History) Check() []Violation {
	return append(h.apply(checkFinal, checkAcked, checkReads), h.CheckSeen()...)
}

// CheckSeen is the part of Check that needs no logs.
func (h *History) CheckSeen() []Violation {
	return h.apply(checkEnds, checkCommitted, checkAssigned, checkComplaints, checkAdminOps)
}

func (h *History) apply(checks ...func(*History) []Violation) []Violation {
	var found []Violation
	for _, check := range checks {
		found = append(found, check(h)...)
	}
	return capped(found)
}

// adminPatience bounds the search for an order of the admin operations on one name.
const adminPatience = 30 * time.Second

func checkAdminOps(h *History) []Violation { return CheckAdmin(h.Admin, adminPatience) }

// capped leaves out repetitions of a violation.
func capped(found []Violation) []Violation {
	type kind struct {
		invariant string
		partition Partition
	}
	count := map[kind]int{}
	return slices.DeleteFunc(found, func(v Violation) bool {
		k := kind{v.Invariant, v.Partition}
		count[k]++
		return count[k] > maxViolations
	})
}

// known returns the attempt that an ID names, nil if it was never made in p.
func (h *History) known(id ID, p Partition) *Attempt {
	if id.Stream < 0 || int(id.Stream) >= len(h.Streams) || h.Streams[id.Stream].Partition != p {
		return nil
	}
	if s := h.Streams[id.Stream]; id.Seq >= 0 && int(id.Seq) < len(s.Attempts) {
		return &s.Attempts[id.Seq]
	}
	return nil
}

// checkFinal looks at the logs alone: no holes, nothing that was not sent, nothing that was refused (I46), nothing twice,
// and the records of an idempotent producer in their order (I35).
func checkFinal(h *History) []Violation {
	var found []Violation
	for p, log := range h.Final {
		report := func(invariant, text string, rows ...string) {
			found = append(found, Violation{invariant, p, text, rows})
		}
		seen := map[ID]int64{}
		last := map[int32]Read{} // by stream
		for i, r := range log {
			if i > 0 && r.Offset != log[i-1].Offset+1 || i == 0 && r.Offset != 0 {
				report("I1", fmt.Sprintf("the log has a hole below offset %d", r.Offset), r.row())
			}
			a := h.known(r.ID, p)
			before, twice := seen[r.ID]
			prior, has := last[r.ID.Stream]
			switch {
			case a == nil:
				report("I2", "the log holds a record that was never sent to it", r.row(), h.row(r.ID))
				continue
			case twice:
				report("I35", fmt.Sprintf("a record is in the log twice, at offsets %d and %d", before, r.Offset), r.row(), h.row(r.ID))
			case a.Outcome == Refused:
				report("I46", "a record that was refused is in the log", r.row(), h.row(r.ID))
			case h.Streams[r.ID.Stream].Kind == Idempotent && has && r.ID.Seq < prior.ID.Seq:
				report("I35", "the records of a producer are out of order", prior.row(), r.row(), h.row(prior.ID), h.row(r.ID))
			}
			seen[r.ID], last[r.ID.Stream] = r.Offset, r
		}
	}
	return found
}

// checkAcked looks for every record that was acknowledged by acks=all at its offset (I1, I2).
func checkAcked(h *History) []Violation {
	var found []Violation
	at := h.byOffset()
	for number, s := range h.Streams {
		if s.Kind == Leader {
			continue
		}
		for seq, a := range s.Attempts {
			if a.Outcome != Acked {
				continue
			}
			id := ID{int32(number), int32(seq)}
			switch r, ok := at[s.Partition][a.Offset]; {
			case !ok:
				found = append(found, Violation{"I1", s.Partition, "an acknowledged record is lost", []string{h.row(id)}})
			case r.ID != id:
				found = append(found, Violation{"I2", s.Partition, "another record has the offset of an acknowledged one", []string{h.row(id), r.row(), h.row(r.ID)}})
			}
		}
	}
	return found
}

func (h *History) byOffset() map[Partition]map[int64]Read {
	at := map[Partition]map[int64]Read{}
	for p, log := range h.Final {
		at[p] = make(map[int64]Read, len(log))
		for _, r := range log {
			at[p][r.Offset] = r
		}
	}
	return at
}

// checkReads looks for every record that a consumer was given: one that vanished had been at or above the high
// watermark (I9), one that changed had another value (I2).
func checkReads(h *History) []Violation {
	var found []Violation
	at := h.byOffset()
	for p, reads := range h.Reads {
		for _, r := range reads {
			switch f, ok := at[p][r.Offset]; {
			case !ok:
				found = append(found, Violation{"I9", p, "a consumer was given a record that vanished", []string{r.row(), h.row(r.ID)}})
			case f.ID != r.ID || f.Epoch != r.Epoch:
				found = append(found, Violation{"I2", p, "what a consumer was given at an offset has changed", []string{r.row(), h.row(r.ID), "in the end " + f.row(), h.row(f.ID)}})
			}
		}
	}
	return found
}

// floor is a fact that holds from a time on: the value is at least so much.
type floor struct {
	from  time.Duration
	epoch int32 // only claims of leaders of this epoch or a later one can know
	least int64
	row   func() string
}

// claim is an answer that must not be below the floors that held when the question was asked.
type claim struct {
	asked  time.Duration
	epoch  int32
	value  int64
	reason func() string
}

// below pairs every claim that is too low with the highest floor under it.
func below(claims []claim, floors []floor, report func(c claim, f floor)) {
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(a.asked, b.asked) })
	slices.SortStableFunc(floors, func(a, b floor) int { return cmp.Compare(a.from, b.from) })
	best := map[int32]floor{} // by epoch
	next := 0
	for _, c := range claims {
		for ; next < len(floors) && floors[next].from < c.asked; next++ {
			f := floors[next]
			if known, ok := best[f.epoch]; !ok || f.least > known.least {
				best[f.epoch] = f
			}
		}
		var highest floor
		for epoch, f := range best {
			if epoch <= c.epoch && (highest.row == nil || f.least > highest.least) {
				highest = f
			}
		}
		if highest.row != nil && c.value < highest.least {
			report(c, highest)
		}
	}
}

// checkEnds holds the latest offsets that clients were told against all that was known before they asked: what they were
// told earlier, what was acknowledged by acks=all, and what was read (I8).
//
// A leader that is cut off tells what it knows until it notices (replication.md 5.5), so an answer counts for questions in
// its epoch and later ones. A record, whose epoch is that of the leader that wrote it, may have been acknowledged or read
// by grace of a later leader; it counts for the epochs after its own, whose leaders know it before they answer at all.
func checkEnds(h *History) []Violation {
	var found []Violation
	floors := map[Partition][]floor{}
	at := h.byOffset()
	for number, s := range h.Streams {
		for seq, a := range s.Attempts {
			r, ok := at[s.Partition][a.Offset]
			if ok && a.Outcome == Acked && s.Kind != Leader {
				id := ID{int32(number), int32(seq)}
				floors[s.Partition] = append(floors[s.Partition], floor{a.End, r.Epoch + 1, a.Offset + 1, func() string { return h.row(id) }})
			}
		}
	}
	for p, reads := range h.Reads {
		for _, r := range reads {
			floors[p] = append(floors[p], floor{r.At, r.Epoch + 1, r.Offset + 1, r.row})
		}
	}
	for p, ends := range h.Ends {
		var claims []claim
		for _, e := range ends {
			floors[p] = append(floors[p], floor{e.End, e.Epoch, e.Offset, e.row})
			claims = append(claims, claim{e.Start, e.Epoch, e.Offset, e.row})
		}
		below(claims, floors[p], func(c claim, f floor) {
			found = append(found, Violation{"I8", p, fmt.Sprintf("the latest offset fell from %d to %d", f.least, c.value), []string{f.row(), c.reason()}})
		})
	}
	return found
}

func (e EndSeen) row() string {
	return fmt.Sprintf("the leader of epoch %d said %d, asked at %v, answered at %v", e.Epoch, e.Offset, ms(e.Start), ms(e.End))
}

// checkCommitted holds the committed offsets that clients were told against the commits (I42): none below one that was
// acknowledged or seen before the question of a member, none above all that were tried.
func checkCommitted(h *History) []Violation {
	var found []Violation
	for group, seen := range h.Committed {
		floors, claims := map[Partition][]floor{}, map[Partition][]claim{}
		tried := map[Partition]int64{}
		for _, c := range h.Commits[group] {
			tried[c.Partition] = max(tried[c.Partition], c.Offset)
			if c.Outcome == Acked {
				floors[c.Partition] = append(floors[c.Partition], floor{c.End, 0, c.Offset, c.row})
			}
		}
		for _, s := range seen {
			if s.Offset > tried[s.Partition] {
				found = append(found, Violation{"I42", s.Partition, fmt.Sprintf("group %s has an offset committed that nobody committed", group), []string{s.row()}})
			}
			floors[s.Partition] = append(floors[s.Partition], floor{s.End, 0, s.Offset, s.row})
			if !s.Bystander {
				claims[s.Partition] = append(claims[s.Partition], claim{s.Start, 0, s.Offset, s.row})
			}
		}
		for p := range claims {
			below(claims[p], floors[p], func(c claim, f floor) {
				found = append(found, Violation{"I42", p, fmt.Sprintf("the committed offset of group %s went back from %d to %d", group, f.least, c.value), []string{f.row(), c.reason()}})
			})
		}
	}
	return found
}

func (c Commit) row() string {
	return fmt.Sprintf("commit of %d by %s from %v to %v: %v", c.Offset, c.Member, ms(c.Start), ms(c.End), c.Outcome)
}

func (s CommittedSeen) row() string {
	return fmt.Sprintf("the committed offset was %d, asked by %s at %v, answered at %v", s.Offset, s.By, ms(s.Start), ms(s.End))
}

// checkAssigned looks for partitions with two owners in one generation, and for members whose generation went back (I44).
func checkAssigned(h *History) []Violation {
	type seat struct {
		generation int32
		partition  Partition
	}
	var found []Violation
	for group, all := range h.Assigned {
		owner := map[seat]Assigned{}
		latest := map[string]Assigned{}
		for _, a := range all {
			if before, ok := latest[a.Member]; ok && a.Generation < before.Generation {
				found = append(found, Violation{"I44", Partition{}, "group " + group + ": the generation of a member went back", []string{before.row(), a.row()}})
			}
			latest[a.Member] = a
			for _, p := range a.Partitions {
				s := seat{a.Generation, p}
				if before, ok := owner[s]; ok && before.Member != a.Member {
					found = append(found, Violation{"I44", p, "group " + group + ": two members own a partition in one generation", []string{before.row(), a.row()}})
				}
				owner[s] = a
			}
		}
	}
	return found
}

func (a Assigned) row() string {
	return fmt.Sprintf("member %s, generation %d, was given %v at %v", a.Member, a.Generation, a.Partitions, ms(a.At))
}

// checkComplaints turns errors that no client may be given into violations (I18 and others).
func checkComplaints(h *History) []Violation {
	var found []Violation
	for _, c := range h.Complaints {
		found = append(found, Violation{c.Invariant, c.Partition, c.Text, []string{fmt.Sprintf("at %v", ms(c.At))}})
	}
	return found
}
