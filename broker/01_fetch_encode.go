package broker

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/core"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// fetchOutcome is one partition of a Fetch response.
type fetchOutcome struct {
	partition int32
	code      int16
	offsets   partition.Offsets
	diverging *core.EpochEnd
	leader    *raftmeta.Partition // set where the client should go elsewhere (KIP-951)
	endpoint  *raftmeta.Broker    // that leads
	preferred int32               // the broker to read from, -1 for this one
	view      log.View            // records as stored, or
	converted []byte              // records as an old client reads them
}

func (o *fetchOutcome) recordBytes() int { return o.view.Size() + len(o.converted) }

// fetchEncoder writes the body of a Fetch response by hand, because the records in it are ranges of
// files that must not pass through memory. Partitions of one topic must be added one after another.
type fetchEncoder struct {
	version     int16
	sessionID   int32
	recordBytes int
	endpoints   []*raftmeta.Broker // of leaders that partitions name

	topics    int
	topic     topicRef
	inTopic   int // partitions of the current topic
	buf       []byte
	parts     []wire.Part
	topicMark int // the part that will hold the current topic's partition count
}

func (e *fetchEncoder) flexible() bool { return e.version >= 12 }

// add appends one partition.
func (e *fetchEncoder) add(topic topicRef, o fetchOutcome) {
	if e.topics == 0 || topic != e.topic {
		e.closeTopic()
		e.openTopic(topic)
	}
	e.inTopic++
	if o.endpoint != nil && e.version >= firstFetchWithEndpoints && !slices.Contains(e.endpoints, o.endpoint) {
		e.endpoints = append(e.endpoints, o.endpoint)
	}
	e.partition(&o)
	e.recordBytes += o.recordBytes()
}

func (e *fetchEncoder) openTopic(topic topicRef) {
	e.topics++
	e.topic, e.inTopic = topic, 0
	switch {
	case e.version >= 13:
		e.buf = append(e.buf, topic.id[:]...)
	case e.flexible():
		e.buf = kbin.AppendCompactString(e.buf, topic.name)
	default:
		e.buf = kbin.AppendString(e.buf, topic.name)
	}
	e.cut() // the count goes between this piece and the next
	e.topicMark = len(e.parts)
	e.parts = append(e.parts, wire.Part{})
}

func (e *fetchEncoder) closeTopic() {
	if e.topics == 0 {
		return
	}
	e.parts[e.topicMark].Bytes = e.arrayLen(nil, e.inTopic)
	if e.flexible() {
		e.buf = append(e.buf, 0) // no tags
	}
}

// cut ends the current piece of bytes.
func (e *fetchEncoder) cut() {
	if len(e.buf) > 0 {
		e.parts = append(e.parts, wire.Part{Bytes: e.buf})
		e.buf = nil
	}
}

func (e *fetchEncoder) arrayLen(dst []byte, n int) []byte {
	if e.flexible() {
		return kbin.AppendCompactArrayLen(dst, n)
	}
	return kbin.AppendArrayLen(dst, n)
}

func (e *fetchEncoder) partition(o *fetchOutcome) {
	b := kbin.AppendInt32(e.buf, o.partition)
	b = kbin.AppendInt16(b, o.code)
	b = kbin.AppendInt64(b, o.offsets.HighWatermark)
	if e.version >= 4 {
		b = kbin.AppendInt64(b, o.offsets.LastStable)
	}
	if e.version >= 5 {
		b = kbin.AppendInt64(b, o.offsets.Start)
	}
	if e.version >= 4 {
		b = e.arrayLen(b, 0) // no transactions, so none that was aborted
	}
	if e.version >= 11 {
		b = kbin.AppendInt32(b, o.preferred)
	}
	if e.flexible() {
		b = binary.AppendUvarint(b, uint64(o.recordBytes())+1)
	} else {
		b = kbin.AppendInt32(b, int32(o.recordBytes()))
	}
	b = append(b, o.converted...)
	e.buf = b
	if o.view.Size() > 0 {
		e.cut()
		for _, r := range o.view.Ranges() {
			e.parts = append(e.parts, wire.Part{File: r.File, Off: r.Off, Len: r.Len})
		}
	}
	if e.flexible() {
		e.buf = o.appendTags(e.buf)
	}
}

// appendTags writes the optional fields of a partition: where its history parts from the reader's
// (tag 0) and who leads it now (tag 1).
func (o *fetchOutcome) appendTags(b []byte) []byte {
	tags := 0
	if o.diverging != nil {
		tags++
	}
	if o.leader != nil {
		tags++
	}
	b = binary.AppendUvarint(b, uint64(tags))
	if o.diverging != nil {
		b = append(b, 0, 4+8+1)
		b = kbin.AppendInt32(b, o.diverging.Epoch)
		b = kbin.AppendInt64(b, o.diverging.End)
		b = append(b, 0)
	}
	if o.leader != nil {
		b = append(b, 1, 4+4+1)
		b = kbin.AppendInt32(b, o.leader.Leader)
		b = kbin.AppendInt32(b, o.leader.LeaderEpoch)
		b = append(b, 0)
	}
	return b
}

// finish returns the whole body.
func (e *fetchEncoder) finish() []wire.Part {
	e.closeTopic()
	if e.flexible() {
		e.buf = e.appendEndpoints(e.buf)
	}
	e.cut()
	return append([]wire.Part{{Bytes: e.head()}}, e.parts...)
}

// firstFetchWithEndpoints is the first version that can say where a broker is.
const firstFetchWithEndpoints = 16

// appendEndpoints writes the optional field of the response: where the leaders are that partitions name (tag 0).
func (e *fetchEncoder) appendEndpoints(b []byte) []byte {
	if len(e.endpoints) == 0 {
		return append(b, 0)
	}
	field := kbin.AppendCompactArrayLen(nil, len(e.endpoints))
	for _, leader := range e.endpoints {
		field = kbin.AppendInt32(field, leader.ID)
		field = kbin.AppendCompactString(field, leader.KafkaHost)
		field = kbin.AppendInt32(field, leader.KafkaPort)
		field = kbin.AppendCompactNullableString(field, rackOf(leader))
		field = append(field, 0) // no tags
	}
	b = append(b, 1, 0)
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}

func (e *fetchEncoder) head() []byte {
	var b []byte
	if e.version >= 1 {
		b = kbin.AppendInt32(b, 0) // throttle time
	}
	if e.version >= 7 {
		b = kbin.AppendInt16(b, 0)
		b = kbin.AppendInt32(b, e.sessionID)
	}
	return e.arrayLen(b, e.topics)
}
