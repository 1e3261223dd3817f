// Package httpapi is the node's HTTP face: health for orchestrators, metrics for Prometheus, and the
// state of Raft, the cluster, topics and groups for people and scripts. It only reads, and only what Source tells.
//
// Answers are JSON with fields in snake case; an error is {"error": "what is wrong"} with a fitting status.
package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Source is the node as this package sees it. Its methods may be called from any goroutine, also before
// the node is ready, and do not block.
type Source interface {
	// Alive is nil unless the node must be restarted.
	Alive() error
	// Ready is nil while clients are served.
	Ready() error
	Raft() Raft
	Cluster() Cluster
	Topics() []Topic
	// Topic tells of one topic, with its partitions.
	Topic(name string) (TopicDetail, bool)
	Groups() []Group
	// Group tells of one group, with its members and offsets.
	Group(name string) (GroupDetail, bool)
}

// Raft is the state of the metadata log on this node.
type Raft struct {
	State        string       `json:"state"` // Leader, Follower, Candidate, Shutdown
	Term         uint64       `json:"term"`
	Leader       string       `json:"leader"` // server id, "" if unknown
	LastIndex    uint64       `json:"last_index"`
	CommitIndex  uint64       `json:"commit_index"`
	AppliedIndex uint64       `json:"applied_index"`
	Servers      []RaftServer `json:"servers"`
	Snapshot     RaftSnapshot `json:"snapshot"`
}

// RaftServer is a member of the Raft group. LastContactMS is -1 where it is not known.
type RaftServer struct {
	ID            string `json:"id"`
	Address       string `json:"address"`
	Suffrage      string `json:"suffrage"`
	LastContactMS int64  `json:"last_contact_ms"`
}

// RaftSnapshot is the newest snapshot; both are 0 without one.
type RaftSnapshot struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

// Topic is a line of the list of topics. Bytes are those of the replicas on this node.
type Topic struct {
	Name              string `json:"name"`
	ID                string `json:"id"`
	Partitions        int    `json:"partitions"`
	ReplicationFactor int    `json:"replication_factor"`
	Bytes             int64  `json:"bytes"`
}

// TopicDetail is a topic with what it consists of.
type TopicDetail struct {
	Topic
	Configs    map[string]string `json:"configs"` // overrides only
	Partition  []Partition       `json:"partition"`
	TotalCount int64             `json:"records_upper_bound"` // compaction leaves gaps, so there may be fewer
}

// Partition is one partition; offsets are -1 where this node holds no replica. Lag is empty where it does
// not lead.
type Partition struct {
	Partition     int32         `json:"partition"`
	Leader        int32         `json:"leader"`
	LeaderEpoch   int32         `json:"leader_epoch"`
	Replicas      []int32       `json:"replicas"`
	ISR           []int32       `json:"isr"`
	ELR           []int32       `json:"elr"`      // hold every committed record, though not in sync
	Adding        []int32       `json:"adding"`   // by a reassignment
	Removing      []int32       `json:"removing"` // when it completes
	LogStart      int64         `json:"log_start_offset"`
	HighWatermark int64         `json:"high_watermark"`
	LogEnd        int64         `json:"log_end_offset"`
	Bytes         int64         `json:"bytes"`
	Lag           []FollowerLag `json:"lag"`
}

// FollowerLag is how many records a follower is behind its leader, -1 if it has not fetched from it yet.
type FollowerLag struct {
	Replica int32 `json:"replica"`
	Lag     int64 `json:"lag"`
}

// Group is a line of the list of groups. Of a group that another broker coordinates, this node knows the
// last completed generation: it is Empty or Stable.
type Group struct {
	Name         string `json:"name"`
	State        string `json:"state"`
	Type         string `json:"type"`
	ProtocolType string `json:"protocol_type"`
	Coordinator  int32  `json:"coordinator"` // broker id, -1 if none
}

// GroupDetail is a group with its members and offsets.
type GroupDetail struct {
	Group
	Protocol string        `json:"protocol"`
	Members  []GroupMember `json:"members"`
	Offsets  []GroupOffset `json:"offsets"`
}

// GroupMember is a member of a group.
type GroupMember struct {
	ID         string `json:"id"`
	InstanceID string `json:"instance_id,omitempty"`
	ClientID   string `json:"client_id"`
	ClientHost string `json:"client_host"`
}

// GroupOffset is a committed offset. Lag is the high watermark less the offset, -1 if that is unknown.
type GroupOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Lag       int64  `json:"lag"`
	Metadata  string `json:"metadata,omitempty"`
}

// New returns the handler of a node's HTTP port.
func New(source Source, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", check(source.Alive))
	mux.HandleFunc("GET /readyz", check(source.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /v1/raft", whenReady(source, func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, source.Raft())
	}))
	mux.HandleFunc("GET /v1/cluster", whenReady(source, func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, source.Cluster())
	}))
	mux.HandleFunc("GET /v1/topics", whenReady(source, func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]any{"topics": orEmpty(source.Topics())})
	}))
	mux.HandleFunc("GET /v1/topics/{topic}", whenReady(source, func(w http.ResponseWriter, r *http.Request) {
		found(w, "topic", r.PathValue("topic"), source.Topic)
	}))
	mux.HandleFunc("GET /v1/groups", whenReady(source, func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]any{"groups": orEmpty(source.Groups())})
	}))
	mux.HandleFunc("GET /v1/groups/{group}", whenReady(source, func(w http.ResponseWriter, r *http.Request) {
		found(w, "group", r.PathValue("group"), source.Group)
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "no such endpoint: "+r.Method+" "+r.URL.Path)
	})
	return mux
}

func check(state func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := state(); err != nil {
			fail(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		write(w, http.StatusOK, map[string]string{"status": "ok"})
	}
}

// whenReady guards what can be told only once the node has loaded its state.
func whenReady(source Source, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := source.Ready(); err != nil {
			fail(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		h(w, r)
	}
}

func found[T any](w http.ResponseWriter, kind, name string, get func(string) (T, bool)) {
	if v, ok := get(name); ok {
		write(w, http.StatusOK, v)
		return
	}
	fail(w, http.StatusNotFound, "no such "+kind+": "+name)
}

// orEmpty keeps null out of lists.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func fail(w http.ResponseWriter, status int, text string) {
	write(w, status, map[string]string{"error": text})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the peer went away: there is nobody to tell
}
