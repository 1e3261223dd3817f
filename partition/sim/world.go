package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Result is what playing one seed came to.
type Result struct {
	Seed      uint64
	Steps     int
	Hash      uint64 // of all events: two plays of a seed have the same
	Violation *Violation
	Stats     Stats
}

// Stats counts what a run went through, so that a test can see that it went through enough.
type Stats struct {
	Elections, ISRChanges, Crashes, Losses, Truncations, Acked, Read, Resent, Moves, Unclean int
}

// world is one run. Everything in it happens in one goroutine, one event after the other.
type world struct {
	seed  uint64
	rnd   *rand.Rand
	plan  plan
	now   time.Duration
	queue eventQueue
	steps int
	trace trace
	stats Stats

	net       network
	meta      metadata
	ctl       controller
	brokers   []*broker
	parts     []*part
	producers []*producer
	readers   []*reader
	minInSync int  // min.insync.replicas as committed, before the replication factor bounds it
	healed    bool // no more faults, no new records

	fetchCount, calls int // number fetches and calls
}

// plan is what the seed decides about a run as a whole.
type plan struct {
	brokers, parts, rf, minISR int
	syncMode                   bool // flush mode sync, else os
	unclean                    bool // the operator prefers availability: unclean elections, losses of any number
	loss, dup                  float64
	delay                      time.Duration
	faultEvery                 time.Duration
	length                     time.Duration
	lag                        time.Duration
}

const (
	tickEvery    = 60 * time.Millisecond  // of brokers and clients
	sessionEnds  = 450 * time.Millisecond // without a heartbeat
	retryAfter   = 250 * time.Millisecond // an answer that did not come
	settleWithin = 40 * time.Second       // of virtual time, after healing (I27)
)

// epoch is when virtual time begins.
var epoch = time.Unix(1_000_000, 0)

func (w *world) clock() time.Time { return epoch.Add(w.now) }

// Play runs one seed. With a transcript, Violation holds all events and not only the last ones.
func Play(seed uint64, transcript bool) (result Result) {
	w := newWorld(seed, transcript)
	defer func() {
		result = Result{Seed: seed, Steps: w.steps, Hash: w.trace.hash, Stats: w.stats}
		if caught := recover(); caught != nil {
			result.Violation = w.violationOf(caught)
		}
	}()
	w.run()
	return result
}

func newWorld(seed uint64, transcript bool) *world {
	w := &world{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0x6368726f6e696b))}
	w.trace.all, w.trace.describe = transcript, w.meta.describe
	w.plan = w.drawPlan()
	w.net.init(w, w.plan.brokers)
	w.meta.init()
	return w
}

func (w *world) drawPlan() plan {
	p := plan{
		brokers: 3 + w.rnd.IntN(3), parts: 1 + w.rnd.IntN(3), rf: 3, minISR: 2, syncMode: w.chance(0.5), unclean: w.chance(0.1),
		loss: w.pick(0, 0.01, 0.05), dup: w.pick(0, 0.02, 0.1),
		delay:      time.Duration(w.pick(1, 5, 20)) * time.Millisecond,
		faultEvery: time.Duration(w.pick(100, 250, 600)) * time.Millisecond,
		length:     time.Duration(1500+w.rnd.IntN(2500)) * time.Millisecond,
		lag:        time.Duration(w.pick(250, 500, 1000)) * time.Millisecond,
	}
	switch w.rnd.IntN(10) {
	case 0:
		p.minISR = 1
	case 1:
		p.rf, p.minISR = 2, 1+w.rnd.IntN(2)
	case 2:
		p.minISR = 3
	}
	return p
}

func (w *world) run() {
	w.start()
	w.until(w.plan.length)
	w.heal()
	w.converge()
	w.checkEnd()
}

