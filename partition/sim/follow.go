package sim

import (
	"errors"
	"time"

	"github.com/chronik-stream/chronik/internal/mutant"
	"github.com/chronik-stream/chronik/partition/core"
)

// fetching is the one fetch stream to a leader (replication.md 10.1).
type fetching struct {
	id   int // of the fetch under way, 0 for none
	sent time.Duration
}

// want is one partition of a fetch.
type want struct {
	r *replica
	core.FetchPosition
}

// got is a leader's answer for one partition.
type got struct {
	records   []record
	base      int64
	hw, start int64
	diverging *core.EpochEnd
	err       error
}

// fetchFrom sends a fetch for all that this broker follows a leader in, unless one is under way.
func (b *broker) fetchFrom(leader int32) {
	w, f := b.w, &b.fetches[leader]
	epoch, registered := b.registered()
	if !registered || f.id != 0 && w.now < f.sent+retryAfter {
		return
	}
	wants := b.wants(leader)
	if len(wants) == 0 {
		f.id = 0
		return
	}
	w.fetchCount++
	f.id, f.sent = w.fetchCount, w.now
	id, to := f.id, w.brokers[leader-1]
	w.net.toBroker(int(b.id), to, func() {
		answers := make([]got, len(wants))
		for i := range wants {
			answers[i] = to.serveFetch(b.id, epoch, wants[i].r.part, wants[i].FetchPosition)
		}
		generation := b.generation
		w.net.toBroker(int(to.id), b, func() {
			if b.generation == generation {
				b.take(leader, id, wants, answers)
			}
		})
	})
}

func (b *broker) wants(leader int32) (wants []want) {
	for _, r := range b.replicas {
		if r == nil || !r.core.Following() {
			continue
		}
		if _, p := r.part.state(b.image()); p == nil || p.Leader != leader {
			continue
		}
		if position, ok := r.core.FetchPosition(); ok {
			wants = append(wants, want{r, position})
		}
	}
	return wants
}

// take gives the answers of the fetch that is under way to their replicas. Those of earlier fetches came
// over a connection that is closed by now.
func (b *broker) take(leader int32, id int, wants []want, answers []got) {
	if b.fetches[leader].id != id {
		return
	}
	b.fetches[leader].id = 0
	news := false
	for i := range answers {
		news = wants[i].r.replicate(&wants[i].FetchPosition, &answers[i]) || news
	}
	if news {
		delay := b.w.about(2 * time.Millisecond)
		if b.w.plan.syncMode {
			delay += 8 * time.Millisecond
		}
		b.w.on(b, delay, func() { b.fetchFrom(leader) })
	}
}

// replicate takes over one answer, as partition.Replica.Replicate does, and reports whether it changed
// the log.
func (r *replica) replicate(asked *core.FetchPosition, a *got) (news bool) {
	w := r.b.w
	if errors.Is(a.err, core.ErrOffsetOutOfRange) && r.core.Restarts(a.start, asked.From) {
		return r.restart(asked, a)
	}
	if a.err != nil {
		return false
	}
	if err := r.core.CheckAnswer(asked.Epoch, asked.From); err != nil {
		w.note(noteAnswerIgnored, int(r.b.id), r.part.index, int(asked.Epoch), int(asked.From))
		return false
	}
	w.must(asked.Epoch == r.core.Epoch() && asked.From == r.log.EndOffset(), "I12 (10.3)", "b%d p%d, at %d in epoch %d, takes over the answer to a fetch from %d in epoch %d",
		r.b.id, r.part.index, r.log.EndOffset(), r.core.Epoch(), asked.From, asked.Epoch)
	defer w.checkFollower(r, r.core.HighWatermark(), a)
	if a.diverging != nil {
		if mutant.On(mutant.HWBeforeTruncation) {
			r.core.FollowHW(a.hw)
		}
		return r.truncate(*a.diverging)
	}
	if !r.appendReplicated(a) {
		return false
	}
	old := r.core.HighWatermark()
	if r.core.FollowHW(a.hw) {
		w.note(noteFollowerHW, int(r.b.id), r.part.index, int(old), int(r.core.HighWatermark()))
	}
	r.log.deleteBefore(min(a.start, r.core.HighWatermark()))
	return len(a.records) > 0
}

// appendReplicated adds what the leader sent, if it fits (replication.md 10.4).
func (r *replica) appendReplicated(a *got) bool {
	w, latest := r.b.w, r.log.LatestEpoch()
	for _, rec := range a.records {
		if rec.epoch > r.core.Epoch() || rec.epoch < latest || a.base < r.log.EndOffset() {
			return false
		}
		latest = rec.epoch
	}
	if len(a.records) == 0 {
		return true
	}
	for r.log.EndOffset() < a.base { // a log takes gaps, for compaction leaves them
		r.log.records = append(r.log.records, record{epoch: -1, producer: noProducer})
	}
	for _, rec := range a.records {
		w.checkRecord(r, rec, r.log.EndOffset())
		r.log.append(rec)
	}
	w.note(noteReplicated, int(r.b.id), r.part.index, int(a.base), int(r.log.EndOffset()), int(a.hw))
	r.syncLater()
	return true
}

func (r *replica) truncate(diverging core.EpochEnd) bool {
	w, end, hw := r.b.w, r.log.EndOffset(), r.core.HighWatermark()
	to, err := r.core.Truncation(diverging)
	if err != nil {
		w.note(noteWouldLose, int(r.b.id), r.part.index, int(hw), int(diverging.Epoch), int(diverging.End))
		w.checkWouldLose(r, diverging)
		return false
	}
	w.note(noteTruncated, int(r.b.id), r.part.index, int(end), int(to), int(hw))
	w.checkTruncation(r, to)
	w.stats.Truncations++
	r.log.truncate(to)
	r.core.Truncated()
	r.lastHW = min(r.lastHW, r.core.HighWatermark())
	return to < end
}

// restart begins anew where the leader's log starts: retention has overtaken this replica.
func (r *replica) restart(asked *core.FetchPosition, a *got) bool {
	if r.core.CheckAnswer(asked.Epoch, asked.From) != nil {
		return false
	}
	r.b.w.note(noteRestarted, int(r.b.id), r.part.index, int(a.start))
	r.log.reset(a.start)
	r.core.Restarted(a.start)
	r.lastHW = a.start
	return true
}
