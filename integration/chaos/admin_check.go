package chaos

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// AdminKind is an operation on one topic.
type AdminKind uint8

const (
	CreateTopic AdminKind = iota
	DeleteTopic
	SetRetention
	GrowTopic
	CountPartitions // a read; no partitions mean that there is no such topic
	ReadRetention   // a read; "" means that there is no such topic
)

func (k AdminKind) String() string {
	return [...]string{"create", "delete", "set retention of", "grow", "count partitions of", "read retention of"}[k]
}

func (k AdminKind) reads() bool { return k == CountPartitions || k == ReadRetention }

// AdminResult is what the client was told.
type AdminResult uint8

const (
	Done      AdminResult = iota
	Exists                // refused: there is such a topic
	Missing               // refused: there is no such topic
	TooFew                // refused: it does not have fewer partitions
	NotDone               // refused for a reason that says nothing about the topic
	Uncertain             // no answer, or one that leaves it open
)

func (r AdminResult) String() string {
	return [...]string{"done", "exists", "missing", "has as many", "not done", "unknown"}[r]
}

// AdminOp is one operation of the admin history.
type AdminOp struct {
	Kind       AdminKind
	Topic      string
	Broker     int32         // that was asked
	Start, End time.Duration // End counts for nothing if the result is Uncertain
	Partitions int32         // asked for, or found
	Retention  string        // asked for, or found
	Result     AdminResult
	// Settled says of a read that the broker had applied all that was committed before, so it must tell of the present.
	Settled bool

	write  int  // for the search: the number of a write that was done
	echoed bool // for the search: not the write but its answer, by when the broker has applied it
}

func (o AdminOp) row() string {
	return fmt.Sprintf("%v to %v, broker %d: %v %s, %d partitions, retention %q: %v",
		ms(o.Start), ms(o.End), o.Broker, o.Kind, o.Topic, o.Partitions, o.Retention, o.Result)
}

// topicState is the sequential truth about one name.
type topicState struct {
	exists     bool
	partitions int32
	retention  string
}

// step is the sequential specification. An operation of unknown result does what it can.
func (s topicState) step(o AdminOp) (bool, topicState) {
	switch o.Result {
	case NotDone:
		return true, s
	case Exists:
		return s.exists, s
	case Missing:
		return !s.exists, s
	case TooFew:
		return s.exists && s.partitions >= o.Partitions, s
	case Uncertain:
		if next, ok := s.apply(o); ok {
			return true, next
		}
		return true, s
	}
	switch o.Kind {
	case CountPartitions:
		return s.exists == (o.Partitions > 0) && s.partitions == o.Partitions, s
	case ReadRetention:
		return s.exists == (o.Retention != "") && s.retention == o.Retention, s
	}
	next, ok := s.apply(o)
	return ok, next
}

// apply is the effect of a write, if it can have one.
func (s topicState) apply(o AdminOp) (topicState, bool) {
	switch {
	case o.Kind == CreateTopic && !s.exists:
		return topicState{true, o.Partitions, o.Retention}, true
	case o.Kind == DeleteTopic && s.exists:
		return topicState{}, true
	case o.Kind == SetRetention && s.exists:
		s.retention = o.Retention
		return s, true
	case o.Kind == GrowTopic && s.exists && s.partitions < o.Partitions:
		s.partitions = o.Partitions
		return s, true
	}
	return s, false
}

// adminState is all that a topic's name has been, the present last. Brokers serve reads from what they have applied, so a
// read may tell of the past; seen is the oldest state that each broker may still tell of.
type adminState struct {
	versions []version // never changed in place
	seen     [maxBrokers]int
}

// version is what a write made of a topic.
type version struct {
	topicState
	write int // its number, 0 of one that was perhaps done
}

const maxBrokers = 16

func (s adminState) present() topicState { return s.versions[len(s.versions)-1].topicState }

