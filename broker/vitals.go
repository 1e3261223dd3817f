package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/cluster"
	"github.com/chronik-stream/chronik/raftmeta"
)

// vitals asks the other brokers for a sign of life before this one tells a client that they lead.
//
// It matters because of how clients look for a new leader. One whose connection breaks asks any other broker for
// metadata, within a millisecond. If the answer still names the dead broker, many do not ask again for a while:
// franz-go for 5 s, librdkafka for 1 s. So the answer waits for the metadata log to say what has become of the
// broker, which takes some milliseconds, or an election if it was the controller. It costs the answers of a healthy
// cluster one round trip, which all share that are asked for at the same time.
type vitals struct {
	b *Broker

	mu   sync.Mutex // guards the fields below
	life context.Context
	of   map[int32]*vital
}

// vital is one other broker. Its first two fields are the examiner's, of which there is at most one.
type vital struct {
	link  *cluster.Link
	doubt doubt

	examined bool          // an examiner is at work
	next     chan struct{} // closed by the outcome of the question that is put next; nil while nobody wants one
}

// doubt is of one run of a broker, which has not answered since.
type doubt struct {
	run   int64 // its broker epoch
	since time.Time
}

const (
	// doubtFor is how long a silent broker delays answers: about two sessions, for an election of the controller
	// and then for the broker's. One that the controller still finds alive after that, this node is alone in not
	// reaching, and what the metadata say of it stands.
	doubtFor = 2400 * time.Millisecond
	// signPause is how long after a question that failed the next one comes.
	signPause = 20 * time.Millisecond
)

func newVitals(b *Broker) *vitals { return &vitals{b: b, of: map[int32]*vital{}} }

// begin comes before the first question; life ends all of them.
func (v *vitals) begin(life context.Context) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.life = life
}

// close ends the connections, after life has ended and every examiner with it.
func (v *vitals) close() {
	for _, one := range v.of {
		if one.link != nil {
			one.link.Close()
		}
	}
}

// await returns when every broker that is active has given a sign of life since the call, is active no more, or has
// been silent for too long to be waited for. It ends with ctx.
func (v *vitals) await(ctx context.Context) {
	var outcomes []<-chan struct{}
	for other := range v.b.meta.Image().Brokers() {
		if other.State == raftmeta.Active && other.ID != v.b.nodeID {
			outcomes = append(outcomes, v.ask(other.ID))
		}
	}
	for _, outcome := range outcomes {
		select {
		case <-outcome:
		case <-ctx.Done():
			return
		}
	}
}

// ask has a question put to a broker. What it returns is closed by the outcome.
func (v *vitals) ask(broker int32) <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.of[broker]
	if one == nil {
		one = &vital{}
		v.of[broker] = one
	}
	if one.next == nil {
		one.next = make(chan struct{})
	}
	if !one.examined {
		one.examined = true
		v.b.spawn(func() { v.examine(broker, one) })
	}
	return one.next
}

// examine puts questions until nobody wants to know any more.
func (v *vitals) examine(broker int32, one *vital) {
	for {
		v.mu.Lock()
		outcome := one.next
		one.next = nil
		one.examined = outcome != nil
		v.mu.Unlock()
		if outcome == nil {
			return
		}
		v.question(broker, one, sync.OnceFunc(func() { close(outcome) }))
	}
}

// question puts one, again until there is an answer or it has become pointless, and calls settled at the latest when
// it returns.
func (v *vitals) question(broker int32, one *vital, settled func()) {
	defer settled()
	now := v.b.now()
	known, active := v.active(broker)
	if !active {
		return
	}
	if one.doubt.run != known.Epoch || one.doubt.since.IsZero() {
		one.doubt = doubt{known.Epoch, now}
	}
	left := doubtFor - now.Sub(one.doubt.since)
	if left <= 0 {
		settled() // the question is put all the same: the answer would end the doubt
		left = doubtFor
	}
	ctx, cancel := context.WithTimeout(v.life, left)
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() { v.watch(ctx, cancel, known) })
	defer watching.Wait()
	defer cancel()
	for ctx.Err() == nil {
		if v.answers(ctx, one, known.PeerAddress) {
			one.doubt = doubt{}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(signPause):
		}
	}
}

func (v *vitals) active(broker int32) (*raftmeta.Broker, bool) {
	known, ok := v.b.meta.Image().Broker(broker)
	return known, ok && known.State == raftmeta.Active
}

// watch cancels when a run of a broker is active no more.
func (v *vitals) watch(ctx context.Context, cancel context.CancelFunc, of *raftmeta.Broker) {
	changes := v.b.meta.Subscribe()
	defer changes.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes.Changed():
			changes.Take()
		}
		if now, active := v.active(of.ID); !active || now.Epoch != of.Epoch {
			cancel()
			return
		}
	}
}

// answers asks once, and once more if a connection of earlier turns out to be gone.
func (v *vitals) answers(ctx context.Context, one *vital, address string) bool {
	if one.link != nil && one.link.Address() != address {
		one.link.Close()
		one.link = nil
	}
	if one.link == nil {
		one.link = v.b.cluster.Peers().Link(address)
	}
	for range 2 {
		reused := one.link.Connected()
		_, err := one.link.Do(ctx, kmsg.NewPtrApiVersionsRequest())
		if err == nil || !reused {
			return err == nil
		}
	}
	return false
}
