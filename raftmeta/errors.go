package raftmeta

import "errors"

// Rejection is a command's definite no: the log holds the command, and it changed nothing. The values
// are numbered because they cross the network when a command is forwarded to the Raft leader; a number
// is never reused. Test for one with errors.Is, for any with errors.As.
type Rejection uint8

// The rejections, with the Kafka error that a client sees where it differs in name.
const (
	ErrClusterIDMismatch    Rejection = iota + 1 // INCONSISTENT_CLUSTER_ID
	ErrTopicExists                               // TOPIC_ALREADY_EXISTS
	ErrTopicCollides                             // INVALID_TOPIC_EXCEPTION: differs from another only in '.' and '_'
	ErrInvalidTopic                              // INVALID_TOPIC_EXCEPTION
	ErrTopicIDUsed                               // the proposer must draw another id
	ErrUnknownTopic                              // UNKNOWN_TOPIC_ID
	ErrUnknownPartition                          // UNKNOWN_TOPIC_OR_PARTITION
	ErrInvalidPartitions                         // INVALID_PARTITIONS
	ErrInvalidAssignment                         // INVALID_REPLICA_ASSIGNMENT
	ErrUnknownBroker                             // BROKER_ID_NOT_REGISTERED
	ErrDuplicateBroker                           // DUPLICATE_BROKER_REGISTRATION
	ErrStaleBrokerEpoch                          // STALE_BROKER_EPOCH
	ErrFencedLeaderEpoch                         // FENCED_LEADER_EPOCH
	ErrNewerEpoch                                // NOT_CONTROLLER: the sender knows more than this log does
	ErrNotPartitionLeader                        // INVALID_REQUEST
	ErrPartitionEpoch                            // INVALID_UPDATE_VERSION
	ErrInvalidISR                                // INVALID_REQUEST
	ErrIneligibleReplica                         // INELIGIBLE_REPLICA
	ErrNoCandidate                               // PREFERRED_LEADER_NOT_AVAILABLE or ELIGIBLE_LEADERS_NOT_AVAILABLE
	ErrElectionNotNeeded                         // ELECTION_NOT_NEEDED
	ErrProducerIDsExhausted                      // COORDINATOR_NOT_AVAILABLE
	ErrStaleCoordinator                          // NOT_COORDINATOR
	ErrUnknownGroup                              // GROUP_ID_NOT_FOUND
	ErrNonEmptyGroup                             // NON_EMPTY_GROUP
	ErrGroupHasOffsets                           // an expiry came too late: somebody committed
	ErrUnknownMember                             // UNKNOWN_MEMBER_ID
	ErrIllegalGeneration                         // ILLEGAL_GENERATION
	ErrInvalidRequest                            // INVALID_REQUEST: no proposer of ours would send it
	ErrBrokerUnavailable                         // BROKER_NOT_AVAILABLE: it is not active, shuts down or drains
	ErrBrokerInUse                               // INVALID_REQUEST: it is not fenced, or a replica of something
	ErrNoReassignment                            // NO_REASSIGNMENT_IN_PROGRESS
	ErrTooFewInSync                              // INVALID_REPLICA_ASSIGNMENT: the ISR would fall below min
	ErrSuperseded                                // NOT_COORDINATOR or NOT_CONTROLLER: it came behind a later entry or run of its proposer
	rejectionEnd
)

var rejectionText = [rejectionEnd]string{
	ErrClusterIDMismatch:    "another cluster id is committed",
	ErrTopicExists:          "topic already exists",
	ErrTopicCollides:        "topic name collides with another in '.' and '_'",
	ErrInvalidTopic:         "topic name is not valid",
	ErrTopicIDUsed:          "topic id is or was in use",
	ErrUnknownTopic:         "unknown topic id",
	ErrUnknownPartition:     "unknown partition",
	ErrInvalidPartitions:    "number of partitions is not valid",
	ErrInvalidAssignment:    "replica assignment is not valid",
	ErrUnknownBroker:        "broker is not registered",
	ErrDuplicateBroker:      "another process is registered under this broker id",
	ErrStaleBrokerEpoch:     "broker epoch is stale",
	ErrFencedLeaderEpoch:    "leader epoch is fenced",
	ErrNewerEpoch:           "epoch is newer than the committed one",
	ErrNotPartitionLeader:   "sender does not lead the partition",
	ErrPartitionEpoch:       "partition epoch differs",
	ErrInvalidISR:           "in-sync replicas are not valid",
	ErrIneligibleReplica:    "a proposed in-sync replica is not eligible",
	ErrNoCandidate:          "no eligible leader",
	ErrElectionNotNeeded:    "leader election is not needed",
	ErrProducerIDsExhausted: "producer ids are exhausted",
	ErrStaleCoordinator:     "coordinator epoch is stale",
	ErrUnknownGroup:         "unknown group",
	ErrNonEmptyGroup:        "group has members",
	ErrGroupHasOffsets:      "group has committed offsets",
	ErrUnknownMember:        "unknown member",
	ErrIllegalGeneration:    "illegal generation",
	ErrInvalidRequest:       "command is not valid",
	ErrBrokerUnavailable:    "broker cannot take this on",
	ErrBrokerInUse:          "broker is in use",
	ErrNoReassignment:       "no reassignment is in progress",
	ErrTooFewInSync:         "too few replicas would be in sync",
	ErrSuperseded:           "a later proposal of the same broker came first",
}

// Error says what was wrong, without the object's name: the caller knows that.
func (r Rejection) Error() string {
	if r == 0 || r >= rejectionEnd {
		return "unknown rejection"
	}
	return rejectionText[r]
}

// What a proposal can come to besides a Rejection.
var (
	// ErrOutcomeUnknown means that the command may have been committed, may be later, or never
	// (replication.md 4.3). Retry only what its preconditions make safe.
	ErrOutcomeUnknown = errors.New("outcome of the proposal is unknown")
	// ErrNotLeader means that the command was not proposed: this node does not lead the Raft group.
	ErrNotLeader = errors.New("not the Raft leader")
	// ErrTooLarge means that the command was not proposed: encoded it exceeds MaxCommandBytes, or one
	// of its fields the limit of its kind.
	ErrTooLarge = errors.New("command is too large")
	// ErrClosed means that nothing was proposed, or that nothing more will be reported: the node is closed.
	ErrClosed = errors.New("metadata node is closed")
	// ErrUnsupportedCommand means that the log holds a command of a newer release. Skipping it would make
	// this node differ from the others without a sign, so the process must end (replication.md 4.2).
	ErrUnsupportedCommand = errors.New("command of an unknown type or newer version")
	// ErrCorrupt means that bytes which a checksum should have covered cannot be decoded.
	ErrCorrupt = errors.New("corrupt metadata")
)