func (s adminState) step(o AdminOp) (bool, adminState) {
	broker := int(o.Broker) % maxBrokers
	if o.echoed {
		at := slices.IndexFunc(s.versions, func(v version) bool { return v.write == o.write })
		s.seen[broker] = max(s.seen[broker], at)
		return at >= 0, s
	}
	if o.Kind.reads() {
		if o.Settled {
			ok, _ := s.present().step(o)
			return ok, s
		}
		// Of the states that fit, the oldest: it leaves the most to the reads that follow.
		for i := s.seen[broker]; i < len(s.versions); i++ {
			if ok, _ := s.versions[i].topicState.step(o); ok {
				s.seen[broker] = i
				return true, s
			}
		}
		return false, s
	}
	ok, next := s.present().step(o)
	if !ok {
		return false, s
	}
	if next != s.present() {
		s.versions = append(slices.Clip(s.versions), version{next, o.write})
	}
	return true, s
}

var adminModel = porcupine.Model{
	Init: func() any { return adminState{versions: []version{{}}} },
	Step: func(state, input, _ any) (bool, any) { return state.(adminState).step(input.(AdminOp)) },
	Equal: func(a, b any) bool {
		return a.(adminState).seen == b.(adminState).seen && slices.Equal(a.(adminState).versions, b.(adminState).versions)
	},
}

// CheckAdmin looks for an order of all operations, each within its time, that explains every answer (I21). Writes are
// linearizable. A read may tell of the past (replication.md 19), but neither of a time before what the same broker has
// answered already, nor of the future.
func CheckAdmin(ops []AdminOp, patience time.Duration) []Violation {
	byTopic := map[string][]AdminOp{}
	for _, o := range telling(ops) {
		byTopic[o.Topic] = append(byTopic[o.Topic], o)
	}
	var found []Violation
	for topic, history := range byTopic {
		result := porcupine.CheckOperationsTimeout(adminModel, operations(history), patience)
		if result == porcupine.Ok {
			continue
		}
		text := "no order of the operations explains their answers"
		if result == porcupine.Unknown {
			text = "no order of the operations that explains their answers was found in time"
		}
		slices.SortFunc(history, func(a, b AdminOp) int { return int(a.Start - b.Start) })
		var rows []string
		for _, o := range history {
			rows = append(rows, o.row())
		}
		found = append(found, Violation{"I21", Partition{Topic: topic}, text, rows})
	}
	return found
}

// telling leaves out what cannot decide anything, as the search grows with every operation that may happen at any time: reads
// without an answer, what was not done, and values that were perhaps written and that nobody has read. The latter are unique,
// so an order with such a write is one without it.
func telling(ops []AdminOp) []AdminOp {
	read := map[string]bool{}
	for _, o := range ops {
		if o.Kind == ReadRetention && o.Result == Done {
			read[o.Topic+" "+o.Retention] = true
		}
	}
	var left []AdminOp
	for _, o := range ops {
		uncertain := o.Result == Uncertain
		unread := o.Kind == SetRetention && !read[o.Topic+" "+o.Retention]
		if o.Result == NotDone || uncertain && (o.Kind.reads() || unread) {
			continue
		}
		left = append(left, o)
	}
	return left
}

// operations is the history as porcupine takes it. What is of unknown result may still take effect at any later time. What is
// done is so for all brokers before it is answered, but for the broker that answers no sooner than then.
func operations(history []AdminOp) []porcupine.Operation {
	var all []porcupine.Operation
	for i, o := range history {
		end := int64(o.End)
		switch {
		case o.Result == Uncertain:
			end = math.MaxInt64
		case o.Result == Done && !o.Kind.reads():
			o.write = i + 1
			echo := o
			echo.echoed = true
			all = append(all, porcupine.Operation{Input: echo, Call: end, Return: end})
		}
		all = append(all, porcupine.Operation{Input: o, Call: int64(o.Start), Return: end})
	}
	return all
}
