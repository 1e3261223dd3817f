package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

type produceCmd struct {
	clientFlags
	Topic        string   `arg:"" help:"Topic to produce to; created if the broker allows that."`
	KeySeparator string   `help:"Split each line into key and value at the first occurrence." placeholder:"STRING" env:"-"`
	Header       []string `short:"H" help:"Header of every record, repeatable." placeholder:"KEY=VALUE" env:"-"`
	Partition    int32    `default:"-1" help:"Partition to produce to; -1: by key, or spread." env:"-"`
	Acks         string   `default:"all" enum:"all,1,0" help:"all, 1 or 0." env:"-"`
	Compression  string   `default:"none" enum:"none,gzip,snappy,lz4,zstd" help:"none, gzip, snappy, lz4 or zstd." env:"-"`
}

// maxLine bounds a line of standard input.
const maxLine = 16 << 20

func (c *produceCmd) Run(a *app) error {
	options, err := c.options()
	if err != nil {
		return err
	}
	client, err := c.connect(a, options...)
	if err != nil {
		return err
	}
	defer client.Close()
	results := &produceResults{}
	lines := bufio.NewScanner(a.stdin)
	lines.Buffer(nil, maxLine)
	for lines.Scan() && a.ctx.Err() == nil && results.failure() == nil {
		record, err := c.record(lines.Text())
		if err != nil {
			return err
		}
		client.Produce(a.ctx, record, results.add)
	}
	if err := client.Flush(a.ctx); err != nil {
		return fmt.Errorf("after %d records: %w", results.count(), err)
	}
	if err := errors.Join(lines.Err(), results.failure()); err != nil {
		return fmt.Errorf("after %d records: %w", results.count(), err)
	}
	if a.json {
		return a.printJSON(map[string]any{"topic": c.Topic, "records": results.count()})
	}
	_, err = fmt.Fprintf(a.stderr, "Produced %d records to %s.\n", results.count(), c.Topic)
	return err
}

func (c *produceCmd) options() ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := []kgo.Opt{
		kgo.DefaultProduceTopic(c.Topic), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codecs[c.Compression]),
		kgo.RecordDeliveryTimeout(c.Timeout),
	}
	switch c.Acks {
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	if c.Partition >= 0 {
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return options, nil
}

func (c *produceCmd) record(line string) (*kgo.Record, error) {
	record := &kgo.Record{Value: []byte(line), Partition: c.Partition}
	if c.KeySeparator != "" {
		key, value, ok := strings.Cut(line, c.KeySeparator)
		if !ok {
			return nil, fmt.Errorf("line %q has no key separator %q", line, c.KeySeparator)
		}
		record.Key, record.Value = []byte(key), []byte(value)
	}
	for _, h := range c.Header {
		key, value, ok := strings.Cut(h, "=")
		if !ok {
			return nil, fmt.Errorf("--header %q is not KEY=VALUE", h)
		}
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	return record, nil
}

// produceResults counts acknowledgements, and keeps the first failure.
type produceResults struct {
	mu    sync.Mutex
	acked int
	err   error
}

func (p *produceResults) add(_ *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.acked++
	} else if p.err == nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
		p.err = err
	}
}

func (p *produceResults) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

func (p *produceResults) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
