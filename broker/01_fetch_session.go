package broker

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire"
)

// Fetch sessions (KIP-227): a client names its partitions once, and from then on only what changed.
//
// A session is tied to the connection's principal and used by one request at a time: its epoch counts
// the requests, so a second one at the same epoch is refused before it touches anything. When all slots
// are taken a new session replaces the one longest unused, if that has been idle for minSessionIdle;
// else the fetch is served without a session, which is always legal.
type fetchSessions struct {
	now   func() time.Time
	slots func() int // max.incremental.fetch.session.cache.slots

	mu   sync.Mutex // guards the fields below and every session
	byID map[int32]*fetchSession
}

const minSessionIdle = 2 * time.Minute

type fetchSession struct {
	id        int32
	owner     string // principal
	epoch     int32  // of the next request
	usesIDs   bool   // whether topics are named by id; it cannot change (KIP-516)
	lastUsed  time.Time
	order     []*wantedPartition
	partition map[sessionKey]*wantedPartition
}

type sessionKey struct {
	topic  topicRef
	number int32
}

// fetchPlan is what one request reads: partitions in order, and how its answer may be shortened.
type fetchPlan struct {
	wanted      []*wantedPartition
	sessionID   int32
	incremental bool
	sessions    *fetchSessions
	session     *fetchSession
}

func newFetchSessions(now func() time.Time, slots func() int) *fetchSessions {
	return &fetchSessions{now: now, slots: slots, byID: map[int32]*fetchSession{}}
}

// open finds what req wants read. A code other than 0 is the whole answer.
func (s *fetchSessions) open(peer *wire.Session, req *kmsg.FetchRequest) (fetchPlan, int16) {
	if req.Version < 7 || req.SessionEpoch <= 0 {
		full := fullFetch(req)
		s.mu.Lock()
		defer s.mu.Unlock()
		if req.SessionID != 0 {
			s.dropLocked(peer, req.SessionID)
		}
		if req.Version < 7 || req.SessionEpoch < 0 || len(full) == 0 {
			return fetchPlan{wanted: full}, 0
		}
		return s.createLocked(peer, req, full), 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.byID[req.SessionID]
	switch {
	case session == nil || session.owner != peer.Principal:
		return fetchPlan{}, kerr.FetchSessionIDNotFound.Code
	case session.epoch != req.SessionEpoch:
		return fetchPlan{}, kerr.InvalidFetchSessionEpoch.Code
	case session.usesIDs != (req.Version >= 13):
		return fetchPlan{}, kerr.FetchSessionTopicIDError.Code
	}
	session.epoch = nextEpoch(session.epoch)
	session.lastUsed = s.now()
	session.update(req)
	return s.planLocked(session, true), 0
}

func nextEpoch(epoch int32) int32 {
	if epoch == 1<<31-1 {
		return 1
	}
	return epoch + 1
}

func fullFetch(req *kmsg.FetchRequest) []*wantedPartition {
	var list []*wantedPartition
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			w := wanted(refOf(t.Topic, t.TopicID), &t.Partitions[j], req.Version)
			list = append(list, &w)
		}
	}
	return list
}

func (s *fetchSessions) dropLocked(peer *wire.Session, id int32) {
	if session := s.byID[id]; session != nil && session.owner == peer.Principal {
		delete(s.byID, id)
	}
}

// createLocked opens a session if there is room, and plans a full fetch either way.
func (s *fetchSessions) createLocked(peer *wire.Session, req *kmsg.FetchRequest, full []*wantedPartition) fetchPlan {
	if !s.makeRoomLocked() {
		return fetchPlan{wanted: full}
	}
	session := &fetchSession{
		owner: peer.Principal, epoch: 1, usesIDs: req.Version >= 13, lastUsed: s.now(),
		partition: make(map[sessionKey]*wantedPartition, len(full)),
	}
	for session.id == 0 || s.byID[session.id] != nil {
		session.id = rand.Int32N(1<<31 - 1)
	}
	for _, w := range full {
		session.put(w)
	}
	s.byID[session.id] = session
	return s.planLocked(session, false)
}

func (s *fetchSessions) makeRoomLocked() bool {
	if len(s.byID) < s.slots() {
		return true
	}
	var oldest *fetchSession
	for _, session := range s.byID {
		if oldest == nil || session.lastUsed.Before(oldest.lastUsed) {
			oldest = session
		}
	}
	if oldest == nil || s.now().Sub(oldest.lastUsed) < minSessionIdle {
		return false
	}
	delete(s.byID, oldest.id)
	return true
}

// planLocked copies what the session wants: a look at the logs happens without the lock. Each request
// begins one partition further, so that those at the front cannot take every answer for themselves.
func (s *fetchSessions) planLocked(session *fetchSession, incremental bool) fetchPlan {
	wanted := make([]*wantedPartition, len(session.order))
	for i := range wanted {
		snapshot := *session.order[(i+int(session.epoch-1))%len(wanted)]
		wanted[i] = &snapshot
	}
	return fetchPlan{wanted: wanted, sessionID: session.id, incremental: incremental, sessions: s, session: session}
}

// put adds a partition or changes what is wanted of it.
func (f *fetchSession) put(w *wantedPartition) {
	key := sessionKey{w.topic, w.number}
	if known := f.partition[key]; known != nil {
		w.toldHW, w.toldStart = known.toldHW, known.toldStart
		*known = *w
		return
	}
	f.partition[key] = w
	f.order = append(f.order, w)
}

func (f *fetchSession) update(req *kmsg.FetchRequest) {
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, number := range t.Partitions {
			delete(f.partition, sessionKey{refOf(t.Topic, t.TopicID), number})
		}
	}
	if len(f.partition) < len(f.order) {
		kept := f.order[:0]
		for _, w := range f.order {
			if f.partition[sessionKey{w.topic, w.number}] == w {
				kept = append(kept, w)
			}
		}
		clear(f.order[len(kept):])
		f.order = kept
	}
	for _, w := range fullFetch(req) {
		f.put(w)
	}
}

// skip tells whether out may be left out of the answer because the client knows all that it says, and
// otherwise remembers that it was told.
func (p *fetchPlan) skip(w *wantedPartition, out fetchOutcome) bool {
	if p.session == nil {
		return false
	}
	p.sessions.mu.Lock()
	defer p.sessions.mu.Unlock()
	known := p.session.partition[sessionKey{w.topic, w.number}]
	if known == nil {
		return false
	}
	news := out.recordBytes() > 0 || out.code != 0 || out.diverging != nil ||
		out.offsets.HighWatermark != known.toldHW || out.offsets.Start != known.toldStart
	if p.incremental && !news {
		return true
	}
	known.toldHW, known.toldStart = out.offsets.HighWatermark, out.offsets.Start
	if out.code != 0 {
		known.toldHW = -1 // an error is repeated until it is gone, and its end is news too
	}
	return false
}

// len is the number of open sessions.
func (s *fetchSessions) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
