package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	admins       = 3
	adminEvery   = 150 * time.Millisecond
	adminNames   = 2  // in use at a time
	opsPerName   = 30 // then others are used: the search for an order grows with the history of a name
	adminReplica = 2
	retentionKey = "retention.ms"
)

// adminLoad is clients that create, change and delete topics, each operation sent one time to a broker of their choice.
type adminLoad struct {
	ledger *Ledger
	ops    atomic.Int64 // drawn so far, by all clients
}

func (w *Workload) startAdmins(ctx, writing context.Context) error {
	w.admin = &adminLoad{ledger: w.ledger}
	for range admins {
		r, err := newRouter(w.seeds)
		if err != nil {
			return err
		}
		w.closing = append(w.closing, r.close)
		rng := w.chance()
		w.writers.Go(func() error { w.admin.run(ctx, writing, r, rng); return nil })
	}
	return nil
}

func (a *adminLoad) run(ctx, writing context.Context, r *router, rng *rand.Rand) {
	for rest(writing, adminEvery) {
		broker, ok := r.anyBroker(rng)
		if !ok || rng.IntN(20) == 0 {
			_ = r.refresh(writing) // it is tried again
			continue
		}
		o := a.draw(rng)
		o.Broker = broker
		a.do(ctx, r, o)
	}
}

// draw chooses an operation. Values are unique, so that a read tells which write it saw.
func (a *adminLoad) draw(rng *rand.Rand) AdminOp {
	n := a.ops.Add(1)
	o := AdminOp{Topic: adminName(int(n)/opsPerName*adminNames + rng.IntN(adminNames))}
	o.Kind = []AdminKind{CreateTopic, CreateTopic, DeleteTopic, SetRetention, SetRetention, GrowTopic,
		CountPartitions, CountPartitions, ReadRetention, ReadRetention}[rng.IntN(10)]
	switch o.Kind {
	case CreateTopic:
		o.Partitions, o.Retention = 1+rng.Int32N(3), strconv.FormatInt(1_000_000_000+n, 10)
	case SetRetention:
		o.Retention = strconv.FormatInt(1_000_000_000+n, 10)
	case GrowTopic:
		o.Partitions = 2 + rng.Int32N(4)
	}
	return o
}

func adminName(n int) string { return "admin-" + strconv.Itoa(n) }

// do sends the operation and enters its answer.
func (a *adminLoad) do(ctx context.Context, r *router, o AdminOp) {
	o.Start = a.ledger.Now()
	answer, err := r.ask(ctx, o.Broker, o.request())
	var dial *net.OpError
	switch o.Result = Uncertain; {
	case err == nil:
		o.read(answer)
	case errors.As(err, &dial) && dial.Op == "dial":
		o.Result = NotDone // nobody was asked
	}
	a.ledger.SawAdmin(o)
}

func (o AdminOp) request() kmsg.Request {
	switch o.Kind {
	case CreateTopic:
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = int32(askTimeout.Milliseconds())
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = o.Topic, o.Partitions, adminReplica
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = retentionKey, &o.Retention
		t.Configs = append(t.Configs, c)
		req.Topics = append(req.Topics, t)
		return req
	case DeleteTopic:
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = int32(askTimeout.Milliseconds())
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &o.Topic
		req.TopicNames, req.Topics = []string{o.Topic}, append(req.Topics, t)
		return req
	case SetRetention:
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		t := kmsg.NewIncrementalAlterConfigsRequestResource()
		t.ResourceType, t.ResourceName = kmsg.ConfigResourceTypeTopic, o.Topic
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = retentionKey, &o.Retention
		t.Configs = append(t.Configs, c)
		req.Resources = append(req.Resources, t)
		return req
	case GrowTopic:
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis = int32(askTimeout.Milliseconds())
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = o.Topic, o.Partitions
		req.Topics = append(req.Topics, t)
		return req
	case CountPartitions:
		req := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &o.Topic
		req.Topics = append(req.Topics, t)
		return req
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	t := kmsg.NewDescribeConfigsRequestResource()
	t.ResourceType, t.ResourceName, t.ConfigNames = kmsg.ConfigResourceTypeTopic, o.Topic, []string{retentionKey}
	req.Resources = append(req.Resources, t)
	return req
}

// read takes the result from the answer. An answer that names another number of topics than one tells nothing.
func (o *AdminOp) read(answer kmsg.Response) {
	switch resp := answer.(type) {
	case *kmsg.CreateTopicsResponse:
		if len(resp.Topics) == 1 {
			o.Result = adminResult(resp.Topics[0].ErrorCode)
		}
	case *kmsg.DeleteTopicsResponse:
		if len(resp.Topics) == 1 {
			o.Result = adminResult(resp.Topics[0].ErrorCode)
		}
	case *kmsg.IncrementalAlterConfigsResponse:
		if len(resp.Resources) == 1 {
			o.Result = adminResult(resp.Resources[0].ErrorCode)
		}
	case *kmsg.CreatePartitionsResponse:
		if len(resp.Topics) == 1 {
			o.Result = adminResult(resp.Topics[0].ErrorCode)
		}
	case *kmsg.MetadataResponse:
		if len(resp.Topics) == 1 {
			o.readResult(adminResult(resp.Topics[0].ErrorCode))
			o.Partitions = int32(len(resp.Topics[0].Partitions))
		}
	case *kmsg.DescribeConfigsResponse:
		if len(resp.Resources) == 1 {
			o.readResult(adminResult(resp.Resources[0].ErrorCode))
			for _, c := range resp.Resources[0].Configs {
				if c.Name == retentionKey && c.Value != nil {
					o.Retention = *c.Value
				}
			}
		}
	}
}

// readResult is the result of a read, for which a missing topic is an answer like any other.
func (o *AdminOp) readResult(r AdminResult) {
	switch r {
	case Done, Missing:
		o.Result = Done
	default:
		o.Result = Uncertain
	}
}

func adminResult(code int16) AdminResult {
	switch code {
	case 0:
		return Done
	case kerr.TopicAlreadyExists.Code:
		return Exists
	case kerr.UnknownTopicOrPartition.Code:
		return Missing
	case kerr.InvalidPartitions.Code:
		return TooFew
	case kerr.RequestTimedOut.Code, kerr.UnknownServerError.Code:
		return Uncertain
	}
	return NotDone
}

// SettledReads asks every broker for every topic of the admin load. Call it when all of them have applied the same index
// and nothing is under way: what they say is then the present.
func (w *Workload) SettledReads(ctx context.Context, brokers []int32) error {
	r, err := newRouter(w.seeds)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.refresh(ctx); err != nil {
		return err
	}
	for n := range (int(w.admin.ops.Load())/opsPerName + 1) * adminNames {
		for _, broker := range brokers {
			for _, kind := range []AdminKind{CountPartitions, ReadRetention} {
				w.admin.do(ctx, r, AdminOp{Kind: kind, Topic: adminName(n), Broker: broker, Settled: true})
			}
		}
	}
	return nil
}
