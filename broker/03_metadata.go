package broker

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// notAsked stands in a response for authorized operations that the request did not ask for.
const notAsked int32 = math.MinInt32

// Operations that are valid for a resource, as a bit for each ACL operation (KIP-430). Without an
// authorizer everyone may do them all.
const (
	topicOperations   int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	groupOperations   int32 = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
)

// Metadata (3), v0-v13. KIP-4, 430, 516, 700, 1102.
//
// While a leader may be dead the answer waits; see vitals. A node that has lost touch itself breaks the connection:
// the client then asks another broker, while an answer would send it back here for a while. After the isolation
// grace, when it serves nothing any more, it tells whoever still asks what it knows.
//
// A topic named in vain is created if the request and auto.create.topics.enable allow it, and is in
// this same answer with its leader.
func (b *Broker) metadata(r *wire.Request) {
	req := r.Body.(*kmsg.MetadataRequest)
	if b.cluster.OutOfTouch() && !b.cluster.Isolated() {
		r.Reset(errOutOfTouch)
		return
	}
	b.vitals.await(r.Context())
	resp := kmsg.NewMetadataResponse()
	topics := b.metadataTopics(r, req)
	img := b.meta.Image() // after any creation
	for broker := range img.Brokers() {
		if broker.State != raftmeta.Active {
			continue
		}
		mb := kmsg.NewMetadataResponseBroker()
		mb.NodeID, mb.Host, mb.Port, mb.Rack = broker.ID, broker.KafkaHost, broker.KafkaPort, rackOf(broker)
		resp.Brokers = append(resp.Brokers, mb)
	}
	cluster := img.ClusterID().String()
	resp.ClusterID = &cluster
	resp.ControllerID = controllerFor(img, b.cluster.Controller(), b.nodeID)
	resp.AuthorizedOperations = notAsked
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	for i := range topics {
		if req.IncludeTopicAuthorizedOperations && topics[i].ErrorCode == 0 {
			topics[i].AuthorizedOperations = topicOperations
		}
	}
	resp.Topics = topics
	r.Reply(&resp)
}

// controllerFor is the broker that clients are to take for the controller: the leader of the metadata log as long as it is
// among the active brokers, of which they are told. Else it is this broker or any other, as every broker passes on what
// the controller decides (KIP-590). Between two leaders an id of -1 would be true, and there are clients that give up
// at it (kafkajs 2.2.4).
func controllerFor(img *raftmeta.Image, leader, self int32) int32 {
	id := int32(-1)
	for broker := range img.Brokers() {
		switch {
		case broker.State != raftmeta.Active:
		case broker.ID == leader:
			return leader
		case broker.ID == self || id < 0:
			id = broker.ID
		}
	}
	return id
}

func rackOf(broker *raftmeta.Broker) *string {
	if broker.Rack == "" {
		return nil
	}
	return &broker.Rack
}

func (b *Broker) metadataTopics(r *wire.Request, req *kmsg.MetadataRequest) []kmsg.MetadataResponseTopic {
	topics := []kmsg.MetadataResponseTopic{}
	if req.Topics == nil || (req.Version == 0 && len(req.Topics) == 0) {
		for t := range b.meta.Image().Topics(r.Session.Tenant) {
			topics = append(topics, b.describeTopic(t))
		}
		return topics
	}
	create := req.Version < 4 || req.AllowAutoTopicCreation
	for _, asked := range req.Topics {
		topic, err := b.metadataTopic(r, req.Version, asked, create)
		if err != nil {
			mt := kmsg.NewMetadataResponseTopic()
			mt.Topic, mt.TopicID = asked.Topic, asked.TopicID
			mt.Partitions = []kmsg.MetadataResponseTopicPartition{}
			mt.AuthorizedOperations = notAsked
			mt.ErrorCode = b.codeOf(err)
			topics = append(topics, mt)
			continue
		}
		topics = append(topics, b.describeTopic(topic))
	}
	return topics
}

func (b *Broker) metadataTopic(r *wire.Request, version int16, asked kmsg.MetadataRequestTopic, create bool) (*raftmeta.Topic, error) {
	byID := asked.TopicID != [16]byte{}
	if version < 12 && (byID || asked.Topic == nil) {
		return nil, refuse(kerr.InvalidRequest, "topics can be named by id from version 12 on")
	}
	if byID {
		return b.resolve(b.meta.Image(), r.Session.Tenant, topicRef{id: uuid.ID(asked.TopicID)})
	}
	if asked.Topic == nil {
		return nil, refuse(kerr.InvalidRequest, "a topic has neither name nor id")
	}
	if err := checkTopicName(*asked.Topic); err != nil {
		return nil, err
	}
	topic, err := b.resolve(b.meta.Image(), r.Session.Tenant, topicRef{name: *asked.Topic})
	if err == nil || !create || !b.config().AutoCreateTopics {
		return topic, err
	}
	return b.autoCreate(r, *asked.Topic)
}

func (b *Broker) describeTopic(t *raftmeta.Topic) kmsg.MetadataResponseTopic {
	mt := kmsg.NewMetadataResponseTopic()
	name := t.Name
	mt.Topic, mt.TopicID, mt.IsInternal = &name, t.ID, isInternal(name)
	mt.AuthorizedOperations = notAsked
	mt.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		p, mp := &t.Partitions[i], &mt.Partitions[i]
		*mp = kmsg.NewMetadataResponseTopicPartition()
		mp.Partition, mp.Leader, mp.LeaderEpoch = int32(i), p.Leader, p.LeaderEpoch
		mp.Replicas, mp.ISR, mp.OfflineReplicas = p.Replicas, p.ISR, b.offlineReplicas(p)
		if p.Leader == raftmeta.NoLeader {
			mp.ErrorCode = kerr.LeaderNotAvailable.Code
		}
	}
	return mt
}

// offlineReplicas are those on brokers that are not active.
func (b *Broker) offlineReplicas(p *raftmeta.Partition) []int32 {
	offline := []int32{}
	img := b.meta.Image()
	for _, id := range p.Replicas {
		if broker, ok := img.Broker(id); !ok || broker.State != raftmeta.Active {
			offline = append(offline, id)
		}
	}
	return offline
}
