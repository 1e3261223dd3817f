package sim

import "time"

// network is the directed links between nodes: 0 is the controller, 1 to n the brokers, n+1 the clients.
type network struct {
	w     *world
	links [][]link
}

type link struct {
	delay     time.Duration
	loss, dup float64
	cut       bool
}

func (n *network) init(w *world, brokers int) {
	n.w = w
	n.links = make([][]link, brokers+2)
	for i := range n.links {
		n.links[i] = make([]link, brokers+2)
		for j := range n.links[i] {
			n.links[i][j] = link{delay: w.about(w.plan.delay), loss: w.plan.loss, dup: w.plan.dup}
		}
	}
}

func (n *network) clients() int { return len(n.links) - 1 }

// heal makes all links good.
func (n *network) heal() {
	for i := range n.links {
		for j := range n.links[i] {
			n.links[i][j] = link{delay: time.Millisecond}
		}
	}
}

// travels draws the delays after which a message arrives: none if it is lost, two if it is doubled.
func (n *network) travels(from, to int) (delays [2]time.Duration, copies int) {
	l := &n.links[from][to]
	w := n.w
	if l.cut || w.chance(l.loss) {
		return delays, 0
	}
	delays[0] = w.about(l.delay)
	if w.chance(0.03) && !w.healed {
		delays[0] *= 20 // a retransmission, or a long queue
	}
	if w.chance(l.dup) {
		delays[1] = delays[0] + w.about(l.delay*10)
		return delays, 2
	}
	return delays, 1
}

// toBroker has a message handled by the run of the broker that is up now; a later run never sees it.
func (n *network) toBroker(from int, b *broker, handle func()) {
	if !b.up {
		return
	}
	delays, copies := n.travels(from, int(b.id))
	for _, delay := range delays[:copies] {
		n.w.on(b, delay, handle)
	}
}

// toController has a message handled by the controller, if there is one when it arrives.
func (n *network) toController(from int, handle func()) {
	delays, copies := n.travels(from, 0)
	for _, delay := range delays[:copies] {
		n.w.after(delay, func() {
			if n.w.ctl.up {
				handle()
			}
		})
	}
}

// toClient has an answer handled by a client.
func (n *network) toClient(from int, handle func()) {
	delays, copies := n.travels(from, n.clients())
	for _, delay := range delays[:copies] {
		n.w.after(delay, handle)
	}
}

// on has run executed by the present run of a broker: a paused one does it when it resumes, one that has
// crashed never does.
func (w *world) on(b *broker, delay time.Duration, run func()) {
	generation := b.generation
	w.after(delay, func() {
		switch {
		case b.generation != generation || !b.up:
		case b.paused:
			b.inbox = append(b.inbox, run)
		default:
			run()
		}
	})
}
