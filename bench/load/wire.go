package load

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The two requests of the measured loops, written by hand. Produce v7 and Fetch v11 are the newest
// versions before the flexible encoding: every length has a fixed width, so a response of a single
// partition has all its fields at fixed positions.
const (
	produceVersion = 7
	fetchVersion   = 11
)

// ErrResponse is a response that does not answer the request, or answers with an error code.
var ErrResponse = errors.New("bad response")

func appendHeader(b []byte, key kmsg.Key, version int16) []byte {
	b = append(b, 0, 0, 0, 0) // size, patched when the whole is known
	b = binary.BigEndian.AppendUint16(b, uint16(key.Int16()))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = append(b, 0, 0, 0, 0) // correlation id, patched for every request
	return appendString(b, clientID)
}

const posCorrelation = 8 // in a request

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// produceHead is a Produce request for one partition up to where the batch begins.
type produceHead struct {
	bytes       []byte
	atPartition int // the partition's index; the batch's length follows it
}

func newProduceHead(topic string, acks int16, timeoutMillis int32) produceHead {
	b := appendHeader(nil, kmsg.Produce, produceVersion)
	b = append(b, 0xff, 0xff) // no transactional id
	b = binary.BigEndian.AppendUint16(b, uint16(acks))
	b = binary.BigEndian.AppendUint32(b, uint32(timeoutMillis))
	b = binary.BigEndian.AppendUint32(b, 1) // topics
	b = appendString(b, topic)
	b = binary.BigEndian.AppendUint32(b, 1) // partitions
	h := produceHead{atPartition: len(b)}
	h.bytes = append(b, make([]byte, 8)...)
	return h
}

// patch makes the head fit one request. What changes is written in place.
func (h *produceHead) patch(corr int32, partition, batchBytes int) {
	binary.BigEndian.PutUint32(h.bytes, uint32(len(h.bytes)-4+batchBytes))
	binary.BigEndian.PutUint32(h.bytes[posCorrelation:], uint32(corr))
	binary.BigEndian.PutUint32(h.bytes[h.atPartition:], uint32(partition))
	binary.BigEndian.PutUint32(h.bytes[h.atPartition+4:], uint32(batchBytes))
}

// produceReply checks responses to requests for one partition of one topic.
type produceReply struct {
	size int // of a whole response frame
	at   int // where the partition's fields begin
}

func newProduceReply(topic string) produceReply {
	at := 4 + 4 + 4 + 2 + len(topic) + 4 // size, correlation id, topics, name, partitions
	return produceReply{size: at + 4 + 2 + 8 + 8 + 8 + 4, at: at}
}

// check returns the base offset in a response frame of r.size bytes.
func (r produceReply) check(frame []byte, corr int32, partition int) (base int64, err error) {
	gotSize, gotCorr := int(binary.BigEndian.Uint32(frame)), int32(binary.BigEndian.Uint32(frame[4:]))
	gotPartition := int(binary.BigEndian.Uint32(frame[r.at:]))
	if gotSize != r.size-4 || gotCorr != corr || gotPartition != partition {
		return 0, fmt.Errorf("%w: %d bytes to request %d for partition %d, want %d to %d for %d", ErrResponse,
			gotSize, gotCorr, gotPartition, r.size-4, corr, partition)
	}
	if code := int16(binary.BigEndian.Uint16(frame[r.at+4:])); code != 0 {
		return 0, fmt.Errorf("%w: produce to partition %d: %w", ErrResponse, partition, kerr.ErrorForCode(code))
	}
	return int64(binary.BigEndian.Uint64(frame[r.at+6:])), nil
}

// fetchSpec is what stays the same in all fetches of a consumer.
type fetchSpec struct {
	topic             string
	maxBytes          int
	partitionMaxBytes int
	maxWaitMillis     int
	minBytes          int
}

// fetchTarget is one partition of a fetch.
type fetchTarget struct {
	partition int
	offset    int64
}

// appendFetch appends a sessionless fetch of all targets, in their order.
func appendFetch(b []byte, corr int32, s *fetchSpec, targets []fetchTarget) []byte {
	start := len(b)
	b = appendHeader(b, kmsg.Fetch, fetchVersion)
	b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // replica id: a consumer
	b = binary.BigEndian.AppendUint32(b, uint32(s.maxWaitMillis))
	b = binary.BigEndian.AppendUint32(b, uint32(s.minBytes))
	b = binary.BigEndian.AppendUint32(b, uint32(s.maxBytes))
	b = append(b, 0)                                 // isolation level: read uncommitted
	b = binary.BigEndian.AppendUint32(b, 0)          // session id
	b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // session epoch: none
	b = binary.BigEndian.AppendUint32(b, 1)          // topics
	b = appendString(b, s.topic)
	b = binary.BigEndian.AppendUint32(b, uint32(len(targets)))
	for _, t := range targets {
		b = binary.BigEndian.AppendUint32(b, uint32(t.partition))
		b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // current leader epoch: unknown
		b = binary.BigEndian.AppendUint64(b, uint64(t.offset))
		b = binary.BigEndian.AppendUint64(b, ^uint64(0)) // log start offset: a consumer has none
		b = binary.BigEndian.AppendUint32(b, uint32(s.partitionMaxBytes))
	}
	b = binary.BigEndian.AppendUint32(b, 0) // forgotten topics
	b = appendString(b, "")                 // rack
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	binary.BigEndian.PutUint32(b[start+posCorrelation:], uint32(corr))
	return b
}
