package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/cluster"
	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
)

// fetchGrace is what a fetch may take beyond its long poll: the time to send a full answer.
const fetchGrace = 5 * time.Second

// leaderSource is another broker as the source of the partitions that it leads: one stream of fetches
// over its peer port, in an incremental session (KIP-227), so that a fetch of a thousand quiet partitions
// costs what the busy ones cost. It is used by one goroutine, its Fetcher's.
type leaderSource struct {
	b      *Broker
	leader int32
	pace   *pace         // of a stream that catches up, else nil
	link   *cluster.Link // nil before the first fetch, and after the leader's address changed

	session int32 // 0 for none
	epoch   int32 // of the next fetch in the session
	told    map[partitionKey]partition.FetchPosition
	index   map[partitionKey]int // of the fetch under way
}

func newLeaderSource(b *Broker, key streamKey) *leaderSource {
	s := &leaderSource{b: b, leader: key.leader, told: map[partitionKey]partition.FetchPosition{}, index: map[partitionKey]int{}}
	if key.catchUp {
		s.pace = &b.catchUp
	}
	return s
}

// Fetch implements partition.Source.
func (s *leaderSource) Fetch(life context.Context, wants []partition.Want, wait time.Duration) ([]partition.Got, error) {
	if err := s.connect(); err != nil {
		return nil, err
	}
	c := s.b.config()
	ctx, cancel := context.WithTimeout(life, c.ReplicaFetchWait+fetchGrace)
	defer cancel()
	req := s.request(wants, min(wait, c.ReplicaFetchWait))
	resp, err := s.link.Do(ctx, req)
	if err != nil {
		s.forget()
		return nil, err
	}
	answer := resp.(*kmsg.FetchResponse)
	if answer.ErrorCode != 0 {
		s.forget()
		if code := answer.ErrorCode; code != kerr.FetchSessionIDNotFound.Code && code != kerr.InvalidFetchSessionEpoch.Code {
			return nil, fmt.Errorf("fetch from broker %d: %w", s.leader, kerr.ErrorForCode(code))
		}
		return nil, nil // the leader has dropped the session; the next fetch begins one
	}
	s.session = answer.SessionID
	s.epoch++
	if s.session == 0 {
		s.forget() // it has no room for one: every fetch is a full one
	}
	list := s.unpack(answer, wants)
	s.slowDown(life, list)
	return list, nil
}

// slowDown waits until what came is paid for: replicas that catch up take no more of this node and of the
// network than follower.replication.throttled.rate.
func (s *leaderSource) slowDown(life context.Context, list []partition.Got) {
	limit := s.b.config().FollowerThrottle
	if s.pace == nil || limit == math.MaxInt64 {
		return
	}
	bytes := int64(0)
	for i := range list {
		bytes += int64(len(list[i].Batches))
	}
	s.pace.take(life, bytes, limit, time.Now())
}

// connect makes the link, anew if the leader has moved.
func (s *leaderSource) connect() error {
	broker, ok := s.b.meta.Image().Broker(s.leader)
	if !ok || broker.PeerAddress == "" {
		return fmt.Errorf("broker %d is not registered", s.leader)
	}
	if s.link != nil && s.link.Address() == broker.PeerAddress {
		return nil
	}
	s.close()
	s.link = s.b.cluster.Peers().Link(broker.PeerAddress)
	return nil
}

func (s *leaderSource) close() {
	if s.link != nil {
		s.link.Close()
		s.link = nil
	}
	s.forget()
}

// forget gives the session up: the next fetch names everything again.
func (s *leaderSource) forget() {
	s.session, s.epoch = 0, 0
	clear(s.told)
}

