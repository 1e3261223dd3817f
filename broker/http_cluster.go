package broker

import (
	"cmp"
	"slices"

	"github.com/chronik-stream/chronik/httpapi"
	"github.com/chronik-stream/chronik/raftmeta"
)

func (s httpSource) Cluster() httpapi.Cluster {
	img := s.b.meta.Image()
	v := clusterView{img: img, brokers: map[int32]*httpapi.Broker{}}
	v.out = httpapi.Cluster{
		ClusterID: img.ClusterID().String(), Node: s.b.nodeID, Controller: s.b.cluster.Controller(), Topics: img.TopicCount(),
		UnderReplicated: []httpapi.ClusterPartition{}, Offline: []httpapi.ClusterPartition{},
		UnderMinISR: []httpapi.ClusterPartition{}, Reassignments: []httpapi.ClusterPartition{},
	}
	for broker := range img.Brokers() {
		v.brokers[broker.ID] = &httpapi.Broker{
			ID: broker.ID, State: stateNames[broker.State], Host: broker.KafkaHost, Port: broker.KafkaPort,
			PeerAddress: broker.PeerAddress, Rack: broker.Rack, Epoch: broker.Epoch, Draining: broker.Draining,
		}
	}
	for t := range img.AllTopics() {
		for i := range t.Partitions {
			v.add(t, int32(i))
		}
	}
	v.countShards()
	v.out.Brokers = []httpapi.Broker{}
	for broker := range img.Brokers() {
		v.out.Brokers = append(v.out.Brokers, *v.brokers[broker.ID])
	}
	v.out.Lag = s.lags(img)
	if len(v.out.Lag) > httpapi.MaxListed {
		v.out.Lag, v.out.Truncated = v.out.Lag[:httpapi.MaxListed], true
	}
	return v.out
}

var stateNames = map[raftmeta.BrokerState]string{
	raftmeta.Fenced: "fenced", raftmeta.Active: "active", raftmeta.ShuttingDown: "shutting_down",
}

// clusterView gathers one answer from one image.
type clusterView struct {
	img     *raftmeta.Image
	brokers map[int32]*httpapi.Broker
	out     httpapi.Cluster
}

// add counts a partition, and lists it where something is the matter with it. That a reassignment's new
// replicas are not in sync yet is not.
func (v *clusterView) add(t *raftmeta.Topic, number int32) {
	p := &t.Partitions[number]
	v.out.Partitions++
	if b := v.brokers[p.Leader]; b != nil {
		b.Leaders++
	}
	for _, id := range p.Replicas {
		if b := v.brokers[id]; b != nil {
			b.Replicas++
		}
	}
	minISR := v.img.MinInSync(t, len(p.Replicas))
	list := func(wanted bool, count *int, to *[]httpapi.ClusterPartition) {
		if !wanted {
			return
		}
		if *count++; len(*to) == httpapi.MaxListed {
			v.out.Truncated = true
			return
		}
		*to = append(*to, httpapi.ClusterPartition{
			Topic: t.Name, Partition: number, Leader: p.Leader, Replicas: shown(p.Replicas), ISR: shown(p.ISR), MinISR: minISR,
			ELR: shown(p.ELR), LastKnownELR: shown(p.LastKnownELR), Adding: shown(p.Adding), Removing: shown(p.Removing),
		})
	}
	is, counts := conditionOf(p, minISR), &v.out.Counts
	list(is.underReplicated, &counts.UnderReplicated, &v.out.UnderReplicated)
	list(is.offline, &counts.Offline, &v.out.Offline)
	list(is.underMinISR, &counts.UnderMinISR, &v.out.UnderMinISR)
	list(p.Reassigning(), &counts.Reassignments, &v.out.Reassignments)
}

// condition is what can be the matter with a partition.
type condition struct{ underReplicated, offline, underMinISR bool }

func conditionOf(p *raftmeta.Partition, minISR int) condition {
	offline := p.Leader == raftmeta.NoLeader
	return condition{
		underReplicated: slices.ContainsFunc(p.Replicas, func(id int32) bool {
			return !slices.Contains(p.ISR, id) && !slices.Contains(p.Adding, id)
		}),
		offline:     offline,
		underMinISR: !offline && len(p.ISR) < minISR,
	}
}

func (v *clusterView) countShards() {
	for i := range int32(raftmeta.GroupShards) {
		if b := v.brokers[v.img.Shard(i).Owner]; b != nil {
			b.Coordinators++
		}
	}
}

// shown keeps null out of JSON.
func shown(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}

// lags are those of all followers of the partitions led here. One that nothing is known of comes first.
func (s httpSource) lags(img *raftmeta.Image) []httpapi.ReplicaLag {
	list := []httpapi.ReplicaLag{}
	for _, h := range s.b.replicas.all() {
		t, ok := img.TopicByID(h.key.topic)
		if !ok {
			continue
		}
		for _, l := range s.lagOf(t, h) {
			list = append(list, httpapi.ReplicaLag{Topic: t.Name, Partition: h.key.number, Replica: l.Replica, Lag: l.Lag})
		}
	}
	slices.SortFunc(list, func(a, b httpapi.ReplicaLag) int {
		return cmp.Or(
			cmp.Compare(uint64(b.Lag), uint64(a.Lag)), // -1 as the largest of all
			cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Replica, b.Replica),
		)
	})
	return list
}

// lagOf is that of each follower of a replica that leads, nothing elsewhere.
func (s httpSource) lagOf(t *raftmeta.Topic, h *hosted) []httpapi.FollowerLag {
	list := []httpapi.FollowerLag{}
	for _, id := range t.Partitions[h.key.number].Replicas {
		if id == s.b.nodeID {
			continue
		}
		if lag, leads := h.replica.FollowerLag(id); leads {
			list = append(list, httpapi.FollowerLag{Replica: id, Lag: lag})
		}
	}
	return list
}
