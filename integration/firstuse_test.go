package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestTopicOnFirstUse lets a producer name a topic that nobody created, once with and once without
// auto.create.topics.enable.
func TestTopicOnFirstUse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := startBroker(t, "num.partitions=3")
	if err := produceUnasked(ctx, t, b.kafka); err != nil {
		t.Fatal(err)
	}
	cl, err := newFranz(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	partitions, _, err := cl.describe(ctx, "unasked")
	if err != nil || partitions != 3 {
		t.Errorf("%d partitions, %v; want num.partitions, 3", partitions, err)
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.ConsumeTopics("unasked"))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	fetched := consumer.PollFetches(ctx)
	if got := fetched.Records(); len(got) != 1 || string(got[0].Value) != "first" {
		t.Errorf("consumed %v, %v", got, fetched.Err())
	}

	strict := startBroker(t, "auto.create.topics.enable=false")
	if err := produceUnasked(ctx, t, strict.kafka); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("auto.create.topics.enable=false: %v", err)
	}
}

// produceUnasked produces one record to a topic that was not created, as a client that asks for its creation.
func produceUnasked(ctx context.Context, t *testing.T, addr string) error {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	return cl.ProduceSync(ctx, &kgo.Record{Topic: "unasked", Value: []byte("first")}).FirstErr()
}
