package groups

import (
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Code is a Kafka error code as on the wire; 0 is success.
type Code = int16

// JoinRequest is one JoinGroup. Version is the request's: 4 and up must join twice (KIP-394), and 9
// understands SkipAssignment (KIP-814). The call copies the metadata that it keeps.
type JoinRequest struct {
	Tenant     string
	Group      string
	Version    int16
	MemberID   string // "" on the first join
	InstanceID string // "" for a dynamic member
	ClientID   string
	ClientHost string
	// SessionTimeout and RebalanceTimeout are in ms. A negative RebalanceTimeout means the session
	// timeout, as version 0 has none.
	SessionTimeout   int32
	RebalanceTimeout int32
	ProtocolType     string
	Protocols        []raftmeta.GroupProtocol // by preference
}

// JoinReply answers a JoinRequest. With an error Generation is -1 and the strings but MemberID are
// empty. The slices are shared and must not be modified.
type JoinReply struct {
	Err            Code
	Generation     int32
	ProtocolType   string
	Protocol       string
	Leader         string
	MemberID       string
	SkipAssignment bool
	Members        []JoinMember // only for the leader
}

// JoinMember is what the leader is told about a member.
type JoinMember struct {
	MemberID   string
	InstanceID string
	Metadata   []byte // the member's, for the chosen protocol
}

// SyncRequest is one SyncGroup. From version 5 on ProtocolType and Protocol are mandatory (KIP-559);
// before, they are empty and not checked. The call copies the assignments that it keeps.
type SyncRequest struct {
	Tenant       string
	Group        string
	Version      int16
	MemberID     string
	InstanceID   string
	Generation   int32
	ProtocolType string
	Protocol     string
	Assignments  []MemberAssignment // only from the leader
}

// MemberAssignment is what the leader gives to one member, opaque to the coordinator.
type MemberAssignment struct {
	MemberID   string
	Assignment []byte
}

// SyncReply answers a SyncRequest. Assignment is shared and must not be modified.
type SyncReply struct {
	Err          Code
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// HeartbeatRequest is one Heartbeat.
type HeartbeatRequest struct {
	Tenant     string
	Group      string
	MemberID   string
	InstanceID string
	Generation int32
}

// LeaveRequest is one LeaveGroup. Before version 3 it names exactly one member.
type LeaveRequest struct {
	Tenant  string
	Group   string
	Version int16
	Members []LeaveMember
}

// LeaveMember names who leaves: by member id, or by instance id alone, which is how an administrator
// removes a static member.
type LeaveMember struct {
	MemberID   string
	InstanceID string
}

// LeaveReply answers a LeaveRequest. Before version 3 Err is the one member's.
type LeaveReply struct {
	Err     Code
	Members []LeaveMemberReply // as requested, in order; nil if the request failed as a whole
}

// LeaveMemberReply says what became of one LeaveMember.
type LeaveMemberReply struct {
	LeaveMember
	Err Code
}

// CommitRequest is one OffsetCommit, its topic names already resolved; the caller answers for those
// that are unknown.
type CommitRequest struct {
	Tenant     string
	Group      string
	Version    int16 // 9 and up are told GROUP_ID_NOT_FOUND
	MemberID   string
	InstanceID string
	Generation int32 // negative for a commit from outside the group
	// Retention is in ms; negative means by the coordinator's configuration. Only versions 2 to 4
	// carry one, other versions pass -1.
	Retention int64
	// Offsets are what to commit. CommittedAt and ExpiresAt are set by the coordinator.
	Offsets []raftmeta.CommittedOffset
}

// CommitReply answers a CommitRequest: one code for each of its offsets, in order.
type CommitReply struct {
	Codes []Code
}

// FetchRequest is one group of an OffsetFetch.
type FetchRequest struct {
	Tenant string
	Group  string
	All    bool        // everything the group committed; Keys is ignored (KIP-88)
	Keys   []OffsetKey // otherwise these
}

// FetchReply answers a FetchRequest. Without All the offsets are aligned with the request's keys, and
// one that was never committed has offset and leader epoch -1.
type FetchReply struct {
	Err     Code
	Offsets []raftmeta.CommittedOffset
}

// DescribeRequest asks for one group of a DescribeGroups.
type DescribeRequest struct {
	Tenant  string
	Group   string
	Version int16 // 6 and up are told GROUP_ID_NOT_FOUND (KIP-1043); before, an unknown group is Dead
}

// Description answers a DescribeRequest. Protocol, Metadata and Assignment are there only in Stable.
// Byte slices are shared and must not be modified.
type Description struct {
	Err          Code
	Message      string // for an error; may be empty
	State        State
	ProtocolType string
	Protocol     string
	Members      []MemberDescription
}

// MemberDescription is one member of a Description.
type MemberDescription struct {
	MemberID   string
	InstanceID string
	ClientID   string
	ClientHost string
	Metadata   []byte
	Assignment []byte
}

// ListFilter selects groups by state (KIP-518) and type (KIP-848), ignoring case. An empty list
// selects everything.
type ListFilter struct {
	States []string
	Types  []string
}

// ClassicType is the type of every group here, as in ListGroups.
const ClassicType = "classic"

// Listing is one group of a ListGroups.
type Listing struct {
	Group        string
	ProtocolType string
	State        State
	Type         string
}

// DeleteOffset names one offset for OffsetDelete, with the topic's name for the check whether the
// group still subscribes to it.
type DeleteOffset struct {
	Topic     string
	TopicID   uuid.ID
	Partition int32
}

// State is the state of a group, as named on the wire.
type State uint8

// The states of a classic group.
const (
	// Empty has no members, and perhaps offsets.
	Empty State = iota
	// PreparingRebalance waits for the members to join the next generation.
	PreparingRebalance
	// CompletingRebalance waits for the leader's assignment.
	CompletingRebalance
	// Stable has handed out its assignment.
	Stable
	// Dead is a group that does not exist.
	Dead
)

func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}
