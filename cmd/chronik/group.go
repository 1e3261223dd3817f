package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

type groupCmd struct {
	List     groupListCmd     `cmd:"" help:"List groups."`
	Describe groupDescribeCmd `cmd:"" help:"Show members, offsets and lag of a group."`
	Reset    groupResetCmd    `cmd:"" help:"Move the offsets of a group without members."`
	Delete   groupDeleteCmd   `cmd:"" help:"Delete groups without members, and their offsets."`
}

type groupListCmd struct{ clientFlags }

func (c *groupListCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		groups, err := adm.ListGroups(ctx)
		if err != nil {
			return err
		}
		type line struct {
			Group    string `json:"group"`
			State    string `json:"state"`
			Protocol string `json:"protocol_type"`
		}
		lines := []line{}
		for _, g := range groups.Sorted() {
			lines = append(lines, line{g.Group, g.State, g.ProtocolType})
		}
		if a.json {
			return a.printJSON(lines)
		}
		t := newTable("GROUP", "STATE", "PROTOCOL")
		for _, l := range lines {
			t.add(l.Group, l.State, l.Protocol)
		}
		return a.printTable(t)
	})
}

type groupDescribeCmd struct {
	clientFlags
	Name string `arg:"" help:"Name of the group."`
}

type groupPosition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // -1: none committed
	End       int64  `json:"end_offset"`
	Lag       int64  `json:"lag"`
	Member    string `json:"member,omitempty"`
	Host      string `json:"host,omitempty"`
}

func (c *groupDescribeCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		lags, err := adm.Lag(ctx, c.Name)
		if err != nil {
			return err
		}
		group := lags[c.Name]
		if err := group.Error(); err != nil {
			return err
		}
		if group.State == "Dead" {
			return fmt.Errorf("group %s does not exist", c.Name)
		}
		positions := []groupPosition{}
		for _, l := range group.Lag.Sorted() {
			p := groupPosition{Topic: l.Topic, Partition: l.Partition, Offset: l.Commit.At, End: l.End.Offset, Lag: l.Lag}
			if l.Member != nil {
				p.Member, p.Host = l.Member.MemberID, l.Member.ClientHost
			}
			positions = append(positions, p)
		}
		if a.json {
			return a.printJSON(map[string]any{"group": c.Name, "state": group.State, "protocol": group.Protocol, "members": len(group.Members), "offsets": positions})
		}
		fmt.Fprintf(a.stdout, "Group:     %s\nState:     %s\nProtocol:  %s\nMembers:   %d\n\n", c.Name, group.State, group.Protocol, len(group.Members))
		t := newTable("TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER", "HOST")
		for _, p := range positions {
			t.add(p.Topic, p.Partition, p.Offset, p.End, p.Lag, p.Member, p.Host)
		}
		return a.printTable(t)
	})
}

type groupResetCmd struct {
	clientFlags
	Name   string `arg:"" help:"Name of the group; created if it does not exist."`
	Topic  string `required:"" help:"Topic whose offsets to move." env:"-"`
	To     string `required:"" help:"earliest, latest, an offset, or a time such as 2026-01-31T12:00:00Z or -1h." env:"-"`
	DryRun bool   `help:"Show what would be done." env:"-"`
}

func (c *groupResetCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		targets, err := c.targets(ctx, adm)
		if err != nil {
			return err
		}
		offsets := kadm.Offsets{}
		positions := []groupPosition{}
		for _, t := range targets.Offsets().Sorted() {
			offsets.AddOffset(t.Topic, t.Partition, t.At, -1)
			positions = append(positions, groupPosition{Topic: t.Topic, Partition: t.Partition, Offset: t.At, End: -1, Lag: -1})
		}
		if !c.DryRun {
			committed, err := adm.CommitOffsets(ctx, c.Name, offsets)
			if err := errors.Join(err, committed.Error()); err != nil {
				return fmt.Errorf("%w: offsets can be moved only while the group has no members", err)
			}
		}
		if a.json {
			return a.printJSON(map[string]any{"group": c.Name, "dry_run": c.DryRun, "offsets": positions})
		}
		t := newTable("TOPIC", "PARTITION", "NEW OFFSET")
		for _, p := range positions {
			t.add(p.Topic, p.Partition, p.Offset)
		}
		return a.printTable(t)
	})
}

// targets are the offsets that --to stands for, kept within what the partitions hold.
func (c *groupResetCmd) targets(ctx context.Context, adm *kadm.Client) (kadm.ListedOffsets, error) {
	starts, err := adm.ListStartOffsets(ctx, c.Topic)
	if err := errors.Join(err, starts.Error()); err != nil {
		return nil, fmt.Errorf("topic %s: %w", c.Topic, err)
	}
	ends, err := adm.ListEndOffsets(ctx, c.Topic)
	if err != nil {
		return nil, err
	}
	to, err := parsePosition(c.To, time.Now())
	if err != nil {
		return nil, fmt.Errorf("--to %w", err)
	}
	switch {
	case to.earliest:
		return starts, nil
	case to.latest:
		return ends, nil
	case to.offset < 0:
		return adm.ListOffsetsAfterMilli(ctx, to.milli, c.Topic)
	}
	ends.Each(func(o kadm.ListedOffset) {
		low, _ := starts.Lookup(o.Topic, o.Partition)
		o.Offset = min(max(to.offset, low.Offset), o.Offset)
		ends[o.Topic][o.Partition] = o
	})
	return ends, nil
}

type groupDeleteCmd struct {
	clientFlags
	Names []string `arg:"" name:"name" help:"Names of the groups."`
}

func (c *groupDeleteCmd) Run(a *app) error {
	return c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		deleted, err := adm.DeleteGroups(ctx, c.Names...)
		if err != nil {
			return err
		}
		var failed []error
		done := []string{}
		for _, r := range deleted.Sorted() {
			if r.Err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", r.Group, r.Err))
				continue
			}
			done = append(done, r.Group)
		}
		if a.json {
			if err := a.printJSON(map[string]any{"deleted": done}); err != nil {
				return err
			}
		} else {
			for _, name := range done {
				fmt.Fprintf(a.stdout, "Deleted group %s.\n", name)
			}
		}
		return errors.Join(failed...)
	})
}
