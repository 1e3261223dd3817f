package load

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrLedger is a set of acknowledged offsets that no correct broker could have given out.
var ErrLedger = errors.New("acknowledged offsets do not add up")

// Ledger keeps which base offsets of each partition were acknowledged. All batches of a run have the
// same number of records, so a base offset is a batch number times that, and a bit per batch holds it
// all. Each connection has its own Ledger; merged, they must cover every partition from offset 0 on,
// without a hole and without a bit set twice.
type Ledger struct {
	records int // in every batch
	parts   []ledgerPart
}

type ledgerPart struct {
	bits  []uint64
	acked int64 // batches
}

// maxLedgerBatches bounds what a wild base offset could make the ledger allocate: 512 MiB of bits.
const maxLedgerBatches = 1 << 32

// NewLedger returns an empty ledger for batches of recordsPerBatch records, which must be positive.
func NewLedger(partitions, recordsPerBatch int) *Ledger {
	return &Ledger{records: recordsPerBatch, parts: make([]ledgerPart, partitions)}
}

// Acked enters a batch that was acknowledged with this base offset.
func (l *Ledger) Acked(partition int, base int64) error {
	batch := base / int64(l.records)
	if base < 0 || base%int64(l.records) != 0 || batch >= maxLedgerBatches {
		return fmt.Errorf("%w: base offset %d in partition %d, all batches having %d records", ErrLedger, base, partition, l.records)
	}
	p := &l.parts[partition]
	word, bit := int(batch/64), uint64(1)<<(batch%64)
	for word >= len(p.bits) {
		p.bits = append(p.bits, 0)
	}
	if p.bits[word]&bit != 0 {
		return fmt.Errorf("%w: base offset %d in partition %d acknowledged twice", ErrLedger, base, partition)
	}
	p.bits[word] |= bit
	p.acked++
	return nil
}

// Merge adds another connection's ledger of the same run.
func (l *Ledger) Merge(other *Ledger) error {
	for i := range other.parts {
		mine, theirs := &l.parts[i], &other.parts[i]
		for len(mine.bits) < len(theirs.bits) {
			mine.bits = append(mine.bits, 0)
		}
		for w, b := range theirs.bits {
			if both := mine.bits[w] & b; both != 0 {
				base := int64(w*64+bits.TrailingZeros64(both)) * int64(l.records)
				return fmt.Errorf("%w: base offset %d in partition %d acknowledged on two connections", ErrLedger, base, i)
			}
			mine.bits[w] |= b
		}
		mine.acked += theirs.acked
	}
	return nil
}

// Ends returns the end offset that each partition must have if nothing but this run wrote to it, or
// says where a base offset is missing.
func (l *Ledger) Ends() ([]int64, error) {
	ends := make([]int64, len(l.parts))
	for i, p := range l.parts {
		for w, b := range p.bits {
			covered := min(p.acked-int64(w)*64, 64) // how many of this word's batches must be there
			want := ^uint64(0)
			if covered < 64 {
				want = 1<<max(covered, 0) - 1
			}
			if b != want {
				hole := int64(w)*64 + int64(bits.TrailingZeros64(b^want))
				return nil, fmt.Errorf("%w: partition %d has %d batches acknowledged, not dense at offset %d", ErrLedger, i, p.acked, hole*int64(l.records))
			}
		}
		ends[i] = p.acked * int64(l.records)
	}
	return ends, nil
}
