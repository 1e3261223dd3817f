package groups

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/raftmeta"
)

// TestGroupProperties lets badly behaved members, a slow and failing store and a restarting
// coordinator loose on one group, checks the invariants after every step, and at the end lets
// everybody behave: the group must settle.
func TestGroupProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			t: t, g: newGroup("", "g"), now: epoch, assigned: map[string]string{},
			maxSize: rapid.IntRange(2, 6).Draw(t, "maxSize"),
			session: rapid.SampledFrom([]int32{10_000, 45_000}).Draw(t, "session"), // less and more than a round lasts
		}
		for range 5 {
			w.addClient()
		}
		t.Repeat(map[string]func(*rapid.T){
			"join":      w.joinAny,
			"sync":      w.syncAny,
			"heartbeat": w.heartbeatAny,
			"leave":     w.leaveAny,
			"commit":    w.commitAny,
			"endCommit": w.endCommit,
			"delete":    w.delete,
			"time":      w.pass,
			"store":     w.store,
			"lose":      w.lose,
			"arrive":    w.arrive,
			"regain":    w.regain,
			"restart":   w.restart,
			"forget":    w.forget,
			"":          w.check,
		})
		w.settleDown()
	})
}

// client is a member as it sees itself.
type client struct {
	name       string
	instance   string
	version    int16
	id         string
	generation int32
	leader     bool
	members    []string // to assign to, for a leader
	skip       bool
	synced     bool
	joining    int // joins that are not answered
	syncing    int
	protocols  []string
	offered    []string // protocols of the join that let it in
}

type world struct {
	t       *rapid.T
	g       *group
	now     time.Time
	clients []*client
	lastID  int
	maxSize int
	session int32 // ms
	commits int

	saved    *raftmeta.Group
	doubts   doubts
	top      int32             // the highest generation that anybody was told
	assigned map[string]string // generation/member -> assignment told
}

func (w *world) addClient() {
	c := &client{name: fmt.Sprintf("c%d", len(w.clients)), generation: -1, version: int16(3 + 6*(len(w.clients)%2))}
	if len(w.clients)%3 == 0 {
		c.instance = "static-" + c.name
	}
	c.protocols = []string{"range", "sticky"}
	w.clients = append(w.clients, c)
}

func (w *world) any(t *rapid.T) *client { return rapid.SampledFrom(w.clients).Draw(t, "client") }

// step runs f on the group and delivers what comes of it.
func (w *world) step(f func(fx *effects)) {
	var fx effects
	had := w.g.op
	f(&fx)
	if fx.op != nil && fx.op != w.g.op {
		w.t.Fatal("an operation was asked for that is not in flight")
	}
	if had != nil && w.g.op != had && w.g.op != nil && fx.op == nil {
		w.t.Fatal("an operation replaced another one without being asked for")
	}
	fx.deliver()
}

func (w *world) handle(ev event) { w.step(func(fx *effects) { w.g.handle(w.now, ev, fx) }) }

func (w *world) joinAny(t *rapid.T) {
	c := w.any(t)
	if c.joining > 3 {
		return
	}
	if rapid.IntRange(0, 3).Draw(t, "news") == 0 {
		c.protocols = rapid.SampledFrom([][]string{{"range", "sticky"}, {"sticky", "range"}, {"range"}, {"exotic"}}).Draw(t, "protocols")
	}
	w.join(c)
}

func (w *world) join(c *client) {
	w.lastID++
	e := &joinEvent{
		JoinRequest: JoinRequest{
			Version: c.version, MemberID: c.id, InstanceID: c.instance, ClientID: c.name, ProtocolType: "consumer",
			SessionTimeout: w.session, RebalanceTimeout: 20_000,
		},
		newID: fmt.Sprintf("%s-%d", c.name, w.lastID), maxSize: w.maxSize, initialDelay: 3 * time.Second,
	}
	for _, p := range c.protocols {
		e.Protocols = append(e.Protocols, raftmeta.GroupProtocol{Name: p})
	}
	offered := c.protocols
	c.joining++
	answered := false
	e.reply = func(r JoinReply) {
		if answered {
			w.t.Fatalf("join of %s answered twice", c.name)
		}
		answered = true
		c.joining--
		if r.Err == 0 {
			c.offered = offered
		}
		w.joined(c, r)
	}
	w.handle(e)
}

