package chaos

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Batch is a record batch as a replica holds it on disk.
type Batch struct {
	Base, End     int64 // offsets, half open
	Epoch         int32
	Producer      int64 // -1 without one
	ProducerEpoch int16
	Sequence      int32
	Digest        uint64 // of all bytes: the beginning of their SHA-256
	File          string
	Position      int64
}

func (b Batch) row(node int32) string {
	return fmt.Sprintf("node %d: offsets %d to %d of leader epoch %d, producer %d/%d from sequence %d, digest %016x, in %s at %d",
		node, b.Base, b.End, b.Epoch, b.Producer, b.ProducerEpoch, b.Sequence, b.Digest, b.File, b.Position)
}

// Replica is the log of one partition in the data directory of a node that does not run.
type Replica struct {
	Node          int32
	HighWatermark int64
	Batches       []Batch
}

// End is the offset past the last record.
func (r Replica) End() int64 {
	if len(r.Batches) == 0 {
		return 0
	}
	return r.Batches[len(r.Batches)-1].End
}

// The header of a batch of magic 2.
const (
	batchHeader   = 61
	batchLengthAt = 8
	batchEpochAt  = 12
	batchMagicAt  = 16
	batchCRCAt    = 17
	batchCRCFrom  = 21
	batchDeltaAt  = 23
	batchPIDAt    = 43
	batchPEpochAt = 51
	batchSeqAt    = 53
	maxBatch      = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ReadReplica reads the partition's segments in a node's data directory and its high watermark there.
func ReadReplica(node int32, dataDir string, p Partition) (Replica, error) {
	r := Replica{Node: node}
	var err error
	if r.HighWatermark, err = checkpointed(filepath.Join(dataDir, "log", "replication-offset-checkpoint"), p); err != nil {
		return r, err
	}
	segments, err := filepath.Glob(filepath.Join(dataDir, "log", p.String(), "*.log"))
	if err != nil {
		return r, err
	}
	if len(segments) == 0 {
		return r, fmt.Errorf("node %d has no segment of %v", node, p)
	}
	slices.Sort(segments) // names are offsets of one length
	for _, segment := range segments {
		batches, err := readSegment(segment)
		if err != nil {
			return r, fmt.Errorf("node %d: %w", node, err)
		}
		r.Batches = append(r.Batches, batches...)
	}
	return r, nil
}

// checkpointed is what a file of offsets in Kafka's text format holds for p, 0 if nothing.
func checkpointed(path string, p Partition) (int64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if offset, ok := strings.CutPrefix(strings.TrimSpace(line), fmt.Sprintf("%s %d ", p.Topic, p.Index)); ok {
			return strconv.ParseInt(offset, 10, 64)
		}
	}
	return 0, nil
}

func readSegment(path string) ([]Batch, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var batches []Batch
	in := bufio.NewReaderSize(f, 1<<20)
	for at := int64(0); ; {
		b, size, err := readBatch(in)
		if err == io.EOF {
			return batches, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s at %d: %w", filepath.Base(path), at, err)
		}
		if size == 0 {
			return batches, nil // space that was reserved
		}
		b.File, b.Position = filepath.Base(path), at
		batches = append(batches, b)
		at += size
	}
}

