package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// DeleteTopics (20), v0-v6. KIP-4, 322, 516. Committed offsets go with the topic.
func (b *Broker) deleteTopics(r *wire.Request) {
	req := r.Body.(*kmsg.DeleteTopicsRequest)
	asked := req.Topics
	for i := range req.TopicNames {
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: &req.TopicNames[i]})
	}
	resp := kmsg.NewDeleteTopicsResponse()
	resp.Topics = make([]kmsg.DeleteTopicsResponseTopic, len(asked))
	ctx, cancel := b.bounded(r, req.TimeoutMillis)
	defer cancel()
	var work errgroup.Group
	work.SetLimit(concurrentProposals)
	for i := range asked {
		rt, t := asked[i], &resp.Topics[i]
		*t = kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		work.Go(func() error {
			topic, err := b.deleteTopic(ctx, r.Session.Tenant, rt, req.Version)
			if topic != nil {
				t.Topic, t.TopicID = &topic.Name, topic.ID
			}
			t.ErrorCode, t.ErrorMessage = b.codeOf(err), messageOf(err)
			return nil
		})
	}
	_ = work.Wait() // every topic answers for itself
	r.Reply(&resp)
}

// deleteTopic returns the topic once it is found, whatever becomes of the deletion.
func (b *Broker) deleteTopic(ctx context.Context, tenant string, rt kmsg.DeleteTopicsRequestTopic, version int16) (*raftmeta.Topic, error) {
	byID := rt.TopicID != [16]byte{}
	if byID == (rt.Topic != nil) {
		return nil, refuse(kerr.InvalidRequest, "a topic is named either by name or by id")
	}
	if !b.config().DeleteTopics {
		if version < 3 {
			return nil, refuse(kerr.InvalidRequest, "delete.topic.enable is false")
		}
		return nil, refuse(kerr.TopicDeletionDisabled, "delete.topic.enable is false")
	}
	var topic *raftmeta.Topic
	err := b.planned(ctx, func() (err error) {
		topic, err = b.resolve(b.meta.Image(), tenant, topicRef{deref(rt.Topic), uuid.ID(rt.TopicID)})
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := b.meta.Propose(ctx, &raftmeta.DeleteTopic{ID: topic.ID}); err != nil {
		return topic, err
	}
	b.logger.Info("topic deleted", "topic", topic.Name, "id", topic.ID)
	b.reconciler.catchUp()
	return topic, nil
}
