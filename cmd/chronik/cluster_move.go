package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/internal/config"
)

type clusterDrainCmd struct {
	clientFlags
	httpFlags
	waitFlags
	ID   int32 `arg:"" help:"Id of the broker."`
	Undo bool  `help:"Let it take part again. What has moved stays where it is." env:"-"`
}

func (c *clusterDrainCmd) Run(a *app) error {
	return c.onCluster(a, func(ctx context.Context, client *kgo.Client) error {
		if err := c.set(ctx, client); err != nil {
			return err
		}
		if c.Wait && !c.Undo {
			if err := c.until(a, func(ctx context.Context) (string, bool, error) { return c.look(ctx, a, client) }); err != nil {
				return err
			}
		}
		switch {
		case a.json:
			return a.printJSON(map[string]any{"broker": c.ID, "draining": !c.Undo})
		case c.Undo:
			fmt.Fprintf(a.stdout, "Broker %d takes part again.\n", c.ID)
		case c.Wait:
			fmt.Fprintf(a.stdout, "Broker %d is drained.\n", c.ID)
		default:
			fmt.Fprintf(a.stdout, "Broker %d drains. See how far it is with `chronik cluster brokers`, or wait with --wait.\n", c.ID)
		}
		return nil
	})
}

// set alters the config. It goes to whoever is up: the broker itself may be dead.
func (c *clusterDrainCmd) set(ctx context.Context, client *kgo.Client) error {
	value := strconv.FormatBool(!c.Undo)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: strconv.Itoa(int(c.ID)),
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: config.Draining, Op: kmsg.IncrementalAlterConfigOpSet, Value: &value}},
	}}
	resp, _, err := c.ask(ctx, client, req)
	if err != nil {
		return err
	}
	altered := resp.(*kmsg.IncrementalAlterConfigsResponse).Resources
	if len(altered) != 1 {
		return errors.New("the answer does not name the broker")
	}
	return detailed(kerr.ErrorForCode(altered[0].ErrorCode), said(altered[0].ErrorMessage))
}

// look tells what the broker still carries. It is done when that is nothing but replicas that no other broker
// can take, because each that could has one of the same partition.
func (c *clusterDrainCmd) look(ctx context.Context, a *app, client *kgo.Client) (left string, done bool, err error) {
	state, err := c.cluster(ctx, c.Timeout)
	if err != nil {
		return "", false, err
	}
	b, ok := state.broker(c.ID)
	if !ok {
		return "", false, fmt.Errorf("broker %d is not registered any more", c.ID)
	}
	left = fmt.Sprintf("broker %d: %d leaders, %d coordinators, %d replicas left", c.ID, b.Leaders, b.Coordinators, b.Replicas)
	if b.Leaders+b.Coordinators > 0 {
		return left, false, nil
	}
	if b.Replicas == 0 {
		return left, true, nil
	}
	var others []int32
	for _, o := range state.Brokers {
		if o.State == "active" && !o.Draining {
			others = append(others, o.ID)
		}
	}
	moving, err := kadm.NewClient(client).ListPartitionReassignments(ctx, nil)
	if err != nil {
		return left, false, err
	}
	for _, p := range moving.Sorted() {
		if slices.Contains(p.RemovingReplicas, c.ID) {
			return left, false, nil
		}
	}
	stuck, err := c.stuck(ctx, client, others)
	if err != nil || stuck < b.Replicas {
		return left, false, err
	}
	fmt.Fprintf(a.stderr, "%d replicas stay: no other broker can take them. Add one, or lower the number of replicas with `chronik cluster reassign`.\n", stuck)
	return left, true, nil
}

// stuck counts the broker's replicas for which there is no other place.
func (c *clusterDrainCmd) stuck(ctx context.Context, client *kgo.Client, others []int32) (n int, err error) {
	meta, err := metadata(ctx, client, true)
	if err != nil {
		return 0, err
	}
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			free := slices.ContainsFunc(others, func(id int32) bool { return !slices.Contains(p.Replicas, id) })
			if slices.Contains(p.Replicas, c.ID) && !free {
				n++
			}
		}
	}
	return n, nil
}

type clusterTransferCmd struct {
	clientFlags
	To int32 `help:"Id of the broker to become the controller. Default: the one that knows most." placeholder:"ID" env:"-"`
}

func (c *clusterTransferCmd) Run(a *app) error {
	return c.onCluster(a, func(ctx context.Context, client *kgo.Client) error {
		ctx, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		from, err := c.transfer(ctx, client)
		if err != nil {
			return err
		}
		to, err := c.newController(ctx, client, from)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]int32{"from": from, "controller": to})
		}
		_, err = fmt.Fprintf(a.stdout, "Broker %d is the controller now, after broker %d.\n", to, from)
		return err
	})
}

// transfer asks the controller to hand over, and follows it if it has just moved.
func (c *clusterTransferCmd) transfer(ctx context.Context, client *kgo.Client) (from int32, err error) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.TimeoutMillis = int32(min(c.Timeout, time.Minute).Milliseconds())
	req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: broker.MetadataLog, Partitions: []int32{0}}}
	if c.To > 0 {
		req.UnknownTags.Set(broker.ControllerTag, binary.BigEndian.AppendUint32(nil, uint32(c.To)))
	}
	for {
		resp, from, err := c.ask(ctx, client, req)
		if err != nil {
			return from, err
		}
		elected, ok := resp.(*kmsg.ElectLeadersResponse)
		if !ok || len(elected.Topics) != 1 || len(elected.Topics[0].Partitions) != 1 {
			return from, errors.New("the answer is not about the metadata log: is it a Chronik broker?")
		}
		p := elected.Topics[0].Partitions[0]
		err = detailed(kerr.ErrorForCode(p.ErrorCode), said(p.ErrorMessage))
		if p.ErrorCode != kerr.NotController.Code {
			return from, err
		}
		if pause(ctx, pollPause) != nil {
			return from, err
		}
	}
}

// newController waits until the brokers name another controller.
func (c *clusterTransferCmd) newController(ctx context.Context, client *kgo.Client, from int32) (int32, error) {
	for {
		meta, err := metadata(ctx, client, false)
		if err != nil {
			return -1, err
		}
		if id := meta.ControllerID; id >= 0 && id != from && (c.To == 0 || id == c.To) {
			return id, nil
		}
		if pause(ctx, pollPause) != nil {
			return -1, fmt.Errorf("handed over, but broker %d is still called the controller: see `chronik status`", meta.ControllerID)
		}
	}
}
