package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/wire/record"
)

type logCmd struct {
	Dump logDumpCmd `cmd:"" help:"Print the batches of a segment file, and what is wrong with them."`
}

type logDumpCmd struct {
	File    string `arg:"" help:"A .log file; the node need not run." type:"existingfile"`
	Records bool   `help:"Open the batches and print their records too." env:"-"`
}

type dumpedBatch struct {
	Position      int64          `json:"position"`
	BaseOffset    int64          `json:"base_offset"`
	LastOffset    int64          `json:"last_offset"`
	Count         int32          `json:"count"`
	LeaderEpoch   int32          `json:"leader_epoch"`
	Size          int            `json:"size"`
	Codec         string         `json:"codec"`
	MaxTimestamp  int64          `json:"max_timestamp"`
	ProducerID    int64          `json:"producer_id"`
	ProducerEpoch int16          `json:"producer_epoch"`
	BaseSequence  int32          `json:"base_sequence"`
	CRC           string         `json:"crc"`
	Records       []dumpedRecord `json:"records,omitempty"`
}

type dumpedRecord struct {
	Offset    int64  `json:"offset"`
	Timestamp int64  `json:"timestamp"`
	Key       string `json:"key"`
	Value     string `json:"value"`
}

// Limits of one batch when dumping: nothing that the broker accepts comes near.
const maxDumpBatch = 256 << 20

var dumpLimits = record.Limits{MaxBytes: 1 << 30, MaxRatio: 10_000}

func (c *logDumpCmd) Run(a *app) error {
	if !strings.HasSuffix(c.File, ".log") {
		return fmt.Errorf("%s is no segment: its name does not end in .log", c.File)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	batches, err := c.dump(a, bufio.NewReaderSize(f, 1<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if !a.json {
		_, err = fmt.Fprintf(a.stdout, "%d batches, no fault found.\n", batches)
	}
	return err
}

// dump prints batch after batch until the file ends or makes no sense.
func (c *logDumpCmd) dump(a *app, r io.Reader) (batches int, err error) {
	var pos int64
	buf := make([]byte, record.HeaderSize)
	for next := int64(-1); ; batches++ {
		if _, err := io.ReadFull(r, buf[:record.HeaderSize]); errors.Is(err, io.EOF) {
			return batches, nil
		} else if err != nil {
			return batches, fmt.Errorf("position %d: the file ends inside a batch header", pos)
		}
		size := record.Batch(buf).Size()
		if size < record.HeaderSize || size > maxDumpBatch {
			return batches, fmt.Errorf("position %d: a batch cannot have %d bytes", pos, size)
		}
		buf = append(buf[:record.HeaderSize], make([]byte, size-record.HeaderSize)...)
		if _, err := io.ReadFull(r, buf[record.HeaderSize:]); err != nil {
			return batches, fmt.Errorf("position %d: the file ends inside a batch of %d bytes", pos, size)
		}
		b := record.Batch(buf)
		if err := b.Check(); err != nil {
			return batches, fmt.Errorf("position %d: %w", pos, err)
		}
		if b.BaseOffset() < next {
			return batches, fmt.Errorf("position %d: base offset %d, but the log was at %d already", pos, b.BaseOffset(), next)
		}
		next = b.NextOffset()
		if err := c.print(a, pos, b); err != nil {
			return batches, fmt.Errorf("position %d: %w", pos, err)
		}
		pos += int64(size)
	}
}

func (c *logDumpCmd) print(a *app, pos int64, b record.Batch) error {
	d := dumpedBatch{
		Position: pos, BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), Count: b.Count(), LeaderEpoch: b.LeaderEpoch(),
		Size: b.Size(), Codec: b.Codec().String(), MaxTimestamp: b.MaxTimestamp(), ProducerID: b.ProducerID(),
		ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), CRC: fmt.Sprintf("%08x", b.CRC()),
	}
	if c.Records {
		err := b.Each(dumpLimits, func(r *record.Record) error {
			d.Records = append(d.Records, dumpedRecord{r.Offset, r.Timestamp, string(r.Key), string(r.Value)})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(d)
	}
	fmt.Fprintf(a.stdout, "position %d: offsets %d-%d, %d records, %d bytes, %s, epoch %d, producer %d/%d sequence %d, newest %s, crc %s\n",
		d.Position, d.BaseOffset, d.LastOffset, d.Count, d.Size, d.Codec, d.LeaderEpoch, d.ProducerID, d.ProducerEpoch, d.BaseSequence,
		time.UnixMilli(d.MaxTimestamp).UTC().Format(time.RFC3339Nano), d.CRC)
	for _, r := range d.Records {
		fmt.Fprintf(a.stdout, "  %d\t%s\t%s\n", r.Offset, r.Key, r.Value)
	}
	return nil
}