// start registers the brokers and creates the topic before the faults begin.
func (w *world) start() {
	for id := range w.plan.brokers {
		w.brokers = append(w.brokers, w.newBroker(int32(id+1)))
	}
	w.commit(w.meta.term, &raftmeta.InitCluster{ClusterID: w.newID()})
	for _, b := range w.brokers {
		result, _ := w.commit(w.meta.term, b.registration())
		w.commit(w.meta.term, &raftmeta.ActivateBroker{ID: b.id, Epoch: result.BrokerEpoch})
	}
	w.createTopic()
	w.ctl.init(w)
	for _, b := range w.brokers {
		b.apply(w.meta.last())
		w.startTicking(b)
	}
	w.startClients()
	w.faultLater()
}

func (w *world) createTopic() {
	id := w.newID()
	var assignments [][]int32
	for range w.plan.parts {
		var replicas []int32
		for _, at := range w.rnd.Perm(w.plan.brokers)[:w.plan.rf] {
			replicas = append(replicas, int32(at+1))
		}
		assignments = append(assignments, replicas)
	}
	config := map[string]string{"min.insync.replicas": fmt.Sprint(w.plan.minISR)}
	if w.plan.unclean && w.chance(0.5) { // else by the operator's hand
		config["unclean.leader.election.enable"] = "true"
	}
	_, err := w.commit(w.meta.term, &raftmeta.CreateTopic{ID: id, Name: "t", Assignments: assignments, Config: config})
	w.must(err == nil, "setup", "create topic: %v", err)
	for number := range w.plan.parts {
		w.addPart(id, int32(number))
	}
}

// until plays events up to the virtual time end.
func (w *world) until(end time.Duration) {
	for w.queue.len() > 0 && w.queue.next() <= end {
		w.step()
	}
	w.now = end
}

func (w *world) step() {
	e := w.queue.pop()
	w.now = e.at
	w.steps++
	e.run()
	w.checkStep()
}

// after plays run once, delay from now.
func (w *world) after(delay time.Duration, run func()) { w.queue.push(w.now+delay, run) }

// chance is true with probability p.
func (w *world) chance(p float64) bool { return p > 0 && w.rnd.Float64() < p }

// pick chooses one of several values.
func (w *world) pick(values ...float64) float64 { return values[w.rnd.IntN(len(values))] }

// about is a duration around d: half to one and a half of it.
func (w *world) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(w.rnd.Int64N(int64(d)+1))
}

func (w *world) newID() (id uuid.ID) {
	for i := range id {
		id[i] = byte(w.rnd.Uint32())
	}
	return id
}

// event is something that happens at a virtual time; those of one time happen in the order in which they
// were asked for.
type event struct {
	at  time.Duration
	seq uint64
	run func()
}

// eventQueue is a binary heap of events.
type eventQueue struct {
	heap []event
	seq  uint64
}

func (q *eventQueue) len() int            { return len(q.heap) }
func (q *eventQueue) next() time.Duration { return q.heap[0].at }

func (q *eventQueue) less(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *eventQueue) push(at time.Duration, run func()) {
	q.seq++
	q.heap = append(q.heap, event{at, q.seq, run})
	for i := len(q.heap) - 1; i > 0 && q.less(i, (i-1)/2); i = (i - 1) / 2 {
		q.heap[i], q.heap[(i-1)/2] = q.heap[(i-1)/2], q.heap[i]
	}
}

func (q *eventQueue) pop() event {
	top, n := q.heap[0], len(q.heap)-1
	q.heap[0] = q.heap[n]
	q.heap[n] = event{}
	q.heap = q.heap[:n]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < n; child++ {
			if q.less(child, least) {
				least = child
			}
		}
		if least == i {
			return top
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}

func (s *Stats) add(other *Stats) {
	s.Elections += other.Elections
	s.ISRChanges += other.ISRChanges
	s.Crashes += other.Crashes
	s.Losses += other.Losses
	s.Truncations += other.Truncations
	s.Acked += other.Acked
	s.Read += other.Read
	s.Resent += other.Resent
	s.Moves += other.Moves
	s.Unclean += other.Unclean
}
