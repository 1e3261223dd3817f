package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// askTimeout bounds one request that a client of this package sends by itself.
	askTimeout = 3 * time.Second
	// produceTimeout is what a produce request tells the broker.
	produceTimeout = 2 * time.Second
)

// clientOptions are those of a client whose brokers come and go: with its usual back-offs and timeouts it would sit out
// most of a fault.
func clientOptions(seeds []string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second),
		kgo.DialTimeout(time.Second),
		kgo.RequestTimeoutOverhead(askTimeout),
		kgo.ProduceRequestTimeout(produceTimeout),
	}
}

// seat is who leads a partition, and since which epoch.
type seat struct{ leader, epoch int32 }

// router sends single requests to the brokers of its choice, without the retries by which a client hides what happened
// to an attempt. Of several answers about the leader of a partition it believes the one with the highest epoch.
type router struct {
	cl     *kgo.Client
	topics []string

	mu      sync.Mutex // guards the fields below
	seats   map[Partition]seat
	ids     map[string][16]byte
	brokers []int32
}

func newRouter(seeds []string, topics ...string) (*router, error) {
	cl, err := kgo.NewClient(clientOptions(seeds)...)
	if err != nil {
		return nil, err
	}
	return &router{cl: cl, topics: topics, seats: map[Partition]seat{}, ids: map[string][16]byte{}}, nil
}

func (r *router) close() { r.cl.Close() }

// refresh asks any broker who leads what.
func (r *router) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, topic := range r.topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, r.cl)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.brokers = r.brokers[:0]
	for _, b := range resp.Brokers {
		r.brokers = append(r.brokers, b.NodeID)
	}
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 || t.Topic == nil {
			continue
		}
		if known, ok := r.ids[*t.Topic]; ok && known != t.TopicID {
			r.forgetLocked(*t.Topic) // it is another topic now, whose epochs begin anew
		}
		r.ids[*t.Topic] = t.TopicID
		for _, p := range t.Partitions {
			at := Partition{*t.Topic, p.Partition}
			if known, ok := r.seats[at]; !ok || p.LeaderEpoch > known.epoch || (p.LeaderEpoch == known.epoch && p.Leader >= 0) {
				r.seats[at] = seat{p.Leader, p.LeaderEpoch}
			}
		}
	}
	return nil
}

// forgetLocked drops what is known of a topic's leaders. The caller holds mu.
func (r *router) forgetLocked(topic string) {
	maps.DeleteFunc(r.seats, func(p Partition, _ seat) bool { return p.Topic == topic })
}

// leader returns the leader of p as last heard; ok is false if there is none.
func (r *router) leader(p Partition) (s seat, id [16]byte, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok = r.seats[p]
	return s, r.ids[p.Topic], ok && s.leader >= 0
}

// anyBroker is one of those that are known, false if there are none.
func (r *router) anyBroker(rng *rand.Rand) (int32, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.brokers) == 0 {
		return 0, false
	}
	return r.brokers[rng.IntN(len(r.brokers))], true
}

// ask sends one request to one broker, one time.
func (r *router) ask(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return r.cl.Broker(int(broker)).Request(ctx, req)
}

// produce sends one batch, one time.
func (r *router) produce(ctx context.Context, p Partition, acks int16, batch []byte) (Outcome, int64, int16) {
	at, id, ok := r.leader(p)
	if !ok {
		return Refused, 0, kerr.LeaderNotAvailable.Code // nothing was sent
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks = acks
	req.TimeoutMillis = int32(produceTimeout.Milliseconds())
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Partition = p.Index
	partition.Records = batch
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = p.Topic, id
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	answer, err := r.ask(ctx, at.leader, req)
	if err != nil {
		return Unknown, 0, 0
	}
	resp := answer.(*kmsg.ProduceResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return Unknown, 0, 0
	}
	told := resp.Topics[0].Partitions[0]
	return produceOutcome(told.ErrorCode), told.BaseOffset, told.ErrorCode
}

// produceOutcome is what a code says about the batch (replication.md 7.4): some errors come after the append, all others
// promise that the batch will never appear.
func produceOutcome(code int16) Outcome {
	switch code {
	case 0:
		return Acked
	case kerr.NotLeaderForPartition.Code, kerr.RequestTimedOut.Code, kerr.NotEnoughReplicasAfterAppend.Code, kerr.KafkaStorageError.Code:
		return Unknown
	}
	return Refused
}

// latest asks the leader of p for its latest offset, in the newest epoch that is known: a leader of an older one refuses.
func (r *router) latest(ctx context.Context, p Partition) (offset int64, epoch int32, err error) {
	at, _, ok := r.leader(p)
	if !ok {
		return 0, 0, errors.New("no leader")
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Partition, partition.CurrentLeaderEpoch, partition.Timestamp = p.Index, at.epoch, -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = p.Topic
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	answer, err := r.ask(ctx, at.leader, req)
	if err != nil {
		return 0, 0, err
	}
	resp := answer.(*kmsg.ListOffsetsResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, 0, fmt.Errorf("an answer about %d topics", len(resp.Topics))
	}
	told := resp.Topics[0].Partitions[0]
	return told.Offset, at.epoch, kerr.ErrorForCode(told.ErrorCode)
}

// rest lets time pass, for pacing and back-off. It reports false when ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
