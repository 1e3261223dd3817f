package record

import (
	"encoding/binary"
	"fmt"
)

// Marker is the end of a transaction, as its coordinator writes it into each partition.
type Marker struct {
	Commit           bool  // or else abort
	CoordinatorEpoch int32 // fences older coordinators
}

// Types of control records that end a transaction.
const (
	controlAbort  = 0
	controlCommit = 1
)

// AppendMarker appends to dst a control batch that ends p's transaction, at base offset 0 until it is
// stamped. The timestamp is in ms. p.Sequence is not used: control batches have none.
func AppendMarker(dst []byte, p Producer, m Marker, timestamp int64) ([]byte, error) {
	p.Sequence = NoSequence
	kind := uint16(controlAbort)
	if m.Commit {
		kind = controlCommit
	}
	key := binary.BigEndian.AppendUint16([]byte{0, 0}, kind)                         // version, type
	value := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(m.CoordinatorEpoch)) // version, epoch
	b := NewBuilder(Spec{Producer: &p, Transactional: true, Control: true})
	if err := b.Add(&Record{Timestamp: timestamp, Key: key, Value: value}); err != nil {
		return dst, err
	}
	return b.Build(dst)
}

// Marker reads the end-of-transaction marker in b, whatever its version: later ones only add fields.
// ok is false if b is no control batch, or one of another kind. ErrCorrupt says that b is a control
// batch without one well-formed control record.
func (b Batch) Marker() (m Marker, ok bool, err error) {
	if !b.IsControl() {
		return Marker{}, false, nil
	}
	if b.Count() != 1 {
		return Marker{}, false, fmt.Errorf("%w: control batch of %d records", ErrCorrupt, b.Count())
	}
	err = b.Each(Limits{}, func(r *Record) error {
		if len(r.Key) < 4 {
			return fmt.Errorf("%w: control record with a key of %d bytes", ErrCorrupt, len(r.Key))
		}
		kind := binary.BigEndian.Uint16(r.Key[2:])
		if kind != controlAbort && kind != controlCommit {
			return nil
		}
		if len(r.Value) < 6 {
			return fmt.Errorf("%w: transaction marker with a value of %d bytes", ErrCorrupt, len(r.Value))
		}
		m = Marker{Commit: kind == controlCommit, CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:]))}
		ok = true
		return nil
	})
	return m, ok, err
}
