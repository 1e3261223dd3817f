package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrVerify is a topic that does not hold what was acknowledged.
var ErrVerify = errors.New("the topic does not hold what was sent")

// Sample compares what a topic holds with what o's producers sent: the end offsets must be ends, and at
// so many places spread over each partition the batch there must be intact and, but for offset, epoch
// and stamp, byte for byte the one that was sent to this partition.
func Sample(ctx context.Context, o ProduceOptions, ends []int64, places int) (err error) {
	c, err := Dial(ctx, o.Addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	got, err := c.EndOffsets(ctx, o.Topic, o.Partitions)
	if err != nil {
		return err
	}
	starts, err := c.StartOffsets(ctx, o.Topic, o.Partitions)
	if err != nil {
		return err
	}
	for p := range ends {
		if got[p] != ends[p] {
			return fmt.Errorf("%w: partition %d ends at %d, acknowledged up to %d", ErrVerify, p, got[p], ends[p])
		}
		for i := range places {
			at := placeAt(starts[p], ends[p], int64(o.Batches[0].Records), i, places)
			if at == ends[p] {
				continue
			}
			if err := c.sample(ctx, &o, p, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// placeAt is the base offset of sampled batch number i: the first, the last and evenly between. It is
// end if there is no batch at all.
func placeAt(start, end, records int64, i, places int) int64 {
	first, last := (start+records-1)/records, end/records-1
	if last < first {
		return end
	}
	return records * (first + (last-first)*int64(i)/int64(max(places-1, 1)))
}

// sample fetches and checks the batch at base offset at.
func (c *Control) sample(ctx context.Context, o *ProduceOptions, partition int, at int64) error {
	sent := o.Batches[partition%len(o.Batches)]
	records, err := c.fetchAt(ctx, o.Topic, partition, at, len(sent.Bytes))
	if err != nil {
		return err
	}
	if len(records) < batchHeaderSize || batchSizeOf(records) > len(records) || batchSizeOf(records) < batchHeaderSize {
		return fmt.Errorf("%w: %d bytes at offset %d of partition %d are no batch", ErrVerify, len(records), at, partition)
	}
	whole := records[:batchSizeOf(records)]
	if base := baseOffsetOf(whole); base != at {
		return fmt.Errorf("%w: offset %d at %d of partition %d", ErrVerify, base, at, partition)
	}
	if err := checkBatch(whole); err != nil {
		return fmt.Errorf("%w: partition %d: %w", ErrVerify, partition, err)
	}
	if !sameBatch(whole, sent, o.Stamp) {
		return fmt.Errorf("%w: other bytes than were sent at offset %d of partition %d", ErrVerify, at, partition)
	}
	return nil
}

// fetchAt returns what one fetch finds at an offset; it aliases the buffer that the next request uses.
func (c *Control) fetchAt(ctx context.Context, topic string, partition int, offset int64, maxBytes int) ([]byte, error) {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(partition), offset, int32(maxBytes)
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxBytes, req.SessionEpoch = fetchVersion, -1, int32(maxBytes), -1
	req.Topics = append(req.Topics, t)
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	topics := resp.(*kmsg.FetchResponse).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("%w: fetch of partition %d was answered without it", ErrVerify, partition)
	}
	found := topics[0].Partitions[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch partition %d at %d: %w", partition, offset, err)
	}
	return found.RecordBatches, nil
}
