package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// randomMinutes is how much virtual time faults are injected in one run.
const randomMinutes = 5

// TestVirtualRandom lets random faults happen to a cluster under load, and checks what its clients were told
// against what is there when all faults are over. It runs for some seconds, or CHRONIK_VIRTUAL_SEEDS runs;
// CHRONIK_VIRTUAL_SEED gives the first seed. A seed fixes the faults and what power losses take, though not
// the order in which goroutines of one instant run.
func TestVirtualRandom(t *testing.T) {
	budget := 20 * time.Second
	if testing.Short() || raceEnabled { // the race detector's own stack grows with all bubbles, until its process dies
		budget = 0 // one run
	}
	seed, runs := rand.Uint64N(1_000_000), 1<<30
	if text := os.Getenv("CHRONIK_VIRTUAL_SEEDS"); text != "" {
		runs, budget = number(t, text), 1<<62
	}
	if text := os.Getenv("CHRONIK_VIRTUAL_SEED"); text != "" {
		seed = uint64(number(t, text))
	}
	began := time.Now()
	done := 0
	for ; done < runs && (done == 0 || time.Since(began) < budget) && !t.Failed(); done++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { newDrill(t, seed).run() })
		})
		seed++
	}
	t.Logf("%d runs of %d virtual minutes in %v", done, randomMinutes, time.Since(began))
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// drill is one random run.
type drill struct {
	*virtualCluster
	acked *ledger
	shown *ledger // what consumers saw
	stop  chan struct{}
}

func newDrill(t *testing.T, seed uint64) *drill {
	return &drill{virtualCluster: startVirtual(t, seed, nil), acked: newLedger(), shown: newLedger(), stop: make(chan struct{})}
}

const drillWriters = 3

func (d *drill) run() {
	d.create("t", 1)
	var clients sync.WaitGroup
	for w := range drillWriters {
		clients.Go(func() { d.write(w) })
	}
	for r := range 2 {
		clients.Go(func() { d.read(rand.New(rand.NewPCG(uint64(r), 1))) })
	}
	for until := time.Now().Add(randomMinutes * time.Minute); time.Now().Before(until) && !d.t.Failed(); {
		d.trouble()
		if d.rng.IntN(3) > 0 {
			d.pause(10 * time.Second)
		}
	}
	healed := time.Now()
	close(d.stop)
	clients.Wait()
	if took := time.Since(healed); took > 30*time.Second {
		d.t.Errorf("the last write was acknowledged %v after all faults were over", took) // I47
	}
	d.settled("t", time.Minute)
	d.judge()
}

func (d *drill) pause(most time.Duration) { time.Sleep(time.Duration(d.rng.Int64N(int64(most)))) }