func (w *world) joined(c *client, r JoinReply) {
	switch r.Err {
	case 0:
		w.top = max(w.top, r.Generation)
		c.id, c.generation, c.synced = r.MemberID, r.Generation, false
		c.leader, c.skip, c.members = r.Leader == r.MemberID, r.SkipAssignment, nil
		if !c.leader && r.Members != nil {
			w.t.Fatalf("follower %s was told the members", c.name)
		}
		for _, m := range r.Members {
			c.members = append(c.members, m.MemberID)
		}
		if c.leader && !slices.Contains(c.members, c.id) {
			w.t.Fatalf("leader %s is not among the members %v", c.id, c.members)
		}
	case kerr.MemberIDRequired.Code:
		c.id = r.MemberID
	default:
		if r.Generation != -1 || r.Leader != "" || r.Members != nil {
			w.t.Fatalf("failed join says too much: %+v", r)
		}
		w.failed(c, r.Err)
	}
}

// failed does what clients do with a code.
func (w *world) failed(c *client, code Code) {
	c.synced = false
	switch code {
	case kerr.UnknownMemberID.Code, kerr.IllegalGeneration.Code, kerr.FencedInstanceID.Code, kerr.GroupMaxSizeReached.Code:
		c.id, c.generation = "", -1
	case kerr.InconsistentGroupProtocol.Code:
		c.id, c.generation, c.protocols = "", -1, []string{"range", "sticky"}
	case kerr.RebalanceInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.CoordinatorLoadInProgress.Code:
	default:
		w.t.Fatalf("%s got %v", c.name, kerr.ErrorForCode(code))
	}
}

func (w *world) syncAny(t *rapid.T) {
	if c := w.any(t); c.syncing < 3 && c.id != "" {
		w.sync(c)
	}
}

func (w *world) sync(c *client) {
	e := &syncEvent{SyncRequest: SyncRequest{Version: 3, MemberID: c.id, InstanceID: c.instance, Generation: c.generation}}
	if c.leader && !c.skip {
		w.lastID++ // each call assigns something else, so that two assignments would show
		for _, m := range c.members {
			e.Assignments = append(e.Assignments, MemberAssignment{m, fmt.Appendf(nil, "%s#%d", m, w.lastID)})
		}
	}
	id, generation := c.id, c.generation
	c.syncing++
	answered := false
	e.reply = func(r SyncReply) {
		if answered {
			w.t.Fatalf("sync of %s answered twice", c.name)
		}
		answered = true
		c.syncing--
		if r.Err != 0 {
			w.failed(c, r.Err)
			return
		}
		w.told(id, generation, string(r.Assignment))
		if c.id == id && c.generation == generation {
			c.synced = true
		}
	}
	w.handle(e)
}

// told checks that a generation has one assignment (I44), and that it was durable before it was told.
func (w *world) told(id string, generation int32, assignment string) {
	if !w.doubts.durable(generation, id, assignment) {
		w.t.Fatalf("%s was told %q in generation %d, which was never saved; saved is %+v", id, assignment, generation, w.saved)
	}
	key := fmt.Sprintf("%d/%s", generation, id)
	if before, ok := w.assigned[key]; ok && before != assignment {
		w.t.Fatalf("%s: assigned %q and %q", key, before, assignment)
	}
	w.assigned[key] = assignment
}

func (w *world) heartbeatAny(t *rapid.T) { w.heartbeat(w.any(t)) }

func (w *world) heartbeat(c *client) {
	if c.generation < 0 { // has not joined, and so does not heartbeat
		return
	}
	if code := w.g.heartbeat(w.now, c.id, c.instance, c.generation); code != 0 {
		if c.joining == 0 {
			w.failed(c, code)
		}
	}
}