// readBatch returns a size of 0 where only zeros follow.
func readBatch(in *bufio.Reader) (b Batch, size int64, err error) {
	header, err := in.Peek(batchHeader)
	if err != nil {
		if err == io.EOF && len(header) > 0 && !allZero(header) {
			return b, 0, io.ErrUnexpectedEOF
		}
		return b, 0, err
	}
	length := int64(binary.BigEndian.Uint32(header[batchLengthAt:]))
	switch {
	case length == 0 && allZero(header):
		return b, 0, nil
	case header[batchMagicAt] != 2:
		return b, 0, fmt.Errorf("magic %d", header[batchMagicAt])
	case length < batchHeader-batchEpochAt || length > maxBatch:
		return b, 0, fmt.Errorf("a batch of %d bytes", length)
	}
	whole := make([]byte, batchEpochAt+length)
	if _, err := io.ReadFull(in, whole); err != nil {
		return b, 0, err
	}
	if crc := binary.BigEndian.Uint32(whole[batchCRCAt:]); crc != crc32.Checksum(whole[batchCRCFrom:], castagnoli) {
		return b, 0, errors.New("bad CRC")
	}
	b.Base = int64(binary.BigEndian.Uint64(whole))
	b.End = b.Base + int64(binary.BigEndian.Uint32(whole[batchDeltaAt:])) + 1
	b.Epoch = int32(binary.BigEndian.Uint32(whole[batchEpochAt:]))
	b.Producer = int64(binary.BigEndian.Uint64(whole[batchPIDAt:]))
	b.ProducerEpoch = int16(binary.BigEndian.Uint16(whole[batchPEpochAt:]))
	b.Sequence = int32(binary.BigEndian.Uint32(whole[batchSeqAt:]))
	digest := sha256.Sum256(whole)
	b.Digest = binary.BigEndian.Uint64(digest[:])
	return b, int64(len(whole)), nil
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

// CheckReplicas compares the replicas of a partition: byte-identical below the lowest of their high watermarks (I6), the
// same bytes wherever offset and epoch are the same (I7), and each in itself in order, with the sequences of every
// producer unbroken (I35).
func CheckReplicas(p Partition, replicas []Replica) []Violation {
	var found []Violation
	for _, r := range replicas {
		found = append(found, checkReplica(p, r)...)
	}
	for i, a := range replicas {
		for _, b := range replicas[i+1:] {
			found = append(found, compare(p, a, b)...)
		}
	}
	return capped(found)
}

func checkReplica(p Partition, r Replica) []Violation {
	var found []Violation
	report := func(invariant, text string, rows ...string) {
		found = append(found, Violation{invariant, p, text, rows})
	}
	type producer struct {
		id    int64
		epoch int16
	}
	last := map[producer]Batch{}
	if r.HighWatermark > r.End() {
		report("I8", fmt.Sprintf("node %d has a high watermark of %d and a log that ends at %d", r.Node, r.HighWatermark, r.End()))
	}
	for i, b := range r.Batches {
		if i > 0 {
			switch before := r.Batches[i-1]; {
			case b.Base != before.End:
				report("I1", "the log has a hole or goes back", before.row(r.Node), b.row(r.Node))
			case b.Epoch < before.Epoch:
				report("I22", "the leader epoch goes back", before.row(r.Node), b.row(r.Node))
			}
		}
		if b.Producer < 0 {
			continue
		}
		key := producer{b.Producer, b.ProducerEpoch}
		before, known := last[key]
		want := int32(0)
		if known {
			want = before.Sequence + int32(before.End-before.Base)
		}
		if b.Sequence != want {
			rows := []string{b.row(r.Node)}
			if known {
				rows = []string{before.row(r.Node), b.row(r.Node)}
			}
			report("I35", fmt.Sprintf("a producer's sequence is %d where %d comes next", b.Sequence, want), rows...)
		}
		last[key] = b
	}
	return found
}

func compare(p Partition, a, b Replica) []Violation {
	var found []Violation
	committed := min(a.HighWatermark, b.HighWatermark)
	others := make(map[int64]Batch, len(b.Batches))
	for _, batch := range b.Batches {
		others[batch.Base] = batch
	}
	for _, batch := range a.Batches {
		other, ok := others[batch.Base]
		rows := []string{batch.row(a.Node), other.row(b.Node)}
		if !ok {
			rows = rows[:1]
		}
		switch {
		case ok && other.Epoch == batch.Epoch && other.Digest != batch.Digest:
			found = append(found, Violation{"I7", p, fmt.Sprintf("nodes %d and %d hold different bytes at one offset and epoch", a.Node, b.Node), rows})
		case batch.Base < committed && (!ok || other.Digest != batch.Digest):
			found = append(found, Violation{"I6", p, fmt.Sprintf("nodes %d and %d differ below both high watermarks (%d)", a.Node, b.Node, committed), rows})
		}
		delete(others, batch.Base)
	}
	for _, batch := range b.Batches { // what a does not hold
		if _, left := others[batch.Base]; left && batch.Base < committed {
			found = append(found, Violation{"I6", p, fmt.Sprintf("node %d lacks what node %d holds below both high watermarks (%d)", a.Node, b.Node, committed), []string{batch.row(b.Node)}})
		}
	}
	return found
}
