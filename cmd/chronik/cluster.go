package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type clusterCmd struct {
	Brokers            clusterBrokersCmd  `cmd:"" help:"Show the brokers and what they carry. The controller has a star."`
	Reassign           clusterReassignCmd `cmd:"" help:"Move partitions to other brokers, cancel moves, list them."`
	Elect              clusterElectCmd    `cmd:"" help:"Give partitions back to their preferred leaders, or elect uncleanly."`
	Drain              clusterDrainCmd    `cmd:"" help:"Empty a broker: leaders, coordinators and replicas go to others."`
	Remove             clusterRemoveCmd   `cmd:"" help:"Forget a broker that is stopped and empty."`
	TransferLeadership clusterTransferCmd `cmd:"" help:"Let another node be the controller."`
	Recover            clusterRecoverCmd  `cmd:"" help:"Let one stopped node go on alone after most of the cluster is lost for good."`
}

// waitFlags are those of commands whose work goes on in the cluster after the answer.
type waitFlags struct {
	Wait        bool          `help:"Wait until it is done, and show progress." env:"-"`
	WaitTimeout time.Duration `default:"1h" help:"How long to wait for that." env:"-"`
}

// pollPause is between two looks at how far the cluster is.
const pollPause = 300 * time.Millisecond

// until looks again and again until done, and prints what look says when that changes. The limit ends the
// waiting, not a look: the last one still tells what is left.
func (f *waitFlags) until(a *app, look func(context.Context) (left string, done bool, err error)) error {
	ctx, cancel := context.WithTimeout(a.ctx, f.WaitTimeout)
	defer cancel()
	said := ""
	for {
		left, done, err := look(a.ctx)
		if err != nil || done {
			return err
		}
		if left != said {
			said = left
			fmt.Fprintln(a.stderr, left)
		}
		if err := pause(ctx, pollPause); err != nil {
			return fmt.Errorf("not done yet, it goes on in the cluster: %s", left)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onCluster calls do with a client that can address single brokers.
func (f *clientFlags) onCluster(a *app, do func(context.Context, *kgo.Client) error) error {
	client, err := f.connect(a)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(a.ctx, client)
}

// ask sends a request to the controller or, while it is not known, to any broker: all of them pass on what
// is not theirs.
func (f *clientFlags) ask(ctx context.Context, client *kgo.Client, req kmsg.Request) (kmsg.Response, int32, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	meta, err := metadata(ctx, client, false)
	if err != nil {
		return nil, -1, err
	}
	to := meta.ControllerID
	if to < 0 && len(meta.Brokers) > 0 {
		to = meta.Brokers[0].NodeID
	}
	resp, err := client.Broker(int(to)).RetriableRequest(ctx, req)
	return resp, meta.ControllerID, err
}

type clusterBrokersCmd struct {
	httpFlags
	Timeout time.Duration `default:"30s" help:"How long to wait for an answer."`
}

func (c *clusterBrokersCmd) Run(a *app) error {
	state, err := c.cluster(a.ctx, c.Timeout)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"controller": state.Controller, "brokers": state.Brokers})
	}
	return a.printTable(state.table())
}

type clusterElectCmd struct {
	clientFlags
	Partitions []string `arg:"" optional:"" name:"topic" help:"TOPIC or TOPIC:PARTITION. Without any: all partitions that their preferred leader does not lead."`
	Unclean    bool     `help:"Elect any replica that is up where there is no leader. Records that only others hold are lost." env:"-"`
}

type electedPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Result    string `json:"result"`
	failed    bool
}

func (c *clusterElectCmd) Run(a *app) error {
	if c.Unclean && len(c.Partitions) == 0 {
		return errors.New("--unclean loses records: name the topics or partitions")
	}
	how := kadm.ElectPreferredReplica
	if c.Unclean {
		how = kadm.ElectLiveReplica
	}
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		var set kadm.TopicsSet
		if len(c.Partitions) > 0 {
			named, err := namedPartitions(ctx, adm, c.Partitions)
			if err != nil {
				return err
			}
			set = named
		}
		results, err := adm.ElectLeaders(ctx, how, set)
		if err != nil {
			return err
		}
		return printElected(a, results)
	})
}

func printElected(a *app, results kadm.ElectLeadersResults) error {
	list, failed := []electedPartition{}, 0
	for topic, partitions := range results {
		for number, r := range partitions {
			e := electedPartition{topic, number, "elected", false}
			switch {
			case errors.Is(r.Err, kerr.ElectionNotNeeded):
				e.Result = "not needed"
			case r.Err != nil:
				e.Result, e.failed = detailed(r.Err, r.ErrMessage).Error(), true
				failed++
			}
			list = append(list, e)
		}
	}
	sortPartitions(list, func(e electedPartition) (string, int32) { return e.Topic, e.Partition })
	var err error
	if a.json {
		err = a.printJSON(list)
	} else if len(list) == 0 {
		_, err = fmt.Fprintln(a.stdout, "All partitions are led by their preferred leaders.")
	} else {
		t := newTable("TOPIC", "PARTITION", "RESULT")
		for _, e := range list {
			t.add(e.Topic, e.Partition, e.Result)
		}
		err = a.printTable(t)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d partitions did not get a leader", failed, len(list))
	}
	return err
}

type clusterRemoveCmd struct {
	clientFlags
	ID int32 `arg:"" help:"Id of the broker."`
}

func (c *clusterRemoveCmd) Run(a *app) error {
	return c.onCluster(a, func(ctx context.Context, client *kgo.Client) error {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = c.ID
		resp, _, err := c.ask(ctx, client, req)
		if err != nil {
			return err
		}
		removed := resp.(*kmsg.UnregisterBrokerResponse)
		if err := kerr.ErrorForCode(removed.ErrorCode); err != nil {
			err = detailed(err, said(removed.ErrorMessage))
			if removed.ErrorCode == kerr.InvalidRequest.Code {
				err = fmt.Errorf("%w\nEmpty it with `chronik cluster drain %d --wait`, stop it, and try again", err, c.ID)
			}
			return err
		}
		if a.json {
			return a.printJSON(map[string]int32{"removed": c.ID})
		}
		_, err = fmt.Fprintf(a.stdout, "Removed broker %d.\n", c.ID)
		return err
	})
}

func said(message *string) string {
	if message == nil {
		return ""
	}
	return *message
}

// parsePartition reads TOPIC or TOPIC:PARTITION; the partition is -1 if none is given.
func parsePartition(s string) (topic string, partition int32, err error) {
	topic, number, given := strings.Cut(s, ":")
	if !given {
		return topic, -1, nil
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 0 || topic == "" {
		return "", 0, fmt.Errorf("%q is not TOPIC or TOPIC:PARTITION", s)
	}
	return topic, int32(n), nil
}

// namedPartitions are the partitions of arguments; a topic stands for all of its own.
func namedPartitions(ctx context.Context, adm *kadm.Client, args []string) (kadm.TopicsSet, error) {
	set := kadm.TopicsSet{}
	for _, arg := range args {
		topic, partition, err := parsePartition(arg)
		if err != nil {
			return nil, err
		}
		if partition >= 0 {
			set.Add(topic, partition)
			continue
		}
		described, err := adm.ListTopics(ctx, topic)
		if err != nil {
			return nil, err
		}
		if err := described[topic].Err; err != nil {
			return nil, fmt.Errorf("%s: %w", topic, err)
		}
		for _, p := range described[topic].Partitions.Numbers() {
			set.Add(topic, p)
		}
	}
	return set, nil
}
