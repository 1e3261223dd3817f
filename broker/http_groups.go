package broker

import (
	"cmp"
	"slices"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/httpapi"
	"github.com/chronik-stream/chronik/raftmeta"
)

// Groups lists all groups of the cluster: those coordinated here as they are, the others as they were saved.
func (s httpSource) Groups() []httpapi.Group {
	img := s.b.meta.Image()
	var list []httpapi.Group
	here := map[string]bool{}
	for _, g := range s.b.groups.List(defaultTenant, groups.ListFilter{}) {
		list = append(list, groupLine(img, g.Group, g.State, g.ProtocolType))
		here[g.Group] = true
	}
	for saved := range img.Groups(defaultTenant) {
		if !here[saved.ID] {
			d := groups.DescribeSaved(saved)
			list = append(list, groupLine(img, saved.ID, d.State, d.ProtocolType))
		}
	}
	slices.SortFunc(list, func(a, b httpapi.Group) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func groupLine(img *raftmeta.Image, name string, state groups.State, protocolType string) httpapi.Group {
	return httpapi.Group{
		Name: name, State: state.String(), Type: groups.ClassicType, ProtocolType: protocolType,
		Coordinator: img.Shard(raftmeta.ShardOf(defaultTenant, name)).Owner,
	}
}

// describeVersion asks the coordinator for the newest form: an unknown group is an error, not "Dead".
const describeVersion = 6

func (s httpSource) Group(name string) (httpapi.GroupDetail, bool) {
	img := s.b.meta.Image()
	d := s.b.groups.Describe(groups.DescribeRequest{Tenant: defaultTenant, Group: name, Version: describeVersion})
	if d.Err != 0 {
		saved, ok := img.Group(defaultTenant, name)
		if !ok {
			return httpapi.GroupDetail{}, false
		}
		d = groups.DescribeSaved(saved)
	}
	out := httpapi.GroupDetail{
		Group:    groupLine(img, name, d.State, d.ProtocolType),
		Protocol: d.Protocol, Members: []httpapi.GroupMember{}, Offsets: []httpapi.GroupOffset{},
	}
	for _, m := range d.Members {
		out.Members = append(out.Members, httpapi.GroupMember{ID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost})
	}
	for o := range img.Offsets(defaultTenant, name) {
		t, ok := img.TopicByID(o.TopicID)
		if !ok {
			continue
		}
		lag := int64(-1)
		if h := s.b.replicas.get(o.TopicID, o.Partition); h != nil {
			lag = max(h.replica.Offsets().HighWatermark-o.Offset, 0)
		}
		out.Offsets = append(out.Offsets, httpapi.GroupOffset{Topic: t.Name, Partition: o.Partition, Offset: o.Offset, Lag: lag, Metadata: o.Metadata})
	}
	return out, true
}