func (w *world) leaveAny(t *rapid.T) {
	c := w.any(t)
	m := LeaveMember{MemberID: c.id}
	if c.instance != "" && rapid.Bool().Draw(t, "admin") {
		m = LeaveMember{InstanceID: c.instance}
	}
	answers := 0
	w.handle(&leaveEvent{LeaveRequest{Version: 3, Members: []LeaveMember{m}}, func(LeaveReply) {
		if answers++; answers > 1 {
			w.t.Fatal("leave answered twice")
		}
	}})
}

func (w *world) commitAny(t *rapid.T) {
	c := w.any(t)
	g := w.g
	ev := &commitEvent{memberID: c.id, instanceID: c.instance, generation: c.generation}
	if rapid.IntRange(0, 3).Draw(t, "outside") == 0 {
		*ev = commitEvent{generation: -1}
	}
	// A commit that waited for its turn may find the group changed when it hears that it may go: then
	// the store refuses it. One that did not wait is right at once.
	waits := g.commitWaits()
	ev.reply = func(code Code) {
		switch {
		case code != 0 || g != w.g:
			return
		case w.doubts.behind: // the store refuses what the group does not know better
		case ev.generation >= 0 && !waits && w.saved.Generation != ev.generation:
			w.t.Fatalf("commit of generation %d let through, saved is %+v", ev.generation, w.saved)
		case ev.generation < 0 && !waits && len(g.members) > 0:
			w.t.Fatal("commit from outside let through while the group has members")
		}
		w.commits++
	}
	if waits {
		w.handle(ev)
	} else {
		ev.reply(g.beginCommit(w.now, ev))
	}
}

func (w *world) endCommit(*rapid.T) {
	if w.commits > 0 {
		w.commits--
		w.g.endCommit(false)
	}
}

func (w *world) delete(t *rapid.T) {
	w.handle(&deleteEvent{reply: func(Code) {}})
	w.reborn()
}

// reborn forgets what was told in the life of a group that was deleted.
func (w *world) reborn() {
	if w.g.state == Dead {
		if len(w.g.queued) > 0 {
			w.t.Fatal("a deleted group keeps events")
		}
		w.g, w.saved, w.top, w.commits = newGroup("", "g"), nil, 0, 0
		w.assigned = map[string]string{}
		w.doubts = doubts{}
	}
}

func (w *world) pass(t *rapid.T) {
	w.advance(time.Duration(rapid.IntRange(1, 8000).Draw(t, "ms")) * time.Millisecond)
}

func (w *world) advance(d time.Duration) {
	end := w.now.Add(d)
	for range 1000 {
		next := w.g.deadline()
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		w.step(func(fx *effects) { w.g.tick(w.now, fx) })
	}
	w.t.Fatalf("time stands still: %v, next %v", w.now, w.g.deadline())
}

func (w *world) store(t *rapid.T) { w.settle(rapid.IntRange(0, 3).Draw(t, "fails") > 0) }

func (w *world) settle(ok bool) {
	op := w.g.op
	if op == nil {
		return
	}
	err := errClosed
	if ok {
		err = nil
		if op.kind == opSave {
			w.keep(op.group)
		}
	}
	w.step(func(fx *effects) { w.g.settled(w.now, err, fx) })
	w.reborn()
}

func (w *world) restart(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
		return
	}
	w.closeGroup()
	w.doubts.late, w.doubts.floor = nil, 0 // fenced with the epoch
	w.reload()
}

// closeGroup takes the group out of memory: everybody has an answer.
func (w *world) closeGroup() {
	w.step(func(fx *effects) { w.g.close(w.now, errClosed, fx) })
	for _, c := range w.clients {
		if c.joining != 0 || c.syncing != 0 {
			w.t.Fatalf("%s waits on after the end: %d joins, %d syncs", c.name, c.joining, c.syncing)
		}
	}
}

// forget lets a member crash and start again without its member id.
func (w *world) forget(t *rapid.T) {
	c := w.any(t)
	c.id, c.generation, c.synced = "", -1, false
}

