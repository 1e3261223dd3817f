package chaos

import (
	"fmt"
	"time"
)

// Partition is a partition of a topic.
type Partition struct {
	Topic string
	Index int32
}

func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Index) }

// Kind is how a stream writes.
type Kind uint8

const (
	Idempotent Kind = iota // acks=all by an idempotent producer, which sends again until it knows
	Once                   // acks=all, every record sent one time
	Leader                 // acks=1, every record sent one time; what is acknowledged may be lost
)

func (k Kind) String() string { return [...]string{"idempotent", "acks=all", "acks=1"}[k] }

// Outcome is what is known of an attempt.
type Outcome uint8

const (
	Pending Outcome = iota // not answered yet; in a History the same as Unknown
	Acked
	Refused // by an error that promises that nothing was done
	Unknown // no answer, or one that leaves it open
)

func (o Outcome) String() string { return [...]string{"pending", "acked", "refused", "unknown"}[o] }

// Attempt is one record on its way. Times count from the beginning of the ledger.
type Attempt struct {
	Start, End time.Duration
	Offset     int64 // where it was acknowledged
	Outcome    Outcome
	Code       int16 // Kafka's, of the answer; 0 without one
}

// Stream is one producer's records in one partition. Their numbers are indexes of Attempts.
type Stream struct {
	Kind      Kind
	Partition Partition
	Attempts  []Attempt
}

// Read is a record that a consumer was given.
type Read struct {
	Offset int64
	ID     ID
	Epoch  int32 // of the leader that wrote it
	At     time.Duration
}

// EndSeen is an answer to "what is the latest offset".
type EndSeen struct {
	Offset     int64
	Epoch      int32 // of the leader that was asked
	Start, End time.Duration
}

// Commit is an attempt to commit an offset.
type Commit struct {
	Partition  Partition
	Offset     int64
	Member     string
	Start, End time.Duration
	Outcome    Outcome
}

// CommittedSeen is an answer to "what is the committed offset". Offset is -1 for none.
type CommittedSeen struct {
	Partition  Partition
	Offset     int64
	By         string
	Start, End time.Duration
	// Bystander says that whoever asked is no member of the group. A coordinator that is cut off tells bystanders what it
	// knows until it notices (replication.md 5.5); no member can have joined there since.
	Bystander bool
}

// Assigned is what a member of a group was told to read.
type Assigned struct {
	Member     string
	Generation int32
	Partitions []Partition
	At         time.Duration
}

// Complaint is an error that a client was given and that a healthy cluster, however shaken, never gives.
type Complaint struct {
	Invariant string // that it breaks
	Partition Partition
	Text      string
	At        time.Duration
}

// History is all that was seen in a round.
type History struct {
	Streams    []Stream // by number
	Reads      map[Partition][]Read
	Ends       map[Partition][]EndSeen
	Commits    map[string][]Commit        // by group
	Committed  map[string][]CommittedSeen // by group
	Assigned   map[string][]Assigned      // by group
	Admin      []AdminOp
	Complaints []Complaint
	// Final is what every partition holds when all faults have healed, in the order in which a consumer is given it.
	Final map[Partition][]Read
}

// Violation is an invariant of replication.md 21 that a history breaks.
type Violation struct {
	Invariant string // I1 …
	Partition Partition
	Text      string
	Rows      []string // of the ledger, that prove it
}

func (v Violation) String() string {
	s := v.Invariant + " "
	if v.Partition.Topic != "" {
		s += v.Partition.String() + " "
	}
	s += v.Text
	for _, row := range v.Rows {
		s += "\n    " + row
	}
	return s
}

// row is an attempt as a line for people.
func (h *History) row(id ID) string {
	if int(id.Stream) >= len(h.Streams) || id.Stream < 0 {
		return fmt.Sprintf("record %v: no such stream", id)
	}
	s := h.Streams[id.Stream]
	if int(id.Seq) >= len(s.Attempts) || id.Seq < 0 {
		return fmt.Sprintf("record %v: never sent; stream %d (%v, %v) has %d records", id, id.Stream, s.Kind, s.Partition, len(s.Attempts))
	}
	a := s.Attempts[id.Seq]
	text := fmt.Sprintf("record %v: %v to %v, sent at %v, %v", id, s.Kind, s.Partition, ms(a.Start), a.Outcome)
	if a.Outcome != Pending {
		text += fmt.Sprintf(" at %v", ms(a.End))
	}
	if a.Outcome == Acked {
		text += fmt.Sprintf(", offset %d", a.Offset)
	}
	if a.Code != 0 {
		text += fmt.Sprintf(", code %d", a.Code)
	}
	return text
}

func (r Read) row() string {
	return fmt.Sprintf("offset %d held record %v of leader epoch %d at %v", r.Offset, r.ID, r.Epoch, ms(r.At))
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
