package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/groups"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// OffsetFetch (9), v0-v10. KIP-88, 211, 320, 447, 709, 848.
//
// Up to v7 the request is about one group, from v8 on about many. Both are answered from one reading of
// a group: what was never committed has offset -1, in an unknown group too.
func (b *Broker) offsetFetch(r *wire.Request) {
	req := r.Body.(*kmsg.OffsetFetchRequest)
	resp := kmsg.NewOffsetFetchResponse()
	if req.Version >= 8 {
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, b.fetchGroupOffsets(r.Session.Tenant, &req.Groups[i], req.Version))
		}
		r.Reply(&resp)
		return
	}
	asked := kmsg.OffsetFetchRequestGroup{Group: req.Group}
	if req.Topics != nil {
		asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	found := b.fetchGroupOffsets(r.Session.Tenant, &asked, req.Version)
	resp.ErrorCode = found.ErrorCode
	for _, t := range found.Topics {
		rt := kmsg.NewOffsetFetchResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	r.Reply(&resp)
}

// offsetReader collects the offsets of one group in the order of the request.
type offsetReader struct {
	out   kmsg.OffsetFetchResponseGroup
	keys  []groups.OffsetKey
	slots []*kmsg.OffsetFetchResponseGroupTopicPartition // aligned with keys
}

func (b *Broker) fetchGroupOffsets(tenant string, asked *kmsg.OffsetFetchRequestGroup, version int16) kmsg.OffsetFetchResponseGroup {
	img := b.meta.Image()
	if asked.Topics == nil && version >= 2 {
		return b.fetchAllOffsets(img, tenant, asked.Group)
	}
	reader := offsetReader{out: kmsg.NewOffsetFetchResponseGroup()}
	reader.out.Group = asked.Group
	reader.out.Topics = make([]kmsg.OffsetFetchResponseGroupTopic, len(asked.Topics))
	for i := range asked.Topics {
		rt, t := &asked.Topics[i], &reader.out.Topics[i]
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		t.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(rt.Partitions))
		topic, err := b.resolve(img, tenant, refOf(rt.Topic, rt.TopicID))
		for j, number := range rt.Partitions {
			p := &t.Partitions[j]
			*p = noOffset(number)
			switch {
			case err == nil:
				reader.keys = append(reader.keys, groups.OffsetKey{TopicID: topic.ID, Partition: number})
				reader.slots = append(reader.slots, p)
			case version >= 10: // a name that is unknown has no offset, an id that is unknown is an error
				p.ErrorCode = b.codeOf(err)
			}
		}
	}
	reply := b.groups.Fetch(groups.FetchRequest{Tenant: tenant, Group: asked.Group, Keys: reader.keys})
	if reply.Err != 0 {
		reader.fail(reply.Err, version)
		return reader.out
	}
	for i, o := range reply.Offsets {
		setOffset(reader.slots[i], o)
	}
	return reader.out
}

// fail puts the code where the version has a place for it: before v2 that is every partition.
func (o *offsetReader) fail(code int16, version int16) {
	o.out.ErrorCode = code
	if version >= 2 {
		o.out.Topics = []kmsg.OffsetFetchResponseGroupTopic{}
		return
	}
	for i := range o.out.Topics {
		for j := range o.out.Topics[i].Partitions {
			o.out.Topics[i].Partitions[j].ErrorCode = code
		}
	}
}

func (b *Broker) fetchAllOffsets(img *raftmeta.Image, tenant, group string) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = group
	reply := b.groups.Fetch(groups.FetchRequest{Tenant: tenant, Group: group, All: true})
	if out.ErrorCode = reply.Err; reply.Err != 0 {
		return out
	}
	at := map[uuid.ID]int{} // index in out.Topics
	for _, o := range reply.Offsets {
		topic, ok := img.TopicByID(o.TopicID)
		if !ok {
			continue // deleted while we looked
		}
		i, seen := at[o.TopicID]
		if !seen {
			i = len(out.Topics)
			at[o.TopicID] = i
			out.Topics = append(out.Topics, kmsg.OffsetFetchResponseGroupTopic{Topic: topic.Name, TopicID: topic.ID})
		}
		p := noOffset(o.Partition)
		setOffset(&p, o)
		out.Topics[i].Partitions = append(out.Topics[i].Partitions, p)
	}
	return out
}

func noOffset(number int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	empty := ""
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = number, -1, -1, &empty
	return p
}

func setOffset(p *kmsg.OffsetFetchResponseGroupTopicPartition, o raftmeta.CommittedOffset) {
	metadata := o.Metadata
	p.Offset, p.LeaderEpoch, p.Metadata = o.Offset, o.LeaderEpoch, &metadata
}