// write sends one record after the other as an idempotent producer that never gives one up.
func (d *drill) write(w int) {
	p := &producer{id: int64(1000 + w)}
	for ; ; p.sequence++ {
		select {
		case <-d.stop:
			return
		case <-time.After(200 * time.Millisecond):
		}
		value := fmt.Sprintf("%d-%d", w, p.sequence)
		for !d.deliver(p, value) {
			if d.t.Failed() {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (d *drill) deliver(p *producer, value string) (done bool) {
	leader := d.leader("t")
	if leader < 0 {
		return false
	}
	at, err := d.produce(leader, "t", p, time.Second, value)
	var code errKafka
	switch {
	case err == nil:
		d.acked.add(at, value)
		return true
	case errors.As(err, &code) && !kerr.IsRetriable(kerr.ErrorForCode(int16(code))):
		d.t.Errorf("%s: %v", value, err)
	}
	return false
}

// read asks any node, the deposed too, for what is behind the last record that it saw.
func (d *drill) read(rng *rand.Rand) {
	for next := int64(0); ; {
		select {
		case <-d.stop:
			return
		case <-time.After(300 * time.Millisecond):
		}
		from := next - min(next, rng.Int64N(3)) // now and then again what was seen before
		values, highWatermark, err := d.fetch(1+rng.Int32N(3), "t", from)
		if isErr(err, errKafka(kerr.OffsetOutOfRange.Code)) {
			d.t.Errorf("a consumer at %d, which it had been shown everything up to, was sent elsewhere", from) // I18
		}
		if err != nil {
			continue
		}
		if end := from + int64(len(values)); len(values) > 0 && end > highWatermark {
			d.t.Errorf("a consumer was shown records up to %d with the high watermark at %d", end, highWatermark)
		}
		for i, value := range values {
			d.shown.add(from+int64(i), value)
			next = max(next, from+int64(i)+1)
		}
	}
}

// trouble makes one or two faults, lets them last, and ends them.
func (d *drill) trouble() {
	var ends []func()
	what := ""
	for range 1 + d.rng.IntN(2) {
		name, end := d.fault()
		what += name + "; "
		ends = append(ends, end)
		d.pause(2 * time.Second)
	}
	d.pause(20 * time.Second)
	if virtualLogLevel() < 8 {
		d.t.Logf("%v: %s", time.Now().Format("04:05.000"), what)
	}
	d.net.heal()
	for _, end := range ends {
		end()
	}
	for _, n := range d.nodes {
		if n.up.Load() == nil {
			n.await()
		}
	}
}

// fault begins one, and returns what ends it besides healing the network.
func (d *drill) fault() (name string, end func()) {
	n := d.nodes[d.rng.IntN(len(d.nodes))]
	other := d.nodes[(int(n.id)+d.rng.IntN(2))%len(d.nodes)]
	nothing := func() {}
	kind := d.rng.IntN(9)
	if n.up.Load() == nil && kind < 5 {
		return "nothing", nothing // it is down already
	}
	switch kind {
	case 0, 1:
		n.crash()
		return fmt.Sprint("kill ", n.id), n.launch
	case 2:
		n.losePower()
		return fmt.Sprint("power ", n.id), n.launch
	case 3:
		n.shutDown()
		return fmt.Sprint("stop ", n.id), n.launch
	case 4:
		return "blackout", d.blackoutOfTheRest()
	case 5:
		d.cutOff(n, true, true)
		return fmt.Sprint("cut off ", n.id), nothing
	case 6:
		from := d.rng.IntN(2) == 0
		d.cutOff(n, from, !from)
		return fmt.Sprint("cut off ", n.id, " from ", from), nothing
	case 7:
		there := d.rng.IntN(2) == 0
		d.between(n, other, false, there)
		return fmt.Sprint("cut ", n.id, " to ", other.id, " back ", there), nothing
	default:
		d.stall(n, true)
		return fmt.Sprint("stall ", n.id), nothing
	}
}

// blackoutOfTheRest takes the power of all who are up.
func (d *drill) blackoutOfTheRest() (end func()) {
	down := slices.DeleteFunc(slices.Clone(d.nodes), func(n *virtualNode) bool { return n.up.Load() == nil })
	if len(down) > 0 {
		d.cutPower(down...)
	}
	return func() {
		for _, n := range down {
			n.launch()
		}
	}
}

// judge compares what clients were told with what is there: each acknowledged record once, at its offset and
// in its producer's order (I1, I35), and nothing that a consumer ever saw changed (I2).
func (d *drill) judge() {
	values := d.everything()
	d.acked.check(d.t, values)
	d.shown.check(d.t, values)
	var next [drillWriters]int
	for at, value := range values {
		var w, i int
		if _, err := fmt.Sscanf(value, "%d-%d", &w, &i); err != nil || w >= drillWriters {
			d.t.Fatalf("record %q at offset %d is nobody's", value, at)
		}
		if i != next[w] {
			d.t.Errorf("offset %d holds record %d of writer %d, its next is %d", at, i, w, next[w])
		}
		next[w] = i + 1
	}
	if virtualLogLevel() < 8 {
		d.t.Logf("%d records, %d acknowledged, %d seen", len(values), len(d.acked.acked), len(d.shown.acked))
	}
}

// everything reads the topic from the leader, in as many fetches as it takes.
func (d *drill) everything() (values []string) {
	d.t.Helper()
	d.eventually(30*time.Second, "the leader cannot be read to the end", func() bool {
		list, end, err := d.fetch(d.leader("t"), "t", int64(len(values)))
		values = append(values, list...)
		return err == nil && int64(len(values)) == end
	})
	return values
}
