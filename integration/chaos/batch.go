package chaos

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// recordBatch is a batch of one record, as a producer sends it. A producer id of -1 makes it one without sequence.
func recordBatch(value []byte, timestamp, producer int64, epoch int16, sequence int32) []byte {
	record := kmsg.NewRecord()
	record.Value = value
	record.Length = int32(len(record.AppendTo(nil)) - 1) // its own varint, of 0, is one byte
	batch := kmsg.NewRecordBatch()
	batch.PartitionLeaderEpoch = -1
	batch.Magic = 2
	batch.FirstTimestamp, batch.MaxTimestamp = timestamp, timestamp
	batch.ProducerID, batch.ProducerEpoch, batch.FirstSequence = producer, epoch, sequence
	batch.NumRecords = 1
	batch.Records = record.AppendTo(nil)
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[batchLengthAt:], uint32(len(raw)-batchEpochAt))
	binary.BigEndian.PutUint32(raw[batchCRCAt:], crc32.Checksum(raw[batchCRCFrom:], castagnoli))
	return raw
}
