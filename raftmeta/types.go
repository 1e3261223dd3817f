// Package raftmeta is the truth about everything but records: topics, partitions, brokers, configs,
// groups, committed offsets and producer-id blocks. It has three parts that stay apart.
//
//   - The table (Image): an immutable value. A committed command turns one image into the next by a
//     pure function without clock, randomness, I/O or map order, so that every node that applied the
//     same log holds the same image (replication.md 4.1, 4.2).
//   - The front (Node): validates commands, coalesces concurrent ones into one Raft entry, and answers
//     each caller with what its own command came to.
//   - The change stream (Subscription): tells reconcilers which things differ, so that they make their
//     node match the image. It names things, never events: after a gap the answer is the same.
//
// Nothing else writes metadata.
package raftmeta

import "github.com/chronik-stream/chronik/internal/uuid"

// Topic is a topic as committed. Values handed out are shared and must not be modified.
type Topic struct {
	ID         uuid.ID
	Tenant     string // "" is the default tenant
	Name       string
	Config     map[string]string // overrides only, by Kafka's names
	Partitions []Partition       // index = partition number
}

// Partition is who holds one partition, and who leads it. It holds no offsets of any kind.
type Partition struct {
	Replicas       []int32 // order is preference; during a reassignment those of before and those to come
	Adding         []int32 // those that a reassignment brings in, until all are in sync
	Removing       []int32 // those that leave when it completes
	ISR            []int32 // in the order of Replicas
	ELR            []int32 // eligible leaders outside the ISR: they hold every committed record (KIP-966, replication.md 9.5)
	LastKnownELR   []int32 // left ISR or ELR under suspicion of lost data; candidates only by recovery (11.4)
	Leader         int32   // NoLeader if none
	LeaderEpoch    int32   // never falls while the topic id lives
	PartitionEpoch int32   // +1 with every change of this struct
	UncleanEpoch   int32   // leader epoch of the newest unclean or recovery election, -1 if there was none
	Recovering     bool    // elected uncleanly; the ISR may not grow until the leader reports that it has recovered
}

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// Broker is a registered server.
type Broker struct {
	ID          int32
	Epoch       int64 // log index of its registration
	Incarnation uuid.ID
	StorageIDs  []uuid.ID
	KafkaHost   string // advertised to clients
	KafkaPort   int32
	PeerAddress string // host:port by which other brokers reach it
	Rack        string
	State       BrokerState
	Draining    bool // gets no leaders and no coordinator shards that another broker can take
}

// BrokerState says whether a broker may lead and be in sync.
type BrokerState uint8

// The states of a broker (replication.md 2.1).
const (
	Fenced BrokerState = iota
	Active
	ShuttingDown // leads what nobody else can, and enters no ISR
)

// ResourceType tells what a dynamic config belongs to, numbered as on the wire.
type ResourceType int8

// Resources with dynamic configs that are not kept in the object itself.
const (
	BrokerResource ResourceType = 4 // Name "" holds the cluster-wide defaults
	GroupResource  ResourceType = 32
)

// Group is the durable part of a classic consumer group: what a coordinator needs to go on serving its
// members after a restart without a rebalance (replication.md 18.2). Timers are not in it.
type Group struct {
	Tenant       string
	ID           string
	Generation   int32
	ProtocolType string
	Protocol     string // chosen protocol, "" if none
	Leader       string // member id, "" if none
	Members      []GroupMember
	// EmptySince is the time in ms since the epoch when the last member left, as the proposer saw it;
	// 0 while there are members. Offsets expire from then on.
	EmptySince int64
}

// GroupMember is one member of a completed generation.
type GroupMember struct {
	ID               string
	InstanceID       string // "" for a dynamic member
	ClientID         string
	ClientHost       string
	SessionTimeout   int32 // ms
	RebalanceTimeout int32 // ms
	Protocols        []GroupProtocol
	Assignment       []byte
}

// GroupProtocol is one assignor that a member offers, with its opaque subscription.
type GroupProtocol struct {
	Name     string
	Metadata []byte
}

// CommittedOffset is one group's position in one partition. Offsets belong to the topic id: those of a
// deleted topic vanish with it, and a new topic of the same name starts with none (I26).
type CommittedOffset struct {
	TopicID     uuid.ID
	Partition   int32
	Offset      int64 // the next record to read
	LeaderEpoch int32 // -1 unknown
	Metadata    string
	CommittedAt int64 // ms since the epoch, by the proposer's clock
	ExpiresAt   int64 // ms since the epoch; 0 = by the broker's retention (only OffsetCommit v2-4 can set it)
}
