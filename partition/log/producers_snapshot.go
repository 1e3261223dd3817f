package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// A .snapshot file holds the producers of the log below the offset in its name, in Kafka's format:
//
//	version int16 = 1 | crc uint32 (CRC-32C of what follows) | count int32 | count x 46 bytes:
//	producer_id int64 | epoch int16 | last_sequence int32 | last_offset int64 | offset_delta int32 |
//	timestamp int64 | coordinator_epoch int32 | current_txn_first_offset int64
//
// Kafka writes one entry per producer, so that after a restart it recognises only the last batch of
// each when it is sent again. Here a producer has an entry for each remembered batch, oldest first: a
// producer may have five in flight when the broker restarts, and P3 holds across that. Kafka's tools
// read such a file and Kafka itself, which lets a later entry replace an earlier one, arrives at the
// state that its own file would have given.
const (
	snapshotSuffix     = ".snapshot"
	snapshotVersion    = 1
	snapshotHeaderSize = 2 + 4 + 4
	snapshotEntrySize  = 46
	maxSnapshotBytes   = 256 << 20 // a million producers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshotPath is the snapshot of the producers of all batches below offset.
func snapshotPath(dir string, offset int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", offset, snapshotSuffix))
}

// loadSnapshot reads the snapshot for offset. Errors: fs.ErrNotExist, and errStateFile for contents
// that cannot be right; then an older snapshot or the log's start is where to replay from.
func loadSnapshot(fsys vfs.FS, dir string, offset int64, now time.Time) (producerStates, error) {
	name := snapshotPath(dir, offset)
	data, err := vfs.ReadFile(fsys, name, maxSnapshotBytes)
	if err != nil {
		return producerStates{}, fmt.Errorf("load producer snapshot: %w", err)
	}
	p, err := decodeSnapshot(data, offset, now)
	if err != nil {
		return producerStates{}, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func (p *producerStates) encodeSnapshot() []byte {
	out := make([]byte, snapshotHeaderSize, snapshotHeaderSize+len(p.producers)*snapshotEntrySize)
	count := 0
	for _, id := range p.ids() {
		s := p.producers[id]
		if s.seen == 0 {
			out = appendSnapshotEntry(out, id, s, seenBatch{lastOffset: -1, lastSeq: record.NoSequence, timestamp: s.lastTimestamp})
			count++
			continue
		}
		for i := range s.window[:s.seen] {
			b := s.window[i]
			if i == int(s.seen)-1 {
				b.timestamp = s.lastTimestamp // as Kafka: that of a marker, if one came later
			}
			out = appendSnapshotEntry(out, id, s, b)
			count++
		}
	}
	binary.BigEndian.PutUint16(out, snapshotVersion)
	binary.BigEndian.PutUint32(out[6:], uint32(count))
	binary.BigEndian.PutUint32(out[2:], crc32.Checksum(out[6:], castagnoli))
	return out
}

func appendSnapshotEntry(out []byte, id int64, s *producerState, b seenBatch) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(id))
	out = binary.BigEndian.AppendUint16(out, uint16(s.epoch))
	out = binary.BigEndian.AppendUint32(out, uint32(b.lastSeq))
	out = binary.BigEndian.AppendUint64(out, uint64(b.lastOffset))
	out = binary.BigEndian.AppendUint32(out, uint32(b.delta))
	out = binary.BigEndian.AppendUint64(out, uint64(b.timestamp))
	out = binary.BigEndian.AppendUint32(out, uint32(s.coordinatorEpoch))
	return binary.BigEndian.AppendUint64(out, uint64(s.txnFirst))
}

// decodeSnapshot reads a snapshot of batches below end. Every producer counts as active now: the
// file does not say when the broker last heard of it.
func decodeSnapshot(data []byte, end int64, now time.Time) (producerStates, error) {
	var p producerStates
	if len(data) < snapshotHeaderSize {
		return p, fmt.Errorf("%w: snapshot of %d bytes", errStateFile, len(data))
	}
	if v := binary.BigEndian.Uint16(data); v != snapshotVersion {
		return p, fmt.Errorf("%w: snapshot version %d", errStateFile, v)
	}
	if sum, want := crc32.Checksum(data[6:], castagnoli), binary.BigEndian.Uint32(data[2:]); sum != want {
		return p, fmt.Errorf("%w: snapshot CRC is %08x, header says %08x", errStateFile, sum, want)
	}
	count := int64(int32(binary.BigEndian.Uint32(data[6:])))
	entries := data[snapshotHeaderSize:]
	if count*snapshotEntrySize != int64(len(entries)) {
		return p, fmt.Errorf("%w: snapshot of %d producers has %d bytes of them", errStateFile, count, len(entries))
	}
	for ; len(entries) > 0; entries = entries[snapshotEntrySize:] {
		if err := p.addSnapshotEntry(entries, end, now); err != nil {
			return producerStates{}, err
		}
	}
	for id, s := range p.producers {
		if s.txnFirst >= 0 {
			p.txns = append(p.txns, txnSpan{producerID: id, first: s.txnFirst, marker: -1})
		}
	}
	p.sortTxns()
	return p, nil
}

func (p *producerStates) addSnapshotEntry(e []byte, end int64, now time.Time) error {
	id := int64(binary.BigEndian.Uint64(e))
	epoch := int16(binary.BigEndian.Uint16(e[8:]))
	b := seenBatch{
		lastSeq:    int32(binary.BigEndian.Uint32(e[10:])),
		lastOffset: int64(binary.BigEndian.Uint64(e[14:])),
		delta:      int32(binary.BigEndian.Uint32(e[22:])),
		timestamp:  int64(binary.BigEndian.Uint64(e[26:])),
	}
	coordinatorEpoch := int32(binary.BigEndian.Uint32(e[34:]))
	txnFirst := int64(binary.BigEndian.Uint64(e[38:]))
	if id < 0 || epoch < 0 || b.delta < 0 || b.lastOffset >= end || txnFirst < -1 || txnFirst >= end ||
		b.lastSeq < record.NoSequence || b.lastOffset-int64(b.delta) < -1 {
		return fmt.Errorf("%w: snapshot entry of producer %d is out of range", errStateFile, id)
	}
	s := p.enter(id, epoch, now)
	s.lastTimestamp, s.coordinatorEpoch, s.txnFirst = b.timestamp, coordinatorEpoch, txnFirst
	if b.lastSeq != record.NoSequence {
		s.remember(b)
	}
	return nil
}