// check holds after every step.
func (w *world) check(t *rapid.T) {
	g := w.g
	if g.generation < w.top {
		t.Fatalf("generation fell from %d to %d", w.top, g.generation)
	}
	if g.saved > g.generation {
		t.Fatalf("saved generation %d is ahead of %d", g.saved, g.generation)
	}
	awaiting, syncing, support := 0, 0, map[string]int{}
	for i, m := range g.order {
		if g.members[m.id] != m || slices.Index(g.order, m) != i {
			t.Fatalf("order and members differ at %s", m.id)
		}
		if m.instanceID != "" && g.statics[m.instanceID] != m {
			t.Fatalf("static member %s is not under its instance", m.id)
		}
		if m.join != nil {
			awaiting++
		}
		if m.sync != nil {
			syncing++
		}
		for _, p := range m.protocols {
			support[p.Name]++
		}
		if _, both := g.pending[m.id]; both {
			t.Fatalf("%s is a member and pending", m.id)
		}
	}
	if len(g.members) != len(g.order) || awaiting != g.awaiting {
		t.Fatalf("%d members, %d in order; %d await, counted %d", len(g.members), len(g.order), awaiting, g.awaiting)
	}
	if awaiting > 0 && g.state != PreparingRebalance || syncing > 0 && g.state != CompletingRebalance {
		t.Fatalf("%v with %d joins and %d syncs waiting", g.state, awaiting, syncing)
	}
	if g.state == Empty && len(g.members) > 0 || (g.state == Stable || g.state == CompletingRebalance) && g.members[g.leader] == nil {
		t.Fatalf("%v with %d members, leader %q", g.state, len(g.members), g.leader)
	}
	if g.state == Stable && g.saved != g.generation {
		t.Fatalf("Stable in generation %d, saved %d", g.generation, g.saved)
	}
	if len(support) != len(g.support) {
		t.Fatalf("support is %v, counted %v", support, g.support)
	}
	w.checkWaiters(t, awaiting, syncing)
}

// checkWaiters makes sure that whatever a client waits for is still known to the group, and that
// something will happen.
func (w *world) checkWaiters(t *rapid.T, awaiting, syncing int) {
	joins, syncs := 0, 0
	for _, c := range w.clients {
		joins, syncs = joins+c.joining, syncs+c.syncing
	}
	for _, ev := range w.g.queued {
		switch ev.(type) {
		case *joinEvent:
			joins--
		case *syncEvent:
			syncs--
		}
	}
	inFlight := 0 // a static member's join may be waiting for the operation itself
	if w.g.op != nil {
		inFlight = 1
	}
	if extra := joins - awaiting; extra != 0 && extra != inFlight || syncs != syncing {
		t.Fatalf("clients wait for %d joins and %d syncs, the group for %d and %d", joins, syncs, awaiting, syncing)
	}
	if (awaiting > 0 || syncing > 0) && w.g.op == nil && w.g.deadline().IsZero() {
		t.Fatal("somebody waits and nothing will happen")
	}
}

// settleDown: everybody behaves and the store works; the group must become Stable.
func (w *world) settleDown() {
	w.maxSize = len(w.clients)
	for _, c := range w.clients {
		c.protocols = []string{"range", "sticky"}
	}
	for range 200 {
		for w.g.op != nil {
			w.settle(true)
		}
		calm := w.g.state == Stable && len(w.g.members) == len(w.clients)
		for _, c := range w.clients {
			if c.generation >= 0 && !slices.Equal(c.offered, c.protocols) {
				c.id, c.generation = "", -1 // restarted with another configuration; its former self falls silent
			}
			w.heartbeat(c)
			switch {
			case c.joining > 0 || c.syncing > 0:
				calm = false
			case c.generation != w.g.generation || w.g.heartbeat(w.now, c.id, c.instance, c.generation) != 0:
				w.join(c)
				calm = false
			case !c.synced:
				w.sync(c)
				calm = false
			}
		}
		if calm {
			w.check(w.t)
			return
		}
		w.advance(time.Second)
	}
	w.t.Fatalf("the group does not settle: %v generation %d, %d members", w.g.state, w.g.generation, len(w.g.members))
}
