package raftmeta

import (
	"fmt"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Command is one change of the table. It carries the facts that the table cannot know (time, random
// ids, placement) and the preconditions under which it holds; whether it takes effect is decided
// only where it is applied (replication.md 4.1). The implementations are pointers to the structs of
// this package.
type Command interface {
	kind() kind
	// fields walks the command's encoded form, in either direction.
	fields(c *coder)
	// apply checks everything before its first write, so that a rejected command changes nothing.
	apply(e *edit) (Result, error)
}

// Result is what an applied command came to. Only the fields of its kind are set.
type Result struct {
	Index        uint64          // of the Raft entry that held the command
	BrokerEpoch  int64           // RegisterBroker
	Topic        *Topic          // CreateTopic, CreatePartitions, SetTopicConfig: as committed, shared, read-only
	Partition    *Partition      // AlterPartition, ElectLeader, RecoverLeader, Reassign: as committed, shared, read-only
	ProducerIDs  ProducerIDBlock // AllocateProducerIDs
	OffsetErrors []error         // CommitOffsets: nil if all were stored, else one per offset, nil or a Rejection
}

// ProducerIDBlock is the half-open range [First, First+Count) of producer ids.
type ProducerIDBlock struct {
	First int64
	Count int32
}

// kind numbers a command in the log. Numbers are never reused.
type kind uint8

const (
	kindInitCluster kind = iota + 1
	kindRegisterBroker
	kindActivateBroker
	kindFenceBroker
	kindCreateTopic
	kindDeleteTopic
	kindConfirmDeletion
	kindCreatePartitions
	kindSetTopicConfig
	kindSetConfig
	kindAllocateProducerIDs
	kindAlterPartition
	kindElectLeader
	kindPutGroup
	kindDeleteGroup
	kindCommitOffsets
	kindDeleteOffsets
	kindBeginShutdown
	kindMoveShard
	kindReassign
	kindRecoverLeader
	kindSetDraining
	kindRemoveBroker
)

// commandVersion is the newest encoding of every kind that this release reads, and the one it writes.
// A kind that changes gets its own number then.
const commandVersion = 1

// newCommand returns an empty command to decode into, nil if the kind is unknown.
func newCommand(k kind) Command {
	switch k {
	case kindInitCluster:
		return &InitCluster{}
	case kindRegisterBroker:
		return &RegisterBroker{}
	case kindActivateBroker:
		return &ActivateBroker{}
	case kindFenceBroker:
		return &FenceBroker{}
	case kindCreateTopic:
		return &CreateTopic{}
	case kindDeleteTopic:
		return &DeleteTopic{}
	case kindConfirmDeletion:
		return &ConfirmDeletion{}
	case kindCreatePartitions:
		return &CreatePartitions{}
	case kindSetTopicConfig:
		return &SetTopicConfig{}
	case kindSetConfig:
		return &SetConfig{}
	case kindAllocateProducerIDs:
		return &AllocateProducerIDs{}
	case kindAlterPartition:
		return &AlterPartition{}
	case kindElectLeader:
		return &ElectLeader{}
	case kindPutGroup:
		return &PutGroup{}
	case kindDeleteGroup:
		return &DeleteGroup{}
	case kindCommitOffsets:
		return &CommitOffsets{}
	case kindDeleteOffsets:
		return &DeleteOffsets{}
	case kindBeginShutdown:
		return &BeginShutdown{}
	case kindMoveShard:
		return &MoveShard{}
	case kindReassign:
		return &Reassign{}
	case kindRecoverLeader:
		return &RecoverLeader{}
	case kindSetDraining:
		return &SetDraining{}
	case kindRemoveBroker:
		return &RemoveBroker{}
	}
	return nil
}

// GroupKey names a group of a tenant.
type GroupKey struct{ Tenant, ID string }

// ConfigKey names a resource with dynamic configs.
type ConfigKey struct {
	Type ResourceType
	Name string
}

// Tombstone is a deleted topic whose files still lie on some brokers. Its id stays taken until all of
// them have confirmed, so that a broker can tell a deleted topic from one it has not heard of
// (replication.md 13.3, 13.4).
type Tombstone struct {
	ID         uuid.ID
	Tenant     string
	Name       string
	Partitions int32   // how many it had
	Pending    []int32 // brokers that have not confirmed, ascending
}

// appendCommand appends the encoded form: kind, version, fields.
func appendCommand(dst []byte, cmd Command) ([]byte, error) {
	c := coder{buf: append(dst, byte(cmd.kind()), commandVersion)}
	cmd.fields(&c)
	if c.err != nil {
		return dst, fmt.Errorf("encode command: %w", c.err)
	}
	return c.buf, nil
}

// decodeCommand reads what appendCommand wrote. The command shares no memory with b.
func decodeCommand(b []byte) (Command, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("%w: command of %d bytes", ErrCorrupt, len(b))
	}
	cmd := newCommand(kind(b[0]))
	if cmd == nil || b[1] == 0 || b[1] > commandVersion {
		return nil, fmt.Errorf("%w: type %d version %d", ErrUnsupportedCommand, b[0], b[1])
	}
	c := coder{buf: b[2:], decoding: true}
	cmd.fields(&c)
	if err := c.finish(); err != nil {
		return nil, fmt.Errorf("decode command of type %d: %w", b[0], err)
	}
	return cmd, nil
}
