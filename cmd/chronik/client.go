package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// clientFlags are those of every command that talks to a running node.
type clientFlags struct {
	BootstrapServer []string      `default:"127.0.0.1:9092" help:"Kafka addresses of any nodes." placeholder:"HOST:PORT"`
	Timeout         time.Duration `default:"30s" help:"How long to wait for an answer."`
}

// connect returns a client that fails, and says why, where no node answers.
func (f *clientFlags) connect(a *app, opts ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(f.BootstrapServer...), kgo.ClientID("chronik-cli"),
		kgo.RetryTimeout(f.Timeout), kgo.DialTimeout(min(f.Timeout, 5*time.Second)),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, min(f.Timeout, 5*time.Second))
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no node answers at %v: %w\nIs one running? Start it with `chronik serve`, or name another with --bootstrap-server", f.BootstrapServer, err)
	}
	return client, nil
}

// admin calls do with an administrative client.
func (f *clientFlags) admin(a *app, do func(context.Context, *kadm.Client) error) error {
	client, err := f.connect(a)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(a.ctx, f.Timeout)
	defer cancel()
	return do(ctx, kadm.NewClient(client))
}

// metadata asks a broker for the cluster as it is now, with or without topics; kadm's answer may be one from
// before.
func metadata(ctx context.Context, client *kgo.Client, topics bool) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	if !topics {
		req.Topics = []kmsg.MetadataRequestTopic{}
	}
	return req.RequestWith(ctx, client)
}

// detailed adds the server's sentence to its code.
func detailed(err error, message string) error {
	if err == nil || message == "" {
		return err
	}
	return errors.New(message)
}
