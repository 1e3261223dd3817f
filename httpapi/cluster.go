package httpapi

// MaxListed bounds each list of a Cluster. The counts beside them know no bound.
const MaxListed = 1000

// Cluster is who belongs to the cluster and what is wrong with its partitions, as far as the node that
// answers has applied the metadata. Truncated means that a list has more than MaxListed entries.
type Cluster struct {
	ClusterID       string             `json:"cluster_id"`
	Node            int32              `json:"node"`       // who answers
	Controller      int32              `json:"controller"` // -1 while there is none
	Brokers         []Broker           `json:"brokers"`
	Topics          int                `json:"topics"`
	Partitions      int                `json:"partitions"`
	Counts          ClusterCounts      `json:"counts"`
	UnderReplicated []ClusterPartition `json:"under_replicated"` // a replica is not in sync
	Offline         []ClusterPartition `json:"offline"`          // no leader
	UnderMinISR     []ClusterPartition `json:"under_min_isr"`    // led, but acks=all is refused
	Reassignments   []ClusterPartition `json:"reassignments"`    // on their way to other replicas
	Lag             []ReplicaLag       `json:"lag"`              // of followers of this node, the most first
	Truncated       bool               `json:"truncated,omitempty"`
}

// ClusterCounts are the full lengths of a Cluster's lists.
type ClusterCounts struct {
	UnderReplicated int `json:"under_replicated"`
	Offline         int `json:"offline"`
	UnderMinISR     int `json:"under_min_isr"`
	Reassignments   int `json:"reassignments"`
}

// Broker is a registered broker and how much it carries.
type Broker struct {
	ID           int32  `json:"id"`
	State        string `json:"state"` // active, fenced, shutting_down
	Host         string `json:"host"`
	Port         int32  `json:"port"`
	PeerAddress  string `json:"peer_address"`
	Rack         string `json:"rack"`
	Epoch        int64  `json:"epoch"`
	Draining     bool   `json:"draining"`
	Leaders      int    `json:"leaders"`
	Replicas     int    `json:"replicas"`
	Coordinators int    `json:"coordinators"` // group coordinator shards
}

// ClusterPartition is a partition that somebody should look at. A partition without a leader waits for one
// of ISR and ELR; where both are empty, its replicas may lack what was acknowledged.
type ClusterPartition struct {
	Topic        string  `json:"topic"`
	Partition    int32   `json:"partition"`
	Leader       int32   `json:"leader"` // -1: none
	Replicas     []int32 `json:"replicas"`
	ISR          []int32 `json:"isr"`
	MinISR       int     `json:"min_isr"`
	ELR          []int32 `json:"elr"`
	LastKnownELR []int32 `json:"last_known_elr"`
	Adding       []int32 `json:"adding"`
	Removing     []int32 `json:"removing"`
}

// ReplicaLag is how many records a follower is behind, -1 if it has not fetched from this leader yet.
type ReplicaLag struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Replica   int32  `json:"replica"`
	Lag       int64  `json:"lag"`
}
