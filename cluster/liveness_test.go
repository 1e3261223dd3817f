package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/raftmeta"
)

// table is a metadata table in memory, changed by commands like the real one.
type table struct {
	t    *testing.T
	meta *raftmeta.Node
}

func newTable(t *testing.T) *table {
	t.Helper()
	meta, err := raftmeta.Open(raftmeta.Options{
		Dir: t.TempDir(), ServerID: "1-test", Bootstrap: []raftmeta.Server{{ID: "1-test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := meta.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := meta.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	x := &table{t, meta}
	x.do(&raftmeta.InitCluster{ClusterID: newID(t)})
	return x
}

func (x *table) do(command raftmeta.Command) raftmeta.Result {
	x.t.Helper()
	result, err := x.meta.Propose(testContext(x.t), command)
	if err != nil {
		x.t.Fatalf("%T: %v", command, err)
	}
	return result
}

func (x *table) image() *raftmeta.Image { return x.meta.Image() }

// register makes runs of brokers, and returns the epoch of the last.
func (x *table) register(ids ...int32) (epoch int64) {
	x.t.Helper()
	for _, id := range ids {
		registration := &raftmeta.RegisterBroker{ID: id, Incarnation: newID(x.t), KafkaHost: "h", KafkaPort: 1, PeerAddress: "h:2"}
		if previous, ok := x.image().Broker(id); ok {
			registration.Previous = previous.Epoch
		}
		epoch = x.do(registration).BrokerEpoch
	}
	return epoch
}

func (x *table) epoch(id int32) int64 {
	x.t.Helper()
	b, ok := x.image().Broker(id)
	if !ok {
		x.t.Fatalf("no broker %d", id)
	}
	return b.Epoch
}

// active registers and activates brokers.
func (x *table) active(ids ...int32) {
	x.t.Helper()
	x.register(ids...)
	for _, id := range ids {
		x.do(&raftmeta.ActivateBroker{ID: id, Epoch: x.epoch(id)})
	}
}

// script drives a liveness by hand; start is its time zero.
type script struct {
	*table
	live *liveness
	now  time.Time
}

func newScript(t *testing.T) *script {
	return &script{newTable(t), newLiveness(1200 * time.Millisecond), time.Now()}
}

func (s *script) after(d time.Duration) { s.now = s.now.Add(d) }

// listen lets time pass with the controller at work.
func (s *script) listen(d time.Duration) {
	for d > 0 {
		tick := min(d, 50*time.Millisecond)
		d -= tick
		s.after(tick)
		s.live.step(s.image(), s.now)
	}
}

func (s *script) beat(id int32, change ...func(*sound)) judgement {
	s.t.Helper()
	in := sound{broker: id, epoch: s.epoch(id), applied: int64(s.image().Index())}
	for _, c := range change {
		c(&in)
	}
	return s.live.hear(s.image(), in, s.now)
}

func wantFence(in *sound)    { in.wantFence = true }
func wantShutdown(in *sound) { in.wantShutdown = true }

// due lists what follows now, as "1 FenceBroker silent".
func (s *script) due() string {
	var list []string
	for _, a := range s.live.step(s.image(), s.now) {
		name := strings.TrimPrefix(fmt.Sprintf("%T", a.command), "*raftmeta.")
		list = append(list, fmt.Sprintf("%d %s %s", a.broker, name, a.reason))
	}
	return strings.Join(list, ", ")
}

// expect fails if something else is due, and does what is.
func (s *script) expect(want string) {
	s.t.Helper()
	if got := s.due(); got != want {
		s.t.Errorf("at +%v due: %q, want %q", s.now, got, want)
	}
	for _, a := range s.live.step(s.image(), s.now) {
		s.do(a.command)
	}
}

func TestBrokerIsActivatedWhenItIsReady(t *testing.T) {
	s := newScript(t)
	epoch := s.register(1)
	s.expect("")
	s.beat(1, wantFence) // its logs are not loaded
	s.expect("")
	s.beat(1, func(in *sound) { in.applied = epoch - 1 }) // it has not seen its own registration
	s.expect("")
	if j := s.beat(1); !j.due || !j.fenced || !j.caughtUp {
		t.Errorf("judgement %+v", j)
	}
	s.expect("1 ActivateBroker ready")
	if j := s.beat(1); j.fenced || j.due {
		t.Errorf("judgement of an active broker %+v", j)
	}
	s.expect("")
}

func TestSilenceFences(t *testing.T) {
	s := newScript(t)
	s.active(1, 2)
	s.expect("")
	s.listen(1200 * time.Millisecond)
	s.beat(2)
	s.expect("")
	s.listen(time.Millisecond)
	s.expect("1 FenceBroker silent")
	s.beat(1)
	s.expect("1 ActivateBroker ready")
}

func TestNewControllerStartsAllSessionsAfresh(t *testing.T) {
	s := newScript(t)
	s.active(1)
	s.expect("")
	s.after(time.Hour) // while somebody else was the controller
	s.live = newLiveness(1200 * time.Millisecond)
	s.expect("")
	s.listen(1201 * time.Millisecond)
	s.expect("1 FenceBroker silent")
}

// TestPauseOfTheControllerIsNobodysSilence: it did not listen, and must not fence everybody for it.
func TestPauseOfTheControllerIsNobodysSilence(t *testing.T) {
	s := newScript(t)
	s.active(1)
	s.expect("")
	s.listen(400 * time.Millisecond)
	s.after(time.Minute)
	s.expect("")
	s.listen(800 * time.Millisecond)
	s.expect("")
	s.listen(time.Millisecond)
	s.expect("1 FenceBroker silent")
}

func TestRefusedConnectionFencesAtOnce(t *testing.T) {
	s := newScript(t)
	s.active(1, 2)
	s.expect("")
	if s.live.refuse(1, s.epoch(1)-1) || s.live.refuse(3, 1) {
		t.Error("a refusal of another run counts")
	}
	s.expect("")
	if !s.live.refuse(1, s.epoch(1)) || s.live.refuse(1, s.epoch(1)) {
		t.Error("a refusal is news once")
	}
	s.expect("1 FenceBroker refused")
	s.expect("") // dead brokers are not activated for an old heartbeat
	s.beat(1)    // it was a hiccup
	s.expect("1 ActivateBroker ready")
}

func TestUnwellBrokerIsFencedAndStaysSo(t *testing.T) {
	s := newScript(t)
	s.active(1)
	s.beat(1, wantFence)
	s.expect("1 FenceBroker unwell")
	s.beat(1, wantFence)
	s.expect("")
	s.beat(1)
	s.expect("1 ActivateBroker ready")
}

func TestNewRegistrationStartsANewSession(t *testing.T) {
	s := newScript(t)
	s.active(1)
	old := s.epoch(1)
	s.do(&raftmeta.FenceBroker{ID: 1, Epoch: old})
	s.beat(1)
	s.register(1)
	if j := s.beat(1, func(in *sound) { in.epoch = old }); !j.stale {
		t.Errorf("the old run hears %+v", j)
	}
	s.expect("") // the beats of the old run do not activate the new one
	if j := s.beat(1, func(in *sound) { in.epoch++ }); !j.early {
		t.Errorf("a run not applied here hears %+v", j)
	}
	if j := s.live.hear(s.image(), sound{broker: 7}, s.now); !j.unknown {
		t.Errorf("a stranger hears %+v", j)
	}
}

func TestShutdownWaitsForTheOthers(t *testing.T) {
	s := newScript(t)
	s.active(1, 2, 3)
	s.beat(2)
	s.beat(3)
	if j := s.beat(1, wantShutdown); j.shouldShutdown || !j.due {
		t.Errorf("judgement %+v", j)
	}
	s.expect("1 BeginShutdown stopping")
	if j := s.beat(1, wantShutdown); j.shouldShutdown {
		t.Error("may stop although nobody has applied that it stops")
	}
	s.beat(2)
	if j := s.beat(1, wantShutdown); j.shouldShutdown {
		t.Error("may stop although broker 3 has not applied that it stops")
	}
	s.beat(3)
	if j := s.beat(1, wantShutdown); !j.shouldShutdown {
		t.Error("may not stop")
	}
	s.live.refuse(1, s.epoch(1))
	s.expect("1 FenceBroker refused")
	if j := s.beat(1, wantShutdown); !j.shouldShutdown {
		t.Error("a fenced broker may not stop")
	}
	s.expect("") // and is not activated while it wants to stop
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	s := newScript(t)
	s.active(1, 2)
	s.beat(1, wantShutdown)
	s.expect("1 BeginShutdown stopping")
	s.expect("")
	for range 5 {
		s.after(time.Second)
		s.beat(2, func(in *sound) { in.applied = 1 }) // alive, and far behind
		if j := s.beat(1, wantShutdown); j.shouldShutdown != (s.now.Sub(s.live.sessions[1].stopping) >= stopLimit) {
			t.Errorf("judgement %+v after %v", j, s.now.Sub(s.live.sessions[1].stopping))
		}
	}
	if j := s.beat(1, wantShutdown); !j.shouldShutdown {
		t.Error("still waits after the limit")
	}
}

func TestMinorityOfFingerprintsIsFound(t *testing.T) {
	a := newAudits()
	good, bad := raftmeta.Hash{1}, raftmeta.Hash{2}
	note := func(broker int32, index uint64, hash raftmeta.Hash) string {
		minority, differ := a.note(broker, raftmeta.Audit{Index: index, Hash: hash}, 3)
		return fmt.Sprint(minority, differ)
	}
	for i, want := range []string{"[] false", "[] true", "[2] true", "[2] true"} {
		step := []struct {
			broker int32
			hash   raftmeta.Hash
		}{{1, good}, {2, bad}, {3, good}, {2, bad}}[i]
		if got := note(step.broker, 1024, step.hash); got != want {
			t.Errorf("step %d: %s, want %s", i, got, want)
		}
	}
	if got := note(2, 2048, bad); got != "[] false" {
		t.Errorf("another index: %s", got)
	}
	for i := range uint64(10 * auditsKept) {
		note(1, 4096+i, good)
	}
	if len(a.byIndex) != auditsKept || len(a.indexes) != auditsKept || slices.Contains(a.indexes, 1024) {
		t.Errorf("%d indexes are kept", len(a.byIndex))
	}
}
