package sim

import (
	"fmt"
	"strings"
	"time"
)

// lastEvents is how much of a run a violation shows.
const lastEvents = 60

// trace remembers what happened, as numbers: text is made only when somebody reads it.
type trace struct {
	all   bool // keep everything
	notes []note
	hash  uint64
	// describe says what a metadata entry is
	describe func(index int) string
}

type note struct {
	at   time.Duration
	step int
	kind kind
	args [6]int64
}

// kind is what a note tells.
type kind uint8

const (
	noteCrash kind = iota
	notePowerLoss
	noteWipe
	noteStop
	noteRestart
	notePause
	noteResume
	noteCut
	noteHealLink
	noteController
	noteCommit
	noteRejected
	noteOldTerm
	noteApply
	noteLead
	noteAdopt
	noteFollow
	noteResign
	noteAppend
	noteDuplicate
	noteRefuseAppend
	noteAck
	noteNack
	noteFetch
	noteFetchRefused
	noteDiverging
	noteReplicated
	noteTruncated
	noteAnswerIgnored
	noteWouldLose
	noteRestarted
	noteLeaderHW
	noteFollowerHW
	noteSynced
	notePropose
	noteResend
	noteSettled
	noteRead
	noteRetention
	noteHealed
	noteReplicaDropped
)

var noteText = [...]string{
	noteCrash:          "b%d is killed (its page cache survives)",
	notePowerLoss:      "b%d loses power",
	noteWipe:           "b%d loses its disk",
	noteStop:           "b%d stops in order",
	noteRestart:        "b%d starts, suspect=%d, metadata index %d",
	notePause:          "b%d is paused",
	noteResume:         "b%d resumes with %d events waiting",
	noteCut:            "link %d -> %d is cut",
	noteHealLink:       "link %d -> %d heals",
	noteController:     "the controller moves, term %d",
	noteCommit:         "metadata %d: ",
	noteRejected:       "metadata %d, rejected: ",
	noteOldTerm:        "a proposal of term %d is refused in term %d",
	noteApply:          "b%d applies up to metadata %d",
	noteLead:           "b%d leads p%d in epoch %d from %d, hw %d",
	noteAdopt:          "b%d adopts p%d epoch %d.%d, %d in sync",
	noteFollow:         "b%d follows p%d in epoch %d, end %d, hw %d",
	noteResign:         "b%d has no leader for p%d in epoch %d",
	noteAppend:         "b%d p%d appends producer %d seq %d at %d in epoch %d",
	noteDuplicate:      "b%d p%d knows producer %d seq %d at %d",
	noteRefuseAppend:   "b%d p%d refuses producer %d seq %d: %d",
	noteAck:            "b%d p%d acknowledges producer %d seq %d at %d, acks=%d",
	noteNack:           "b%d p%d tells producer %d seq %d that it leads no more",
	noteFetch:          "b%d p%d is fetched by b%d from %d (last epoch %d) and sends %d",
	noteFetchRefused:   "b%d p%d refuses the fetch of b%d from %d in epoch %d: %d",
	noteDiverging:      "b%d p%d tells b%d at %d that epoch %d ends at %d",
	noteReplicated:     "b%d p%d takes [%d, %d) over, leader's hw %d",
	noteTruncated:      "b%d p%d truncates from %d to %d, hw %d",
	noteAnswerIgnored:  "b%d p%d ignores an answer of epoch %d for %d",
	noteWouldLose:      "b%d p%d refuses to truncate below its hw %d: epoch %d ends at %d",
	noteRestarted:      "b%d p%d begins anew at %d",
	noteLeaderHW:       "b%d p%d high watermark %d -> %d in epoch %d",
	noteFollowerHW:     "b%d p%d follows to high watermark %d -> %d",
	noteSynced:         "b%d p%d is durable up to %d",
	notePropose:        "b%d p%d proposes ISR %b (bits) at epoch %d.%d",
	noteResend:         "b%d p%d sends its proposal again: ISR %b (bits) at epoch %d.%d",
	noteSettled:        "b%d p%d hears of its proposal of epoch %d: code %d, partition epoch %d",
	noteRead:           "reader %d reads p%d [%d, %d) from b%d",
	noteRetention:      "b%d p%d deletes below %d",
	noteHealed:         "all faults end",
	noteReplicaDropped: "b%d deletes its replica of p%d",
}

// note adds an event to the trace.
func (w *world) note(k kind, args ...int) {
	n := note{at: w.now, step: w.steps, kind: k}
	for i, a := range args {
		n.args[i] = int64(a)
	}
	w.trace.add(n)
}

func (t *trace) add(n note) {
	h := t.hash ^ uint64(n.kind) ^ uint64(n.at)<<8
	for _, a := range n.args {
		h = (h ^ uint64(a)) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	t.hash = h
	if !t.all && len(t.notes) >= 2*lastEvents {
		t.notes = t.notes[:copy(t.notes, t.notes[lastEvents:])]
	}
	t.notes = append(t.notes, n)
}

// text is the trace for a reader; without all its last events.
func (t *trace) text() string {
	var b strings.Builder
	from := 0
	if !t.all {
		from = max(0, len(t.notes)-lastEvents)
	}
	for i := range t.notes[from:] {
		n := &t.notes[from+i]
		format := noteText[n.kind]
		args := make([]any, strings.Count(format, "%"))
		for j := range args {
			args[j] = n.args[j]
		}
		text := fmt.Sprintf(format, args...)
		if n.kind == noteCommit || n.kind == noteRejected {
			text += t.describe(int(n.args[0]))
		}
		fmt.Fprintf(&b, "%6d %8.1fms  %s\n", n.step, float64(n.at)/float64(time.Millisecond), text)
	}
	return b.String()
}

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant  string // its number in replication.md 21
	Detail     string
	Seed       uint64
	Step       int
	Transcript string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s violated at step %d of seed %d: %s\nplay it again: CHRONIK_SIM_SEED=%d go test ./partition/sim -run TestSeeds -v\n%s",
		v.Invariant, v.Step, v.Seed, v.Detail, v.Seed, v.Transcript)
}

// must ends the run unless an invariant holds.
func (w *world) must(holds bool, invariant, format string, args ...any) {
	if !holds {
		panic(&Violation{Invariant: invariant, Detail: fmt.Sprintf(format, args...)})
	}
}

// violationOf makes a violation of whatever ended a run: one of ours, or an assertion of the protocol's
// own code.
func (w *world) violationOf(caught any) *Violation {
	v, ok := caught.(*Violation)
	if !ok {
		text := fmt.Sprint(caught)
		if !strings.HasPrefix(text, "invariant violated") {
			panic(caught)
		}
		v = &Violation{Invariant: "assertion", Detail: text}
	}
	v.Seed, v.Step, v.Transcript = w.seed, w.steps, w.trace.text()
	return v
}
