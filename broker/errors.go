package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/partition"
	"github.com/chronik-stream/chronik/partition/log"
	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire/record"
)

// codes is the only place where an error becomes a Kafka code. The first match counts, so what is
// specific comes first.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	{partition.ErrNotLeader, kerr.NotLeaderForPartition},
	{partition.ErrClosed, kerr.NotLeaderForPartition},
	{partition.ErrFencedEpoch, kerr.FencedLeaderEpoch},
	{partition.ErrUnknownEpoch, kerr.UnknownLeaderEpoch},
	{partition.ErrNotFollower, kerr.NotLeaderForPartition},
	{partition.ErrNotEnoughReplicas, kerr.NotEnoughReplicas},
	{partition.ErrStorage, kerr.KafkaStorageError},

	{log.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{log.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{log.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{log.ErrRecordListTooLarge, kerr.RecordListTooLarge},
	{log.ErrDiskFull, kerr.KafkaStorageError},
	{log.ErrDirFailed, kerr.KafkaStorageError},
	{log.ErrQuarantined, kerr.KafkaStorageError},
	{log.ErrCorrupt, kerr.KafkaStorageError},
	{log.ErrClosed, kerr.NotLeaderForPartition},
	{log.ErrStaleEpoch, kerr.NotLeaderForPartition},
	{log.ErrInvalidTxnState, kerr.InvalidTxnState},

	{record.ErrTooLarge, kerr.MessageTooLarge},
	{record.ErrTimestamp, kerr.InvalidTimestamp},
	{record.ErrUnsupported, kerr.UnsupportedCompressionType},
	{record.ErrInvalid, kerr.InvalidRecord},
	{record.ErrIncomplete, kerr.CorruptMessage},
	{record.ErrCorrupt, kerr.CorruptMessage},

	{raftmeta.ErrTopicExists, kerr.TopicAlreadyExists},
	{raftmeta.ErrTopicCollides, kerr.InvalidTopicException},
	{raftmeta.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{raftmeta.ErrUnknownPartition, kerr.UnknownTopicOrPartition},
	{raftmeta.ErrInvalidTopic, kerr.InvalidTopicException},
	{raftmeta.ErrInvalidPartitions, kerr.InvalidPartitions},
	{raftmeta.ErrInvalidAssignment, kerr.InvalidReplicaAssignment},
	{raftmeta.ErrProducerIDsExhausted, kerr.CoordinatorNotAvailable},
	{raftmeta.ErrStaleBrokerEpoch, kerr.StaleBrokerEpoch},
	{raftmeta.ErrStaleCoordinator, kerr.NotCoordinator},
	{raftmeta.ErrSuperseded, kerr.NotController}, // by another run of this broker, so it is not the one to ask
	{raftmeta.ErrElectionNotNeeded, kerr.ElectionNotNeeded},
	{raftmeta.ErrUnknownBroker, kerr.BrokerIDNotRegistered},
	{raftmeta.ErrBrokerInUse, kerr.InvalidRequest},
	{raftmeta.ErrNoReassignment, kerr.NoReassignmentInProgress},
	{raftmeta.ErrTooFewInSync, kerr.InvalidReplicaAssignment},
	{raftmeta.ErrTooLarge, kerr.InvalidRequest},
	{raftmeta.ErrTopicIDUsed, kerr.RequestTimedOut}, // 128 random bits met twice: the client tries again
	{raftmeta.ErrOutcomeUnknown, kerr.RequestTimedOut},
	{raftmeta.ErrNotLeader, kerr.NotController},
	{raftmeta.ErrClosed, kerr.RequestTimedOut},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.RequestTimedOut},
}

// codeOf is the Kafka code of err. An error without one is our bug: the client gets
// UNKNOWN_SERVER_ERROR, the operator a log line.
func (b *Broker) codeOf(err error) int16 {
	if err == nil {
		return 0
	}
	var own *kerr.Error
	if errors.As(err, &own) {
		return own.Code
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code.Code
		}
	}
	b.logger.Error("an error has no wire code, the client gets UNKNOWN_SERVER_ERROR", "err", err)
	return kerr.UnknownServerError.Code
}

// refusal is a Kafka code with the sentence that tells a person what to do about it.
type refusal struct {
	code *kerr.Error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.code }

// refuse makes the error of a request that is well-formed but cannot be done.
func refuse(code *kerr.Error, text string) error { return &refusal{code, text} }

// messageOf is the text that newer versions of a response carry beside the code; nil without an error.
func messageOf(err error) *string {
	if err == nil {
		return nil
	}
	text := err.Error()
	return &text
}

// What a request may name in vain.
var (
	errUnknownTopic     = refuse(kerr.UnknownTopicOrPartition, "this server does not host this topic")
	errUnknownPartition = refuse(kerr.UnknownTopicOrPartition, "the topic has no such partition")
	errOutOfTouch       = errors.New("this server has lost touch with the cluster's controller, others may know more")
	errIsolated         = refuse(kerr.NotLeaderForPartition, "this server has no contact with the cluster's controller and may be outdated")
	errUnknownTopicID   = refuse(kerr.UnknownTopicID, "this server does not host a topic of this id")
)