func (s *leaderSource) request(wants []partition.Want, wait time.Duration) *kmsg.FetchRequest {
	c := s.b.config()
	req := kmsg.NewPtrFetchRequest()
	req.Version = req.MaxVersion()
	req.ReplicaState.ID, req.ReplicaState.Epoch = s.b.nodeID, s.b.brokerEpoch.Load()
	req.MaxWaitMillis, req.MinBytes = int32(wait.Milliseconds()), 1
	req.MaxBytes = c.ReplicaFetchResponseMaxBytes
	req.SessionID, req.SessionEpoch = s.session, s.epoch
	clear(s.index)
	topics := map[uuid.ID]int{}
	for i := range wants {
		key := partitionKey{wants[i].Replica.Log().Ident().TopicID, wants[i].Replica.Log().Ident().Partition}
		s.index[key] = i
		if told, ok := s.told[key]; ok && told == wants[i].FetchPosition {
			continue
		}
		s.told[key] = wants[i].FetchPosition
		at, ok := topics[key.topic]
		if !ok {
			at = len(req.Topics)
			topics[key.topic] = at
			t := kmsg.NewFetchRequestTopic()
			t.TopicID = key.topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.FetchOffset = key.number, wants[i].Epoch, wants[i].From
		p.LastFetchedEpoch, p.LogStartOffset, p.PartitionMaxBytes = wants[i].LastEpoch, wants[i].Start, c.ReplicaFetchMaxBytes
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, p)
	}
	req.ForgottenTopics = s.forgotten()
	return req
}

// forgotten lists what the session names and this fetch does not want.
func (s *leaderSource) forgotten() (list []kmsg.FetchRequestForgottenTopic) {
	for key := range s.told {
		if _, wanted := s.index[key]; wanted {
			continue
		}
		delete(s.told, key)
		at := slices.IndexFunc(list, func(t kmsg.FetchRequestForgottenTopic) bool { return t.TopicID == key.topic })
		if at < 0 {
			at = len(list)
			t := kmsg.NewFetchRequestForgottenTopic()
			t.TopicID = key.topic
			list = append(list, t)
		}
		list[at].Partitions = append(list[at].Partitions, key.number)
	}
	return list
}

func (s *leaderSource) unpack(answer *kmsg.FetchResponse, wants []partition.Want) []partition.Got {
	var list []partition.Got
	for i := range answer.Topics {
		t := &answer.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			at, ok := s.index[partitionKey{uuid.ID(t.TopicID), p.Partition}]
			if !ok {
				continue
			}
			list = append(list, got(at, &wants[at], p))
			if p.ErrorCode != 0 || p.DivergingEpoch.EndOffset >= 0 {
				s.told[partitionKey{uuid.ID(t.TopicID), p.Partition}] = sayAgain
			}
		}
	}
	return list
}

// sayAgain stands for a position that the leader is told again whatever it was. The partition is remembered all the same:
// the session has it, and unless it is forgotten there, each fetch is answered at once with its error.
var sayAgain = partition.FetchPosition{From: -1}

func got(index int, want *partition.Want, p *kmsg.FetchResponseTopicPartition) partition.Got {
	g := partition.Got{Index: index, Answer: partition.Answer{
		Epoch: want.Epoch, From: want.From, Batches: p.RecordBatches, HighWatermark: p.HighWatermark, Start: p.LogStartOffset,
	}}
	if p.DivergingEpoch.EndOffset >= 0 {
		g.Diverging = &core.EpochEnd{Epoch: p.DivergingEpoch.Epoch, End: p.DivergingEpoch.EndOffset}
	}
	g.Err = fetchError(p.ErrorCode)
	return g
}

// fetchError turns a code back into the error that a fetcher branches on.
func fetchError(code int16) error {
	switch code {
	case 0:
		return nil
	case kerr.OffsetOutOfRange.Code:
		return log.ErrOffsetOutOfRange
	case kerr.NotLeaderForPartition.Code:
		return partition.ErrNotLeader
	case kerr.FencedLeaderEpoch.Code:
		return partition.ErrFencedEpoch
	case kerr.UnknownLeaderEpoch.Code, kerr.UnknownTopicID.Code, kerr.UnknownTopicOrPartition.Code:
		return partition.ErrUnknownEpoch // the leader has yet to hear of what this follower knows
	case kerr.StaleBrokerEpoch.Code:
		return raftmeta.ErrStaleBrokerEpoch
	}
	return errors.Join(errors.New("the leader refused the fetch"), kerr.ErrorForCode(code))
}
