package cluster

import (
	"time"

	"github.com/chronik-stream/chronik/raftmeta"
)

// liveness is the controller's judgement of who is alive (replication.md 5.3, 5.6). It has no clock and no
// goroutine: it is told what was heard, and asked what follows. A new controller starts a new one, so every
// session starts afresh with it (4.4).
type liveness struct {
	timeout  time.Duration // SessionTimeout
	sessions map[int32]*session
	looked   time.Time // when step was called last
}

// session is what is known of one registered run of a broker.
type session struct {
	epoch        int64
	heard        time.Time // of the last heartbeat, or when the session began
	beaten       bool      // a heartbeat came
	applied      int64     // index of the metadata log that the broker has applied
	wantFence    bool
	wantShutdown bool
	refused      bool // its peer port refused a connection since the last heartbeat: the process is gone

	stopping      time.Time // when it was first seen shutting down
	shutdownIndex uint64    // of the metadata that say so
}

// stopLimit is how long a broker that shuts down waits for the others to have heard of it.
const stopLimit = 5 * time.Second

func newLiveness(timeout time.Duration) *liveness {
	return &liveness{timeout: timeout, sessions: map[int32]*session{}}
}

// sound is one heartbeat.
type sound struct {
	broker       int32
	epoch        int64
	applied      int64
	wantFence    bool
	wantShutdown bool
}

// judgement is the answer to a heartbeat. Of stale and unknown at most one is set, and then nothing else.
type judgement struct {
	unknown        bool // the broker has not registered
	stale          bool // another run of it has
	early          bool // the run is newer than what this node has applied
	fenced         bool
	caughtUp       bool
	shouldShutdown bool
	due            bool // something follows from it: step
}

// follow brings the sessions in line with who is registered.
func (l *liveness) follow(im *raftmeta.Image, now time.Time) {
	seen := 0
	for b := range im.Brokers() {
		seen++
		s := l.sessions[b.ID]
		if s == nil || s.epoch != b.Epoch {
			s = &session{epoch: b.Epoch, heard: now}
			l.sessions[b.ID] = s
		}
		if b.State != raftmeta.ShuttingDown {
			s.stopping = time.Time{}
		} else if s.stopping.IsZero() {
			s.stopping, s.shutdownIndex = now, im.Index()
		}
	}
	if seen == len(l.sessions) {
		return
	}
	for id := range l.sessions {
		if _, ok := im.Broker(id); !ok {
			delete(l.sessions, id)
		}
	}
}

// hear takes a heartbeat.
func (l *liveness) hear(im *raftmeta.Image, in sound, now time.Time) judgement {
	l.follow(im, now)
	b, ok := im.Broker(in.broker)
	switch {
	case !ok:
		return judgement{unknown: true}
	case in.epoch < b.Epoch:
		return judgement{stale: true}
	case in.epoch > b.Epoch:
		return judgement{early: true}
	}
	s := l.sessions[b.ID]
	s.heard, s.beaten, s.refused = now, true, false
	s.applied, s.wantFence, s.wantShutdown = in.applied, in.wantFence, in.wantShutdown
	_, _, due := s.verdict(b, now, l.timeout)
	return judgement{
		fenced: b.State == raftmeta.Fenced, caughtUp: in.applied >= b.Epoch, due: due,
		shouldShutdown: in.wantShutdown && l.mayStop(im, b, s, now),
	}
}

// refuse notes that a broker's peer port refused a connection. It reports whether that is news.
func (l *liveness) refuse(broker int32, epoch int64) bool {
	s := l.sessions[broker]
	if s == nil || s.epoch != epoch || s.refused {
		return false
	}
	s.refused = true
	return true
}

// mayStop tells whether a broker that wants to shut down may. What it still leads then, nobody else can
// lead: the table handed the rest over when it began. The others should have heard, so that they do not
// wait for it; but they cannot hold it for ever.
func (l *liveness) mayStop(im *raftmeta.Image, b *raftmeta.Broker, s *session, now time.Time) bool {
	switch {
	case b.State == raftmeta.Fenced:
		return true
	case b.State != raftmeta.ShuttingDown:
		return false
	case now.Sub(s.stopping) >= stopLimit:
		return true
	}
	for other := range im.Brokers() {
		if other.ID == b.ID || other.State != raftmeta.Active {
			continue
		}
		if l.sessions[other.ID].applied < int64(s.shutdownIndex) {
			return false
		}
	}
	return true
}

// action is a command that follows from who is alive.
type action struct {
	broker  int32
	command raftmeta.Command
	reason  string
}

// step lists what follows at now. Until the table shows it, each step lists it again: proposing it twice
// does no harm.
func (l *liveness) step(im *raftmeta.Image, now time.Time) []action {
	l.forgive(now)
	l.follow(im, now)
	var actions []action
	for b := range im.Brokers() {
		if command, reason, due := l.sessions[b.ID].verdict(b, now, l.timeout); due {
			actions = append(actions, action{b.ID, command, reason})
		}
	}
	return actions
}

// forgive does not count as silence the time in which nobody listened here: after a pause of this process,
// the heartbeats of all others wait in its sockets (replication.md 12).
func (l *liveness) forgive(now time.Time) {
	pause := now.Sub(l.looked)
	first := l.looked.IsZero()
	l.looked = now
	if first || pause <= l.timeout/4 {
		return
	}
	for _, s := range l.sessions {
		if s.heard = s.heard.Add(pause); s.heard.After(now) {
			s.heard = now
		}
	}
}

// verdict is what should become of a broker.
func (s *session) verdict(b *raftmeta.Broker, now time.Time, timeout time.Duration) (raftmeta.Command, string, bool) {
	silent := now.Sub(s.heard) > timeout
	fence := &raftmeta.FenceBroker{ID: b.ID, Epoch: b.Epoch}
	switch {
	case b.State == raftmeta.Fenced:
		if s.beaten && !silent && !s.refused && !s.wantFence && !s.wantShutdown && s.applied >= b.Epoch {
			return &raftmeta.ActivateBroker{ID: b.ID, Epoch: b.Epoch}, "ready", true
		}
	case s.refused:
		return fence, "refused", true
	case silent:
		return fence, "silent", true
	case b.State == raftmeta.Active && s.wantShutdown:
		return &raftmeta.BeginShutdown{ID: b.ID, Epoch: b.Epoch}, "stopping", true
	case b.State == raftmeta.Active && s.beaten && s.wantFence:
		return fence, "unwell", true
	}
	return nil, "", false
}
