package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeCmd struct {
	clientFlags
	Topic     string `arg:"" help:"Topic to read."`
	From      string `default:"earliest" help:"earliest, latest, an offset, or a time such as 2026-01-31T12:00:00Z or -1h." env:"-"`
	Partition int32  `default:"-1" help:"Partition to read; -1: all." env:"-"`
	Max       int    `short:"n" help:"Stop after so many records; 0: no limit." env:"-"`
	Follow    bool   `short:"f" help:"Wait for new records. Without it, stop at the end the topic has now." env:"-"`
	Group     string `help:"Consume as a member of this group and commit what was printed." env:"-"`
	KeyAndAll bool   `name:"verbose" short:"v" help:"Print partition, offset, time and key before each value." env:"-"`
}

// printedRecord is a record in JSON. Bytes that are no UTF-8 are base64, and say so.
type printedRecord struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp time.Time         `json:"timestamp"`
	Key       *string           `json:"key"`
	Value     *string           `json:"value"`
	Base64    bool              `json:"base64,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
}

func (c *consumeCmd) Run(a *app) error {
	from, err := parsePosition(c.From, time.Now())
	if err != nil {
		return fmt.Errorf("--from %w", err)
	}
	start := from.kgo()
	ends, err := c.ends(a)
	if err != nil {
		return err
	}
	options := []kgo.Opt{kgo.ConsumeResetOffset(start)}
	switch {
	case c.Group != "":
		options = append(options, kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic), kgo.DisableAutoCommit())
	case c.Partition >= 0:
		options = append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: {c.Partition: start}}))
	default:
		options = append(options, kgo.ConsumeTopics(c.Topic))
	}
	client, err := c.connect(a, options...)
	if err != nil {
		return err
	}
	defer client.Close()
	out := bufio.NewWriter(a.stdout)
	err = c.consume(a, client, out, ends)
	return errors.Join(err, out.Flush())
}

// ends are the offsets at which to stop, nil to go on for ever.
func (c *consumeCmd) ends(a *app) (map[int32]int64, error) {
	var ends map[int32]int64
	err := c.admin(a, func(ctx context.Context, adm *kadm.Client) error {
		listed, err := adm.ListEndOffsets(ctx, c.Topic)
		if err != nil {
			return err
		}
		if err := listed.Error(); err != nil {
			return fmt.Errorf("topic %s: %w", c.Topic, err)
		}
		starts, err := adm.ListStartOffsets(ctx, c.Topic)
		if err != nil {
			return err
		}
		ends = map[int32]int64{}
		listed.Each(func(o kadm.ListedOffset) {
			start, _ := starts.Lookup(c.Topic, o.Partition)
			if (c.Partition < 0 || c.Partition == o.Partition) && o.Offset > start.Offset {
				ends[o.Partition] = o.Offset
			}
		})
		return nil
	})
	if c.Follow {
		return nil, err
	}
	return ends, err
}

func (c *consumeCmd) consume(a *app, client *kgo.Client, out *bufio.Writer, ends map[int32]int64) error {
	printed := 0
	last := map[int32]*kgo.Record{} // printed of each partition, and not committed yet
	for ends == nil || len(ends) > 0 {
		ctx, cancel := c.pollContext(a.ctx)
		fetches := client.PollFetches(ctx)
		cancel()
		if a.ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); errors.Is(err, context.DeadlineExceeded) {
			return nil // nothing more came: the rest was compacted away, deleted, or before --from
		} else if err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if end, bounded := ends[r.Partition]; ends != nil && (!bounded || r.Offset >= end) {
				continue
			}
			if err := c.print(a, out, r); err != nil {
				return err
			}
			last[r.Partition] = r
			if end := ends[r.Partition]; ends != nil && r.Offset >= end-1 {
				delete(ends, r.Partition)
			}
			if printed++; printed == c.Max {
				return c.commit(a.ctx, client, out, last)
			}
		}
		if err := c.commit(a.ctx, client, out, last); err != nil {
			return err
		}
	}
	return nil
}

// quietEnd is how long a bounded read waits for the next record before it takes what came for all.
const quietEnd = 3 * time.Second

func (c *consumeCmd) pollContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Follow {
		return context.WithCancel(ctx)
	}
	wait := quietEnd
	if c.Group != "" {
		wait = max(wait, c.Timeout) // joining takes as long as the group's other members need
	}
	return context.WithTimeout(ctx, wait)
}

// commit makes what was printed the group's position, once it has left this process.
func (c *consumeCmd) commit(ctx context.Context, client *kgo.Client, out *bufio.Writer, last map[int32]*kgo.Record) error {
	if err := out.Flush(); err != nil || c.Group == "" || len(last) == 0 {
		return err
	}
	err := client.CommitRecords(ctx, slices.Collect(maps.Values(last))...)
	clear(last)
	return err
}

func (c *consumeCmd) print(a *app, out *bufio.Writer, r *kgo.Record) error {
	if a.json {
		return json.NewEncoder(out).Encode(printable(r))
	}
	if c.KeyAndAll {
		if _, err := fmt.Fprintf(out, "%d:%d %s %s\t", r.Partition, r.Offset, r.Timestamp.UTC().Format(time.RFC3339Nano), r.Key); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%s\n", r.Value)
	return err
}

func printable(r *kgo.Record) printedRecord {
	p := printedRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC()}
	p.Base64 = !utf8.Valid(r.Key) || !utf8.Valid(r.Value)
	text := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s := string(b)
		if p.Base64 {
			s = base64.StdEncoding.EncodeToString(b)
		}
		return &s
	}
	p.Key, p.Value = text(r.Key), text(r.Value)
	for _, h := range r.Headers {
		if p.Headers == nil {
			p.Headers = map[string]string{}
		}
		p.Headers[h.Key] = string(h.Value)
	}
	return p
}

// position is where to read from: a special place, an offset, or a time in ms.
type position struct {
	earliest, latest bool
	offset           int64 // -1 if it is a time
	milli            int64
}

func parsePosition(text string, now time.Time) (position, error) {
	p := position{offset: -1, earliest: text == "earliest", latest: text == "latest"}
	if p.earliest || p.latest {
		return p, nil
	}
	if offset, err := strconv.ParseInt(text, 10, 64); err == nil && offset >= 0 {
		p.offset = offset
		return p, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago < 0 {
		p.milli = now.Add(ago).UnixMilli()
		return p, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		p.milli = at.UnixMilli()
		return p, nil
	}
	return p, fmt.Errorf("%q is none of earliest, latest, an offset, a negative duration, and a time like 2026-01-31T12:00:00Z", text)
}

func (p position) kgo() kgo.Offset {
	switch {
	case p.earliest:
		return kgo.NewOffset().AtStart()
	case p.latest:
		return kgo.NewOffset().AtEnd()
	case p.offset >= 0:
		return kgo.NewOffset().At(p.offset)
	}
	return kgo.NewOffset().AfterMilli(p.milli)
}
